import { MAX_BODY_BYTES, MAX_CONTENT_TYPE_BYTES, MAX_NAME_UNITS } from "../../core/base/limits.ts";
import { isFieldValue } from "../../core/semantics/fields.ts";
import { BadKeyError, PassThroughError } from "../../core/errors.ts";
import type { Trace } from "../../core/base/trace.ts";
import type { Label } from "../../core/invalidation/label.ts";
import type { Entry, RequestHead } from "../../core/ports.ts";
import type { About, Value } from "../../core/value.ts";
import { encodeAbout, encodeFields } from "./about.ts";
import { writeLabel } from "./labels.ts";
import {
  type BareType,
  CATCH_UP_BYTES,
  ENTRY_HEAD_BYTES,
  type FailureCode,
  GET_FOR_HEAD_BYTES,
  GET_HEAD_BYTES,
  GROUP_ADDED_HEAD_BYTES,
  type GroupNews,
  HEADER_BYTES,
  INDIRECT_PROBE_HEAD_BYTES,
  LABEL_BYTES,
  LENGTHS_AT_BYTES,
  MAX_CACHE_KEY_BYTES,
  MAX_DETAIL_BYTES,
  MAX_ENTRIES,
  MAX_GREETING_BYTES,
  MAX_PUSH_BYTES,
  MAX_SPAN_MS,
  MessageType,
  PARTED_BYTES,
  type PartedType,
  PEEK_HEAD_BYTES,
  PUSH_HEAD_BYTES,
  TIMES_BYTES,
  VALUE_HEAD_BYTES,
} from "./frames.ts";

/** Chosen: enough for a greeting or a few asks; most links of a large cluster never send more. It doubles on demand. */
const INITIAL_CAPACITY_BYTES = 512;
/** If a batch grew beyond this, its memory is released after sending. Chosen. */
const KEPT_CAPACITY_BYTES = 1024 * 1024;
const MAX_U32 = 0xffff_ffff;

const encoder = new TextEncoder();
const NOTHING = new Uint8Array(0);

/** The payload of a message in pieces: the part before the body, and the body itself without a copy. */
export interface Payload {
  readonly head: Uint8Array<ArrayBuffer>;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** Collects messages into one frame, in memory that the next frame reuses. */
export class FrameWriter {
  #bytes = new Uint8Array(INITIAL_CAPACITY_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  /** The last encoded content type. Values share few of them, one string each, so the same one is not encoded again. */
  #contentType = "";
  #contentTypeBytes: Uint8Array<ArrayBuffer> = new Uint8Array(0);

  /** Bytes written since the last `take`. */
  get length(): number {
    return this.#length;
  }

  /** The frame so far, valid until the next write. The sender must copy it, as WebSocket's `send` does. */
  take(): Uint8Array<ArrayBuffer> {
    const frame = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    if (this.#bytes.length > KEPT_CAPACITY_BYTES) {
      this.#bytes = new Uint8Array(INITIAL_CAPACITY_BYTES);
      this.#view = new DataView(this.#bytes.buffer);
    }
    return frame;
  }

  /** @throws RangeError it is longer than MAX_GREETING_BYTES */
  greeting(type: number, json: unknown): void {
    const text = encoder.encode(JSON.stringify(json));
    if (text.length > MAX_GREETING_BYTES) {
      throw new RangeError(
        `Cannot greet as a greeting has at most ${MAX_GREETING_BYTES} bytes: this has ${text.length}`,
      );
    }
    this.#reserve(text.length);
    this.#bytes.set(text, this.#length + HEADER_BYTES);
    this.#finish(type, 0, text.length);
  }

  /**
   * @throws BadKeyError the key is empty, too long or not well-formed; RangeError the label's numbers are not whole or
   * are below 0. Then nothing was written
   */
  get(id: number, group: number, timeoutMs: number, after: Label, key: string): void {
    // A unit of UTF-16 is at most three bytes of UTF-8.
    this.#reserve(GET_HEAD_BYTES + Math.min(key.length, MAX_CACHE_KEY_BYTES) * 3);
    const start = this.#length + HEADER_BYTES;
    const keyBytes = this.#writeKey(start + GET_HEAD_BYTES, key);
    this.#view.setUint16(start, group, true);
    this.#view.setUint32(start + 2, wholeMs(timeoutMs), true);
    writeLabel(this.#view, start + 6, after);
    this.#finish(MessageType.get, id, GET_HEAD_BYTES + keyBytes);
  }

  /** @throws BadKeyError as `get`; then nothing was written */
  peek(id: number, group: number, timeoutMs: number, key: string): void {
    this.#reserve(PEEK_HEAD_BYTES + Math.min(key.length, MAX_CACHE_KEY_BYTES) * 3);
    const start = this.#length + HEADER_BYTES;
    const keyBytes = this.#writeKey(start + PEEK_HEAD_BYTES, key);
    this.#view.setUint16(start, group, true);
    this.#view.setUint32(start + 2, wholeMs(timeoutMs), true);
    this.#finish(MessageType.peek, id, PEEK_HEAD_BYTES + keyBytes);
  }

  /**
   * A get with the header fields of the client's request.
   *
   * @throws BadKeyError, RangeError as `get`; PassThroughError the fields cannot be sent. Then nothing was written
   */
  getFor(id: number, group: number, timeoutMs: number, after: Label, key: string, { fields }: RequestHead): void {
    const said = encodeFields(fields);
    if (said === undefined) throw new PassThroughError("the request has header fields that peers do not take");
    this.#reserve(GET_FOR_HEAD_BYTES + Math.min(key.length, MAX_CACHE_KEY_BYTES) * 3 + said.length);
    const start = this.#length + HEADER_BYTES;
    const keyStart = start + GET_FOR_HEAD_BYTES;
    const keyBytes = this.#writeKey(keyStart, key);
    this.#view.setUint16(start, group, true);
    this.#view.setUint32(start + 2, wholeMs(timeoutMs), true);
    writeLabel(this.#view, start + 6, after);
    this.#view.setUint16(start + GET_HEAD_BYTES, keyBytes, true);
    this.#bytes.set(said, keyStart + keyBytes);
    this.#finish(MessageType.getFor, id, GET_FOR_HEAD_BYTES + keyBytes + said.length);
  }

  /** @param trace as core/semantics/trace-context.ts accepts it, so it is short and ASCII */
  traced(id: number, { requestId = "", traceparent = "", tracestate = "" }: Trace): void {
    const text = encoder.encode(`${requestId}\n${traceparent}\n${tracestate}`);
    this.#reserve(text.length);
    this.#bytes.set(text, this.#length + HEADER_BYTES);
    this.#finish(MessageType.traced, id, text.length);
  }

  /** A message without a payload. */
  bare(type: BareType, id: number): void {
    this.#reserve(0);
    this.#finish(type, id, 0);
  }

  /**
   * @param nowMs by the clock of the value's times
   * @throws RangeError the value does not fit into a frame, or its times or its label cannot be sent; PassThroughError
   * its header fields or tags cannot be sent. Then nothing was written
   */
  value(id: number, value: Value, nowMs: number): void {
    const type = this.#encodeContentType(value.contentType);
    const about = aboutBytes(value.about);
    const body = value.body;
    checkSizes(body.length, type.length);
    const payloadBytes = VALUE_HEAD_BYTES + type.length + about.length + body.length;
    this.#reserve(payloadBytes);
    let at = this.#length + HEADER_BYTES;
    this.#writeTimes(at, value, nowMs);
    writeLabel(this.#view, at + TIMES_BYTES, value.label);
    this.#view.setUint16(at + LENGTHS_AT_BYTES, type.length, true);
    this.#view.setUint32(at + LENGTHS_AT_BYTES + 2, about.length, true);
    at += VALUE_HEAD_BYTES;
    this.#bytes.set(type, at);
    this.#bytes.set(about, at + type.length);
    this.#bytes.set(body, at + type.length + about.length);
    this.#finish(MessageType.value, id, payloadBytes);
  }

  /** @throws RangeError the name or the incarnation is empty or too long; then nothing was written */
  indirectProbe(id: number, timeoutMs: number, name: string, incarnation: string): void {
    for (const text of [name, incarnation]) {
      if (text.length < 1 || text.length > MAX_NAME_UNITS) {
        throw new RangeError(
          `Cannot name a suspect as names and incarnations have 1 to ${MAX_NAME_UNITS} characters: this has ${text.length}`,
        );
      }
    }
    this.#reserve(INDIRECT_PROBE_HEAD_BYTES + 3 * (name.length + incarnation.length));
    const start = this.#length + HEADER_BYTES;
    const nameStart = start + INDIRECT_PROBE_HEAD_BYTES;
    const nameBytes = encoder.encodeInto(name, this.#bytes.subarray(nameStart)).written;
    const restBytes = encoder.encodeInto(incarnation, this.#bytes.subarray(nameStart + nameBytes)).written;
    this.#view.setUint32(start, wholeMs(timeoutMs), true);
    this.#view.setUint16(start + 4, nameBytes, true);
    this.#finish(MessageType.indirectProbe, id, INDIRECT_PROBE_HEAD_BYTES + nameBytes + restBytes);
  }

  indirectProbed(id: number, isAlive: boolean): void {
    this.#reserve(1);
    this.#bytes[this.#length + HEADER_BYTES] = isAlive ? 1 : 0;
    this.#finish(MessageType.indirectProbed, id, 1);
  }

  /**
   * @param nowMs by the clock of the values' times
   * @throws RangeError too many entries, more than MAX_PUSH_BYTES, or as `value`; BadKeyError as `get`;
   * PassThroughError as `value`. Then nothing was written
   */
  push(id: number, group: number, entries: readonly Entry[], isWritten: boolean, nowMs: number): void {
    if (entries.length < 1 || entries.length > MAX_ENTRIES) {
      throw new RangeError(
        `Cannot push as a message has 1 to ${MAX_ENTRIES} entries: these are ${entries.length}`,
      );
    }
    this.#reserve(PUSH_HEAD_BYTES);
    const start = this.#length + HEADER_BYTES;
    let at = start + PUSH_HEAD_BYTES;
    for (const entry of entries) {
      at = this.#writeEntry(at, entry, nowMs);
      if (at - start > MAX_PUSH_BYTES) {
        throw new RangeError(`Cannot push as a message has at most ${MAX_PUSH_BYTES} bytes: these are more`);
      }
    }
    this.#view.setUint16(start, group, true);
    this.#bytes[start + 2] = isWritten ? 1 : 0;
    this.#view.setUint16(start + 3, entries.length, true);
    this.#finish(MessageType.push, id, at - start);
  }

  /** @param bytes the length of the whole payload, which follows in pieces */
  parted(transfer: number, type: PartedType, id: number, bytes: number): void {
    this.#reserve(PARTED_BYTES);
    const start = this.#length + HEADER_BYTES;
    this.#bytes[start] = type;
    this.#view.setUint32(start + 1, id, true);
    this.#view.setUint32(start + 5, bytes, true);
    this.#finish(MessageType.parted, transfer, PARTED_BYTES);
  }

  /** Writes a piece, which consists of both parts back to back. */
  piece(transfer: number, head: Uint8Array<ArrayBuffer>, body: Uint8Array<ArrayBuffer>): void {
    const length = head.length + body.length;
    this.#reserve(length);
    const start = this.#length + HEADER_BYTES;
    this.#bytes.set(head, start);
    this.#bytes.set(body, start + head.length);
    this.#finish(MessageType.piece, transfer, length);
  }

  taken(id: number, count: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#length + HEADER_BYTES, count, true);
    this.#finish(MessageType.taken, id, 4);
  }

  /** @throws RangeError as `get`; then nothing was written */
  catchUp(id: number, timeoutMs: number, label: Label): void {
    this.#reserve(CATCH_UP_BYTES);
    const start = this.#length + HEADER_BYTES;
    this.#view.setUint32(start, wholeMs(timeoutMs), true);
    writeLabel(this.#view, start + 4, label);
    this.#finish(MessageType.catchUp, id, CATCH_UP_BYTES);
  }

  /** @throws RangeError as `get`; then nothing was written */
  caughtUp(id: number, label: Label): void {
    this.#labelOnly(MessageType.caughtUp, id, label);
  }

  /** @throws RangeError as `get`; then nothing was written */
  applied(label: Label): void {
    this.#labelOnly(MessageType.applied, 0, label);
  }

  /** @param group `group.name` has 1 to MAX_NAME_UNITS units */
  groupAdded({ id, name, revision, isEmpty = false }: GroupNews): void {
    this.#reserve(GROUP_ADDED_HEAD_BYTES + 3 * name.length);
    const start = this.#length + HEADER_BYTES;
    const nameStart = start + GROUP_ADDED_HEAD_BYTES;
    this.#view.setUint16(start, id, true);
    this.#bytes[start + 2] = isEmpty ? 1 : 0;
    this.#view.setFloat64(start + 3, revision, true);
    const { written } = encoder.encodeInto(name, this.#bytes.subarray(nameStart));
    this.#finish(MessageType.groupAdded, 0, GROUP_ADDED_HEAD_BYTES + written);
  }

  groupRemoved(group: number): void {
    this.#reserve(2);
    this.#view.setUint16(this.#length + HEADER_BYTES, group, true);
    this.#finish(MessageType.groupRemoved, 0, 2);
  }

  /** Cuts a detail that is too long at a whole character. */
  failure(id: number, code: FailureCode, detail: string): void {
    this.#reserve(1 + MAX_DETAIL_BYTES);
    const start = this.#length + HEADER_BYTES;
    this.#bytes[start] = code;
    const { written } = encoder.encodeInto(detail, this.#bytes.subarray(start + 1, start + 1 + MAX_DETAIL_BYTES));
    this.#finish(MessageType.failure, id, 1 + written);
  }

  #labelOnly(type: number, id: number, label: Label): void {
    this.#reserve(LABEL_BYTES);
    writeLabel(this.#view, this.#length + HEADER_BYTES, label);
    this.#finish(type, id, LABEL_BYTES);
  }

  /** Reserves the entry's memory first, which may move the entries before it. @returns where the entry ends */
  #writeEntry(start: number, { key, value }: Entry, nowMs: number): number {
    const type = this.#encodeContentType(value.contentType);
    const about = aboutBytes(value.about);
    const body = value.body;
    checkSizes(body.length, type.length);
    const keyMostBytes = Math.min(key.length, MAX_CACHE_KEY_BYTES) * 3;
    const most = ENTRY_HEAD_BYTES + keyMostBytes + type.length + about.length + body.length;
    this.#grow(start, start + most);
    let at = start + ENTRY_HEAD_BYTES;
    const keyBytes = this.#writeKey(at, key);
    this.#writeTimes(start, value, nowMs);
    writeLabel(this.#view, start + TIMES_BYTES, value.label);
    const lengthsAt = start + LENGTHS_AT_BYTES;
    this.#view.setUint16(lengthsAt, keyBytes, true);
    this.#view.setUint16(lengthsAt + 2, type.length, true);
    this.#view.setUint32(lengthsAt + 4, about.length, true);
    this.#view.setUint32(lengthsAt + 8, body.length, true);
    at += keyBytes;
    this.#bytes.set(type, at);
    this.#bytes.set(about, at + type.length);
    this.#bytes.set(body, at + type.length + about.length);
    return at + type.length + about.length + body.length;
  }

  #writeTimes(at: number, value: Value, nowMs: number): void {
    const { bornAtMs, freshUntilMs, staleWhileRevalidateMs, staleIfErrorMs } = value;
    if (!(bornAtMs > -Infinity && freshUntilMs > -Infinity && staleWhileRevalidateMs >= 0 && staleIfErrorMs >= 0)) {
      throw new RangeError("Cannot send a value to a peer as its times must be numbers");
    }
    this.#view.setFloat64(at, Math.min(MAX_SPAN_MS, Math.max(0, nowMs - bornAtMs)), true);
    this.#view.setFloat64(at + 8, Math.max(-MAX_SPAN_MS, span(freshUntilMs - nowMs)), true);
    this.#view.setFloat64(at + 16, span(staleWhileRevalidateMs), true);
    this.#view.setFloat64(at + 24, span(staleIfErrorMs), true);
    this.#view.setUint32(at + 32, wholeMs(value.loadMs), true);
  }

  #encodeContentType(contentType: string): Uint8Array<ArrayBuffer> {
    if (contentType !== this.#contentType) {
      this.#contentTypeBytes = encoder.encode(contentType);
      this.#contentType = contentType;
    }
    return this.#contentTypeBytes;
  }

  /** Keys are mostly short and ASCII; for these a loop is faster than the call into the runtime. */
  #writeKey(at: number, key: string): number {
    const bytes = this.#bytes;
    const units = key.length;
    if (units === 0 || units > MAX_CACHE_KEY_BYTES) throw badKey(key);
    for (let i = 0; i < units; i++) {
      const unit = key.charCodeAt(i);
      if (unit > 0x7f) {
        if (!key.isWellFormed()) {
          throw new BadKeyError("a key must be a well-formed string: this holds half a character");
        }
        const { read, written } = encoder.encodeInto(key, bytes.subarray(at, at + MAX_CACHE_KEY_BYTES));
        if (read < units) throw badKey(key);
        return written;
      }
      bytes[at + i] = unit;
    }
    return units;
  }

  #reserve(payloadBytes: number): void {
    this.#grow(this.#length, this.#length + HEADER_BYTES + payloadBytes);
  }

  /** @param used how many first bytes to keep */
  #grow(used: number, needed: number): void {
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, used));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }

  #finish(type: number, id: number, payloadBytes: number): void {
    const at = this.#length;
    this.#bytes[at] = type;
    this.#view.setUint32(at + 1, id, true);
    this.#view.setUint32(at + 5, payloadBytes, true);
    this.#length = at + HEADER_BYTES + payloadBytes;
  }
}

/** Whether a frame can hold the value. Both ends check the same bounds. */
export function canTravel({ body, contentType, about }: Value): boolean {
  // A unit of UTF-16 is at most three bytes of UTF-8.
  return body.length <= MAX_BODY_BYTES && encodeAbout(about) !== undefined && isFieldValue(contentType) &&
    (contentType.length * 3 <= MAX_CONTENT_TYPE_BYTES || encoder.encode(contentType).length <= MAX_CONTENT_TYPE_BYTES);
}

/**
 * Makes a value's payload for pieces.
 *
 * @param nowMs by the clock of the value's times
 * @throws RangeError, PassThroughError as `FrameWriter.value`
 */
export function valuePayload(value: Value, nowMs: number): Payload {
  const { body } = value;
  checkSizes(body.length, 0);
  const writer = new FrameWriter();
  // The body comes last, and the rest of the message's length is its length.
  writer.value(0, { ...value, body: NOTHING }, nowMs);
  return { head: writer.take().subarray(HEADER_BYTES), body };
}

/**
 * Makes a push's payload for pieces. The body of a single entry is not copied; those of several entries are.
 *
 * @param nowMs by the clock of the values' times
 * @throws RangeError, BadKeyError, PassThroughError as `FrameWriter.push`
 */
export function pushPayload(group: number, entries: readonly Entry[], isWritten: boolean, nowMs: number): Payload {
  const writer = new FrameWriter();
  const [entry] = entries;
  if (entries.length !== 1 || entry === undefined) {
    writer.push(0, group, entries, isWritten, nowMs);
    return { head: NOTHING, body: writer.take().subarray(HEADER_BYTES) };
  }
  const { key, value } = entry;
  const { body } = value;
  checkSizes(body.length, 0);
  writer.push(0, group, [{ key, value: { ...value, body: NOTHING } }], isWritten, nowMs);
  const head = writer.take().subarray(HEADER_BYTES);
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  view.setUint32(PUSH_HEAD_BYTES + LENGTHS_AT_BYTES + 8, body.length, true);
  return { head, body };
}

function wholeMs(timeoutMs: number): number {
  return Math.max(0, Math.min(MAX_U32, Math.ceil(timeoutMs)));
}

/** A time that is longer than the longest finite time counts as without end. */
function span(ms: number): number {
  return ms > MAX_SPAN_MS ? Infinity : ms;
}

/** @throws PassThroughError it cannot be sent: each request must ask the origin itself */
function aboutBytes(about: About): Uint8Array<ArrayBuffer> {
  const bytes = encodeAbout(about);
  if (bytes === undefined) throw new PassThroughError("the value has header fields or tags that peers do not take");
  return bytes;
}

/** @throws RangeError no frame can hold it */
function checkSizes(bodyBytes: number, contentTypeBytes: number): void {
  if (bodyBytes <= MAX_BODY_BYTES && contentTypeBytes <= MAX_CONTENT_TYPE_BYTES) return;
  throw new RangeError(
    `Cannot send a value to a peer as its body has at most ${MAX_BODY_BYTES} bytes and its content type ` +
      `${MAX_CONTENT_TYPE_BYTES}: these have ${bodyBytes} and ${contentTypeBytes}`,
  );
}

function badKey(key: string): BadKeyError {
  return new BadKeyError(
    `a key must have 1 to ${MAX_CACHE_KEY_BYTES} bytes of UTF-8: this has ${
      key === "" ? 0 : encoder.encode(key).length
    }`,
  );
}
