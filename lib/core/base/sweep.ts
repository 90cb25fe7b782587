import type { Clock } from "./clock.ts";
import { atDeadline } from "./deadline.ts";

/** A peer may name 49 days, and a timer of over 24.8 days would fire at once, for ever. */
const MAX_DELAY_MS = 60_000;

/**
 * One timer for all deadlines of a kind: a timer for each would cost more than what it bounds. The timer stands for the
 * earliest deadline known; what was answered meanwhile is not taken out, the next sweep just does not find it.
 */
export class Sweep {
  readonly #clock: Clock;
  /** Ends what is overdue and returns the earliest deadline left, or Infinity. */
  readonly #sweep: (nowMs: number) => number;
  #atMs = Infinity;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, sweep: (nowMs: number) => number) {
    this.#clock = clock;
    this.#sweep = sweep;
  }

  /** Sees to it that the sweep runs at `deadlineMs`, or soon after. */
  cover(deadlineMs: number): void {
    if (deadlineMs < this.#atMs) this.#arm(deadlineMs);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#atMs = Infinity;
  }

  #arm(atMs: number): void {
    this.#cancel?.();
    this.#atMs = atMs;
    const delayMs = Math.min(MAX_DELAY_MS, Math.max(1, atMs - this.#clock.nowMs()));
    this.#cancel = atDeadline(this.#clock, delayMs, () => {
      this.#cancel = undefined;
      this.#atMs = Infinity;
      const nextMs = this.#sweep(this.#clock.nowMs());
      if (nextMs < this.#atMs) this.#arm(nextMs);
    });
  }
}
