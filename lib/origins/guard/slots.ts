import type { Clock } from "../../core/base/clock.ts";
import { append, emptyList, isLinked, type ListNode, unlink } from "../../core/base/tables/intrusive-list.ts";
import { OverloadedError } from "../../core/errors.ts";

export interface SlotsOptions {
  readonly clock: Clock;
  /** How many slots may be taken at once; may change. */
  readonly limit: () => number;
  readonly maxQueued: number;
  readonly queueTimeoutMs: number;
}

class Waiting implements ListNode {
  previous: ListNode = this;
  next: ListNode = this;
  readonly taken: () => void;

  constructor(taken: () => void) {
    this.taken = taken;
  }
}

/** A counting semaphore (Dijkstra) with a queue: first come, first served, bounded in length and in time. */
export class Slots {
  /** May change with the group's policy. */
  options: SlotsOptions;
  readonly #queue = emptyList();
  #taken = 0;
  #queued = 0;

  constructor(options: SlotsOptions) {
    this.options = options;
  }

  get taken(): number {
    return this.#taken;
  }

  get queued(): number {
    return this.#queued;
  }

  /**
   * Takes a slot; `release` gives it back.
   *
   * @throws OverloadedError too many wait, or the wait was too long; the signal's reason
   */
  take(signal: AbortSignal): Promise<void> {
    const { limit, maxQueued, queueTimeoutMs, clock } = this.options;
    if (signal.aborted) return Promise.reject(signal.reason);
    if (this.#queued === 0 && this.#taken < limit()) {
      this.#taken++;
      return Promise.resolve();
    }
    if (this.#queued >= maxQueued) {
      return Promise.reject(new OverloadedError(`${this.#queued} requests wait for the origin already`));
    }
    return new Promise((resolve, reject) => {
      const leave = () => {
        if (isLinked(waiting)) this.#queued--;
        unlink(waiting);
        cancel();
        signal.removeEventListener("abort", abort);
      };
      const waiting = new Waiting(() => {
        leave();
        this.#taken++;
        resolve();
      });
      const abort = () => {
        leave();
        reject(signal.reason);
      };
      const cancel = clock.after(queueTimeoutMs, () => {
        leave();
        reject(new OverloadedError(`the origin was busy for ${queueTimeoutMs} ms`));
      });
      signal.addEventListener("abort", abort);
      append(this.#queue, waiting);
      this.#queued++;
    });
  }

  release(): void {
    this.#taken--;
    this.serve();
  }

  /** Gives free slots to waiting callers. Call it when the limit has grown. */
  serve(): void {
    while (isLinked(this.#queue) && this.#taken < this.options.limit()) (this.#queue.next as Waiting).taken();
  }
}
