/**
 * Ends of waits: one at a time, or one timer for many. Both read what has come before they give anybody up: where this
 * process stood still, timers are served before the sockets whose answers were in time.
 */
import type { Clock } from "./clock.ts";

/** A process that is late by so much itself has not read what came in time. Chosen: several turns of a busy event loop. */
const LATE_MS = 50;
/** Some turns of the event loop, in which it reads. */
const READ_MS = 20;
/**
 * A wait that ends so late says nothing about the peer: this process was stopped, or its event loop was blocked. Chosen:
 * five times LATE_MS, since a busy node whose timers are often 50 ms late must still find dead peers.
 */
const STOOD_STILL_MS = 250;
/** A peer may name 49 days, and a timer of over 24.8 days would fire at once, for ever. */
const MAX_DELAY_MS = 60_000;

/**
 * Calls `action` when time is over for an answer: after `delayMs` milliseconds, or a little later where this process stood
 * still meanwhile.
 *
 * @returns what cancels it, and may be called late
 */
export function atDeadline(clock: Clock, delayMs: number, action: () => void): () => void {
  const dueMs = clock.nowMs() + delayMs;
  let cancel = clock.after(delayMs, () => {
    if (clock.nowMs() - dueMs < LATE_MS) action();
    else cancel = clock.after(READ_MS, action);
  });
  return () => cancel();
}

/**
 * Starts to measure a wait that should take at most `mostMs` milliseconds.
 *
 * @returns whether this process stood still meanwhile, for so long that the end of the wait says nothing about the peer
 */
export function standstillSince(clock: Clock, mostMs: number): () => boolean {
  const latestMs = clock.nowMs() + mostMs + STOOD_STILL_MS;
  return () => clock.nowMs() > latestMs;
}

/**
 * One timer for all deadlines of a kind, since one for each would cost more than what it bounds. It stands for the earliest
 * deadline known. An answer takes nothing out; the next sweep does not find it.
 */
export class Deadlines {
  readonly #clock: Clock;
  /** Ends what is overdue and returns the earliest deadline left, or Infinity. */
  readonly #sweep: (nowMs: number) => number;
  #atMs = Infinity;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, sweep: (nowMs: number) => number) {
    this.#clock = clock;
    this.#sweep = sweep;
  }

  /** Has the sweep run at `deadlineMs`, or soon after. */
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
