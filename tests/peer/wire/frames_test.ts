import assert from "node:assert/strict";
import fc from "fast-check";
import { BadKeyError } from "../../../lib/core/errors.ts";
import type { Value } from "../../../lib/core/value.ts";
import { readFrame, readGreeting } from "../../../lib/peer/wire/reader.ts";
import { FrameWriter } from "../../../lib/peer/wire/writer.ts";
import { MAX_BODY_BYTES, MAX_FRAME_BYTES, MAX_NAME_UNITS } from "../../../lib/core/base/limits.ts";
import {
  type AskVisitor,
  FailureCode,
  type GroupNews,
  MAX_DETAIL_BYTES,
  MAX_ENTRIES,
  MAX_PUSH_BYTES,
  MessageType,
  type PushedEntry,
  type ReplyVisitor,
} from "../../../lib/peer/wire/frames.ts";
import { test } from "../../support/test.ts";

type Message =
  | { type: "get" | "peek"; id: number; group: number; timeoutMs: number; key: string }
  | { type: "cancel" | "nothing" | "probe" | "probed"; id: number }
  | { type: "indirectProbe"; id: number; timeoutMs: number; name: string; incarnation: string }
  | { type: "indirectProbed"; id: number; isAlive: boolean }
  | { type: "push"; id: number; group: number; entries: readonly PushedEntry[] }
  | { type: "taken"; id: number; count: number }
  | { type: "value"; id: number; ageMs: number; ttlLeftMs: number; contentType: string; body: Uint8Array<ArrayBuffer> }
  | { type: "failure"; id: number; code: FailureCode; detail: string }
  | { type: "groupAdded"; group: GroupNews }
  | { type: "groupRemoved"; id: number };

const PLAIN = { noNullPrototype: true } as const;
const NOW_MS = 1_700_000_000_000;
const id = fc.integer({ min: 0, max: 0xffff_ffff });
const wellFormed = (max: number) => fc.string({ unit: "grapheme", maxLength: max });
const key = fc.oneof(wellFormed(300), fc.string({ unit: "binary", maxLength: 300 })).filter((text) => {
  const bytes = new TextEncoder().encode(text).length;
  return text.isWellFormed() && bytes > 0 && bytes <= 1024;
});
const body = fc.uint8Array({ maxLength: 3000 }).map((bytes) => new Uint8Array(bytes));
const group = fc.integer({ min: 0, max: 0xffff });
const name = wellFormed(60).filter((text) => text.length > 0 && text.length <= MAX_NAME_UNITS);
const valueFields = {
  ageMs: fc.nat(1e9),
  ttlLeftMs: fc.oneof(fc.nat(1e9), fc.constant(Infinity)),
  contentType: wellFormed(60),
  body,
};
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({
    type: fc.constantFrom("get" as const, "peek" as const),
    id,
    group,
    timeoutMs: id,
    key,
  }, PLAIN),
  fc.record({ type: fc.constantFrom("cancel", "nothing", "probe", "probed"), id }, PLAIN),
  fc.record({ type: fc.constant("value" as const), id, ...valueFields }, PLAIN),
  fc.record({ type: fc.constant("indirectProbe" as const), id, timeoutMs: id, name, incarnation: name }, PLAIN),
  fc.record({ type: fc.constant("indirectProbed" as const), id, isAlive: fc.boolean() }, PLAIN),
  fc.record({
    type: fc.constant("push" as const),
    id,
    group,
    entries: fc.array(fc.record({ key, ...valueFields }, PLAIN), { minLength: 1, maxLength: 6 }),
  }, PLAIN),
  fc.record({ type: fc.constant("taken" as const), id, count: id }, PLAIN),
  fc.record({
    type: fc.constant("failure" as const),
    id,
    code: fc.constantFrom(...Object.values(FailureCode)),
    detail: wellFormed(60),
  }, PLAIN),
  fc.record({
    type: fc.constant("groupAdded" as const),
    group: fc.record({ id: group, name, revision: fc.maxSafeNat(), isEmpty: fc.boolean() }, PLAIN),
  }, PLAIN),
  fc.record({ type: fc.constant("groupRemoved" as const), id: group }, PLAIN),
);

function valueOf({ contentType, body, ageMs, ttlLeftMs }: Omit<PushedEntry, "key">): Value {
  return { contentType, body, bornAtMs: NOW_MS - ageMs, expiresAtMs: NOW_MS + ttlLeftMs };
}

function write(writer: FrameWriter, messages: Message[]): void {
  for (const one of messages) writeOne(writer, one);
}

function writeOne(writer: FrameWriter, one: Message): void {
  switch (one.type) {
    case "get":
    case "peek":
      return writer.ask(MessageType[one.type], one.id, one.group, one.timeoutMs, one.key);
    case "failure":
      return writer.failure(one.id, one.code, one.detail);
    case "value":
      return writer.value(one.id, valueOf(one), NOW_MS);
    case "indirectProbe":
      return writer.indirectProbe(one.id, one.timeoutMs, one.name, one.incarnation);
    case "indirectProbed":
      return writer.indirectProbed(one.id, one.isAlive);
    case "push":
      return writer.push(one.id, one.group, one.entries.map((entry) => ({ ...entry, value: valueOf(entry) })), NOW_MS);
    case "taken":
      return writer.taken(one.id, one.count);
    case "groupAdded":
      return writer.groupAdded(one.group);
    case "groupRemoved":
      return writer.groupRemoved(one.id);
    default:
      return writer.bare(MessageType[one.type], one.id);
  }
}

/** Remembers the messages of a frame. */
class Recorder implements AskVisitor, ReplyVisitor {
  readonly read: Message[] = [];
  onGet(id: number, group: number, timeoutMs: number, key: string) {
    this.read.push({ type: "get", id, group, timeoutMs, key });
  }
  onCancel(id: number) {
    this.read.push({ type: "cancel", id });
  }
  onValue(id: number, ageMs: number, ttlLeftMs: number, contentType: string, body: Uint8Array<ArrayBuffer>) {
    this.read.push({ type: "value", id, ageMs, ttlLeftMs, contentType, body });
  }
  onFailure(id: number, code: FailureCode, detail: string) {
    this.read.push({ type: "failure", id, code, detail });
  }
  onPeek(id: number, group: number, timeoutMs: number, key: string) {
    this.read.push({ type: "peek", id, group, timeoutMs, key });
  }
  onNothing(id: number) {
    this.read.push({ type: "nothing", id });
  }
  onProbe(id: number) {
    this.read.push({ type: "probe", id });
  }
  onProbed(id: number) {
    this.read.push({ type: "probed", id });
  }
  onIndirectProbe(id: number, timeoutMs: number, name: string, incarnation: string) {
    this.read.push({ type: "indirectProbe", id, timeoutMs, name, incarnation });
  }
  onIndirectProbed(id: number, isAlive: boolean) {
    this.read.push({ type: "indirectProbed", id, isAlive });
  }
  onPush(id: number, group: number, entries: readonly PushedEntry[]) {
    this.read.push({ type: "push", id, group, entries });
  }
  onTaken(id: number, count: number) {
    this.read.push({ type: "taken", id, count });
  }
  onGroupAdded(group: GroupNews) {
    this.read.push({ type: "groupAdded", group });
  }
  onGroupRemoved(id: number) {
    this.read.push({ type: "groupRemoved", id });
  }
}

/** Reads a frame with one visitor for both directions. @returns why it is malformed */
function readAll(bytes: Uint8Array<ArrayBuffer>, recorder = new Recorder()): string | undefined {
  return readFrame(bytes, recorder, recorder);
}

test("messages that are written in one frame are read from it unchanged, also when the writer's memory is used again", () => {
  const writer = new FrameWriter();
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 30 }), (messages) => {
      write(writer, messages);
      const recorder = new Recorder();
      assert.equal(readAll(writer.take().slice(), recorder), undefined);
      assert.deepEqual(recorder.read, messages);
    }),
    { numRuns: 300 },
  );
});

test("the body of a value is a part of its frame, without a copy", () => {
  const writer = new FrameWriter();
  write(writer, [
    { type: "value", id: 1, ageMs: 0, ttlLeftMs: 5, contentType: "a/b", body: new Uint8Array(10).fill(7) },
    { type: "value", id: 2, ageMs: 0, ttlLeftMs: 5, contentType: "a/b", body: new Uint8Array(10).fill(8) },
  ]);
  const recorder = new Recorder();
  const frame = writer.take().slice();
  readAll(frame, recorder);
  const value = recorder.read[1];
  assert.ok(value?.type === "value");
  assert.equal(value.body.buffer, frame.buffer);
  assert.deepEqual(value.body, new Uint8Array(10).fill(8));
});

test("random bytes and damaged frames are read or refused, and never throw", () => {
  const random = fc.uint8Array({ maxLength: 200 });
  const damaged = fc.tuple(
    fc.array(message, { minLength: 1, maxLength: 4 }),
    fc.array(fc.tuple(fc.nat(5000), fc.nat(255)), { minLength: 1, maxLength: 8 }),
    fc.nat(200),
  ).map(([messages, changes, cut]) => {
    const writer = new FrameWriter();
    write(writer, messages);
    const bytes = writer.take().slice();
    for (const [at, value] of changes) bytes[at % bytes.length] = value;
    return bytes.subarray(0, Math.max(1, bytes.length - cut));
  });
  fc.assert(
    fc.property(fc.oneof(random, damaged), (bytes) => {
      const reason = readAll(new Uint8Array(bytes));
      assert.ok(reason === undefined || reason.startsWith("malformed"), reason);
      assert.ok(["string", "object"].includes(typeof readGreeting(new Uint8Array(bytes))));
    }),
    { numRuns: 2000 },
  );
});

test("each breach of the layout has its reason", () => {
  const frame = (type: number, payload: number[], length = payload.length) => {
    const bytes = new Uint8Array(9 + payload.length);
    bytes[0] = type;
    new DataView(bytes.buffer).setUint32(5, length, true);
    bytes.set(payload, 9);
    return bytes;
  };
  const reason = (bytes: Uint8Array<ArrayBuffer>) => readAll(bytes) ?? "read";
  assert.match(reason(new Uint8Array(0)), /empty/);
  assert.match(reason(new Uint8Array(5)), /half a header/);
  assert.match(reason(new Uint8Array(MAX_FRAME_BYTES + 1)), /over/);
  assert.match(reason(frame(99, [])), /unknown message type 99/);
  assert.match(reason(frame(MessageType.cancel, [], 1)), /longer than its frame/);
  assert.match(reason(frame(MessageType.cancel, [1])), /malformed cancel/);
  assert.match(reason(frame(MessageType.get, [0, 0, 0, 0, 0, 0])), /malformed get/);
  assert.match(reason(frame(MessageType.get, [0, 0, 0, 0, 0, 0, 0xff])), /not UTF-8/);
  assert.match(reason(frame(MessageType.get, [0, 0, 0, 0, 0, 0, ...new Array(1025).fill(97)])), /malformed get/);
  assert.match(reason(frame(MessageType.value, new Array(17).fill(0))), /malformed value/);
  assert.match(reason(frame(MessageType.value, [...new Array(16).fill(0), 9, 0])), /malformed value/);
  assert.match(reason(frame(MessageType.value, [...new Array(16).fill(0xff), 0, 0])), /malformed value/);
  assert.match(reason(frame(MessageType.failure, [0])), /malformed failure/);
  assert.match(reason(frame(MessageType.failure, [8])), /malformed failure/);
  assert.match(reason(frame(MessageType.failure, [])), /malformed failure/);
  for (const type of [MessageType.nothing, MessageType.probe, MessageType.probed]) {
    assert.equal(reason(frame(type, [])), "read");
    assert.match(reason(frame(type, [1])), /malformed (nothing|probe|probed)/);
  }
  assert.match(reason(frame(MessageType.peek, [0, 0, 0, 0, 0, 0])), /malformed peek/);
  assert.match(reason(frame(MessageType.peek, [0, 0, 0, 0, 0, 0, 0xff])), /malformed peek: the key is not UTF-8/);
  assert.match(reason(frame(MessageType.indirectProbed, [])), /malformed indirectProbed/);
  assert.match(reason(frame(MessageType.indirectProbed, [2])), /malformed indirectProbed/);
  assert.match(reason(frame(MessageType.taken, [1, 0, 0])), /malformed taken/);
  assert.match(reason(frame(MessageType.indirectProbe, [0, 0, 0, 0, 1])), /malformed indirectProbe/);
  assert.match(reason(frame(MessageType.indirectProbe, [0, 0, 0, 0, 9, 0, 97])), /malformed indirectProbe/);
  assert.match(reason(frame(MessageType.indirectProbe, [0, 0, 0, 0, 1, 0, 97])), /no incarnation/);
  assert.match(reason(frame(MessageType.indirectProbe, [0, 0, 0, 0, 0, 0, 97])), /no name/);
  const long = new Array(MAX_NAME_UNITS + 1).fill(97);
  assert.match(reason(frame(MessageType.indirectProbe, [0, 0, 0, 0, 1, 0, 97, ...long])), /malformed indirectProbe/);
  assert.match(reason(frame(MessageType.push, [0, 0, 1])), /malformed push/);
  const added = (change: Partial<{ empty: number; revision: number; name: number[] }>) => {
    const { empty, revision, name } = { empty: 1, revision: 7, name: [97], ...change };
    const bytes = frame(MessageType.groupAdded, [1, 0, empty, ...new Array(8).fill(0), ...name]);
    new DataView(bytes.buffer).setFloat64(12, revision, true);
    return bytes;
  };
  assert.equal(reason(added({})), "read");
  assert.match(reason(added({ empty: 2 })), /malformed groupAdded/);
  for (const revision of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    assert.match(reason(added({ revision })), /malformed groupAdded/, `${revision}`);
  }
  for (const name of [[], [0xff], long]) assert.match(reason(added({ name })), /malformed groupAdded: no name/);
  assert.match(reason(frame(MessageType.groupAdded, new Array(10).fill(0))), /malformed groupAdded/);
  assert.match(reason(added({ name: new Array(3 * MAX_NAME_UNITS + 1).fill(97) })), /malformed groupAdded/);
  assert.match(reason(frame(MessageType.groupRemoved, [1])), /malformed groupRemoved/);
  for (const type of [MessageType.hello, MessageType.welcome, MessageType.refuse]) {
    assert.match(reason(frame(type, [123, 125])), /malformed frame: a second greeting/);
  }
});

test("a first frame holds one greeting and nothing else", () => {
  const writer = new FrameWriter();
  for (const type of [MessageType.hello, MessageType.welcome, MessageType.refuse]) {
    writer.greeting(type, { a: ["ü", 1] });
    assert.deepEqual(readGreeting(writer.take().slice()), { type, json: { a: ["ü", 1] } });
  }
  const bytes = (...rest: number[]) => new Uint8Array([MessageType.hello, 0, 0, 0, 0, ...rest]);
  assert.equal(readGreeting(new Uint8Array(0)), "no greeting in the first frame");
  assert.equal(readGreeting(new Uint8Array([MessageType.get, 0, 0])), "no greeting in the first frame");
  assert.equal(readGreeting(bytes(1, 0, 0)), "malformed greeting");
  assert.equal(readGreeting(bytes(1, 0, 0, 0, 123)), "malformed greeting: no JSON");
  assert.equal(readGreeting(bytes(1, 0, 0, 0, 0xff)), "malformed greeting: no JSON");
  assert.equal(readGreeting(bytes(3, 0, 0, 0, 123, 125)), "malformed greeting", "a length of its own");
  writer.greeting(MessageType.hello, {});
  writer.bare(MessageType.probe, 1);
  assert.equal(readGreeting(writer.take().slice()), "malformed greeting", "a message behind it");
  const long = new Uint8Array(9 + 16 * 1024 + 1).fill(32);
  long[0] = MessageType.hello;
  new DataView(long.buffer).setUint32(5, long.length - 9, true);
  assert.equal(readGreeting(long), "malformed greeting");
});

test("a push that breaks the layout is refused whole, with its reason", () => {
  const good = {
    count: 1,
    ageMs: 0,
    ttlLeftMs: Infinity,
    keyBytes: 1,
    typeBytes: 1,
    bodyBytes: 2,
    rest: [97, 98, 1, 2],
  };
  const reason = (change: Partial<typeof good>, cut = 0) => {
    const { count, ageMs, ttlLeftMs, keyBytes, typeBytes, bodyBytes, rest } = { ...good, ...change };
    const bytes = new Uint8Array(9 + 4 + 24 + rest.length - cut);
    const view = new DataView(bytes.buffer);
    bytes[0] = MessageType.push;
    view.setUint32(5, bytes.length - 9, true);
    view.setUint16(11, count, true);
    if (cut === 0) {
      view.setFloat64(13, ageMs, true);
      view.setFloat64(21, ttlLeftMs, true);
      view.setUint16(29, keyBytes, true);
      view.setUint16(31, typeBytes, true);
      view.setUint32(33, bodyBytes, true);
      bytes.set(rest, 37);
    }
    const recorder = new Recorder();
    const fault = readAll(bytes, recorder);
    assert.equal(recorder.read.length, fault === undefined ? 1 : 0);
    return fault ?? "read";
  };
  assert.equal(reason({}), "read");
  assert.match(reason({ count: 0 }), /malformed push: not 1 to 4096/);
  assert.match(reason({ count: MAX_ENTRIES + 1 }), /malformed push: not 1 to 4096/);
  assert.match(reason({ count: MAX_ENTRIES }), /fewer entries/);
  assert.match(reason({ count: 2 }), /fewer entries/);
  assert.match(reason({}, 10), /fewer entries/);
  assert.match(reason({ ageMs: -1 }), /times/);
  assert.match(reason({ ageMs: Infinity }), /times/);
  assert.match(reason({ ttlLeftMs: NaN }), /times/);
  assert.match(reason({ keyBytes: 0 }), /lengths/);
  assert.match(reason({ keyBytes: 1025 }), /lengths/);
  assert.match(reason({ typeBytes: 1025 }), /lengths/);
  assert.match(reason({ bodyBytes: 0xffff_ffff }), /lengths/);
  assert.match(reason({ bodyBytes: MAX_BODY_BYTES }), /longer than its message/);
  assert.match(reason({ bodyBytes: 1 }), /more bytes than entries/);
  assert.match(reason({ rest: [0xff, 98, 1, 2] }), /not UTF-8/);
  assert.match(reason({ rest: [97, 0xff, 1, 2] }), /not UTF-8/);
});

test("a push of the largest value fits into a frame behind a full batch, and no larger one is written", () => {
  const writer = new FrameWriter();
  const entry = (bytes: number, key = "k".repeat(1024)) => ({
    key,
    value: { body: new Uint8Array(bytes), contentType: "c".repeat(1024), bornAtMs: 0, expiresAtMs: Infinity },
  });
  while (writer.length < 256 * 1024) writer.bare(MessageType.probe, 1);
  writer.push(2, 0, [entry(MAX_BODY_BYTES)], 1);
  const recorder = new Recorder();
  assert.equal(readAll(writer.take().slice(), recorder), undefined);
  const push = recorder.read.at(-1);
  assert.ok(push?.type === "push" && push.entries[0]!.body.length === MAX_BODY_BYTES);
  assert.equal(push.entries[0]!.body.buffer.byteLength, MAX_BODY_BYTES);
  writer.bare(MessageType.probe, 3);
  assert.throws(() => writer.push(4, 0, [], 1), RangeError);
  assert.throws(() => writer.push(4, 0, new Array(MAX_ENTRIES + 1).fill(entry(0)), 1), RangeError);
  assert.throws(() => writer.push(4, 0, [entry(MAX_BODY_BYTES + 1)], 1), RangeError);
  assert.throws(() => writer.push(4, 0, [entry(MAX_PUSH_BYTES / 2), entry(MAX_PUSH_BYTES / 2)], 1), RangeError);
  assert.throws(() => writer.push(4, 0, [entry(1), entry(1, "")], 1), BadKeyError);
  assert.throws(() => writer.indirectProbe(4, 1, "", "01"), RangeError);
  assert.throws(() => writer.indirectProbe(4, 1, "a", "x".repeat(MAX_NAME_UNITS + 1)), RangeError);
  const after = new Recorder();
  assert.equal(readAll(writer.take().slice(), after), undefined);
  assert.deepEqual(after.read, [{ type: "probe", id: 3 }]);
});

test("a message that does not fit is refused before it is written, and the frame stays whole", () => {
  const writer = new FrameWriter();
  writer.bare(MessageType.cancel, 1);
  assert.throws(() => writer.ask(MessageType.get, 2, 0, 1, ""), BadKeyError);
  assert.throws(() => writer.ask(MessageType.get, 2, 0, 1, "x".repeat(1025)), BadKeyError);
  assert.throws(() => writer.ask(MessageType.get, 2, 0, 1, "ü".repeat(513)), BadKeyError);
  assert.throws(() => writer.ask(MessageType.get, 2, 0, 1, "a\ud800b"), BadKeyError);
  const times = { bornAtMs: 0, expiresAtMs: Infinity };
  const huge = { body: new Uint8Array(MAX_BODY_BYTES + 1), contentType: "a/b", ...times };
  assert.throws(() => writer.value(2, huge, 1), RangeError);
  const timeless = { body: new Uint8Array(1), contentType: "a/b", bornAtMs: -Infinity, expiresAtMs: 0 };
  assert.throws(() => writer.value(2, timeless, 1), RangeError);
  assert.throws(() => writer.greeting(MessageType.hello, "x".repeat(16 * 1024)), RangeError);
  writer.failure(3, FailureCode.notFound, "é".repeat(2000));
  const recorder = new Recorder();
  assert.equal(readAll(writer.take().slice(), recorder), undefined);
  assert.deepEqual(recorder.read, [
    { type: "cancel", id: 1 },
    { type: "failure", id: 3, code: FailureCode.notFound, detail: "é".repeat(MAX_DETAIL_BYTES / 2) },
  ]);
});
