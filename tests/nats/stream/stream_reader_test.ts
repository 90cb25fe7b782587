/** The reader of streams: on a real server, and on a stream that does as it is told. */
import assert from "node:assert/strict";
import { connect } from "nats";
import type { StreamInfo } from "nats";
import { Seal } from "../../../lib/nats/seal.ts";
import { NatsBucket } from "../../../lib/nats/buckets/bucket.ts";
import type { NatsStream, StreamMessage } from "../../../lib/nats/stream/stream.ts";
import { type Follower, StreamReader } from "../../../lib/nats/stream/stream-reader.ts";
import { systemClock } from "../../../lib/runtime/process.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { startNats } from "../../support/nats-server.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** Remembers each message that it was given, by subject, and counts. */
class Recorder implements Follower {
  readonly held = new Map<string, number>();
  readonly texts = new Map<string, string>();
  last = 0;
  begins = 0;
  settles = 0;
  begin(): void {
    this.begins++;
    this.held.clear();
    this.last = 0;
  }
  take({ subject, sequence, header, data }: StreamMessage): void {
    assert.ok(sequence > this.last, `${sequence} after ${this.last}`);
    this.last = sequence;
    this.held.set(subject, sequence);
    this.texts.set(subject, header.get("KV-Operation") === "DEL" ? "deleted" : new TextDecoder().decode(data));
  }
  settle(): void {
    this.settles++;
  }
  misses(lastSequence: number, subjects: ReadonlySet<string>): boolean {
    return [...this.held].some(([subject, sequence]) => sequence <= lastSequence && !subjects.has(subject));
  }
}

async function opened(defer: Defer, settings?: { allow_direct: boolean }) {
  const { url } = await startNats(defer);
  const connection = await connect({ servers: url });
  defer(() => connection.close());
  if (settings !== undefined) await connection.jetstream().views.kv("peers", { history: 1, ...settings });
  const clock = systemClock;
  const bucket = await NatsBucket.open(connection, {
    bucket: "peers",
    replicas: 1,
    requestTimeoutMs: 2_000,
    clock,
    seal: new Seal(),
  });
  const readerOf = () => {
    const reader = new StreamReader({ stream: bucket.stream, epoch: bucket.epoch, clock, onDoubt: () => {} });
    defer(() => reader.close());
    return reader;
  };
  return { connection, bucket, readerOf };
}

for (const allow_direct of [true, false]) {
  test(`a stream that ${allow_direct ? "gives" : "refuses"} batches is read whole, and then change by change`, async (defer) => {
    const { bucket, readerOf } = await opened(defer, { allow_direct });
    const count = 1_100;
    for (let i = 0; i < count; i += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, j) => bucket.put(`dict.n${i + j}`, bytes("here"), 0)));
    }
    await bucket.put("other.x", bytes("not asked for"), 0);
    await bucket.delete("dict.n7", (await bucket.read("dict.n7")).revision);
    const reader = readerOf();
    const recorder = new Recorder();
    reader.follow("$KV.peers.dict.>", recorder);
    await reader.whole();
    assert.deepEqual([recorder.held.size, recorder.last, recorder.begins], [count, count + 2, 1]);
    assert.equal(recorder.texts.get("$KV.peers.dict.n7"), "deleted");
    assert.equal(recorder.settles, 1, "shown when it was whole");

    await Promise.all(["a", "b", "c"].map((key) => bucket.put(`dict.${key}`, bytes(key), 0)));
    await until(() => recorder.last === count + 5, 5_000, () => `at ${recorder.last}`);
    assert.deepEqual(["a", "b", "c"].map((key) => recorder.texts.get(`$KV.peers.dict.${key}`)), ["a", "b", "c"]);
    assert.equal(recorder.begins, 1, "nothing was read twice");
  });
}

test("the last of several quick changes is delivered, round after round", { timeoutMs: 60_000 }, async (defer) => {
  const { bucket, readerOf } = await opened(defer);
  const reader = readerOf();
  const recorder = new Recorder();
  reader.follow("$KV.peers.dict.>", recorder);
  await reader.whole();
  let last = 0;
  for (let round = 0; round < 300; round++) {
    const key = `dict.${round % 3}`;
    const { revision } = await bucket.read(key);
    const serving = last + 1;
    // All at once, each on top of the one before: a node that joins, drains and leaves.
    await Promise.all([
      bucket.put(key, bytes("serving"), revision),
      bucket.put(key, bytes("draining"), serving),
      bucket.delete(key, serving + 1),
    ]);
    last += 3;
    await until(() => recorder.last === last, 3_000, () => `round ${round}: told of ${recorder.last}, not of ${last}`);
  }
  assert.equal(recorder.begins, 1);
});

test("a subject may be followed and dropped while the reader runs", async (defer) => {
  const { bucket, readerOf } = await opened(defer);
  await bucket.put("dict.a", bytes("a"), 0);
  await bucket.put("other.b", bytes("b"), 0);
  const reader = readerOf();
  const [dict, other, again] = [new Recorder(), new Recorder(), new Recorder()];
  reader.follow("$KV.peers.dict.>", dict);
  assert.throws(() => reader.follow("$KV.peers.dict.>", other), TypeError);
  await reader.whole();
  reader.follow("$KV.peers.other.>", other);
  await reader.whole();
  assert.deepEqual([dict.last, other.last], [1, 2]);
  reader.unfollow("$KV.peers.dict.>");
  reader.follow("$KV.peers.dict.>", again);
  await bucket.put("dict.c", bytes("c"), 0);
  await until(() => again.last === 3, 3_000, () => `at ${again.last}`);
  assert.equal(dict.last, 1, "nothing more is given");
});

/** A stream in memory whose answers the test holds back. */
class ToldStream {
  created = "then";
  messages: { subject: string; sequence: number }[] = [];
  lastSequence = 0;
  infos = 0;
  lasts = 0;
  rings: (() => void)[] = [];
  fault: Error | undefined;
  /** Set by a test that decides when the leader answers. */
  hold: Promise<void> | undefined;

  write(subject: string): void {
    this.messages = this.messages.filter((other) => other.subject !== subject);
    this.messages.push({ subject, sequence: ++this.lastSequence });
  }
  publish(): void {
    for (const ring of this.rings.splice(0)) ring();
  }
  async info(subject?: string): Promise<StreamInfo> {
    this.infos++;
    if (this.fault !== undefined) throw this.fault;
    const { created, messages, lastSequence: last_seq } = this;
    const subjects = subject && Object.fromEntries(messages.map((message) => [message.subject, 1]));
    return { created, state: { first_seq: 1, last_seq, messages: messages.length, subjects } } as unknown as StreamInfo;
  }
  async last(): Promise<StreamMessage | undefined> {
    this.lasts++;
    if (this.fault !== undefined) throw this.fault;
    const last = this.messages.at(-1);
    await this.hold;
    return last && messageOf(last);
  }
  async after(sequence: number, _: string, __: number, take: (message: StreamMessage) => void): Promise<void> {
    for (const message of this.messages) if (message.sequence > sequence) take(messageOf(message));
  }
  ring(_: string, onRing: () => void): () => void {
    this.rings.push(onRing);
    return () => this.rings = this.rings.filter((ring) => ring !== onRing);
  }
}

function messageOf({ subject, sequence }: { subject: string; sequence: number }): StreamMessage {
  return { subject, sequence, header: { get: () => "" }, data: bytes("x"), time: "" };
}

async function told(prepare: (stream: ToldStream) => void = () => {}) {
  const stream = new ToldStream();
  prepare(stream);
  const clock = new ManualClock();
  let doubts = 0;
  const reader = new StreamReader({
    stream: stream as unknown as NatsStream,
    clock,
    epoch: stream.created,
    onDoubt: () => doubts++,
  });
  const recorder = new Recorder();
  reader.follow("dict.>", recorder);
  await settle(50);
  return { stream, clock, reader, recorder, doubts: () => doubts };
}

test("a bell whose message is not stored yet is followed by a few looks, and no more", async () => {
  const { stream, clock, recorder } = await told();
  stream.lasts = 0;
  stream.publish();
  await settle(50);
  assert.equal(stream.lasts, 1, "at once");
  await clock.advance(10);
  stream.write("dict.a");
  await clock.advance(49);
  assert.equal(recorder.last, 0);
  await clock.advance(1);
  assert.deepEqual([recorder.last, stream.lasts], [1, 3]);
  await clock.advance(60_000);
  assert.equal(stream.lasts, 4, "one look more after news");
  stream.publish();
  await clock.advance(60_000);
  assert.equal(stream.lasts, 8, "four for a write that was refused");
  assert.equal(clock.pending, 0);
});

test("a hundred bells in a row cause one look every 25 ms", async () => {
  const { stream, clock, recorder } = await told();
  stream.lasts = 0;
  for (let i = 0; i < 100; i++) {
    stream.write(`dict.${i}`);
    stream.publish();
    await clock.advance(1);
  }
  await clock.advance(1_000);
  assert.equal(recorder.last, 100);
  assert.ok(stream.lasts <= 6, `${stream.lasts} looks`);
});

test("a bell that rings while a look is in flight is not lost", async () => {
  const { stream, clock, recorder } = await told();
  const answer = Promise.withResolvers<void>();
  stream.write("dict.a");
  stream.hold = answer.promise;
  stream.publish();
  await settle(50);
  stream.write("dict.b");
  stream.publish();
  stream.hold = undefined;
  answer.resolve();
  await clock.advance(25);
  assert.equal(recorder.last, 2);
});

test("a check without changes is one small question, and a check finds changes without a bell", async () => {
  const { stream, clock, reader, recorder } = await told((stream) => ["a", "b"].forEach((key) => stream.write(key)));
  await reader.check();
  stream.infos = stream.lasts = 0;
  await reader.check();
  assert.deepEqual([stream.infos, stream.lasts], [1, 0]);

  stream.write("c");
  await reader.check();
  assert.deepEqual([recorder.last, recorder.begins], [3, 1], "a message");

  stream.messages.shift();
  await reader.check();
  assert.deepEqual([recorder.begins, [...recorder.held.keys()]], [2, ["b", "c"]], "a purge");

  stream.messages = [{ subject: "d", sequence: 1 }];
  stream.lastSequence = 1;
  await reader.check();
  assert.deepEqual([recorder.begins, [...recorder.held.keys()]], [3, ["d"]], "a stream that lost its last messages");

  stream.created = "now";
  await reader.check();
  assert.equal(recorder.begins, 4, "a stream that was made anew");
  reader.close();
  assert.deepEqual([clock.pending, stream.rings.length], [0, 0]);
});

test("a bell during a check is no reason to read everything again", async () => {
  const { stream, clock, reader, recorder } = await told((stream) => stream.write("a"));
  stream.write("b");
  const { info } = stream;
  stream.info = async (subject) => {
    const answer = await info.call(stream, subject);
    if (subject === undefined) return answer;
    // Between the stream's answer and its arrival.
    stream.write("c");
    stream.publish();
    await clock.advance(25);
    assert.equal(recorder.last, 3);
    return answer;
  };
  await reader.check();
  assert.equal(recorder.begins, 1);
});

test("a failed read is reported as a doubt, and the next check reads", async () => {
  const { stream, clock, reader, recorder, doubts } = await told((stream) => stream.fault = new Error("no leader"));
  await assert.rejects(reader.whole(), /no leader/);
  assert.equal(doubts(), 1);
  await assert.rejects(reader.check(), /no leader/);
  stream.fault = undefined;
  stream.write("a");
  await reader.check();
  assert.equal(recorder.last, 1);
  stream.fault = new Error("no leader");
  stream.publish();
  await clock.advance(1_000);
  assert.equal(doubts(), 2);
  reader.close();
});
