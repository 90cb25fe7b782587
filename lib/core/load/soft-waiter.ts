import type { Clock } from "../base/clock.ts";
import type { CancelListener } from "../base/cancel.ts";
import { Waiter } from "./flights.ts";

/**
 * A waiter that takes a stale value when the load takes too long. It stays in the flight, so that the load continues
 * for later gets.
 */
export class SoftWaiter<T> extends Waiter<T> {
  readonly #inner: Waiter<T>;
  readonly #cancelTimer: () => void;
  readonly #left: CancelListener = () => this.#end()?.reject(this.#inner.signal!.reason);
  #isOver = false;

  /**
   * @param stale finds the value to serve after `softTimeoutMs`; `undefined`: there is none, so the waiter waits for
   * the load
   */
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

  /** @returns the inner waiter, if it has no result yet */
  #end(): Waiter<T> | undefined {
    if (this.#isOver) return undefined;
    this.#isOver = true;
    this.#cancelTimer();
    this.#inner.signal?.removeEventListener("abort", this.#left);
    return this.#inner;
  }
}
