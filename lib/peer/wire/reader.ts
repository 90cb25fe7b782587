/** Reads the frames that writer.ts writes; the layout stands in frames.ts. */
import {
  MAX_BODY_BYTES,
  MAX_CONTENT_TYPE_BYTES,
  MAX_FRAME_BYTES,
  MAX_KEY_BYTES,
  MAX_NAME_UNITS,
} from "../../core/base/limits.ts";
import { decodeContentType, decodeText } from "./text.ts";
import {
  type AskVisitor,
  ENTRY_HEAD_BYTES,
  type FailureCode,
  GET_HEAD_BYTES,
  GROUP_ADDED_HEAD_BYTES,
  HEADER_BYTES,
  INDIRECT_PROBE_HEAD_BYTES,
  LAST_FAILURE_CODE,
  MAX_DETAIL_BYTES,
  MAX_ENTRIES,
  MAX_GREETING_BYTES,
  MAX_PUSH_BYTES,
  MessageType,
  PUSH_HEAD_BYTES,
  type PushedEntry,
  type ReplyVisitor,
  VALUE_HEAD_BYTES,
} from "./frames.ts";

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const lenientDecoder = new TextDecoder();

/**
 * Reads a frame of a connection on which both ends have greeted, calling the visitors message by message. Never throws,
 * whatever the bytes.
 *
 * @returns why the connection must be closed, or nothing
 */
export function readFrame(
  bytes: Uint8Array<ArrayBuffer>,
  asks: AskVisitor,
  replies: ReplyVisitor,
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
    const reason = readMessage(bytes, view, type, id, start, end, asks, replies);
    if (reason !== undefined) return reason;
    at = end;
  }
  return undefined;
}

/**
 * The one message of a first frame: a hello, a welcome or a refusal. Never throws.
 *
 * @returns the message, or why there is none
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
    return "malformed greeting: no JSON";
  }
}

/** The messages that a busy connection is full of come first. */
function readMessage(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  type: number,
  id: number,
  start: number,
  end: number,
  asks: AskVisitor,
  replies: ReplyVisitor,
): string | undefined {
  switch (type) {
    case MessageType.get:
    case MessageType.peek:
      return readKeyed(bytes, view, type, id, start, end, asks);
    case MessageType.value:
      return readValue(bytes, view, id, start, end, replies);
    case MessageType.failure:
      return readFailure(bytes, id, start, end, replies);
    case MessageType.push:
      return readPush(bytes, view, id, start, end, asks);
    case MessageType.indirectProbe:
      return readIndirectProbe(bytes, view, id, start, end, asks);
    case MessageType.groupAdded:
      return readGroupAdded(bytes, view, start, end, asks);
    case MessageType.hello:
    case MessageType.welcome:
    case MessageType.refuse:
      return "malformed frame: a second greeting";
    default:
      return readSmall(view, type, id, start, end - start, asks, replies);
  }
}

/** The messages of a fixed size. */
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
    case MessageType.groupRemoved:
      return (length !== 2 ? "malformed groupRemoved" : asks.onGroupRemoved(view.getUint16(start, true))) ?? undefined;
    default:
      return `malformed frame: unknown message type ${type}`;
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

function readKeyed(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  type: number,
  id: number,
  start: number,
  end: number,
  asks: AskVisitor,
): string | undefined {
  const isGet = type === MessageType.get;
  const keyStart = start + GET_HEAD_BYTES;
  if (end <= keyStart || end - keyStart > MAX_KEY_BYTES) return isGet ? "malformed get" : "malformed peek";
  const key = decodeText(bytes, keyStart, end);
  if (key === undefined) return `malformed ${isGet ? "get" : "peek"}: the key is not UTF-8`;
  const group = view.getUint16(start, true);
  const timeoutMs = view.getUint32(start + 2, true);
  return (isGet ? asks.onGet(id, group, timeoutMs, key) : asks.onPeek(id, group, timeoutMs, key)) ?? undefined;
}

function readValue(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  id: number,
  start: number,
  end: number,
  replies: ReplyVisitor,
): string | undefined {
  const typeStart = start + VALUE_HEAD_BYTES;
  if (end < typeStart) return "malformed value";
  const ageMs = view.getFloat64(start, true);
  const ttlLeftMs = view.getFloat64(start + 8, true);
  const bodyStart = typeStart + view.getUint16(start + 16, true);
  if (!(ageMs >= 0 && ageMs < Infinity && ttlLeftMs >= 0) || bodyStart > end || end - bodyStart > MAX_BODY_BYTES) {
    return "malformed value";
  }
  if (bodyStart - typeStart > MAX_CONTENT_TYPE_BYTES) return "malformed value: the content type is too long";
  const contentType = decodeContentType(bytes, typeStart, bodyStart);
  if (contentType === undefined) return "malformed value: the content type is not UTF-8";
  return replies.onValue(id, ageMs, ttlLeftMs, contentType, bytes.subarray(bodyStart, end)) ?? undefined;
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

/** Reads all entries before the visitor sees one: a push is good as a whole, or not at all. */
function readPush(
  bytes: Uint8Array<ArrayBuffer>,
  view: DataView,
  id: number,
  start: number,
  end: number,
  asks: AskVisitor,
): string | undefined {
  if (end - start < PUSH_HEAD_BYTES || end - start > MAX_PUSH_BYTES) return "malformed push";
  const count = view.getUint16(start + 2, true);
  if (count < 1 || count > MAX_ENTRIES) return `malformed push: not 1 to ${MAX_ENTRIES} entries`;
  const entries: PushedEntry[] = [];
  let at = start + PUSH_HEAD_BYTES;
  for (let i = 0; i < count; i++) {
    if (end - at < ENTRY_HEAD_BYTES) return "malformed push: fewer entries than it says";
    const ageMs = view.getFloat64(at, true);
    const ttlLeftMs = view.getFloat64(at + 8, true);
    const keyBytes = view.getUint16(at + 16, true);
    const typeBytes = view.getUint16(at + 18, true);
    const bodyBytes = view.getUint32(at + 20, true);
    const keyStart = at + ENTRY_HEAD_BYTES;
    at = keyStart + keyBytes + typeBytes + bodyBytes;
    if (!(ageMs >= 0 && ageMs < Infinity && ttlLeftMs >= 0)) return "malformed push: times out of bounds";
    if (keyBytes < 1 || keyBytes > MAX_KEY_BYTES || typeBytes > MAX_CONTENT_TYPE_BYTES || bodyBytes > MAX_BODY_BYTES) {
      return "malformed push: lengths out of bounds";
    }
    if (at > end) return "malformed push: an entry longer than its message";
    const typeStart = keyStart + keyBytes;
    const key = decodeText(bytes, keyStart, typeStart);
    const contentType = decodeContentType(bytes, typeStart, typeStart + typeBytes);
    if (key === undefined || contentType === undefined) return "malformed push: a text is not UTF-8";
    entries.push({ key, ageMs, ttlLeftMs, contentType, body: bytes.slice(typeStart + typeBytes, at) });
  }
  if (at !== end) return "malformed push: more bytes than entries";
  return asks.onPush(id, view.getUint16(start, true), entries) ?? undefined;
}
