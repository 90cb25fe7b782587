import type { Clock } from "../../lib/core/base/clock.ts";

interface Due {
  readonly atMs: number;
  /** Among actions with the same due time, the one that was set first runs first. */
  readonly order: number;
  /** `undefined`: it was cancelled. */
  action: (() => void) | undefined;
}

/** A clock that moves only when told; due actions run in the order of their time. */
export class ManualClock implements Clock {
  #nowMs: number;
  /** A binary heap, the next one at 0: a simulation of a thousand nodes has some ten thousand timers. */
  readonly #due: Due[] = [];
  #orders = 0;
  #pending = 0;

  constructor(nowMs = 1_700_000_000_000) {
    this.#nowMs = nowMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const entry: Due = { atMs: this.#nowMs + delayMs, order: this.#orders++, action };
    this.#pending++;
    this.#push(entry);
    return () => {
      if (entry.action !== undefined) this.#pending--;
      entry.action = undefined;
    };
  }

  /** Moves time on, running what falls due; lets promise reactions run after each action. */
  async advance(byMs: number): Promise<void> {
    const untilMs = this.#nowMs + byMs;
    // Work that was begun just before must set its timers first.
    await settle();
    while (this.#due.length > 0 && this.#due[0]!.atMs <= untilMs) {
      const next = this.#pop();
      const { action } = next;
      if (action === undefined) continue;
      next.action = undefined;
      this.#pending--;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      action();
      await settle();
    }
    this.#nowMs = untilMs;
    await settle();
  }

  /** Time passes but nothing runs, as in a stopped process. Due actions run late, at the next `advance`. */
  standStill(forMs: number): void {
    this.#nowMs += forMs;
  }

  /** How many actions are waiting. */
  get pending(): number {
    return this.#pending;
  }

  #push(entry: Due): void {
    const heap = this.#due;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(heap[parent]!, entry)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): Due {
    const heap = this.#due;
    const [first] = heap;
    const last = heap.pop()!;
    if (heap.length === 0) return last;
    let at = 0;
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (isBefore(last, heap[child]!)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return first!;
  }
}

function isBefore(left: Due, right: Due): boolean {
  return left.atMs < right.atMs || (left.atMs === right.atMs && left.order < right.order);
}

/** Lets every promise reaction that is already due run (no timer is awaited). */
export async function settle(turns = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await Promise.resolve();
}
