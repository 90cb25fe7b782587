/** The reader of the log of invalidations, on a stream that does as it is told. */
import assert from "node:assert/strict";
import { UNSIGNED } from "../../../lib/core/base/unsigned.ts";
import { BLIND, type Label } from "../../../lib/core/invalidation/label.ts";
import type { LogFollower } from "../../../lib/core/invalidation/log.ts";
import { LogReader } from "../../../lib/nats/log/log-reader.ts";
import { epochOf, type LogState, type LogStream } from "../../../lib/nats/log/log-stream.ts";
import { Seal } from "../../../lib/nats/seal.ts";
import type { StreamMessage } from "../../../lib/nats/stream/stream.ts";
import { Recorder } from "../../registry/store/log_harnesses.ts";
import { bytesOf } from "../../registry/support.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

/** A stream in memory whose answers the test holds back. */
class ToldStream {
  epoch = 7;
  messages: StreamMessage[] = [];
  lastSequence = 0;
  /** What the leader's clock says, and said when a message came. */
  serverMs: number | undefined = 0;
  time = "1970-01-01T00:00:00.000001Z";
  states = 0;
  reads = 0;
  rings: (() => void)[] = [];
  fault: Error | undefined;
  /** Set by a test that decides when the leader answers. */
  hold: Promise<void> | undefined;
  readonly stream = {
    ring: (_: string, onRing: () => void) => {
      this.rings.push(onRing);
      return () => this.rings = this.rings.filter((ring) => ring !== onRing);
    },
    after: async (sequence: number, _: string, __: number, take: (message: StreamMessage) => void) => {
      this.reads++;
      for (const message of this.messages) if (message.sequence > sequence) take(message);
    },
  };

  publish(subject = "p.invalidate.dict", data?: Uint8Array): void {
    const sequence = ++this.lastSequence;
    this.messages.push({
      subject,
      sequence,
      header: { get: () => "" },
      data: data ?? bytesOf(String(sequence)),
      time: this.time,
    });
    for (const ring of this.rings.splice(0)) ring();
  }

  mayRemove = true;

  async remove(): Promise<boolean> {
    if (!this.mayRemove) return false;
    this.epoch++;
    this.lastSequence = 0;
    this.messages = [];
    return true;
  }

  async state(): Promise<LogState> {
    this.states++;
    const { epoch, lastSequence, hold } = this;
    const firstSequence = this.messages[0]?.sequence ?? lastSequence + 1;
    await hold;
    if (this.fault !== undefined) throw this.fault;
    return { epoch, firstSequence, lastSequence, difference: undefined, serverMs: this.serverMs };
  }
}

function readerOf(from: Label = BLIND, seal = new Seal()) {
  const log = new ToldStream();
  const clock = new ManualClock();
  const told = new Recorder();
  told.label = from;
  let doubts = 0;
  const reader = new LogReader({
    log: log as unknown as LogStream,
    prefix: "p.invalidate.",
    seal,
    clock,
    told,
    onState: () => {},
    onDoubt: () => doubts++,
  });
  return { log, clock, told, reader, doubts: () => doubts };
}

test("the epoch is the time of making in whole microseconds", () => {
  const times: [created: unknown, micros: number][] = [
    ["1970-01-01T00:00:00.000001Z", 1],
    ["2026-01-31T12:00:00Z", 1_769_860_800_000_000],
    ["2026-01-31T12:00:00.1Z", 1_769_860_800_100_000],
    ["2026-01-31T12:00:00.123456789Z", 1_769_860_800_123_456],
    ["2026-01-31T12:00:00.123457Z", 1_769_860_800_123_457],
    ["2026-01-31T13:30:00.000456+01:30", 1_769_860_800_000_456],
  ];
  for (const [created, micros] of times) assert.equal(epochOf(created), micros, String(created));
  for (const wrong of [undefined, "", "now", "0001-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-31 12:00:00Z"]) {
    assert.throws(() => epochOf(wrong), /NATS does not say when/, String(wrong));
  }
});

test("a look delivers the messages after the last delivered one, from whatever source that came", async () => {
  const { log, clock, told, reader } = readerOf({ epoch: 7, sequence: 2 });
  for (let i = 0; i < 4; i++) log.publish();
  assert.equal(await reader.look(), true);
  assert.deepEqual(told.events, ["take 3 dict 3", "take 4 dict 4", "settled 4"]);
  assert.equal(told.askedAtMs, clock.nowMs());
  assert.equal(await reader.look(), false);
  assert.equal(log.reads, 1, "without news there is nothing to read");
});

test("the age of a message is by the leader's clock, whatever this node's clock says", async () => {
  const { log, clock, told, reader } = readerOf({ epoch: 7, sequence: 0 });
  const ages: (number | undefined)[] = [];
  const take = told.take.bind(told);
  told.take = (...[sequence, group, data, ageMs]: Parameters<LogFollower["take"]>) => {
    ages.push(ageMs);
    take(sequence, group, data);
  };
  log.time = "2026-01-31T12:00:00.5Z";
  log.publish();
  log.serverMs = Date.parse("2026-01-31T12:00:02Z");
  const { after } = log.stream;
  log.stream.after = async (...rest) => {
    clock.standStill(250);
    await after(...rest);
  };
  await reader.look();
  assert.deepEqual(ages, [1_750], "1.5 s until the leader was asked, and the time that the answer took");

  log.time = "2026-01-31T12:00:09Z";
  log.publish();
  await reader.look();
  assert.equal(ages[1], 250, "it came after the leader was asked");

  log.serverMs = undefined;
  log.publish();
  await reader.look();
  assert.equal(ages[2], undefined, "an old server does not tell its time");
});

test("a message under a subject that is not ours has a number too", async () => {
  const { log, told, reader } = readerOf({ epoch: 7, sequence: 0 });
  log.publish("elsewhere");
  log.publish();
  await reader.look();
  assert.deepEqual(told.events, ["take 2 dict 2", "settled 2"]);
});

test("a message that does not verify is delivered as unsigned, in its place: its number counts on every node", async () => {
  const seal = new Seal(["a secret of the fleet"]);
  const { log, told, reader } = readerOf({ epoch: 7, sequence: 0 }, seal);
  const all = bytesOf('{"all":true}');
  const takes: Uint8Array[] = [];
  const take = told.take.bind(told);
  told.take = (sequence, group, data) => (takes.push(data), take(sequence, group, data));
  log.publish();
  log.publish("p.invalidate.dict", seal.sign("p.invalidate.dict", all));
  log.publish("p.invalidate.other", seal.sign("p.invalidate.dict", all));
  log.publish("p.invalidate.dict", new Seal(["another secret"]).sign("p.invalidate.dict", all));
  await reader.look();
  assert.deepEqual(told.events, [
    "take 1 dict ",
    'take 2 dict {"all":true}',
    "take 3 other ",
    "take 4 dict ",
    "settled 4",
  ]);
  assert.deepEqual(takes.map((data) => data === UNSIGNED), [true, false, true, true]);
});

test("a gap anywhere in the undelivered messages counts, and deletes of older messages do not", async () => {
  const without = async (...gone: number[]) => {
    const { log, told, reader } = readerOf({ epoch: 7, sequence: 3 });
    for (let i = 0; i < 6; i++) log.publish();
    log.messages = log.messages.filter(({ sequence }) => !gone.includes(sequence));
    await reader.look();
    assert.equal(log.reads, gone.includes(4) ? 0 : 1, "nothing is read in vain");
    return told.events;
  };
  const all = ["take 4 dict 4", "take 5 dict 5", "take 6 dict 6", "settled 6"];
  assert.deepEqual(await without(), all);
  assert.deepEqual(await without(1, 2, 3), all, "expired");
  assert.deepEqual(await without(2), all, "deleted by hand");
  assert.deepEqual(await without(1, 2, 3, 4), ["restart 6", "settled 6"], "the first");
  assert.deepEqual(await without(5), ["take 4 dict 4", "restart 6", "settled 6"], "one between");
  assert.deepEqual(await without(6), ["take 4 dict 4", "take 5 dict 5", "restart 6", "settled 6"], "the last");
  assert.deepEqual(await without(1, 2, 3, 4, 5, 6), ["restart 6", "settled 6"], "all");
});

test("another life is found by its time, even with more messages than before", async () => {
  const { log, told, reader } = readerOf({ epoch: 6, sequence: 2 });
  for (let i = 0; i < 4; i++) log.publish();
  await reader.look();
  assert.deepEqual([told.events, told.label], [["restart 4", "settled 4"], { epoch: 7, sequence: 4 }]);
});

test("a stream that has lost its last messages counts as a new one, when it says so twice", async () => {
  const { log, told, reader } = readerOf({ epoch: 7, sequence: 5 });
  for (let i = 0; i < 3; i++) log.publish();
  await assert.rejects(reader.look(), /fewer messages than before/);
  log.lastSequence = 5;
  await reader.look();
  log.lastSequence = 3;
  await assert.rejects(reader.look(), /fewer messages than before/, "not twice in a row");
  log.mayRemove = false;
  await assert.rejects(reader.look(), /must be deleted/);
  await assert.rejects(reader.look(), /fewer messages than before/);
  log.mayRemove = true;
  await assert.rejects(reader.look(), /made again/);
  assert.deepEqual(told.events, ["settled 5"], "its numbers are not told for others");
  await reader.look();
  assert.deepEqual([told.events, told.label], [["settled 5", "restart 0", "settled 0"], { epoch: 8, sequence: 0 }]);
});

test("those who ask while a look is in flight share the next one", async () => {
  const { log, told, reader } = readerOf({ epoch: 7, sequence: 0 });
  const answer = Promise.withResolvers<void>();
  log.hold = answer.promise;
  const first = reader.look();
  await settle();
  log.publish();
  const later = Array.from({ length: 100 }, () => reader.look());
  await settle();
  assert.equal(log.states, 1);
  log.hold = undefined;
  answer.resolve();
  assert.equal(await first, false, "it had asked before");
  await Promise.all(later);
  assert.deepEqual([log.states, told.label.sequence], [2, 1]);
});

test("a look that fails does not prevent the next one", async () => {
  const { log, told, reader } = readerOf({ epoch: 7, sequence: 0 });
  log.fault = new Error("no leader");
  const asked = [reader.look(), reader.look()];
  for (const look of asked) await assert.rejects(look, /no leader/);
  log.fault = undefined;
  log.publish();
  await reader.look();
  assert.equal(told.label.sequence, 1);
});

test("a bell starts a look, and a burst is a look every 25 ms", async () => {
  const { log, clock, told, reader } = readerOf({ epoch: 7, sequence: 0 });
  await reader.look();
  log.publish();
  await settle();
  assert.equal(told.label.sequence, 1, "at once");
  await clock.advance(60_000);
  log.states = 0;
  for (let i = 0; i < 200; i++) {
    log.publish();
    await clock.advance(5);
  }
  await clock.advance(1_000);
  assert.equal(told.label.sequence, 201);
  assert.ok(log.states <= 1_000 / 25 + 3, `${log.states} looks`);
  assert.equal(clock.pending, 0);
});

test("catching up does not wait for the pace", async () => {
  const { log, told, reader } = readerOf({ epoch: 7, sequence: 0 });
  await reader.look();
  for (let i = 1; i <= 10; i++) {
    log.publish();
    await reader.look();
    assert.equal(told.label.sequence, i);
  }
});

test("a failed look after a bell is reported as a doubt", async () => {
  const { log, clock, reader, doubts } = readerOf({ epoch: 7, sequence: 0 });
  await reader.look();
  log.fault = new Error("no leader");
  log.publish();
  await clock.advance(1_000);
  assert.equal(doubts(), 1);
});

test("nothing is delivered after the close, not even by a look in flight", async () => {
  const { log, clock, told, reader, doubts } = readerOf({ epoch: 7, sequence: 0 });
  await reader.look();
  const answer = Promise.withResolvers<void>();
  log.hold = answer.promise;
  log.publish();
  const look = reader.look();
  await settle();
  reader.close();
  answer.resolve();
  await look;
  await assert.rejects(reader.look(), /closed/);
  assert.deepEqual([told.events, doubts(), clock.pending, log.rings.length], [["settled 0"], 0, 0, 0]);
});
