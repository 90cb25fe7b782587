import type { Clock } from "../base/clock.ts";
import type { CancelListener } from "../base/cancel.ts";
import { Waiter } from "./flights.ts";

/**
 * A waiter that takes a stale value when the load takes too long. It stays with the flight, so that the load goes on for
 * those who come later.
 */
export class SoftWaiter<T> extends Waiter<T> {
  readonly #inner: Waiter<T>;
  readonly #cancelTimer: () => void;
  readonly #left: CancelListener = () => this.#end()?.reject(this.#inner.signal!.reason);
  #isOver = false;

  /** @param stale what may be served after `softTimeoutMs`; `undefined`: nothing may any more, and the load is waited for */
  constructor(inner: Waiter<T>, clock: Clock, softTimeoutMs: number, stale: () => T | undefined) {
    super(undefined, inner.request, inner.trace);
    this.#inner = inner;
    this.#cancelTimer = clock.after(softTimeoutMs, () => {
      const value = stale();
      if (value !== undefined) this.#end()?.resolve(value);
    });
    inner.signal?.addEventListener("abort", this.#left, { once: true });
  }

  override get isFirst(): boolean {
    return this.#inner.isFirst;
  }

  resolve(value: T): void {
    this.#inner.isCollapsed = this.isCollapsed;
    this.#end()?.resolve(value);
  }

  reject(error: unknown): void {
    this.#end()?.reject(error);
  }

  /** @returns the waiter to tell, if it was not told yet */
  #end(): Waiter<T> | undefined {
    if (this.#isOver) return undefined;
    this.#isOver = true;
    this.#cancelTimer();
    this.#inner.signal?.removeEventListener("abort", this.#left);
    return this.#inner;
  }
}
