/**
 * Bounds the memory that answers with long bodies hold. A value stays in memory until its last byte is sent, even after
 * the cache has evicted it. So the bytes of all such answers are counted, and a client that takes nothing loses its
 * answer.
 *
 * Measured on Deno with values of 16 MB on loopback: sending slices takes a fifth of the CPU time of sending the whole
 * body.
 */
import type { Clock } from "../../core/base/clock.ts";
import { OverloadedError } from "../../core/errors.ts";

/** A body up to this size is sent whole: most of it fits into the buffers of the system. */
export const MAX_WHOLE_BYTES = 256 * 1024;
/**
 * The limit for all answers that are being sent; slices of one value count once. Chosen: sixteen of the longest values.
 */
const MAX_SENDING_BYTES = 256 * 1024 * 1024;
const SLICE_BYTES = 64 * 1024;
/** A client that takes nothing for this long loses its answer. Chosen: the same as for a batch. */
const STALL_MS = 30_000;
/** The same limit while there is no room. Chosen: even a slow line takes part of a slice in less. */
const STALL_IN_NEED_MS = 1_000;
/** How often the answers in flight are checked. */
const LOOK_EVERY_MS = 1_000;

/** Joins the app and its server, for long answers. */
export interface AnswerPort {
  /** Whether long bodies are sent in slices. If false, the server ends stalled answers itself. */
  readonly isSliced: boolean;
  /** Whether the client has been sent everything. */
  isAnswered(request: Request): boolean;
  /** Ends the answer soon unless its client takes some of it. */
  hurry(request: Request): void;
  /** The answer may be silent for long between two pieces. */
  mayBeSilent(response: Response): void;
}

/** For apps whose server offers no port: long answers are sent whole and not watched. */
export const NO_SERVER: AnswerPort = {
  isSliced: false,
  isAnswered: () => true,
  hurry() {},
  mayBeSilent() {},
};

type Bytes = Uint8Array<ArrayBuffer>;

/** An answer that is being sent. */
interface Sending {
  /**
   * The object that holds the memory: the value's buffer, or the request where the server copies. `undefined`:
   * released.
   */
  holder: object | undefined;
  readonly bytes: number;
  /** When its client last took something, as far as this node knows. */
  tookAtMs: number;
  isOver(): boolean;
  /** Called when its client has taken nothing for this long. */
  end(stalledMs: number): void;
}

/** The long answers of one app. */
export class LongAnswers {
  readonly #port: AnswerPort;
  readonly #clock: Clock;
  /** The one whose client took something longest ago comes first. */
  readonly #sending = new Set<Sending>();
  /** How many answers each holder feeds. */
  readonly #counts = new Map<object, number>();
  #bytes = 0;
  #isLooking = false;

  constructor(port: AnswerPort, clock: Clock) {
    this.#port = port;
    this.#clock = clock;
  }

  /** The bytes that are held for answers. */
  get sendingBytes(): number {
    return this.#bytes;
  }

  /**
   * Makes the body in the form that the server wants.
   *
   * @throws OverloadedError too many bytes wait for their clients
   */
  bodyOf(body: Bytes, request: Request): Bytes | ReadableStream<Bytes> {
    if (body.byteLength <= MAX_WHOLE_BYTES || request.method !== "GET") return body;
    return this.#port.isSliced ? this.#sliced(body) : this.#whole(body, request);
  }

  /** Here the server copies the bytes that the system does not take at once. */
  #whole(body: Bytes, request: Request): Bytes {
    this.#begin({
      holder: request,
      bytes: body.byteLength,
      tookAtMs: this.#clock.nowMs(),
      isOver: () => this.#port.isAnswered(request),
      // The server knows what its client takes. The answer is watched until the server has ended it.
      end: (stalledMs) => stalledMs < STALL_MS && this.#port.hurry(request),
    });
    return body;
  }

  #sliced(body: Bytes): ReadableStream<Bytes> {
    let rest: Bytes | undefined = body;
    let controller: ReadableStreamDefaultController<Bytes>;
    const over = () => {
      rest = undefined;
      this.#end(sending);
    };
    const sending: Sending = {
      holder: body.buffer,
      bytes: body.buffer.byteLength,
      tookAtMs: this.#clock.nowMs(),
      isOver: () => false,
      end(stalledMs) {
        over();
        controller.error(new Error(`the client has taken nothing for ${stalledMs} ms`));
      },
    };
    this.#begin(sending);
    return new ReadableStream<Bytes>({
      start: (made) => void (controller = made),
      pull: (controller) => {
        // A copy: a waiting slice would otherwise keep the whole value in memory.
        controller.enqueue(rest!.slice(0, SLICE_BYTES));
        rest = rest!.subarray(SLICE_BYTES);
        if (rest.byteLength > 0) return this.#took(sending);
        over();
        controller.close();
      },
      cancel: over,
    }, { highWaterMark: 0 });
  }

  /** @throws OverloadedError */
  #makeRoom({ holder, bytes }: Sending): void {
    const isRoom = () => this.#counts.has(holder!) || this.#bytes + bytes <= MAX_SENDING_BYTES;
    if (isRoom()) return;
    this.#forgetOver();
    for (const sending of this.#sending) {
      if (isRoom() || !this.#endStalled(sending, STALL_IN_NEED_MS)) break;
    }
    if (!isRoom()) throw new OverloadedError("too many long answers wait for their clients");
  }

  /** @throws OverloadedError */
  #begin(sending: Sending): void {
    this.#makeRoom(sending);
    const { bytes } = sending;
    const holder = sending.holder!;
    const count = this.#counts.get(holder) ?? 0;
    if (count === 0) this.#bytes += bytes;
    this.#counts.set(holder, count + 1);
    this.#sending.add(sending);
    if (!this.#isLooking) this.#lookLater();
  }

  #took(sending: Sending): void {
    sending.tookAtMs = this.#clock.nowMs();
    this.#sending.delete(sending);
    this.#sending.add(sending);
  }

  #end(sending: Sending): void {
    if (!this.#sending.delete(sending)) return;
    const { bytes } = sending;
    const holder = sending.holder!;
    // A stalled connection keeps the stream, and with it this object.
    sending.holder = undefined;
    const count = this.#counts.get(holder)! - 1;
    if (count > 0) return void this.#counts.set(holder, count);
    this.#counts.delete(holder);
    this.#bytes -= bytes;
  }

  #lookLater(): void {
    this.#isLooking = true;
    this.#clock.after(LOOK_EVERY_MS, () => {
      this.#isLooking = false;
      this.#forgetOver();
      for (const sending of this.#sending) if (!this.#endStalled(sending, STALL_MS)) break;
      if (this.#sending.size > 0) this.#lookLater();
    });
  }

  #forgetOver(): void {
    for (const sending of this.#sending) if (sending.isOver()) this.#end(sending);
  }

  /** Returns whether the answer had stalled. If not, those behind it have not stalled either. */
  #endStalled(sending: Sending, stallMs: number): boolean {
    const stalledMs = this.#clock.nowMs() - sending.tookAtMs;
    if (stalledMs < stallMs) return false;
    sending.end(stalledMs);
    return true;
  }
}
