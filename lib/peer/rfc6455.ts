/** The framing of WebSocket messages as a client writes and reads them (RFC 6455, section 5). */
import { MAX_FRAME_BYTES } from "./frames.ts";

const MAX_CONTROL_BYTES = 125;
const MAX_FRAGMENTS = 1024;
const FIN = 0x80;
const MASKED = 0x80;
export const Opcode = { continuation: 0, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** One whole masked message (RFC 6455, 5.2 and 5.3) in memory of its own, its payload on a word's border. */
export function maskedMessage(opcode: number, payload: Uint8Array<ArrayBuffer>): Uint8Array {
  const length = payload.length;
  const headBytes = length < 126 ? 6 : length < 65536 ? 8 : 14;
  const start = headBytes % 4 === 0 ? 0 : 2;
  const message = new ArrayBuffer(start + headBytes + (length + 3 & ~3));
  const view = new DataView(message);
  view.setUint8(start, FIN | opcode);
  if (headBytes === 6) view.setUint8(start + 1, MASKED | length);
  else if (headBytes === 8) {
    view.setUint8(start + 1, MASKED | 126);
    view.setUint16(start + 2, length);
  } else {
    view.setUint8(start + 1, MASKED | 127);
    view.setBigUint64(start + 2, BigInt(length));
  }
  const mask = nextMask();
  const payloadStart = start + headBytes;
  view.setInt32(payloadStart - 4, mask, true);
  new Uint8Array(message, payloadStart).set(payload);
  // The machines that the runtimes support are little-endian, as is the mask above.
  const words = new Int32Array(message, payloadStart);
  for (let i = 0; i < words.length; i++) words[i]! ^= mask;
  return new Uint8Array(message, start, headBytes + length);
}

const masks = new Int32Array(256);
let masksUsed = masks.length;

/** From the system's entropy, as the RFC asks, fetched in bulk. */
function nextMask(): number {
  if (masksUsed === masks.length) {
    crypto.getRandomValues(masks);
    masksUsed = 0;
  }
  return masks[masksUsed++]!;
}

/** Cuts the stream into messages; each comes in an ArrayBuffer of exactly its size. */
export class MessageReader {
  readonly #onMessage: (opcode: number, payload: Uint8Array<ArrayBuffer>) => void;
  /** At most the 10 bytes of an unmasked header. */
  readonly #head = new Uint8Array(10);
  #headBytes = 0;
  #payload: Uint8Array<ArrayBuffer> | undefined;
  #payloadBytes = 0;
  /** Of a message in fragments: what it is and what came so far. */
  #fragmentOpcode = 0;
  #fragments: Uint8Array<ArrayBuffer>[] = [];
  #fragmentBytes = 0;

  constructor(onMessage: (opcode: number, payload: Uint8Array<ArrayBuffer>) => void) {
    this.#onMessage = onMessage;
  }

  /** @returns why the connection must end, or nothing */
  read(chunk: Uint8Array): string | undefined {
    let at = 0;
    while (at < chunk.length) {
      if (this.#payload === undefined) {
        const needed = this.#headLength();
        const taken = Math.min(needed - this.#headBytes, chunk.length - at);
        this.#head.set(chunk.subarray(at, at + taken), this.#headBytes);
        this.#headBytes += taken;
        at += taken;
        if (this.#headBytes < 2 || this.#headBytes < this.#headLength()) continue;
        const fault = this.#startPayload();
        if (fault !== undefined) return fault;
      }
      const payload: Uint8Array<ArrayBuffer> = this.#payload!;
      const taken = Math.min(payload.length - this.#payloadBytes, chunk.length - at);
      payload.set(chunk.subarray(at, at + taken), this.#payloadBytes);
      this.#payloadBytes += taken;
      at += taken;
      if (this.#payloadBytes < payload.length) continue;
      this.#headBytes = 0;
      this.#payload = undefined;
      const fault = this.#finish(this.#head[0]!, payload);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }

  #headLength(): number {
    if (this.#headBytes < 2) return 2;
    const short = this.#head[1]! & 0x7f;
    return short === 126 ? 4 : short === 127 ? 10 : 2;
  }

  #startPayload(): string | undefined {
    const head = this.#head;
    const view = new DataView(head.buffer);
    const short = head[1]! & 0x7f;
    const length = short === 126 ? view.getUint16(2) : short === 127 ? Number(view.getBigUint64(2)) : short;
    if ((head[0]! & 0x70) !== 0 || (head[1]! & MASKED) !== 0) return "malformed WebSocket frame";
    if ((head[0]! & 0x08) !== 0 && (length > MAX_CONTROL_BYTES || (head[0]! & FIN) === 0)) {
      return "malformed WebSocket frame: a control frame too long or in fragments";
    }
    if (length + this.#fragmentBytes > MAX_FRAME_BYTES) return "malformed WebSocket frame: too long";
    this.#payload = new Uint8Array(length);
    this.#payloadBytes = 0;
    return undefined;
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
    this.#fragments.push(payload);
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
