/** The promises of a log of invalidations, checked in memory, on the same behind a pipe, and on NATS. */
import assert from "node:assert/strict";
import { UnavailableError } from "../../../lib/core/errors.ts";
import { MAX_MESSAGE_BYTES } from "../../../lib/core/invalidation/message.ts";
import { test } from "../../support/test.ts";
import { type LogHarness, memory, nats, pipe, Recorder } from "./log_harnesses.ts";
import { bytesOf, realClock, until } from "../support.ts";

for (const kind of [memory, pipe, nats]) {
  const contract = (name: string, run: (harness: LogHarness) => Promise<void>): void =>
    test(`${kind.name}: ${name}`, kind.needs, async (defer) => run(await kind.start(defer)));

  /** A log that has been reached, and what it has told. */
  const opened = async (harness: LogHarness) => {
    const node = await harness.open();
    const recorder = new Recorder();
    node.log.followLog(recorder);
    await until("the first contact", () => recorder.isSettled);
    return { ...node, recorder };
  };

  contract("the first contact is a restart at the last message, and history is not told", async (harness) => {
    const first = await opened(harness);
    assert.deepEqual(first.recorder.events, ["restart 0", "settled 0"]);
    assert.ok(Number.isSafeInteger(first.recorder.label.epoch) && first.recorder.label.epoch > 1e15, "microseconds");
    for (const text of ["one", "two"]) await first.log.publish("dict", bytesOf(text));

    const { log } = await harness.open();
    const late = new Recorder();
    log.followLog(late);
    assert.deepEqual(late.events, [], "nothing before the call returns");
    assert.throws(() => log.followLog(new Recorder()), TypeError);
    await until("the first contact", () => late.isSettled);
    assert.deepEqual(late.events, ["restart 2", "settled 2"]);
    assert.equal(late.label.epoch, first.recorder.label.epoch);
    await first.log.publish("dict", bytesOf("three"));
    await until("the next message", () => late.label.sequence === 3);
    assert.deepEqual(late.told, ["restart 2", "take 3 dict three"]);
  });

  contract(
    "all nodes are told all groups in one order, under the sequences that the publishers got",
    async (harness) => {
      const nodes = [await opened(harness), await opened(harness), await opened(harness)];
      const published = await Promise.all(Array.from({ length: 60 }, async (_, i) => {
        const [group, text] = [["dict", "wn", "site"][i % 3]!, `ü${i}`];
        const label = await nodes[i % 2]!.log.publish(group, bytesOf(text));
        assert.equal(label.epoch, nodes[0]!.recorder.label.epoch);
        return [label.sequence, group, text] as const;
      }));
      const expected = published.toSorted(([one], [other]) => one - other);
      assert.deepEqual(expected.map(([sequence]) => sequence), Array.from({ length: 60 }, (_, i) => i + 1));
      for (const { recorder } of nodes) {
        await until("all of them", () => recorder.isSettled && recorder.label.sequence === 60);
        assert.deepEqual(recorder.told, ["restart 0", ...expected.map((message) => `take ${message.join(" ")}`)]);
      }
    },
  );

  contract("the longest message arrives whole", async (harness) => {
    const { log, recorder } = await opened(harness);
    const text = `"\n${"é".repeat(MAX_MESSAGE_BYTES / 2 - 1)}`;
    await log.publish("dict", bytesOf(text));
    await log.catchUp();
    assert.equal(recorder.told.at(-1), `take 1 dict ${text}`);
  });

  contract("whoever catches up has been told what was published before, however many ask at once", async (harness) => {
    const { log: other } = await opened(harness);
    const { log, recorder } = await opened(harness);
    for (let round = 1; round <= 20; round++) {
      const asked = Array.from({ length: 5 }, () => log.catchUp());
      const sinceMs = realClock.nowMs();
      const { sequence } = await other.publish("dict", bytesOf(String(round)));
      await Promise.all([log.catchUp(), log.catchUp()]);
      assert.equal(recorder.label.sequence, sequence);
      assert.ok(recorder.isSettled && recorder.askedAtMs >= sinceMs, "it asked after this was called");
      await Promise.all(asked);
    }
    assert.ok(recorder.askedAtMs <= realClock.nowMs());
  });

  contract("an outage is told once, nothing can be published meanwhile, and nothing is lost", async (harness) => {
    const { log, recorder } = await opened(harness);
    await log.publish("dict", bytesOf("one"));
    await until("it", () => recorder.label.sequence === 1);
    await harness.goAway();
    await until("the outage", () => recorder.isAway);
    await assert.rejects(
      log.publish("dict", bytesOf("lost")),
      (error) =>
        error instanceof UnavailableError && !error.isAmbiguous && /nothing was invalidated/.test(error.message),
    );
    await log.catchUp();
    await harness.comeBack();
    await until("the return", () => recorder.isSettled);
    await log.publish("dict", bytesOf("two"));
    await log.catchUp();
    assert.deepEqual(recorder.told, ["restart 0", "take 1 dict one", "away", "take 2 dict two"]);
  });

  contract(
    "a node that is there before its log is told that it is away, then of the first contact",
    async (harness) => {
      const { log: witness, recorder: seen } = await opened(harness);
      await witness.publish("dict", bytesOf("one"));
      await harness.goAway();
      await until("the outage", () => seen.isAway);
      const { log } = await harness.open();
      const recorder = new Recorder();
      log.followLog(recorder);
      await until("the outage", () => recorder.isAway);
      await harness.comeBack();
      await until("the first contact", () => recorder.isSettled);
      assert.deepEqual(recorder.events, ["away", "restart 1", "settled 1"]);
    },
  );

  contract("a node that was cut off is told all that it missed, in order", async (harness) => {
    const { log: other } = await opened(harness);
    const { recorder, log, cut, mend } = await opened(harness);
    cut();
    for (let i = 1; i <= 30; i++) await other.publish("dict", bytesOf(String(i)));
    assert.deepEqual(recorder.told.filter((event) => event !== "away"), ["restart 0"]);
    mend();
    await until("all of it", () => recorder.label.sequence === 30 && recorder.isSettled);
    await log.catchUp();
    assert.deepEqual(
      recorder.told.filter((event) => event !== "away"),
      ["restart 0", ...Array.from({ length: 30 }, (_, i) => `take ${i + 1} dict ${i + 1}`)],
    );
  });

  contract(
    "messages that were deleted before a node was told of them are a gap, and others are none",
    async (harness) => {
      const { log: other, recorder: witness } = await opened(harness);
      const { recorder, log, cut, mend } = await opened(harness);
      await other.publish("dict", bytesOf("one"));
      await until("both", () => witness.label.sequence === 1 && recorder.label.sequence === 1);
      cut();
      for (const text of ["two", "three"]) await other.publish("dict", bytesOf(text));
      await until("the witness", () => witness.label.sequence === 3);
      await harness.forget();
      mend();
      await until("the gap", () => recorder.label.sequence === 3 && recorder.isSettled);
      await other.publish("dict", bytesOf("four"));
      await Promise.all([log.catchUp(), other.catchUp()]);
      assert.deepEqual(
        recorder.told.filter((event) => event !== "away"),
        ["restart 0", "take 1 dict one", "restart 3", "take 4 dict four"],
      );
      assert.deepEqual(
        witness.told,
        ["restart 0", ...["one", "two", "three", "four"].map((text, i) => `take ${i + 1} dict ${text}`)],
      );
      assert.equal(recorder.label.epoch, witness.label.epoch);
    },
  );

  contract("a log that is lost and made again is another life, later than the one before", async (harness) => {
    const { log, recorder } = await opened(harness);
    for (const text of ["one", "two"]) await log.publish("dict", bytesOf(text));
    await until("both", () => recorder.label.sequence === 2);
    const { epoch } = recorder.label;
    await harness.lose();
    await until("the new life", () => recorder.label.epoch > epoch);
    await until("its end", () => recorder.isSettled);
    const label = await log.publish("dict", bytesOf("one again"));
    assert.deepEqual(label, { epoch: recorder.label.epoch, sequence: 1 });
    await log.catchUp();
    assert.deepEqual(
      recorder.told.filter((event) => event !== "away"),
      ["restart 0", "take 1 dict one", "take 2 dict two", "restart 0", "take 1 dict one again"],
    );
  });

  contract("a message whose answer is lost may have been added, and says so", async (harness) => {
    const { log, loseNextAnswer } = await opened(harness);
    const { recorder } = await opened(harness);
    loseNextAnswer();
    await assert.rejects(
      log.publish("dict", bytesOf("one")),
      (error) => error instanceof UnavailableError && error.isAmbiguous,
    );
    await until("it", () => recorder.label.sequence === 1);
    assert.deepEqual(recorder.told, ["restart 0", "take 1 dict one"]);
  });

  contract("a closed log tells nothing more, takes nothing, and keeps nobody waiting", async (harness) => {
    const { log: other, recorder: witness } = await opened(harness);
    const { log, recorder, close } = await opened(harness);
    const asked = log.catchUp();
    await close();
    await asked;
    await other.publish("dict", bytesOf("one"));
    await until("the witness", () => witness.label.sequence === 1);
    await log.catchUp();
    await harness.goAway();
    await until("the witness", () => witness.isAway);
    assert.deepEqual(recorder.events, ["restart 0", "settled 0"]);
    await assert.rejects(
      log.publish("dict", bytesOf("two")),
      (error) => error instanceof UnavailableError && !error.isAmbiguous,
    );
  });
}
