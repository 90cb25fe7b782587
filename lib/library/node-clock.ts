import type { Clock } from "../core/base/clock.ts";

/**
 * The clock of one node; its timers end with the node. Otherwise deadlines of finished loads would delay a program's
 * end by ten seconds. (The command exits without waiting for them.)
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

  /** Cancels all timers and sets no new ones. */
  stop(): void {
    this.#isStopped = true;
    for (const cancel of this.#pending) cancel();
  }
}
