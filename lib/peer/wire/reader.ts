/** Reads the frames that writer.ts writes; frames.ts describes the layout. */
import { MAX_BODY_BYTES, MAX_CONTENT_TYPE_BYTES, MAX_FRAME_BYTES, MAX_NAME_UNITS } from "../../core/base/limits.ts";
import type { Entry } from "../../core/ports.ts";
import { traceIn } from "../../core/semantics/trace-context.ts";
import type { Value } from "../../core/value.ts";
import { decodeAbout, decodeFields, MAX_ABOUT_BYTES } from "./about.ts";
import { readLabel } from "./labels.ts";
import { decodeContentType, decodeText } from "./text.ts";
import {
  type AskVisitor,
  CATCH_UP_BYTES,
  ENTRY_HEAD_BYTES,
  type FailureCode,
  FIRST_OPTIONAL_TYPE,
  GET_FOR_HEAD_BYTES,
  GET_HEAD_BYTES,
  GROUP_ADDED_HEAD_BYTES,
  HEADER_BYTES,
  INDIRECT_PROBE_HEAD_BYTES,
  LABEL_BYTES,
  LAST_FAILURE_CODE,
  LENGTHS_AT_BYTES,
  MAX_CACHE_KEY_BYTES,
  MAX_DETAIL_BYTES,
  MAX_ENTRIES,
  MAX_GREETING_BYTES,
  MAX_PIECE_BYTES,
  MAX_PUSH_BYTES,
  MAX_SPAN_MS,
  MAX_TRACE_BYTES,
  MessageType,
  PARTED_BYTES,
  type PartedType,
  PEEK_HEAD_BYTES,
  type PieceVisitor,
  PUSH_HEAD_BYTES,
  type ReplyVisitor,
  TIMES_BYTES,
  VALUE_HEAD_BYTES,
} from "./frames.ts";

/** The longest payload of a value. */
const MAX_VALUE_BYTES = VALUE_HEAD_BYTES + MAX_CONTENT_TYPE_BYTES + MAX_ABOUT_BYTES + MAX_BODY_BYTES;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenientDecoder = new TextDecoder();

/**
 * Reads a frame of a connection on which both ends have greeted, and calls the visitors for each message. Never throws,
 * whatever the bytes.
 *
 * @param nowMs by the clock for the times of values
 * @returns why the connection must be closed, or nothing
 */
export function readFrame(
  bytes: Uint8Array<ArrayBuffer>,
  asks: AskVisitor,
  replies: ReplyVisitor,
  pieces: PieceVisitor,
  nowMs: number,
): string | undefined {
  const total = bytes.length;
  if (total === 0) return "malformed frame: empty";
  if (total > MAX_FRAME_BYTES) return `malformed frame: over ${MAX_FRAME_BYTES} bytes`;
  const view = new DataView(bytes.buffer, bytes.byteOffset, total);
  let at = 0;
  while (at < total) {
    if (total - at < HEADER_BYTES) return "malformed frame: half a header";
    const length = view.getUint32(at + 5, true);
    const start = at + HEADER_BYTES;
    const end = start + length;
    if (length > total - start) return "malformed frame: a message longer than its frame";
    const type = bytes[at]!;
    const id = view.getUint32(at + 1, true);
    const reason = readMessage(bytes, view, type, id, start, end, asks, replies, pieces, nowMs);
    if (reason !== undefined) return reason;
    at = end;
  }
  return undefined;
}

/**
 * Reads a value or a push that came in pieces, and calls the visitor of its kind. Never throws.
 *
 * @param payload in its own memory, which a value's body keeps alive
 * @param nowMs when the message began to arrive, by the clock for the times of values
 * @returns why the connection must be closed, or nothing
 */
export function readWhole(
  type: PartedType,
  id: number,
  payload: Uint8Array<ArrayBuffer>,
  asks: AskVisitor,
  replies: ReplyVisitor,
  nowMs: number,
): string | undefined {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  if (type === MessageType.push) return readPush(payload, view, id, 0, payload.length, asks, nowMs);
  return readValue(payload, view, id, 0, payload.length, replies, nowMs);
}

/**
 * Reads the only message of a first frame: a hello, a welcome or a refusal. Never throws.
 *
 * @returns the message, or why it is none
 */
export function readGreeting(bytes: Uint8Array<ArrayBuffer>): { type: number; json: unknown } | string {
  const [type] = bytes;
  if (type !== MessageType.hello && type !== MessageType.welcome && type !== MessageType.refuse) {
    return "no greeting in the first frame";
  }
  const length = bytes.length - HEADER_BYTES;
  if (length < 0 || length > MAX_GREETING_BYTES) return "malformed greeting";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.getUint32(5, true) !== length) return "malformed greeting";
  try {
    return { type, json: JSON.parse(decoder.decode(bytes.subarray(HEADER_BYTES))) };
  } catch {
    return "malformed greeting: not JSON";
  }
}

/** Reads one message. The most frequent types come first. */
function readMessage(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  type: number,
  id: number,
  start: number,
  end: number,
  asks: AskVisitor,
  replies: ReplyVisitor,
  pieces: PieceVisitor,
  nowMs: number,
): string | undefined {
  switch (type) {
    case MessageType.get:
      return readGet(bytes, view, id, start, end, asks);
    case MessageType.value:
      return readValue(bytes, view, id, start, end, replies, nowMs);
    case MessageType.failure:
      return readFailure(bytes, id, start, end, replies);
    case MessageType.peek:
      return readPeek(bytes, view, id, start, end, asks);
    case MessageType.push:
      return readPush(bytes, view, id, start, end, asks, nowMs);
    case MessageType.getFor:
      return readGetFor(bytes, view, id, start, end, asks);
    case MessageType.indirectProbe:
      return readIndirectProbe(bytes, view, id, start, end, asks);
    case MessageType.groupAdded:
      return readGroupAdded(bytes, view, start, end, asks);
    case MessageType.traced:
      return readTraced(bytes, id, start, end, asks);
    case MessageType.parted:
    case MessageType.piece:
    case MessageType.pieceTaken:
    case MessageType.dropped:
      return readPiece(bytes, view, type, id, start, end, pieces);
    case MessageType.hello:
    case MessageType.welcome:
    case MessageType.refuse:
      return "malformed frame: a second greeting";
    default:
      return readSmall(view, type, id, start, end - start, asks, replies);
  }
}

/** Reads the parts of a message in pieces. */
function readPiece(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  type: number,
  transfer: number,
  start: number,
  end: number,
  pieces: PieceVisitor,
): string | undefined {
  const length = end - start;
  switch (type) {
    case MessageType.parted: {
      if (length !== PARTED_BYTES) return "malformed parted";
      const parted = bytes[start]!;
      if (parted !== MessageType.value && parted !== MessageType.push) return "malformed parted: of no such message";
      const total = view.getUint32(start + 5, true);
      const mostBytes = parted === MessageType.push ? MAX_PUSH_BYTES : MAX_VALUE_BYTES;
      if (total < 1 || total > mostBytes) return "malformed parted: the length is out of bounds";
      return pieces.onParted(transfer, parted, view.getUint32(start + 1, true), total) ?? undefined;
    }
    case MessageType.piece:
      if (length < 1 || length > MAX_PIECE_BYTES) return "malformed piece: the length is out of bounds";
      return pieces.onPiece(transfer, bytes.subarray(start, end)) ?? undefined;
    case MessageType.pieceTaken:
      return (length > 0 ? "malformed pieceTaken" : pieces.onPieceTaken(transfer)) ?? undefined;
    default:
      return (length > 0 ? "malformed dropped" : pieces.onDropped(transfer)) ?? undefined;
  }
}

/** Reads the messages of a fixed size. */
function readSmall(
  view: DataView,
  type: number,
  id: number,
  start: number,
  length: number,
  asks: AskVisitor,
  replies: ReplyVisitor,
): string | undefined {
  switch (type) {
    case MessageType.cancel:
      return (length > 0 ? "malformed cancel" : asks.onCancel(id)) ?? undefined;
    case MessageType.nothing:
      return (length > 0 ? "malformed nothing" : replies.onNothing(id)) ?? undefined;
    case MessageType.probe:
      return (length > 0 ? "malformed probe" : asks.onProbe(id)) ?? undefined;
    case MessageType.probed:
      return (length > 0 ? "malformed probed" : replies.onProbed(id)) ?? undefined;
    case MessageType.indirectProbed: {
      if (length !== 1 || view.getUint8(start) > 1) return "malformed indirectProbed";
      return replies.onIndirectProbed(id, view.getUint8(start) === 1) ?? undefined;
    }
    case MessageType.taken:
      return (length !== 4 ? "malformed taken" : replies.onTaken(id, view.getUint32(start, true))) ?? undefined;
    case MessageType.catchUp: {
      const label = length === CATCH_UP_BYTES ? readLabel(view, start + 4) : undefined;
      if (label === undefined) return "malformed catchUp";
      return asks.onCatchUp(id, view.getUint32(start, true), label) ?? undefined;
    }
    case MessageType.caughtUp: {
      const label = length === LABEL_BYTES ? readLabel(view, start) : undefined;
      return (label === undefined ? "malformed caughtUp" : replies.onCaughtUp(id, label)) ?? undefined;
    }
    case MessageType.applied: {
      const label = length === LABEL_BYTES ? readLabel(view, start) : undefined;
      return (label === undefined ? "malformed applied" : asks.onApplied(label)) ?? undefined;
    }
    case MessageType.groupRemoved:
      return (length !== 2 ? "malformed groupRemoved" : asks.onGroupRemoved(view.getUint16(start, true))) ?? undefined;
    default:
      // A later release may send it. No peer of version 4 does, so the agreed version need not be checked.
      return type >= FIRST_OPTIONAL_TYPE ? undefined : `malformed frame: unknown message type ${type}`;
  }
}

function readGroupAdded(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  start: number,
  end: number,
  asks: AskVisitor,
): string | undefined {
  const nameStart = start + GROUP_ADDED_HEAD_BYTES;
  if (end < nameStart || end - nameStart > 3 * MAX_NAME_UNITS) return "malformed groupAdded";
  const emptyByte = bytes[start + 2]!;
  const revision = view.getFloat64(start + 3, true);
  if (emptyByte > 1 || !Number.isSafeInteger(revision) || revision < 0) return "malformed groupAdded";
  const name = decodeText(bytes, nameStart, end);
  if (!isName(name)) return "malformed groupAdded: no name";
  return asks.onGroupAdded({ id: view.getUint16(start, true), name, revision, isEmpty: emptyByte === 1 }) ?? undefined;
}

/** A bad trace counts as none. It is no reason to close the connection. */
function readTraced(
  bytes: Uint8Array<ArrayBuffer>,
  id: number,
  start: number,
  end: number,
  asks: AskVisitor,
): string | undefined {
  if (end - start > MAX_TRACE_BYTES) return "malformed traced";
  const [requestId, traceparent, tracestate] = lenientDecoder.decode(bytes.subarray(start, end)).split("\n");
  return asks.onTraced(id, traceIn(requestId, traceparent || undefined, tracestate)) ?? undefined;
}

function readFailure(
  bytes: Uint8Array<ArrayBuffer>,
  id: number,
  start: number,
  end: number,
  replies: ReplyVisitor,
): string | undefined {
  const code = bytes[start]!;
  if (end === start || end - start > 1 + MAX_DETAIL_BYTES || code < 1 || code > LAST_FAILURE_CODE) {
    return "malformed failure";
  }
  const detail = lenientDecoder.decode(bytes.subarray(start + 1, end));
  return replies.onFailure(id, code as FailureCode, detail) ?? undefined;
}

function readGet(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  id: number,
  start: number,
  end: number,
  asks: AskVisitor,
): string | undefined {
  const keyStart = start + GET_HEAD_BYTES;
  if (end <= keyStart || end - keyStart > MAX_CACHE_KEY_BYTES) return "malformed get";
  const after = readLabel(view, start + 6);
  if (after === undefined) return "malformed get: no label";
  const key = decodeText(bytes, keyStart, end);
  if (key === undefined) return "malformed get: the key is not UTF-8";
  return asks.onGet(id, view.getUint16(start, true), view.getUint32(start + 2, true), after, key) ?? undefined;
}

function readPeek(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  id: number,
  start: number,
  end: number,
  asks: AskVisitor,
): string | undefined {
  const keyStart = start + PEEK_HEAD_BYTES;
  if (end <= keyStart || end - keyStart > MAX_CACHE_KEY_BYTES) return "malformed peek";
  const key = decodeText(bytes, keyStart, end);
  if (key === undefined) return "malformed peek: the key is not UTF-8";
  return asks.onPeek(id, view.getUint16(start, true), view.getUint32(start + 2, true), key) ?? undefined;
}

function readGetFor(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  id: number,
  start: number,
  end: number,
  asks: AskVisitor,
): string | undefined {
  const keyStart = start + GET_FOR_HEAD_BYTES;
  if (end <= keyStart) return "malformed getFor";
  const after = readLabel(view, start + 6);
  if (after === undefined) return "malformed getFor: no label";
  const keyBytes = view.getUint16(start + GET_HEAD_BYTES, true);
  const keyEnd = keyStart + keyBytes;
  if (keyBytes < 1 || keyBytes > MAX_CACHE_KEY_BYTES || keyEnd > end) return "malformed getFor";
  const key = decodeText(bytes, keyStart, keyEnd);
  if (key === undefined) return "malformed getFor: the key is not UTF-8";
  const fields = decodeFields(bytes, keyEnd, end);
  if (fields === undefined) return "malformed getFor: fields that no node writes";
  const group = view.getUint16(start, true);
  return asks.onGet(id, group, view.getUint32(start + 2, true), after, key, { fields }) ?? undefined;
}

function readValue(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  id: number,
  start: number,
  end: number,
  replies: ReplyVisitor,
  nowMs: number,
): string | undefined {
  const typeAt = start + VALUE_HEAD_BYTES;
  if (end < typeAt) return "malformed value";
  const typeBytes = view.getUint16(start + LENGTHS_AT_BYTES, true);
  const aboutBytes = view.getUint32(start + LENGTHS_AT_BYTES + 2, true);
  const aboutAt = typeAt + typeBytes;
  const bodyAt = aboutAt + aboutBytes;
  if (typeBytes > MAX_CONTENT_TYPE_BYTES) return "malformed value: the content type is too long";
  if (aboutBytes > MAX_ABOUT_BYTES || bodyAt > end || end - bodyAt > MAX_BODY_BYTES) return "malformed value";
  const value = valueAt(bytes, view, start, typeAt, aboutAt, bodyAt, end, false, nowMs);
  if (typeof value === "string") return `malformed value: ${value}`;
  return replies.onValue(id, value) ?? undefined;
}

/**
 * The parts are back to back within the frame, and none is too long. Many arguments and one object, as this runs for
 * each reply of a peer.
 *
 * @returns the value, or why it is malformed
 */
function valueAt(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  timesAt: number,
  typeAt: number,
  aboutAt: number,
  bodyAt: number,
  bodyEnd: number,
  isCopied: boolean,
  nowMs: number,
): Value | string {
  const ageMs = view.getFloat64(timesAt, true);
  const freshMs = view.getFloat64(timesAt + 8, true);
  const staleWhileRevalidateMs = view.getFloat64(timesAt + 16, true);
  const staleIfErrorMs = view.getFloat64(timesAt + 24, true);
  if (
    !(ageMs <= MAX_SPAN_MS) || !isSpan(ageMs, 0) || !isSpan(freshMs, -MAX_SPAN_MS) ||
    !isSpan(staleWhileRevalidateMs, 0) || !isSpan(staleIfErrorMs, 0)
  ) return "times out of bounds";
  const label = readLabel(view, timesAt + TIMES_BYTES);
  if (label === undefined) return "no label";
  const contentType = decodeContentType(bytes, typeAt, aboutAt);
  if (contentType === undefined) return "the content type is not allowed in a header";
  const about = decodeAbout(bytes, aboutAt, bodyAt);
  if (about === undefined) return "status, fields or tags are not as nodes write them";
  return {
    body: isCopied ? bytes.slice(bodyAt, bodyEnd) : bytes.subarray(bodyAt, bodyEnd),
    contentType,
    loadMs: view.getUint32(timesAt + 32, true),
    about,
    bornAtMs: nowMs - ageMs,
    freshUntilMs: nowMs + freshMs,
    staleWhileRevalidateMs,
    staleIfErrorMs,
    label,
  };
}

function isSpan(ms: number, leastMs: number): boolean {
  return ms >= leastMs && (ms <= MAX_SPAN_MS || ms === Infinity);
}

function readIndirectProbe(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  id: number,
  start: number,
  end: number,
  asks: AskVisitor,
): string | undefined {
  const nameStart = start + INDIRECT_PROBE_HEAD_BYTES;
  if (end < nameStart || end - nameStart > 2 * 3 * MAX_NAME_UNITS) return "malformed indirectProbe";
  const nameEnd = nameStart + view.getUint16(start + 4, true);
  if (nameEnd > end) return "malformed indirectProbe";
  const name = decodeText(bytes, nameStart, nameEnd);
  const incarnation = decodeText(bytes, nameEnd, end);
  if (!isName(name) || !isName(incarnation)) return "malformed indirectProbe: no name or no incarnation";
  return asks.onIndirectProbe(id, view.getUint32(start, true), name, incarnation) ?? undefined;
}

function isName(text: string | undefined): text is string {
  return text !== undefined && text.length > 0 && text.length <= MAX_NAME_UNITS;
}

/** Reads all entries before the visitor gets one, as a push is valid as a whole or not at all. */
function readPush(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  id: number,
  start: number,
  end: number,
  asks: AskVisitor,
  nowMs: number,
): string | undefined {
  if (end - start < PUSH_HEAD_BYTES || end - start > MAX_PUSH_BYTES) return "malformed push";
  const writtenByte = bytes[start + 2]!;
  if (writtenByte > 1) return "malformed push";
  const count = view.getUint16(start + 3, true);
  if (count < 1 || count > MAX_ENTRIES) return `malformed push: not 1 to ${MAX_ENTRIES} entries`;
  const entries: Entry[] = [];
  let at = start + PUSH_HEAD_BYTES;
  for (let i = 0; i < count; i++) {
    const timesAt = at;
    if (end - timesAt < ENTRY_HEAD_BYTES) return "malformed push: fewer entries than it says";
    const lengthsAt = timesAt + LENGTHS_AT_BYTES;
    const keyBytes = view.getUint16(lengthsAt, true);
    const typeBytes = view.getUint16(lengthsAt + 2, true);
    const aboutBytes = view.getUint32(lengthsAt + 4, true);
    const bodyBytes = view.getUint32(lengthsAt + 8, true);
    const keyAt = timesAt + ENTRY_HEAD_BYTES;
    const typeAt = keyAt + keyBytes;
    const aboutAt = typeAt + typeBytes;
    const bodyAt = aboutAt + aboutBytes;
    at = bodyAt + bodyBytes;
    if (
      keyBytes < 1 || keyBytes > MAX_CACHE_KEY_BYTES || typeBytes > MAX_CONTENT_TYPE_BYTES ||
      aboutBytes > MAX_ABOUT_BYTES || bodyBytes > MAX_BODY_BYTES
    ) return "malformed push: lengths out of bounds";
    if (at > end) return "malformed push: an entry longer than its message";
    const key = decodeText(bytes, keyAt, typeAt);
    if (key === undefined) return "malformed push: the key is not UTF-8";
    const value = valueAt(bytes, view, timesAt, typeAt, aboutAt, bodyAt, at, true, nowMs);
    if (typeof value === "string") return `malformed push: ${value}`;
    entries.push({ key, value });
  }
  if (at !== end) return "malformed push: more bytes than entries";
  return asks.onPush(id, view.getUint16(start, true), entries, writtenByte === 1) ?? undefined;
}
