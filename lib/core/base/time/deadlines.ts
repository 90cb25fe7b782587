/**
 * Deadlines for answers: one, or many on one timer. A process that stood still runs its timers before it reads its
 * sockets, but answers that came in time may wait there. So a late timer lets the process read first.
 */
import type { Clock } from "../clock.ts";

/** A timer that is this late shows that the process stood still. Chosen: several turns of a busy event loop. */
const LATE_MS = 50;
/** The time to read the sockets. Chosen: some turns of the event loop. */
const READ_MS = 20;
/**
 * A wait that ends this late says nothing about the peer: this process was stopped, or its event loop was blocked.
 * Chosen: five times LATE_MS, since a busy node with timers that are often 50 ms late must still find dead peers.
 */
const STOOD_STILL_MS = 250;
/** Chosen. A peer may name a deadline in 49 days, but a timer of more than 24.8 days fires at once, again and again. */
const MAX_DELAY_MS = 60_000;

/**
 * Calls `action` after `delayMs` milliseconds, or a little later if this process stood still.
 *
 * @returns a function that cancels it; a late call does nothing
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
 * @returns a function that tells whether this process stood still so long that the end of the wait says nothing about the peer
 */
export function standstillSince(clock: Clock, mostMs: number): () => boolean {
  const latestMs = clock.nowMs() + mostMs + STOOD_STILL_MS;
  return () => clock.nowMs() > latestMs;
}

/**
 * One timer for all deadlines of a kind, since a timer for each costs more than the work that it limits. It is set to
 * the earliest deadline. An answer does not clear it; the next sweep then finds nothing overdue.
 */
export class Deadlines {
  readonly #clock: Clock;
  /** Ends overdue work. Returns the earliest remaining deadline, or Infinity. */
  readonly #sweep: (nowMs: number) => number;
  #atMs = Infinity;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, sweep: (nowMs: number) => number) {
    this.#clock = clock;
    this.#sweep = sweep;
  }

  /** Runs the sweep at `deadlineMs` or soon after. */
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
