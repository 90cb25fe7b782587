/** Writes and reads WebSocket messages for a client (RFC 6455, section 5). */
import { MAX_FRAME_BYTES } from "../../core/base/limits.ts";

/** RFC 6455, 5.5. */
const MAX_CONTROL_BYTES = 125;
/** Chosen. */
const MAX_FRAGMENTS = 1024;
const FIN = 0x80;
const MASKED = 0x80;
export const Opcode = { continuation: 0, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Chosen. */
const FIRST_SLAB_BYTES = 16 * 1024;
/** Chosen: an idle connection keeps at most this much. Longer messages get separate memory. */
const MAX_SLAB_BYTES = 512 * 1024;

/**
 * Makes whole masked messages (RFC 6455, 5.2 and 5.3), back to back in reused memory. New memory must be cleared,
 * faulted in and collected: with batches of values this took a fifth of the owner's CPU time under Deno.
 */
export class MessageWriter {
  #bytes = new Uint8Array(0);
  #words = new Int32Array(0);
  #used = 0;

  /** To be called when all messages so far were written or copied. The next messages use their memory. */
  reuse(): void {
    this.#used = 0;
  }

  /** @returns valid until `reuse` */
  message(opcode: number, payload: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
    const length = payload.length;
    const headBytes = length < 126 ? 6 : length < 65536 ? 8 : 14;
    // Aligned, so that the payload starts at a word.
    const neededBytes = 16 + length + 3 & ~3;
    if (this.#used + neededBytes > this.#bytes.length) {
      const twice = Math.min(2 * this.#bytes.length, MAX_SLAB_BYTES);
      this.#setSlab(Math.max(FIRST_SLAB_BYTES, twice, neededBytes));
    }
    const bytes = this.#bytes;
    const words = this.#words;
    const start = this.#used + 16 - headBytes;
    const payloadStart = start + headBytes;
    this.#used += neededBytes;
    bytes[start] = FIN | opcode;
    bytes[start + 1] = MASKED | (headBytes === 6 ? length : headBytes === 8 ? 126 : 127);
    // The long form of the length, the last byte first.
    for (let at = payloadStart - 5, rest = length; at > start + 1; at--, rest = Math.floor(rest / 256)) {
      bytes[at] = rest;
    }
    const mask = nextMask();
    const firstWord = payloadStart / 4;
    words[firstWord - 1] = mask;
    bytes.set(payload, payloadStart);
    // Words are little-endian, as both runtimes support only such machines, and so is the mask above.
    const endWord = firstWord + (length + 3 >> 2);
    for (let i = firstWord; i < endWord; i++) words[i]! ^= mask;
    if (neededBytes > MAX_SLAB_BYTES) this.#setSlab(0);
    return bytes.subarray(start, payloadStart + length);
  }

  /** Takes a new slab. Messages in the last one may still wait to be written, so it stays unchanged. */
  #setSlab(bytes: number): void {
    this.#bytes = new Uint8Array(bytes);
    this.#words = new Int32Array(this.#bytes.buffer);
    this.#used = 0;
  }
}

const masks = new Int32Array(256);
let masksUsed = masks.length;

/** A mask from the system's entropy, as the RFC demands; read in bulk to save calls. */
function nextMask(): number {
  if (masksUsed === masks.length) {
    crypto.getRandomValues(masks);
    masksUsed = 0;
  }
  return masks[masksUsed++]!;
}

/** Cuts the stream into messages. A message inside one chunk is a view of the chunk; others are copies. */
export class MessageReader {
  readonly #onMessage: (opcode: number, payload: Uint8Array<ArrayBuffer>) => void;
  /** An unmasked header has at most 10 bytes. */
  readonly #head = new Uint8Array(10);
  #headBytes = 0;
  /** The payload so far of a message that comes in several chunks. */
  #payload: Uint8Array<ArrayBuffer> | undefined;
  #payloadBytes = 0;
  /** The type and the parts so far of a message in fragments. */
  #fragmentOpcode = 0;
  #fragments: Uint8Array<ArrayBuffer>[] = [];
  #fragmentBytes = 0;

  constructor(onMessage: (opcode: number, payload: Uint8Array<ArrayBuffer>) => void) {
    this.#onMessage = onMessage;
  }

  /**
   * @param chunk must not change afterwards, as messages are views of it
   * @returns why the connection must end, or nothing
   */
  read(chunk: Uint8Array<ArrayBuffer>): string | undefined {
    let at = 0;
    while (at < chunk.length) {
      let payload = this.#payload;
      if (payload === undefined) {
        while (this.#headBytes < this.#headLength() && at < chunk.length) this.#head[this.#headBytes++] = chunk[at++]!;
        if (this.#headBytes < this.#headLength()) return undefined;
        const length = this.#payloadLength();
        const fault = this.#faultOf(length);
        if (fault !== undefined) return fault;
        if (length > chunk.length - at) {
          this.#payload = new Uint8Array(length);
          this.#payload.set(chunk.subarray(at));
          this.#payloadBytes = chunk.length - at;
          return undefined;
        }
        payload = new Uint8Array(chunk.buffer, chunk.byteOffset + at, length);
        at += length;
      } else {
        const taken = Math.min(payload.length - this.#payloadBytes, chunk.length - at);
        payload.set(chunk.subarray(at, at + taken), this.#payloadBytes);
        this.#payloadBytes += taken;
        at += taken;
        if (this.#payloadBytes < payload.length) return undefined;
        this.#payload = undefined;
      }
      this.#headBytes = 0;
      const fault = this.#finish(this.#head[0]!, payload);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  /** The length of the header, by its bytes so far. */
  #headLength(): number {
    if (this.#headBytes < 2) return 2;
    const short = this.#head[1]! & 0x7f;
    return short === 126 ? 4 : short === 127 ? 10 : 2;
  }

  #payloadLength(): number {
    const short = this.#head[1]! & 0x7f;
    if (short < 126) return short;
    let length = 0;
    for (let i = 2; i < this.#headBytes; i++) length = length * 256 + this.#head[i]!;
    return length;
  }

  #faultOf(length: number): string | undefined {
    const first = this.#head[0]!;
    if ((first & 0x70) !== 0 || (this.#head[1]! & MASKED) !== 0) return "malformed WebSocket frame";
    if ((first & 0x08) !== 0 && (length > MAX_CONTROL_BYTES || (first & FIN) === 0)) {
      return "malformed WebSocket frame: a control frame too long or in fragments";
    }
    return length + this.#fragmentBytes > MAX_FRAME_BYTES ? "malformed WebSocket frame: too long" : undefined;
  }

  #finish(first: number, payload: Uint8Array<ArrayBuffer>): string | undefined {
    const opcode = first & 0x0f;
    const isFinal = (first & FIN) !== 0;
    if ((opcode & 0x08) !== 0) return void this.#onMessage(opcode, payload);
    if ((opcode === Opcode.continuation) !== (this.#fragments.length > 0)) {
      return "malformed WebSocket frame: out of order";
    }
    if (opcode !== Opcode.continuation) this.#fragmentOpcode = opcode;
    if (isFinal && this.#fragments.length === 0) return void this.#onMessage(opcode, payload);
    // Copy it: a small fragment would keep its whole chunk alive.
    this.#fragments.push(payload.slice());
    this.#fragmentBytes += payload.length;
    if (this.#fragments.length > MAX_FRAGMENTS) return "malformed WebSocket frame: too many fragments";
    if (!isFinal) return undefined;
    const whole = new Uint8Array(this.#fragmentBytes);
    let at = 0;
    for (const part of this.#fragments) {
      whole.set(part, at);
      at += part.length;
    }
    this.#fragments = [];
    this.#fragmentBytes = 0;
    this.#onMessage(this.#fragmentOpcode, whole);
    return undefined;
  }
}
