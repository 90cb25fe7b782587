import type { CancelSignal } from "../base/cancel.ts";
import type { Clock } from "../base/clock.ts";
import { append, emptyList, isLinked, type ListNode, unlink } from "../base/tables/intrusive-list.ts";
import { OverloadedError } from "../errors.ts";
import type { LoadingBody } from "../ports.ts";

export interface LoadingBytesOptions {
  readonly clock: Clock;
  /** @default MAX_LOADING_BYTES */
  readonly maxBytes?: number;
  /** @default MAX_WAIT_MS */
  readonly maxWaitMs?: number;
}

/** Chosen: room for eight of the longest values at a time, or 2,000 bodies of 64 KiB. */
const MAX_LOADING_BYTES = 128 * 1024 * 1024;
/** Chosen: for a client, an early "try again" is better than a wait until the load's deadline. */
const MAX_WAIT_MS = 2_000;

/**
 * Bounds the bytes of unfinished bodies that all loads of a process hold together. A load without bytes waits for its
 * first ones, in order of arrival and not for long. A load with bytes never waits for more: it gets them at once or
 * fails. So no two loads wait for each other.
 */
export class LoadingBytes {
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #maxWaitMs: number;
  readonly #queue = emptyList();
  #bytes = 0;

  constructor({ clock, maxBytes = MAX_LOADING_BYTES, maxWaitMs = MAX_WAIT_MS }: LoadingBytesOptions) {
    this.#clock = clock;
    this.#maxBytes = maxBytes;
    this.#maxWaitMs = maxWaitMs;
  }

  /** The bytes that all loads hold now. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Makes the part of a load that begins now. The caller must end it, whatever the result of the load. */
  begin(): LoadingPart {
    return new LoadingPart(this);
  }

  /** Called by a part: takes bytes at once. A load may hold any body if no other load holds bytes. */
  take(bytes: number): boolean {
    if (this.#bytes > 0 && this.#bytes + bytes > this.#maxBytes) return false;
    this.#bytes += bytes;
    return true;
  }

  /** Called by a part: takes its first bytes, after the parts that have waited for longer. */
  takeInTurn(bytes: number, signal: CancelSignal): Promise<void> | undefined {
    if (signal.aborted) return Promise.reject(signal.reason);
    if (!isLinked(this.#queue) && this.take(bytes)) return undefined;
    return new Promise((resolve, reject) => {
      const leave = () => {
        unlink(waiting);
        cancel();
        signal.removeEventListener("abort", waiting);
      };
      const fail = (error: unknown) => {
        leave();
        reject(error);
        // It may have blocked smaller ones behind it.
        this.#serve();
      };
      const waiting = new Waiting(bytes, () => {
        leave();
        resolve();
      }, () => fail(signal.reason));
      const cancel = this.#clock.after(this.#maxWaitMs, () => fail(this.overloaded()));
      signal.addEventListener("abort", waiting);
      append(this.#queue, waiting);
    });
  }

  /** Called by a part: gives bytes back. */
  release(bytes: number): void {
    this.#bytes -= bytes;
    this.#serve();
  }

  /** Called by a part. */
  overloaded(): OverloadedError {
    return new OverloadedError(`loads in flight hold ${this.#bytes} bytes already`);
  }

  #serve(): void {
    for (let first = this.#queue.next; first !== this.#queue; first = this.#queue.next) {
      const waiting = first as Waiting;
      if (!this.take(waiting.bytes)) return;
      waiting.taken();
    }
  }
}

/** One load's part of the bytes. */
export class LoadingPart implements LoadingBody {
  readonly #all: LoadingBytes;
  #bytes = 0;
  #hasEnded = false;

  constructor(all: LoadingBytes) {
    this.#all = all;
  }

  hold(bytes: number, signal: CancelSignal): Promise<void> | undefined {
    const more = bytes - this.#bytes;
    if (more <= 0 || this.#hasEnded) return undefined;
    if (this.#bytes > 0) {
      if (!this.#all.take(more)) throw this.#all.overloaded();
      this.#bytes = bytes;
      return undefined;
    }
    return this.#first(bytes, this.#all.takeInTurn(bytes, signal));
  }

  /** The load is over. */
  end(): void {
    this.#hasEnded = true;
    const bytes = this.#bytes;
    this.#bytes = 0;
    if (bytes > 0) this.#all.release(bytes);
  }

  #first(bytes: number, turn: Promise<void> | undefined): Promise<void> | undefined {
    if (turn === undefined) return void (this.#bytes = bytes);
    return turn.then(() => {
      // The load may have ended at the same moment.
      if (this.#hasEnded) this.#all.release(bytes);
      else this.#bytes = bytes;
    });
  }
}

class Waiting implements ListNode {
  previous: ListNode = this;
  next: ListNode = this;
  readonly bytes: number;
  readonly taken: () => void;
  readonly handleEvent: () => void;

  constructor(bytes: number, taken: () => void, aborted: () => void) {
    this.bytes = bytes;
    this.taken = taken;
    this.handleEvent = aborted;
  }
}
