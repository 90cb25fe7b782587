/** The promises of a store, checked in memory, on the same behind a pipe, and on NATS. */
import assert from "node:assert/strict";
import { UnavailableError, WrongRevisionError } from "../../../lib/core/errors.ts";
import { type Defer, type Needs, test } from "../../support/test.ts";
import { memory, nats, pipe } from "../harnesses.ts";
import { bytesOf, type Harness, textOf, until, Watcher } from "../support.ts";

for (const kind of [memory, pipe, nats]) {
  type Run = (harness: Harness, defer: Defer) => Promise<void>;
  const contract = (name: string, ...[second, third]: [Run] | [Needs, Run]): void => {
    const [needs, run] = third === undefined ? [kind.needs, second as Run] : [second as Needs, third];
    test(`${kind.name}: ${name}`, needs, async (defer) => run(await kind.start(defer), defer));
  };

  /** A store that is connected, and what it was told. */
  const opened = async (harness: Harness, groups?: string[]) => {
    const { store, loseNextAnswer } = await harness.open();
    const watcher = new Watcher(store, groups);
    await until("the first contact", () => watcher.isBack);
    return { store, watcher, loseNextAnswer };
  };

  contract("a key that was never written is created at revision 0, by one of two", async (harness) => {
    const one = (await opened(harness)).store;
    const two = (await opened(harness)).store;
    assert.deepEqual(await one.read("dict.a"), { value: undefined, revision: 0 });
    const results = await Promise.allSettled([
      one.put("dict.a", bytesOf("one"), 0),
      two.put("dict.a", bytesOf("two"), 0),
    ]);
    const won = results.findIndex((result) => result.status === "fulfilled");
    const lost = results[1 - won] as PromiseRejectedResult;
    assert.ok(lost.reason instanceof WrongRevisionError, String(lost.reason));
    const entry = await two.read("dict.a");
    assert.equal(textOf(entry.value), ["one", "two"][won]);
    assert.equal(entry.revision, (results[won] as PromiseFulfilledResult<number>).value);
  });

  contract("a write that names another revision than the last one changes nothing", async (harness) => {
    const { store } = await opened(harness);
    const first = await store.put("dict.a", bytesOf("1"), 0);
    const second = await store.put("dict.a", bytesOf("2"), first);
    assert.ok(second > first);
    for (const wrong of [0, first, second + 1, second + 1_000_000]) {
      await assert.rejects(store.put("dict.a", bytesOf("no"), wrong), WrongRevisionError, `put at ${wrong}`);
      await assert.rejects(store.delete("dict.a", wrong), WrongRevisionError, `delete at ${wrong}`);
    }
    assert.deepEqual(await store.read("dict.a"), { value: bytesOf("2"), revision: second });
  });

  contract("a delete leaves a marker, and only a write that names it is taken", async (harness) => {
    const { store } = await opened(harness);
    const put = await store.put("dict.a", bytesOf("1"), 0);
    const marker = await store.delete("dict.a", put);
    assert.deepEqual(await store.read("dict.a"), { value: undefined, revision: marker });
    await assert.rejects(store.put("dict.a", bytesOf("2"), 0), WrongRevisionError);
    await assert.rejects(store.put("dict.a", bytesOf("2"), put), WrongRevisionError);
    assert.equal(await store.put("dict.a", bytesOf("2"), marker), marker + 1);
  });

  contract("a delete of a key that was never there beats a create in flight", async (harness) => {
    const { store } = await opened(harness);
    const marker = await store.delete("dict.a", 0);
    await assert.rejects(store.put("dict.a", bytesOf("late"), 0), WrongRevisionError);
    assert.deepEqual(await store.read("dict.a"), { value: undefined, revision: marker });
  });

  contract("the records of one name are found in every group, where the store can tell", async (harness) => {
    const { store } = await opened(harness);
    if (store.named === undefined) return assert.equal(kind, pipe);
    assert.deepEqual(await store.named("a"), new Map());
    await store.put("dict.a", bytesOf("1"), 0);
    await store.put("other.a", bytesOf("2"), 0);
    await store.delete("gone.a", await store.put("gone.a", bytesOf("3"), 0));
    for (const key of ["dict.ab", "a.b", "dict.b"]) await store.put(key, bytesOf("no"), 0);
    const found = [...await store.named("a")].map(([key, value]) => `${key}=${textOf(value)}`);
    assert.deepEqual(found.sort(), ["dict.a=1", "other.a=2"]);
    await harness.goAway();
    await assert.rejects(store.named("a"), UnavailableError);
  });

  contract("views come in order, end at the last write, and know their group only", async (harness) => {
    const { store } = await opened(harness);
    const { watcher } = await opened(harness, ["dict", "other"]);
    const a = await store.put("dict.a", bytesOf("a1"), 0);
    await store.put("other.x", bytesOf("x"), 0);
    await store.put("dicta.b", bytesOf("not in dict"), 0);
    const b = await store.put("dict.b", bytesOf("b1"), 0);
    await store.put("dict.a", bytesOf("a2"), a);
    const gone = await store.delete("dict.b", b);
    const ofDict = () => watcher.views.filter((view) => view.group === "dict");
    const ofOther = () => watcher.views.filter((view) => view.group === "other");
    // Each group's views come at their own pace.
    await until("the last views", () => ofDict().at(-1)?.revision === gone && ofOther().at(-1)?.revision === a + 1);
    assert.deepEqual(ofDict().at(-1)!.values, { "dict.a": "a2", "dict.b": undefined });
    const revisions = ofDict().map((view) => view.revision);
    assert.deepEqual(revisions, revisions.toSorted((x, y) => x - y));
    const other = ofOther().at(-1)!;
    assert.deepEqual(other.values, { "other.x": "x" });
    assert.equal(other.revision, a + 1);
  });

  contract("a late watcher names the same revision, also when the last change was a delete", async (harness) => {
    const { store, watcher: early } = await opened(harness);
    await store.put("dict.a", bytesOf("a"), 0);
    const b = await store.put("dict.b", bytesOf("b"), 0);
    const marker = await store.delete("dict.b", b);
    await store.put("other.x", bytesOf("later, elsewhere"), 0);
    const { watcher: late } = await opened(harness);
    await until("the marker", () => early.last?.revision === marker && late.last?.revision === marker);
    assert.deepEqual(late.last, early.last);
  });

  contract("an outage is told once, fails all questions, and ends with a fresh view", async (harness) => {
    const { store, watcher } = await opened(harness);
    const a = await store.put("dict.a", bytesOf("a"), 0);
    await until("the view", () => watcher.last?.revision === a);
    const seen = watcher.views.length;
    await harness.goAway();
    await until("the outage", () => watcher.events.at(-1) === "away");
    await assert.rejects(store.read("dict.a"), UnavailableError);
    await assert.rejects(store.put("dict.a", bytesOf("b"), a), UnavailableError);
    await assert.rejects(store.delete("dict.a", a), UnavailableError);
    await harness.comeBack();
    await until("the return", () => watcher.isBack);
    assert.deepEqual(watcher.events, ["back", "away", "back"]);
    assert.ok(watcher.views.length > seen);
    assert.deepEqual(watcher.last!.values, { "dict.a": "a" });
    const b = await store.put("dict.a", bytesOf("b"), a);
    await until("a view after the return", () => watcher.last?.revision === b);
  });

  contract("a bucket that is lost and made again is another epoch, and its watch goes on", async (harness) => {
    const { store, watcher } = await opened(harness);
    const a = await store.put("dict.a", bytesOf("a"), 0);
    await until("the view", () => watcher.last?.revision === a);
    const { epoch } = watcher.last!;
    await harness.loseBucket();
    await until("the empty view", () => watcher.last!.epoch !== epoch && watcher.last!.revision === 0);
    assert.deepEqual(watcher.last!.values, {});
    await until("the store", () => watcher.isBack);
    const again = await store.put("dict.a", bytesOf("again"), 0);
    await until("the view of the new bucket", () => watcher.last?.revision === again);
  });

  contract(
    "a purge, which sends no event, is found out, and the revision is what the bucket still holds",
    async (harness) => {
      const { store, watcher } = await opened(harness);
      const a = await store.put("dict.a", bytesOf("a"), 0);
      const b = await store.put("dict.b", bytesOf("b"), 0);
      await until("both", () => watcher.last?.revision === b);
      await harness.purge("dict.b");
      await until("the purge", () => watcher.last?.revision === a);
      assert.deepEqual(watcher.last!.values, { "dict.a": "a" });
      const { watcher: late } = await opened(harness);
      assert.deepEqual(late.last, watcher.last);
      assert.deepEqual(await store.read("dict.b"), { value: undefined, revision: 0 });
    },
  );

  contract("a write whose answer is lost says so, and was applied", async (harness) => {
    const { store, loseNextAnswer } = await opened(harness);
    const { store: other } = await opened(harness);
    loseNextAnswer();
    await assert.rejects(store.put("dict.a", bytesOf("a"), 0), UnavailableError);
    assert.equal(textOf((await other.read("dict.a")).value), "a");
  });

  contract(
    "a group that is followed later is told of from its first view on, and one that is let go of no more",
    async (harness) => {
      const { store: other } = await opened(harness);
      const { store, watcher } = await opened(harness, []);
      assert.deepEqual([watcher.views, watcher.events], [[], ["back"]]);
      const a = await other.put("dict.a", bytesOf("a"), 0);
      store.follow("dict");
      store.follow("dict");
      await until("the first view", () => watcher.last?.revision === a);
      store.follow("empty");
      await until("a view of nothing", () => watcher.last?.group === "empty");
      assert.deepEqual([watcher.last!.revision, watcher.last!.values], [0, {}]);
      store.unfollow("dict");
      const told = watcher.views.length;
      const { watcher: witness } = await opened(harness);
      const b = await other.put("dict.b", bytesOf("b"), 0);
      await until("the witness", () => witness.last?.revision === b);
      const e = await other.put("empty.e", bytesOf("e"), 0);
      await until("the group that is still followed", () => watcher.last?.revision === e);
      assert.ok(watcher.views.slice(told).every(({ group }) => group === "empty"));
      store.follow("dict");
      await until("the view after a pause", () => watcher.last?.revision === b);
      assert.deepEqual(watcher.last!.values, { "dict.a": "a", "dict.b": "b" });
    },
  );

  contract(
    "a group that is followed and let go of while the store is away is told of when it is back",
    async (harness) => {
      const { store, watcher } = await opened(harness, ["gone"]);
      const a = await store.put("dict.a", bytesOf("a"), 0);
      await harness.goAway();
      await until("the outage", () => watcher.events.at(-1) === "away");
      store.follow("dict");
      store.unfollow("gone");
      const told = watcher.views.length;
      await harness.comeBack();
      await until("the view", () => watcher.last?.revision === a);
      await until("the return", () => watcher.isBack);
      assert.ok(watcher.views.slice(told).every(({ group }) => group === "dict"));
    },
  );

  contract("a hundred groups that come and go leave nothing behind", { timeoutMs: 90_000 }, async (harness) => {
    const { store, watcher } = await opened(harness, []);
    for (let i = 0; i < 100; i++) {
      store.follow(`g${i}`);
      // Every second one is let go of before it can be read.
      if (i % 2 === 0) await until("its view", () => watcher.last?.group === `g${i}`);
      store.unfollow(`g${i}`);
    }
    const told = watcher.views.length;
    assert.equal(new Set(watcher.views.map(({ group }) => group)).size, 50);
    for (const i of [0, 1, 98, 99]) await store.put(`g${i}.a`, bytesOf("a"), 0);
    store.follow("dict");
    await until("the only one", () => watcher.last?.group === "dict");
    assert.equal(watcher.views.length, told + 1);
  });

  contract("a closed store tells nothing more", async (harness) => {
    const { store, watcher } = await opened(harness);
    const { store: other } = await opened(harness);
    await store.close();
    const told = watcher.views.length;
    const { watcher: witness } = await opened(harness);
    const a = await other.put("dict.a", bytesOf("a"), 0);
    await until("the witness", () => witness.last?.revision === a);
    assert.equal(watcher.views.length, told);
    await assert.rejects(store.read("dict.a"), UnavailableError);
  });
}
