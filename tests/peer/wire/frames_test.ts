import assert from "node:assert/strict";
import fc from "fast-check";
import { Trace } from "../../../lib/core/base/trace.ts";
import { BadKeyError, PassThroughError } from "../../../lib/core/errors.ts";
import { MAX_NAMES, MAX_TAG_BYTES } from "../../../lib/core/invalidation/message.ts";
import { BLIND, type Label } from "../../../lib/core/invalidation/label.ts";
import { NO_TAGS, type Tags } from "../../../lib/core/invalidation/tags.ts";
import type { Entry, RequestHead } from "../../../lib/core/ports.ts";
import { type About, NOTHING_HERE, PLAIN, type Value } from "../../../lib/core/value.ts";
import { MAX_ABOUT_BYTES, MAX_FIELDS } from "../../../lib/peer/wire/about.ts";
import { readFrame, readGreeting } from "../../../lib/peer/wire/reader.ts";
import { canTravel, FrameWriter } from "../../../lib/peer/wire/writer.ts";
import { MAX_BODY_BYTES, MAX_FRAME_BYTES, MAX_NAME_UNITS } from "../../../lib/core/base/limits.ts";
import {
  type AskVisitor,
  ENTRY_HEAD_BYTES,
  FailureCode,
  FIRST_OPTIONAL_TYPE,
  GET_FOR_HEAD_BYTES,
  GET_HEAD_BYTES,
  type GroupNews,
  LABEL_BYTES,
  LENGTHS_AT_BYTES,
  MAX_CACHE_KEY_BYTES,
  MAX_DETAIL_BYTES,
  MAX_ENTRIES,
  MAX_PUSH_BYTES,
  MAX_SPAN_MS,
  MessageType,
  type PartedType,
  PEEK_HEAD_BYTES,
  type PieceVisitor,
  PUSH_HEAD_BYTES,
  type ReplyVisitor,
  TIMES_BYTES,
  VALUE_HEAD_BYTES,
} from "../../../lib/peer/wire/frames.ts";
import { test } from "../../support/test.ts";
import { valueOf } from "../support.ts";

type Message =
  | { type: "get"; id: number; group: number; timeoutMs: number; after: Label; key: string }
  | { type: "getFor"; id: number; group: number; timeoutMs: number; after: Label; key: string; request: RequestHead }
  | { type: "peek"; id: number; group: number; timeoutMs: number; key: string }
  | { type: "cancel" | "nothing" | "probe" | "probed" | "pieceTaken" | "dropped"; id: number }
  | { type: "parted"; id: number; parted: PartedType; partedId: number; bytes: number }
  | { type: "piece"; id: number; piece: Uint8Array<ArrayBuffer> }
  | { type: "catchUp"; id: number; timeoutMs: number; label: Label }
  | { type: "caughtUp"; id: number; label: Label }
  | { type: "applied"; label: Label }
  | { type: "indirectProbe"; id: number; timeoutMs: number; name: string; incarnation: string }
  | { type: "indirectProbed"; id: number; isAlive: boolean }
  | { type: "push"; id: number; group: number; entries: readonly Entry[]; isWritten: boolean }
  | { type: "taken"; id: number; count: number }
  | { type: "value"; id: number; value: Value }
  | { type: "failure"; id: number; code: FailureCode; detail: string }
  | { type: "groupAdded"; group: GroupNews }
  | { type: "groupRemoved"; id: number }
  | { type: "traced"; id: number; trace: Trace };

const ORDINARY = { noNullPrototype: true } as const;
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
const latin1 = fc.integer({ min: 0x20, max: 0xff }).filter((unit) => unit !== 0x7f).map((unit) =>
  String.fromCharCode(unit)
);
const fieldName = fc.string({ unit: fc.constantFrom(..."abcxyz019-_!~|"), minLength: 1, maxLength: 20 });
const fieldValue = fc.string({ unit: fc.oneof(latin1, fc.constant("\t")), maxLength: 60 });
const fields = fc.array(fc.tuple(fieldName, fieldValue), { maxLength: 12 });
const count = fc.oneof(fc.nat(3), fc.nat(1_000), fc.maxSafeNat(), fc.constant(Number.MAX_SAFE_INTEGER));
const label: fc.Arbitrary<Label> = fc.record({ epoch: count, sequence: count }, ORDINARY);
const tag = fc.oneof(wellFormed(40), fc.constant("ü".repeat(MAX_TAG_BYTES / 2))).filter((text) => text !== "");
const tags: fc.Arbitrary<Tags> = fc.oneof(
  fc.constantFrom(NO_TAGS, "any" as const),
  fc.array(tag, { minLength: 1, maxLength: 12 }),
);
const about: fc.Arbitrary<About> = fc.oneof(
  fc.constantFrom(PLAIN, NOTHING_HERE),
  fc.record({
    status: fc.oneof(fc.constant(0), fc.integer({ min: 200, max: 599 })),
    fields,
    etag: fc.option(fieldValue, { nil: undefined }),
    selection: fc.option(
      fc.record({
        names: fc.array(fieldName, { minLength: 1, maxLength: 4 }),
        says: fc.string({ unit: "binary", maxLength: 60 }),
      }, ORDINARY),
      { nil: undefined },
    ),
    hasOwnLifetime: fc.boolean(),
    hasOwnStale: fc.boolean(),
    isPrivate: fc.boolean(),
    tags,
  }, ORDINARY),
);
const span = fc.oneof(fc.nat(1e9), fc.constantFrom(Infinity, MAX_SPAN_MS, 31_536_000_000));
const value: fc.Arbitrary<Value> = fc.record({
  body,
  contentType: fc.string({ unit: latin1, maxLength: 60 }),
  bornAtMs: fc.nat(1e9).map((ageMs) => NOW_MS - ageMs),
  freshUntilMs: fc.oneof(fc.integer({ min: -1e9, max: 1e9 }).map((ms) => NOW_MS + ms), fc.constant(Infinity)),
  staleWhileRevalidateMs: span,
  staleIfErrorMs: span,
  loadMs: id,
  about,
  label,
}, ORDINARY);
const SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const traces = [
  new Trace("01J0000000000000000000000", SPAN, "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
  new Trace("7f/+=", undefined, undefined),
  new Trace(undefined, SPAN, undefined),
];
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ type: fc.constant("traced" as const), id, trace: fc.constantFrom(...traces) }, ORDINARY),
  fc.record({ type: fc.constant("get" as const), id, group, timeoutMs: id, after: label, key }, ORDINARY),
  fc.record({ type: fc.constant("peek" as const), id, group, timeoutMs: id, key }, ORDINARY),
  fc.record({ type: fc.constantFrom("cancel", "nothing", "probe", "probed", "pieceTaken", "dropped"), id }, ORDINARY),
  fc.record({ type: fc.constant("catchUp" as const), id, timeoutMs: id, label }, ORDINARY),
  fc.record({ type: fc.constant("caughtUp" as const), id, label }, ORDINARY),
  fc.record({ type: fc.constant("applied" as const), label }, ORDINARY),
  fc.record({
    type: fc.constant("getFor" as const),
    id,
    group,
    timeoutMs: id,
    after: label,
    key,
    request: fc.record({ fields }, ORDINARY),
  }, ORDINARY),
  fc.record({ type: fc.constant("value" as const), id, value }, ORDINARY),
  fc.record({ type: fc.constant("indirectProbe" as const), id, timeoutMs: id, name, incarnation: name }, ORDINARY),
  fc.record({ type: fc.constant("indirectProbed" as const), id, isAlive: fc.boolean() }, ORDINARY),
  fc.record({
    type: fc.constant("push" as const),
    id,
    group,
    entries: fc.array(fc.record({ key, value }, ORDINARY), { minLength: 1, maxLength: 6 }),
    isWritten: fc.boolean(),
  }, ORDINARY),
  fc.record({ type: fc.constant("taken" as const), id, count: id }, ORDINARY),
  fc.record({
    type: fc.constant("failure" as const),
    id,
    code: fc.constantFrom(...Object.values(FailureCode)),
    detail: wellFormed(60),
  }, ORDINARY),
  fc.record({
    type: fc.constant("groupAdded" as const),
    group: fc.record({ id: group, name, revision: fc.maxSafeNat(), isEmpty: fc.boolean() }, ORDINARY),
  }, ORDINARY),
  fc.record({ type: fc.constant("groupRemoved" as const), id: group }, ORDINARY),
  fc.record({
    type: fc.constant("parted" as const),
    id,
    parted: fc.constantFrom(MessageType.value, MessageType.push),
    partedId: id,
    bytes: fc.integer({ min: 1, max: MAX_BODY_BYTES }),
  }, ORDINARY),
  fc.record({ type: fc.constant("piece" as const), id, piece: body.filter(({ length }) => length > 0) }, ORDINARY),
);

function write(writer: FrameWriter, messages: Message[]): void {
  for (const one of messages) writeOne(writer, one);
}

function writeOne(writer: FrameWriter, one: Message): void {
  switch (one.type) {
    case "traced":
      return writer.traced(one.id, one.trace);
    case "get":
      return writer.get(one.id, one.group, one.timeoutMs, one.after, one.key);
    case "peek":
      return writer.peek(one.id, one.group, one.timeoutMs, one.key);
    case "failure":
      return writer.failure(one.id, one.code, one.detail);
    case "value":
      return writer.value(one.id, one.value, NOW_MS);
    case "getFor":
      return writer.getFor(one.id, one.group, one.timeoutMs, one.after, one.key, one.request);
    case "indirectProbe":
      return writer.indirectProbe(one.id, one.timeoutMs, one.name, one.incarnation);
    case "indirectProbed":
      return writer.indirectProbed(one.id, one.isAlive);
    case "push":
      return writer.push(one.id, one.group, one.entries, one.isWritten, NOW_MS);
    case "catchUp":
      return writer.catchUp(one.id, one.timeoutMs, one.label);
    case "caughtUp":
      return writer.caughtUp(one.id, one.label);
    case "applied":
      return writer.applied(one.label);
    case "taken":
      return writer.taken(one.id, one.count);
    case "groupAdded":
      return writer.groupAdded(one.group);
    case "groupRemoved":
      return writer.groupRemoved(one.id);
    case "parted":
      return writer.parted(one.id, one.parted, one.partedId, one.bytes);
    case "piece":
      return writer.piece(one.id, one.piece.subarray(0, 1), one.piece.subarray(1));
    default:
      return writer.bare(MessageType[one.type], one.id);
  }
}

/** Remembers the messages of a frame. */
class Recorder implements AskVisitor, ReplyVisitor, PieceVisitor {
  readonly read: Message[] = [];
  onTraced(id: number, trace: Trace | undefined) {
    this.read.push({ type: "traced", id, trace: trace! });
  }
  onGet(id: number, group: number, timeoutMs: number, after: Label, key: string, request?: RequestHead) {
    if (request === undefined) this.read.push({ type: "get", id, group, timeoutMs, after, key });
    else this.read.push({ type: "getFor", id, group, timeoutMs, after, key, request });
  }
  onCancel(id: number) {
    this.read.push({ type: "cancel", id });
  }
  onValue(id: number, value: Value) {
    this.read.push({ type: "value", id, value });
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
  onPush(id: number, group: number, entries: readonly Entry[], isWritten: boolean) {
    this.read.push({ type: "push", id, group, entries, isWritten });
  }
  onTaken(id: number, count: number) {
    this.read.push({ type: "taken", id, count });
  }
  onCatchUp(id: number, timeoutMs: number, label: Label) {
    this.read.push({ type: "catchUp", id, timeoutMs, label });
  }
  onCaughtUp(id: number, label: Label) {
    this.read.push({ type: "caughtUp", id, label });
  }
  onApplied(label: Label) {
    this.read.push({ type: "applied", label });
  }
  onGroupAdded(group: GroupNews) {
    this.read.push({ type: "groupAdded", group });
  }
  onGroupRemoved(id: number) {
    this.read.push({ type: "groupRemoved", id });
  }
  onParted(id: number, parted: PartedType, partedId: number, bytes: number) {
    this.read.push({ type: "parted", id, parted, partedId, bytes });
  }
  onPiece(id: number, piece: Uint8Array<ArrayBuffer>) {
    this.read.push({ type: "piece", id, piece: piece.slice() });
  }
  onPieceTaken(id: number) {
    this.read.push({ type: "pieceTaken", id });
  }
  onDropped(id: number) {
    this.read.push({ type: "dropped", id });
  }
}

/** Reads a frame with one visitor for both directions. @returns why it is malformed */
function readAll(bytes: Uint8Array<ArrayBuffer>, recorder = new Recorder(), nowMs = NOW_MS): string | undefined {
  return readFrame(bytes, recorder, recorder, recorder, nowMs);
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

test("a value keeps all its facts: not found, private, a variant, its own lifetime, its entity tag, its tags", () => {
  const abouts: About[] = [
    NOTHING_HERE,
    { ...PLAIN, isPrivate: true },
    { ...PLAIN, status: 0, selection: { names: ["accept"], says: "" } },
    {
      status: 404,
      fields: [["vary", "Accept"], ["set-cookie", "a=1"], ["set-cookie", 'b=\u00e9\t"2"']],
      etag: 'W/"1"',
      selection: { names: ["accept", "accept-language"], says: "accept\u0001=a\u0002accept-language\u0001" },
      hasOwnLifetime: true,
      hasOwnStale: true,
      isPrivate: false,
      tags: ["sport", "ü", '"\\\n'],
    },
    { ...PLAIN, tags: "any" },
    { ...PLAIN, tags: ["any"] },
    { ...PLAIN, tags: Array.from({ length: MAX_NAMES }, (_, i) => `tag-${i}`) },
    { ...PLAIN, tags: ["ü".repeat(MAX_TAG_BYTES / 2)] },
  ];
  const times = { freshUntilMs: NOW_MS - 5, staleWhileRevalidateMs: 1_000, staleIfErrorMs: 31_536_000_000, loadMs: 7 };
  const values = abouts.map((about, i) => valueOf("body", { ...times, about, label: { epoch: 7, sequence: i + 1 } }));
  const writer = new FrameWriter();
  for (const value of values) writer.value(1, value, NOW_MS);
  writer.push(1, 0, values.map((value) => ({ key: "x", value })), false, NOW_MS);
  const recorder = new Recorder();
  assert.equal(readAll(writer.take().slice(), recorder), undefined);
  const push = recorder.read.pop();
  assert.deepEqual(recorder.read.map((one) => one.type === "value" && one.value), values);
  assert.deepEqual(push?.type === "push" && push.entries.map(({ value }) => value), values);
});

test("a value without special facts costs no bytes for them, and is read without an object for them", () => {
  const writer = new FrameWriter();
  writer.value(1, valueOf("body"), NOW_MS);
  assert.equal(writer.length, 9 + VALUE_HEAD_BYTES + "text/plain".length + "body".length);
  const recorder = new Recorder();
  readAll(writer.take().slice(), recorder);
  const [read] = recorder.read;
  assert.ok(read?.type === "value" && read.value.about === PLAIN);
  writer.value(1, valueOf("body", { about: { ...NOTHING_HERE, tags: [] } }), NOW_MS);
  const untagged = new Recorder();
  readAll(writer.take().slice(), untagged);
  assert.ok(untagged.read[0]?.type === "value" && untagged.read[0].value.about.tags === NO_TAGS);
});

/** The labels of the values that are read from a frame, in their order. */
function labelsIn(writer: FrameWriter): Label[] {
  const recorder = new Recorder();
  assert.equal(readAll(writer.take().slice(), recorder), undefined);
  return recorder.read.flatMap((one) => {
    if (one.type === "value") return [one.value.label];
    return one.type === "push" ? one.entries.map(({ value }) => value.label) : [];
  });
}

test("values of a few labels share the labels' objects, from frame to frame, and those of the asker's own asks", () => {
  const writer = new FrameWriter();
  const [epoch, writes] = [1_700_000_000_000_123, 4];
  const seen = new Set<Label>();
  for (let frame = 0; frame < 50; frame++) {
    for (let i = 0; i < 40; i++) {
      // Each value has an object of its own at the owner.
      const value = valueOf("x", { label: { epoch, sequence: 1_000_000 + i % writes } });
      if (i % 2 === 0) writer.value(i, value, NOW_MS);
      else writer.push(i, 0, [{ key: "x", value }, { key: "y", value }], i % 3 === 0, NOW_MS);
    }
    const bytes = writer.take().slice();
    const recorder = new Recorder();
    // As in another process: the reader must not owe it to the writer beside it.
    for (let i = 0; i < 256; i++) writer.applied({ epoch: 1, sequence: i + 1 });
    writer.take();
    assert.equal(readAll(bytes, recorder), undefined);
    const labels = new Set(recorder.read.flatMap((one) => {
      if (one.type === "value") return [one.value.label];
      return one.type === "push" ? one.entries.map(({ value }) => value.label) : [];
    }));
    assert.equal(labels.size, writes, "40 messages of one frame");
    for (const label of labels) seen.add(label);
  }
  assert.equal(seen.size, 50 * writes, "the labels in between took the slots");
  const own = Object.freeze({ epoch, sequence: 9_999 });
  writer.value(1, valueOf("x", { label: { epoch, sequence: 9_999 } }), NOW_MS);
  const reply = writer.take().slice();
  writer.get(1, 0, 1_000, own, "x");
  writer.take();
  const recorder = new Recorder();
  readAll(reply, recorder);
  assert.ok(recorder.read[0]?.type === "value" && recorder.read[0].value.label === own);
});

test("two labels that differ in one number are never read as one, and BLIND is read as itself", () => {
  const writer = new FrameWriter();
  fc.assert(
    fc.property(fc.array(fc.oneof(label, fc.constant({ epoch: 0, sequence: 0 })), { minLength: 1 }), (labels) => {
      for (const label of labels) writer.value(1, valueOf("x", { label }), NOW_MS);
      const read = labelsIn(writer);
      assert.deepEqual(read, labels);
      for (const label of read) assert.equal(label === BLIND, label.epoch === 0 && label.sequence === 0);
    }),
  );
  // Slots have no room for all of these.
  for (const sequence of [0, 256, 512, 2 ** 32, 2 ** 53 - 256, 0]) {
    for (const epoch of [0, 1]) writer.value(1, valueOf("x", { label: { epoch, sequence } }), NOW_MS);
  }
  const read = labelsIn(writer);
  assert.deepEqual(read.map(({ epoch, sequence }) => [epoch, sequence]), [
    ...[0, 256, 512, 2 ** 32, 2 ** 53 - 256, 0].flatMap((sequence) => [[0, sequence], [1, sequence]]),
  ]);
  assert.deepEqual([read[0], read[10]].map((label) => label === BLIND), [true, true]);
});

test("a label with numbers that are not whole, or below 0, is neither written nor read, in any message", () => {
  const faulty: [number, number][] = [
    [NaN, 0],
    [0, NaN],
    [-1, 0],
    [0, -1],
    [0.5, 0],
    [0, 0.5],
    [Infinity, 0],
    [0, -Infinity],
    [2 ** 53, 0],
    [0, 2 ** 53],
  ];
  const writer = new FrameWriter();
  const good = { epoch: 3, sequence: 4 };
  const value = valueOf("x", { label: good });
  const entry = { key: "x", value };
  /** Each message with a label, and where that stands in its payload. */
  const messages: [string, number, (label: Label) => void][] = [
    ["get", 6, (label) => writer.get(1, 0, 1, label, "x")],
    ["getFor", 6, (label) => writer.getFor(1, 0, 1, label, "x", { fields: [] })],
    ["value", TIMES_BYTES, (label) => writer.value(1, { ...value, label }, NOW_MS)],
    ["push", PUSH_HEAD_BYTES + TIMES_BYTES, (label) => {
      writer.push(1, 0, [{ key: "x", value: { ...value, label } }, entry], false, NOW_MS);
    }],
    ["push", PUSH_HEAD_BYTES + ENTRY_HEAD_BYTES + "xtext/plainx".length + TIMES_BYTES, (label) => {
      writer.push(1, 0, [entry, { key: "x", value: { ...value, label } }], false, NOW_MS);
    }],
    ["catchUp", 4, (label) => writer.catchUp(1, 1, label)],
    ["caughtUp", 0, (label) => writer.caughtUp(1, label)],
    ["applied", 0, (label) => writer.applied(label)],
  ];
  for (const [kind, at, write] of messages) {
    write(good);
    const frame = writer.take().slice();
    assert.equal(readAll(frame), undefined, kind);
    for (const [epoch, sequence] of faulty) {
      assert.throws(() => write({ epoch, sequence }), RangeError, kind);
      assert.equal(writer.length, 0);
      const view = new DataView(frame.buffer);
      view.setFloat64(9 + at, epoch, true);
      view.setFloat64(9 + at + 8, sequence, true);
      const recorder = new Recorder();
      assert.match(readAll(frame, recorder) ?? "read", new RegExp(`^malformed ${kind}`), `${epoch} ${sequence}`);
      assert.deepEqual(recorder.read, []);
    }
  }
});

test("the times of a value are the same distance from now on both clocks, however much these differ", () => {
  const writer = new FrameWriter();
  const clock = fc.integer({ min: 0, max: 4e12 });
  fc.assert(
    fc.property(value, clock, clock, (given, hereMs, thereMs) => {
      const at = (nowMs: number): Value => ({
        ...given,
        bornAtMs: nowMs + (given.bornAtMs - NOW_MS),
        freshUntilMs: nowMs + (given.freshUntilMs - NOW_MS),
      });
      writer.value(1, at(hereMs), hereMs);
      writer.push(2, 0, [{ key: "x", value: at(hereMs) }], true, hereMs);
      const recorder = new Recorder();
      assert.equal(readAll(writer.take().slice(), recorder, thereMs), undefined);
      assert.deepEqual(recorder.read, [
        { type: "value", id: 1, value: at(thereMs) },
        { type: "push", id: 2, group: 0, entries: [{ key: "x", value: at(thereMs) }], isWritten: true },
      ]);
    }),
  );
});

test("times beyond the bounds are cut to them, and a value from the future is new", () => {
  const writer = new FrameWriter();
  const read = (change: Partial<Value>) => {
    writer.value(1, valueOf("x", change), NOW_MS);
    const recorder = new Recorder();
    assert.equal(readAll(writer.take().slice(), recorder), undefined);
    const [one] = recorder.read;
    assert.ok(one?.type === "value");
    return one.value;
  };
  assert.equal(read({ bornAtMs: NOW_MS + 60_000 }).bornAtMs, NOW_MS);
  assert.equal(read({ bornAtMs: -1e300 }).bornAtMs, NOW_MS - MAX_SPAN_MS);
  assert.equal(read({ freshUntilMs: -1e300 }).freshUntilMs, NOW_MS - MAX_SPAN_MS);
  assert.equal(read({ freshUntilMs: 1e300 }).freshUntilMs, Infinity);
  assert.equal(read({ staleWhileRevalidateMs: 1e300 }).staleWhileRevalidateMs, Infinity);
  assert.equal(read({ staleIfErrorMs: 0.25 }).staleIfErrorMs, 0.25);
  assert.equal(read({ loadMs: Infinity }).loadMs, 0xffff_ffff);
  assert.equal(read({ loadMs: -1 }).loadMs, 0);
});

test("the body of a value is a part of its frame, without a copy", () => {
  const writer = new FrameWriter();
  write(writer, [
    { type: "value", id: 1, value: valueOf(new Uint8Array(10).fill(7)) },
    { type: "value", id: 2, value: valueOf(new Uint8Array(10).fill(8)) },
  ]);
  const recorder = new Recorder();
  const frame = writer.take().slice();
  readAll(frame, recorder);
  const second = recorder.read[1];
  assert.ok(second?.type === "value");
  assert.equal(second.value.body.buffer, frame.buffer);
  assert.deepEqual(second.value.body, new Uint8Array(10).fill(8));
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

function frame(type: number, payload: number[], length = payload.length): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(9 + payload.length);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(5, length, true);
  bytes.set(payload, 9);
  return bytes;
}

test("a message of an optional type that this release does not know is skipped, and what follows is read", () => {
  const writer = new FrameWriter();
  writer.bare(MessageType.probe, 7);
  const probe = writer.take().slice();
  for (const type of [200, 255]) {
    for (const payload of [[], [1, 2, 3], new Array(70_000).fill(255)]) {
      const optional = frame(type, payload);
      const recorder = new Recorder();
      const bytes = new Uint8Array([...probe, ...optional, ...probe]);
      assert.equal(readAll(bytes, recorder), undefined);
      assert.deepEqual(recorder.read, [{ type: "probe", id: 7 }, { type: "probe", id: 7 }]);
      assert.match(readAll(frame(type, payload, payload.length + 1)) ?? "read", /longer than its frame/);
    }
  }
  assert.match(readAll(frame(FIRST_OPTIONAL_TYPE - 1, [])) ?? "read", /unknown message type 127/);
});

test("each breach of the layout has its reason", () => {
  const reason = (bytes: Uint8Array<ArrayBuffer>) => readAll(bytes) ?? "read";
  assert.match(reason(new Uint8Array(0)), /empty/);
  assert.match(reason(new Uint8Array(5)), /half a header/);
  assert.match(reason(new Uint8Array(MAX_FRAME_BYTES + 1)), /over/);
  assert.match(reason(frame(99, [])), /unknown message type 99/);
  assert.match(reason(frame(MessageType.cancel, [], 1)), /longer than its frame/);
  assert.match(reason(frame(MessageType.cancel, [1])), /malformed cancel/);
  const zeros = (count: number) => new Array(count).fill(0);
  const letters = (count: number) => new Array(count).fill(97);
  assert.equal(reason(frame(MessageType.get, [...zeros(GET_HEAD_BYTES), ...letters(MAX_CACHE_KEY_BYTES)])), "read");
  assert.match(reason(frame(MessageType.get, zeros(GET_HEAD_BYTES))), /malformed get/);
  assert.match(reason(frame(MessageType.get, [...zeros(GET_HEAD_BYTES), 0xff])), /not UTF-8/);
  assert.match(
    reason(frame(MessageType.get, [...zeros(GET_HEAD_BYTES), ...letters(MAX_CACHE_KEY_BYTES + 1)])),
    /malformed get/,
  );
  assert.equal(reason(frame(MessageType.value, zeros(VALUE_HEAD_BYTES))), "read");
  assert.match(reason(frame(MessageType.value, zeros(VALUE_HEAD_BYTES - 1))), /malformed value/);
  assert.match(reason(frame(MessageType.value, [...zeros(LENGTHS_AT_BYTES), 9, 0, 0, 0, 0, 0])), /malformed value/);
  assert.match(reason(frame(MessageType.value, [...zeros(LENGTHS_AT_BYTES), 0, 0, 9, 0, 0, 0])), /malformed value/);
  const nonsense = new Array(VALUE_HEAD_BYTES - 6).fill(0xff);
  assert.match(reason(frame(MessageType.value, [...nonsense, ...zeros(6)])), /times/);
  assert.match(reason(frame(MessageType.failure, [0])), /malformed failure/);
  assert.equal(reason(frame(MessageType.failure, [10])), "read");
  assert.match(reason(frame(MessageType.failure, [11])), /malformed failure/);
  assert.match(reason(frame(MessageType.failure, [])), /malformed failure/);
  for (const type of [MessageType.nothing, MessageType.probe, MessageType.probed]) {
    assert.equal(reason(frame(type, [])), "read");
    assert.match(reason(frame(type, [1])), /malformed (nothing|probe|probed)/);
  }
  for (
    const [kind, bytes] of [["catchUp", 4 + LABEL_BYTES], ["caughtUp", LABEL_BYTES], ["applied", LABEL_BYTES]] as const
  ) {
    assert.equal(reason(frame(MessageType[kind], zeros(bytes))), "read");
    for (const wrong of [0, bytes - 1, bytes + 1]) {
      assert.equal(reason(frame(MessageType[kind], zeros(wrong))), `malformed ${kind}`);
    }
  }
  assert.equal(reason(frame(MessageType.peek, [...zeros(PEEK_HEAD_BYTES), ...letters(MAX_CACHE_KEY_BYTES)])), "read");
  for (const keyBytes of [0, MAX_CACHE_KEY_BYTES + 1]) {
    assert.equal(reason(frame(MessageType.peek, [...zeros(PEEK_HEAD_BYTES), ...letters(keyBytes)])), "malformed peek");
  }
  assert.match(
    reason(frame(MessageType.peek, [...zeros(PEEK_HEAD_BYTES), 0xff])),
    /malformed peek: the key is not UTF-8/,
  );
  assert.match(reason(frame(MessageType.indirectProbed, [])), /malformed indirectProbed/);
  assert.match(reason(frame(MessageType.indirectProbed, [2])), /malformed indirectProbed/);
  assert.match(reason(frame(MessageType.taken, [1, 0, 0])), /malformed taken/);
  assert.match(reason(frame(MessageType.indirectProbe, [0, 0, 0, 0, 1])), /malformed indirectProbe/);
  assert.match(reason(frame(MessageType.indirectProbe, [0, 0, 0, 0, 9, 0, 97])), /malformed indirectProbe/);
  assert.match(reason(frame(MessageType.indirectProbe, [0, 0, 0, 0, 1, 0, 97])), /no incarnation/);
  assert.match(reason(frame(MessageType.indirectProbe, [0, 0, 0, 0, 0, 0, 97])), /no name/);
  const long = new Array(MAX_NAME_UNITS + 1).fill(97);
  assert.match(reason(frame(MessageType.indirectProbe, [0, 0, 0, 0, 1, 0, 97, ...long])), /malformed indirectProbe/);
  assert.match(reason(frame(MessageType.push, zeros(PUSH_HEAD_BYTES - 1))), /malformed push/);
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

/** A value with this about; `times` are by their offsets. */
function valueFrame(about: string | Uint8Array, times: Record<number, number> = {}): Uint8Array<ArrayBuffer> {
  const block = typeof about === "string" ? new TextEncoder().encode(about) : about;
  const bytes = new Uint8Array(9 + VALUE_HEAD_BYTES + block.length + 1);
  const view = new DataView(bytes.buffer);
  bytes[0] = MessageType.value;
  view.setUint32(5, bytes.length - 9, true);
  for (const [at, ms] of Object.entries(times)) view.setFloat64(9 + Number(at), ms, true);
  view.setUint32(9 + LENGTHS_AT_BYTES + 2, block.length, true);
  bytes.set(block, 9 + VALUE_HEAD_BYTES);
  return bytes;
}

test("facts of a value that no node writes are malformed: no JSON, other types, statuses, names, control characters, too much", () => {
  const reason = (about: unknown) => readAll(valueFrame(JSON.stringify(about))) ?? "read";
  assert.equal(reason({ status: 404 }), "read");
  assert.equal(reason({ status: 404, ofALaterRelease: { deep: [] } }), "read");
  const fields = (...lines: unknown[]) => ({ status: 200, fields: lines });
  const breaches: unknown[] = [
    null,
    [],
    7,
    "text",
    {},
    { status: "200" },
    ...[-1, 1, 99, 100, 199, 600, 200.5, 1e9].map((status) => ({ status })),
    { status: 200, fields: {} },
    { status: 200, fields: "a" },
    fields(null),
    fields(["a"]),
    fields(["a", "b", "c"]),
    fields(["a", 1]),
    fields([["a"], "b"]),
    fields({ 0: "a", 1: "b", length: 2 }),
    ...["", "A", "a b", "a:", "é", "a\n", "a\u0000"].map((name) => fields([name, "x"])),
    ...["\n", "\r\nx: y", "\u0000", "\u0008", "\u007f", "\u0100", "\ud800"].map((text) => fields(["a", text])),
    fields(...Array.from({ length: MAX_FIELDS + 1 }, () => ["a", ""])),
    { status: 200, etag: 1 },
    { status: 200, etag: '"\n"' },
    { status: 200, names: "accept", says: "" },
    { status: 200, names: [], says: "" },
    { status: 200, names: [""], says: "" },
    { status: 200, names: [1], says: "" },
    { status: 200, names: ["a\nb"], says: "" },
    { status: 200, names: new Array(MAX_FIELDS + 1).fill("a"), says: "" },
    { status: 200, names: ["a"], says: 1 },
    { status: 200, names: ["a"] },
    { status: 200, says: "a" },
    { status: 200, own: 1 },
    { status: 200, private: "true" },
    { status: 200, tags: null },
    { status: 200, tags: "all" },
    { status: 200, tags: "" },
    { status: 200, tags: [] },
    { status: 200, tags: [""] },
    { status: 200, tags: ["a", 1] },
    { status: 200, tags: ["a", null] },
    { status: 200, tags: [["a"]] },
    { status: 200, tags: { 0: "a", length: 1 } },
    { status: 200, tags: new Array(MAX_NAMES + 1).fill("a") },
    { status: 200, tags: ["x".repeat(MAX_TAG_BYTES + 1)] },
    { status: 200, tags: ["ü".repeat(MAX_TAG_BYTES / 2) + "x"] },
  ];
  for (const breach of breaches) {
    assert.match(reason(breach), /^malformed value: status, fields or tags/, JSON.stringify(breach).slice(0, 60));
  }
  const longest = { status: 200, etag: "e".repeat(MAX_ABOUT_BYTES - '{"status":200,"etag":""}'.length) };
  assert.equal(reason(longest), "read");
  assert.equal(reason({ ...longest, etag: longest.etag + "e" }), "malformed value");
  const deep = "[".repeat(MAX_ABOUT_BYTES);
  for (const about of ["{", "{}x", deep, new Uint8Array([0xff]), new Uint8Array([0])]) {
    assert.match(readAll(valueFrame(about)) ?? "read", /^malformed value: status, fields or tags/);
  }
});

test("times of a value that no node writes are malformed", () => {
  const reason = (at: number, ms: number) => readAll(valueFrame("", { [at]: ms })) ?? "read";
  const all = [0, 8, 16, 24];
  for (const at of all) {
    for (const ms of [0, 0.5, MAX_SPAN_MS]) assert.equal(reason(at, ms), "read", `${ms} at ${at}`);
    for (const ms of [NaN, -Infinity, 2 * MAX_SPAN_MS, -2 * MAX_SPAN_MS]) {
      assert.match(reason(at, ms), /^malformed value: times out of bounds/, `${ms} at ${at}`);
    }
  }
  assert.deepEqual(all.map((at) => reason(at, -1) === "read"), [false, true, false, false]);
  assert.deepEqual(all.map((at) => reason(at, Infinity) === "read"), [false, true, true, true]);
});

test("a get for a request that breaks the layout is refused with its reason", () => {
  const reason = (key: string, said: string, keyBytes = key.length) => {
    const text = new TextEncoder().encode(key + said);
    const bytes = new Uint8Array(9 + GET_FOR_HEAD_BYTES + text.length);
    const view = new DataView(bytes.buffer);
    bytes[0] = MessageType.getFor;
    view.setUint32(5, bytes.length - 9, true);
    view.setUint16(9 + GET_FOR_HEAD_BYTES - 2, keyBytes, true);
    bytes.set(text, 9 + GET_FOR_HEAD_BYTES);
    const recorder = new Recorder();
    const fault = readAll(bytes, recorder);
    assert.equal(recorder.read.length, fault === undefined ? 1 : 0);
    return fault ?? "read";
  };
  assert.equal(reason("x", "[]"), "read");
  assert.equal(reason("x", '[["accept","a/b"]]'), "read");
  assert.equal(reason("", ""), "malformed getFor");
  assert.equal(reason("", "[]"), "malformed getFor");
  assert.equal(reason("x", "[]", 0xffff), "malformed getFor");
  assert.equal(reason("x".repeat(MAX_CACHE_KEY_BYTES + 1), "[]"), "malformed getFor");
  assert.equal(reason("é", "[]", 1), "malformed getFor: the key is not UTF-8");
  const tooMany = JSON.stringify(Array.from({ length: MAX_FIELDS + 1 }, () => ["a", ""]));
  const tooLong = JSON.stringify([["a", "x".repeat(MAX_ABOUT_BYTES)]]);
  for (const said of ["", "x", "{}", '[["a"]]', '[["A","b"]]', '[["a","\\u0000"]]', tooMany, tooLong]) {
    assert.equal(reason("x", said), "malformed getFor: fields that no node writes", said.slice(0, 40));
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
  assert.equal(readGreeting(bytes(1, 0, 0, 0, 123)), "malformed greeting: not JSON");
  assert.equal(readGreeting(bytes(1, 0, 0, 0, 0xff)), "malformed greeting: not JSON");
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
    written: 0,
    count: 1,
    ageMs: 0,
    freshMs: Infinity,
    keyBytes: 1,
    typeBytes: 1,
    aboutBytes: 0,
    bodyBytes: 2,
    rest: [97, 98, 1, 2],
  };
  const reason = (change: Partial<typeof good>, cut = 0) => {
    const { written, count, ageMs, freshMs, keyBytes, typeBytes, aboutBytes, bodyBytes, rest } = { ...good, ...change };
    const bytes = new Uint8Array(9 + PUSH_HEAD_BYTES + ENTRY_HEAD_BYTES + rest.length - cut);
    const view = new DataView(bytes.buffer);
    bytes[0] = MessageType.push;
    view.setUint32(5, bytes.length - 9, true);
    view.setUint8(11, written);
    view.setUint16(12, count, true);
    if (cut === 0) {
      view.setFloat64(14, ageMs, true);
      view.setFloat64(22, freshMs, true);
      view.setUint16(14 + LENGTHS_AT_BYTES, keyBytes, true);
      view.setUint16(16 + LENGTHS_AT_BYTES, typeBytes, true);
      view.setUint32(18 + LENGTHS_AT_BYTES, aboutBytes, true);
      view.setUint32(22 + LENGTHS_AT_BYTES, bodyBytes, true);
      bytes.set(rest, 14 + ENTRY_HEAD_BYTES);
    }
    const recorder = new Recorder();
    const fault = readAll(bytes, recorder);
    assert.equal(recorder.read.length, fault === undefined ? 1 : 0);
    return fault ?? "read";
  };
  assert.equal(reason({}), "read");
  assert.equal(reason({ written: 1 }), "read");
  for (const written of [2, 255]) assert.equal(reason({ written }), "malformed push");
  assert.match(reason({ count: 0 }), /malformed push: not 1 to 4096/);
  assert.match(reason({ count: MAX_ENTRIES + 1 }), /malformed push: not 1 to 4096/);
  assert.match(reason({ count: MAX_ENTRIES }), /fewer entries/);
  assert.match(reason({ count: 2 }), /fewer entries/);
  assert.match(reason({}, 10), /fewer entries/);
  assert.match(reason({ ageMs: -1 }), /times/);
  assert.match(reason({ ageMs: Infinity }), /times/);
  assert.match(reason({ ageMs: NaN }), /times/);
  assert.match(reason({ ageMs: MAX_SPAN_MS + 1 }), /times/);
  assert.match(reason({ freshMs: NaN }), /times/);
  assert.match(reason({ freshMs: -Infinity }), /times/);
  assert.match(reason({ freshMs: 2 * MAX_SPAN_MS }), /times/);
  assert.match(reason({ keyBytes: 0 }), /lengths/);
  assert.match(reason({ keyBytes: MAX_CACHE_KEY_BYTES + 1 }), /lengths/);
  assert.match(reason({ typeBytes: 1025 }), /lengths/);
  assert.match(reason({ aboutBytes: MAX_ABOUT_BYTES + 1 }), /lengths/);
  assert.match(reason({ aboutBytes: MAX_ABOUT_BYTES }), /longer than its message/);
  assert.match(reason({ aboutBytes: 1, bodyBytes: 1 }), /status, fields or tags/);
  assert.match(reason({ bodyBytes: 0xffff_ffff }), /lengths/);
  assert.match(reason({ bodyBytes: MAX_BODY_BYTES }), /longer than its message/);
  assert.match(reason({ bodyBytes: 1 }), /more bytes than entries/);
  assert.match(reason({ rest: [0xff, 98, 1, 2] }), /not UTF-8/);
  assert.match(reason({ rest: [97, 0xff, 1, 2] }), /content type is not allowed in a header/);
});

test("a content type that no header can carry is refused in a value and in a push, and is not sent", () => {
  for (const code of [0x00, 0x01, 0x08, 0x0a, 0x0d, 0x1f, 0x7f, 0x100, 0x2028, 0x1f600]) {
    const bad = valueOf("x", { contentType: `a/${String.fromCodePoint(code)}b` });
    for (const isPush of [false, true]) {
      const writer = new FrameWriter();
      if (isPush) writer.push(1, 0, [{ key: "k", value: bad }], false, NOW_MS);
      else writer.value(1, bad, NOW_MS);
      const recorder = new Recorder();
      assert.match(readAll(writer.take().slice(), recorder) ?? "read", /content type is not allowed in a header/);
      assert.deepEqual(recorder.read, [], `${code} ${isPush}`);
    }
    assert.equal(canTravel(bad), false);
  }
  assert.equal(canTravel(valueOf("x", { contentType: "a/\xe4\tb" })), true);
});

test("a push of the largest value fits into a frame behind a full batch, and no larger one is written", () => {
  const writer = new FrameWriter();
  const about = { ...PLAIN, etag: "e".repeat(MAX_ABOUT_BYTES - '{"status":200,"etag":""}'.length) };
  const entry = (bytes: number, key = "k".repeat(MAX_CACHE_KEY_BYTES)) => ({
    key,
    value: valueOf(new Uint8Array(bytes), { contentType: "c".repeat(1024), about }),
  });
  while (writer.length < 256 * 1024) writer.bare(MessageType.probe, 1);
  writer.push(2, 0, [entry(MAX_BODY_BYTES)], false, 1);
  const recorder = new Recorder();
  assert.equal(readAll(writer.take().slice(), recorder), undefined);
  const push = recorder.read.at(-1);
  assert.ok(push?.type === "push" && push.entries[0]!.value.body.length === MAX_BODY_BYTES);
  assert.equal(push.entries[0]!.value.body.buffer.byteLength, MAX_BODY_BYTES);
  assert.deepEqual(push.entries[0]!.value.about, about);
  writer.bare(MessageType.probe, 3);
  assert.throws(() => writer.push(4, 0, [], false, 1), RangeError);
  assert.throws(() => writer.push(4, 0, new Array(MAX_ENTRIES + 1).fill(entry(0)), false, 1), RangeError);
  assert.throws(() => writer.push(4, 0, [entry(MAX_BODY_BYTES + 1)], false, 1), RangeError);
  assert.throws(() => writer.push(4, 0, [entry(MAX_PUSH_BYTES / 2), entry(MAX_PUSH_BYTES / 2)], false, 1), RangeError);
  assert.throws(() => writer.push(4, 0, [entry(1), entry(1, "")], false, 1), BadKeyError);
  assert.throws(() => writer.indirectProbe(4, 1, "", "01"), RangeError);
  assert.throws(() => writer.indirectProbe(4, 1, "a", "x".repeat(MAX_NAME_UNITS + 1)), RangeError);
  const after = new Recorder();
  assert.equal(readAll(writer.take().slice(), after), undefined);
  assert.deepEqual(after.read, [{ type: "probe", id: 3 }]);
});

test("a message that does not fit is refused before it is written, and the frame stays whole", () => {
  const writer = new FrameWriter();
  writer.bare(MessageType.cancel, 1);
  assert.throws(() => writer.get(2, 0, 1, BLIND, ""), BadKeyError);
  assert.throws(() => writer.get(2, 0, 1, BLIND, "x".repeat(MAX_CACHE_KEY_BYTES + 1)), BadKeyError);
  assert.throws(() => writer.get(2, 0, 1, BLIND, "ü".repeat(MAX_CACHE_KEY_BYTES / 2 + 1)), BadKeyError);
  assert.throws(() => writer.get(2, 0, 1, BLIND, "a\ud800b"), BadKeyError);
  assert.throws(() => writer.getFor(2, 0, 1, BLIND, "", { fields: [] }), BadKeyError);
  for (const key of ["", "x".repeat(MAX_CACHE_KEY_BYTES + 1), "ü".repeat(MAX_CACHE_KEY_BYTES / 2 + 1), "a\ud800b"]) {
    assert.throws(() => writer.peek(2, 0, 1, key), BadKeyError);
  }
  const misfits: [string, string][][] = [
    [["Accept", "x"]],
    [["", "x"]],
    [["a b", "x"]],
    [["a", "x\ny"]],
    [["a", "\u0001"]],
    [["a", "€"]],
    [["a", "x".repeat(MAX_ABOUT_BYTES)]],
    Array.from({ length: MAX_FIELDS + 1 }, () => ["a", ""]),
  ];
  for (const fields of misfits) {
    assert.throws(() => writer.getFor(2, 0, 1, BLIND, "x", { fields }), PassThroughError);
    assert.throws(() => writer.value(2, valueOf("x", { about: { ...PLAIN, fields } }), 1), PassThroughError);
  }
  const changes: Partial<About>[] = [
    { status: 101 },
    { status: 600 },
    { status: 200.5 },
    { status: NaN },
    { etag: "\n" },
    { selection: { names: ["a"], says: "x".repeat(MAX_ABOUT_BYTES) } },
    { tags: [""] },
    { tags: new Array(MAX_NAMES + 1).fill("a") },
    { tags: ["x".repeat(MAX_TAG_BYTES + 1)] },
    { tags: Array.from({ length: 100 }, (_, i) => "x".repeat(MAX_TAG_BYTES - i)) },
  ];
  for (const change of changes) {
    const entries = [{ key: "x", value: valueOf("x", { about: { ...PLAIN, ...change } }) }];
    assert.throws(() => writer.push(2, 0, entries, false, 1), PassThroughError);
  }
  assert.throws(() => writer.value(2, valueOf(new Uint8Array(MAX_BODY_BYTES + 1)), 1), RangeError);
  for (const name of ["bornAtMs", "freshUntilMs", "staleWhileRevalidateMs", "staleIfErrorMs"] as const) {
    assert.throws(() => writer.value(2, valueOf("x", { [name]: -Infinity }), 1), RangeError, name);
    assert.throws(() => writer.value(2, valueOf("x", { [name]: NaN }), 1), RangeError, name);
  }
  assert.throws(() => writer.greeting(MessageType.hello, "x".repeat(16 * 1024)), RangeError);
  writer.failure(3, FailureCode.notFound, "é".repeat(2000));
  const recorder = new Recorder();
  assert.equal(readAll(writer.take().slice(), recorder), undefined);
  assert.deepEqual(recorder.read, [
    { type: "cancel", id: 1 },
    { type: "failure", id: 3, code: FailureCode.notFound, detail: "é".repeat(MAX_DETAIL_BYTES / 2) },
  ]);
});
