import type { Clock } from "../core/base/clock.ts";

/**
 * The clock of one node, whose timers end with the node. Deadlines of loads that have ended would keep a program from its
 * end for ten seconds; the command exits without waiting for them.
 */
export class NodeClock implements Clock {
  readonly #clock: Clock;
  readonly #pending = new Set<() => void>();
  #isStopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  fineMs(): number {
    return this.#clock.fineMs?.() ?? this.#clock.nowMs();
  }

  after(delayMs: number, action: () => void): () => void {
    if (this.#isStopped) return () => {};
    const cancelled = () => {
      this.#pending.delete(cancelled);
      cancel();
    };
    const cancel = this.#clock.after(delayMs, () => {
      this.#pending.delete(cancelled);
      action();
    });
    this.#pending.add(cancelled);
    return cancelled;
  }

  /** Cancels all timers; none is set any more. */
  stop(): void {
    this.#isStopped = true;
    for (const cancel of this.#pending) cancel();
  }
}
