import type { Clock } from "../../lib/core/base/clock.ts";

/** A clock that moves only when told; due actions run in the order of their time. */
export class ManualClock implements Clock {
  #nowMs: number;
  #due: { atMs: number; action: () => void }[] = [];

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const entry = { atMs: this.#nowMs + delayMs, action };
    this.#due.push(entry);
    return () => {
      this.#due = this.#due.filter((other) => other !== entry);
    };
  }

  /** Moves time on, running what falls due; lets promise reactions run after each action. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    // What was begun just before must have set its timers.
    await settle();
    for (;;) {
      const next = this.#due.filter((entry) => entry.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#due = this.#due.filter((entry) => entry !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.action();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }

  /** Time passes in which nothing runs, as in a process that stands still. What fell due runs, late, at the next `advance`. */
  standStill(forMs: number): void {
    this.#nowMs += forMs;
  }

  /** How many actions are waiting. */
  get pending(): number {
    return this.#due.length;
  }
}

/** Lets every promise reaction that is already due run (no timer is awaited). */
export async function settle(turns = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await Promise.resolve();
}
