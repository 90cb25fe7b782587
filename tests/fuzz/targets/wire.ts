/** What peers send each other: frames, and greetings. */
import assert from "node:assert/strict";
import { Trace } from "../../../lib/core/base/trace.ts";
import { BLIND } from "../../../lib/core/invalidation/label.ts";
import type { Entry } from "../../../lib/core/ports.ts";
import { type About, NOTHING_HERE, PLAIN, type Value } from "../../../lib/core/value.ts";
import {
  type AskVisitor,
  FailureCode,
  HEADER_BYTES,
  MessageType,
  type PieceVisitor,
  PROTOCOL,
  type ReplyVisitor,
} from "../../../lib/peer/wire/frames.ts";
import {
  type Greeting,
  isRefusal,
  type PeerGreeting,
  readAnswer,
  readHello,
  type Refusal,
} from "../../../lib/peer/wire/greeting.ts";
import { readFrame } from "../../../lib/peer/wire/reader.ts";
import { FrameWriter } from "../../../lib/peer/wire/writer.ts";
import type { Dice } from "../dice.ts";
import { checkMessage, json, type Target, tried, utf8 } from "../target.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** One message as the visitors get it, and how it is written. */
interface Heard {
  readonly said: readonly unknown[];
  readonly write: (writer: FrameWriter) => void;
}

/** With 0 the times that are read are the numbers in the frame, so that they are written again without rounding. */
const NOW_MS = 0;

/** Takes what is read, in order. */
class Listener implements AskVisitor, ReplyVisitor, PieceVisitor {
  readonly heard: Heard[] = [];

  onTraced: AskVisitor["onTraced"] = (id, trace) =>
    this.#hear(["traced", id, trace], (writer) => writer.traced(id, trace ?? new Trace()));
  onGet: AskVisitor["onGet"] = (id, group, timeoutMs, after, key, request) =>
    this.#hear(["get", id, group, timeoutMs, after, key, request], (writer) => {
      if (request === undefined) writer.get(id, group, timeoutMs, after, key);
      else writer.getFor(id, group, timeoutMs, after, key, request);
    });
  onPeek: AskVisitor["onPeek"] = (id, group, timeoutMs, key) =>
    this.#hear(["peek", id, group, timeoutMs, key], (writer) => writer.peek(id, group, timeoutMs, key));
  onPush: AskVisitor["onPush"] = (id, group, entries, isWritten) => {
    const write = (writer: FrameWriter) => writer.push(id, group, entries, isWritten, NOW_MS);
    this.#hear(["push", id, group, entries, isWritten], write);
  };
  onCatchUp: AskVisitor["onCatchUp"] = (id, timeoutMs, label) =>
    this.#hear(["catchUp", id, timeoutMs, label], (writer) => writer.catchUp(id, timeoutMs, label));
  onProbe: AskVisitor["onProbe"] = (id) => this.#bare("probe", id);
  onIndirectProbe: AskVisitor["onIndirectProbe"] = (id, timeoutMs, name, incarnation) => {
    const write = (writer: FrameWriter) => writer.indirectProbe(id, timeoutMs, name, incarnation);
    this.#hear(["indirectProbe", id, timeoutMs, name, incarnation], write);
  };
  onCancel: AskVisitor["onCancel"] = (id) => this.#bare("cancel", id);
  onGroupAdded: AskVisitor["onGroupAdded"] = (group) =>
    this.#hear(["groupAdded", group], (writer) => writer.groupAdded(group));
  onGroupRemoved: AskVisitor["onGroupRemoved"] = (group) =>
    this.#hear(["groupRemoved", group], (writer) => writer.groupRemoved(group));
  onApplied: AskVisitor["onApplied"] = (label) => this.#hear(["applied", label], (writer) => writer.applied(label));
  onValue: ReplyVisitor["onValue"] = (id, value) =>
    this.#hear(["value", id, value], (writer) => writer.value(id, value, NOW_MS));
  onFailure: ReplyVisitor["onFailure"] = (id, code, detail) => {
    // What is no UTF-8 takes more bytes once it is read, and is cut when it is written.
    const write = (writer: FrameWriter) => writer.failure(id, code, detail);
    this.#hear(["failure", id, code, detail.slice(0, 300)], write);
  };
  onNothing: ReplyVisitor["onNothing"] = (id) => this.#bare("nothing", id);
  onProbed: ReplyVisitor["onProbed"] = (id) => this.#bare("probed", id);
  onIndirectProbed: ReplyVisitor["onIndirectProbed"] = (id, isAlive) =>
    this.#hear(["indirectProbed", id, isAlive], (writer) => writer.indirectProbed(id, isAlive));
  onTaken: ReplyVisitor["onTaken"] = (id, count) =>
    this.#hear(["taken", id, count], (writer) => writer.taken(id, count));
  onCaughtUp: ReplyVisitor["onCaughtUp"] = (id, label) =>
    this.#hear(["caughtUp", id, label], (writer) => writer.caughtUp(id, label));
  onParted: PieceVisitor["onParted"] = (transfer, type, id, bytes) =>
    this.#hear(["parted", transfer, type, id, bytes], (writer) => writer.parted(transfer, type, id, bytes));
  onPiece: PieceVisitor["onPiece"] = (transfer, piece) => {
    const kept = piece.slice();
    this.#hear(["piece", transfer, kept], (writer) => writer.piece(transfer, kept.subarray(0, 1), kept.subarray(1)));
  };
  onPieceTaken: PieceVisitor["onPieceTaken"] = (transfer) => this.#bare("pieceTaken", transfer);
  onDropped: PieceVisitor["onDropped"] = (transfer) => this.#bare("dropped", transfer);

  #bare(name: "probe" | "cancel" | "nothing" | "probed" | "pieceTaken" | "dropped", id: number): void {
    this.#hear([name, id], (writer) => writer.bare(MessageType[name], id));
  }

  #hear(said: readonly unknown[], write: Heard["write"]): void {
    this.heard.push({ said, write });
  }
}

const values: readonly Value[] = [
  valueOf("a definition", PLAIN),
  valueOf("", NOTHING_HERE),
  valueOf("<p>", {
    status: 200,
    fields: [["etag", '"1"'], ["cache-control", "max-age=60"], ["x-é".replace("é", "e"), "\xe9"]],
    etag: '"1"',
    selection: { names: ["accept", "accept-language"], says: "accept\u0001=a\u0002accept-language\u0001=de" },
    hasOwnLifetime: true,
    hasOwnStale: true,
    isPrivate: false,
    tags: ["page", "menü"],
  }),
  valueOf("x".repeat(300), { ...PLAIN, tags: "any", isPrivate: true, fields: [["vary", "accept"]] }),
];
const SPAN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const traces = [new Trace("01J0000000000000000000000", SPAN, "a=1,b@c=2"), new Trace("x"), new Trace(undefined, SPAN)];
const keys = ["apple", "a/b?c=1", "Äpfel 😀", "k".repeat(1_041)];

function valueOf(body: string, about: About): Value {
  return {
    body: utf8(body),
    contentType: body === "" ? "" : "text/plain; charset=utf-8",
    bornAtMs: -1_500,
    freshUntilMs: body === "" ? Infinity : 60_000,
    staleWhileRevalidateMs: 10,
    staleIfErrorMs: body === "<p>" ? Infinity : 0,
    loadMs: 45,
    about,
    label: body === "" ? BLIND : { epoch: 1_700_000_000_000_000, sequence: 7 },
  };
}

/** One message of each type and form. */
const writes: readonly ((writer: FrameWriter, dice?: Dice) => void)[] = [
  (writer, dice) => writer.get(idOf(dice), 1, 500, labelOf(dice), keyOf(dice)),
  (writer, dice) => writer.getFor(idOf(dice), 1, 500, labelOf(dice), keyOf(dice), { fields: [["accept", "text/*"]] }),
  (writer, dice) => writer.traced(idOf(dice), dice?.pick(traces) ?? traces[0]!),
  (writer, dice) => writer.peek(idOf(dice), 0xffff, 4_000_000_000, keyOf(dice)),
  (writer, dice) => writer.bare(MessageType.cancel, idOf(dice)),
  (writer, dice) => writer.bare(MessageType.nothing, idOf(dice)),
  (writer, dice) => writer.bare(MessageType.probe, idOf(dice)),
  (writer, dice) => writer.bare(MessageType.probed, idOf(dice)),
  (writer, dice) => writer.value(idOf(dice), dice?.pick(values) ?? values[2]!, NOW_MS),
  (writer) => writer.value(3, values[0]!, NOW_MS),
  (writer, dice) => writer.failure(idOf(dice), FailureCode.originFailed, "the origin failed: é"),
  (writer, dice) => writer.indirectProbe(idOf(dice), 250, "127-0-0-1-8000", "01J0000000000000000000000"),
  (writer, dice) => writer.indirectProbed(idOf(dice), true),
  (writer, dice) => writer.push(idOf(dice), 2, entriesOf(dice), dice?.isIn(0.5) ?? false, NOW_MS),
  (writer, dice) => writer.taken(idOf(dice), 2),
  (writer, dice) => writer.catchUp(idOf(dice), 250, labelOf(dice)),
  (writer, dice) => writer.caughtUp(idOf(dice), labelOf(dice)),
  (writer, dice) => writer.applied(labelOf(dice)),
  (writer, dice) => writer.groupAdded({ id: dice?.below(65_536) ?? 3, name: "dict", revision: 7, isEmpty: true }),
  (writer) => writer.groupRemoved(3),
  (writer, dice) => writer.parted(idOf(dice), MessageType.value, idOf(dice), 1 + (dice?.size(200_000) ?? 300)),
  (writer, dice) => writer.parted(idOf(dice), MessageType.push, idOf(dice), 1 + (dice?.size(200_000) ?? 300)),
  (writer, dice) => writer.piece(idOf(dice), utf8("head"), utf8("x".repeat(dice?.size(300) ?? 30))),
  (writer, dice) => writer.bare(MessageType.pieceTaken, idOf(dice)),
  (writer, dice) => writer.bare(MessageType.dropped, idOf(dice)),
];

function idOf(dice: Dice | undefined): number {
  return dice?.below(2 ** 32) ?? 5;
}

function labelOf(dice: Dice | undefined) {
  return dice === undefined ? { epoch: 1, sequence: 2 } : { epoch: dice.below(2 ** 53), sequence: dice.size(2_000) };
}

function keyOf(dice: Dice | undefined): string {
  return dice?.pick(keys) ?? keys[0]!;
}

function entriesOf(dice: Dice | undefined): Entry[] {
  if (dice === undefined) return values.map((value, i) => ({ key: keys[i]!, value }));
  return Array.from({ length: 1 + dice.size(20) }, () => ({ key: dice.pick(keys), value: dice.pick(values) }));
}

function frameOf(...messages: readonly ((writer: FrameWriter) => void)[]): Bytes {
  const writer = new FrameWriter();
  for (const write of messages) write(writer);
  return writer.take().slice();
}

/** Right frames; half of them with one byte changed within a message, so that all lengths stay right. */
function madeFrame(dice: Dice): Bytes {
  const messages = Array.from({ length: 1 + dice.size(6) }, () => dice.pick(writes));
  const frame = frameOf(...messages.map((write) => (writer: FrameWriter) => write(writer, dice)));
  if (dice.isIn(0.5)) frame[dice.below(frame.length)] = dice.below(256);
  return frame;
}

/** What was read is written and read again: it must be the same, and no node may take what it cannot pass on. */
function runFrame(frame: Bytes): boolean {
  const listener = new Listener();
  const reason = readFrame(frame, listener, listener, listener, NOW_MS);
  if (reason !== undefined) checkMessage(reason);
  if (listener.heard.length === 0) return reason === undefined;
  const written = frameOf(...listener.heard.map(({ write }) => write));
  const again = new Listener();
  assert.equal(readFrame(written, again, again, again, NOW_MS), undefined);
  assert.deepEqual(again.heard.map(({ said }) => said), listener.heard.map(({ said }) => said));
  return reason === undefined;
}

const greeting: Greeting = {
  protocol: PROTOCOL,
  name: "127-0-0-1-8000",
  incarnation: "01J0000000000000000000000",
  expects: "01J1111111111111111111111",
  groups: [{ id: 0, name: "dict", revision: 7 }, { id: 1, name: "site", revision: 9, isEmpty: true }],
};

/** The greeting as the reader of frames wants it: type, no id, length. */
function asFrame(type: number, payload: Bytes): Bytes {
  const frame = new Uint8Array(HEADER_BYTES + payload.length);
  frame[0] = type;
  new DataView(frame.buffer).setUint32(5, payload.length, true);
  frame.set(payload, HEADER_BYTES);
  return frame;
}

function runGreeting(input: Bytes): boolean {
  // As a frame it has the form of one or it has not; as its content it always has.
  for (const frame of [input, undefined]) {
    for (const read of [readHello(frame, PROTOCOL), readAnswer(frame, PROTOCOL)]) {
      if (isRefusal(read)) checkRefusal(read);
    }
  }
  const hello = readHello(asFrame(MessageType.hello, input), PROTOCOL);
  assert.equal(JSON.stringify(readAnswer(asFrame(MessageType.welcome, input), PROTOCOL)), JSON.stringify(hello));
  checkRefusal(readAnswer(asFrame(MessageType.refuse, input), PROTOCOL) as Refusal);
  if (isRefusal(hello)) {
    checkRefusal(hello);
    return false;
  }
  checkGreeting(hello);
  return true;
}

function checkRefusal({ code, detail }: Refusal): void {
  assert.ok(code.length <= 32);
  assert.ok(detail.length <= 512);
}

function checkGreeting({ version, ...rest }: PeerGreeting): void {
  assert.ok(version >= PROTOCOL.min && version <= PROTOCOL.max);
  const writer = new FrameWriter();
  // Numbers such as 1e15 are longer when they are written again.
  if (tried(() => writer.greeting(MessageType.hello, rest), RangeError) === undefined) return;
  // As text, in which -0 is 0.
  assert.equal(JSON.stringify(readHello(writer.take().slice(), PROTOCOL)), JSON.stringify({ ...rest, version }));
}

export const wireTargets: readonly Target[] = [
  {
    name: "frames",
    seeds: [...writes.map((write) => frameOf(write)), frameOf(...writes)],
    tokens: [
      "\x04",
      "\x06",
      "\x16",
      '{"status":200}',
      '[["a","b"]]',
      '{"status":404,"tags":["a"]}',
      "dict",
      "é",
      "\ufeff",
    ],
    make: madeFrame,
    run: runFrame,
  },
  {
    name: "greetings",
    seeds: [
      json(greeting),
      json({ ...greeting, protocol: 1 }),
      json({ ...greeting, protocol: { min: 1, max: 99 }, more: true }),
      json({ ...greeting, groups: Array.from({ length: 30 }, (_, id) => ({ id, name: `group${id}`, revision: id })) }),
      json({ code: "stranger", detail: "the roster does not list it" }),
      frameOf((writer) => writer.greeting(MessageType.hello, greeting)),
      frameOf((writer) => writer.greeting(MessageType.refuse, { code: "malformed", detail: "no greeting" })),
    ],
    tokens: ["protocol", "min", "max", "name", "groups", "id", "revision", "isEmpty", "code", "detail", "expects"],
    isJson: true,
    run: runGreeting,
  },
];
