import { type Backoff, backoffMs, type Random } from "../core/base/time/backoff.ts";

/** Chosen: a flapping node changes every roster at most twice a minute. */
const PACE: Backoff = { firstMs: 500, mostMs: 30_000 };
/** If the record stays this long, the next loss counts as the first. Chosen. */
const stableMs = 60_000;
/** The least time between two waits that end early: peers that come and go must not set the pace. Chosen. */
const END_REST_EVERY: Backoff = { firstMs: 5_000, mostMs: 60_000 };

/**
 * How soon a lost record may be written again: at once the first time, then after longer and longer waits. A node that
 * is evicted again and again must not make every roster flap.
 */
export class PutBackPace {
  #putBacks = 0;
  #writtenAtMs = -Infinity;
  /** Waits that ended early since the last quiet minute, and the earliest end of the next one. */
  #ends = 0;
  #endableAtMs = -Infinity;
  /** Whether the wait was ended early: the next write comes at once, and does not count. */
  #isEnded = false;

  /** How long to wait, in ms; 0 if it may be written now. */
  restMs(nowMs: number, random: Random): number {
    const sinceMs = nowMs - this.#writtenAtMs;
    if (sinceMs >= stableMs) this.#putBacks = this.#ends = 0;
    if (this.#putBacks === 0 || this.#isEnded) return 0;
    const restMs = backoffMs(this.#putBacks - 1, PACE) - sinceMs;
    return restMs <= 0 ? 0 : restMs * (1 + random() / 10);
  }

  /** Ends the wait. @returns false if another wait was ended shortly before */
  endRest(nowMs: number): boolean {
    if (nowMs < this.#endableAtMs) return false;
    this.#endableAtMs = nowMs + backoffMs(this.#ends++, END_REST_EVERY);
    return this.#isEnded = true;
  }

  /** To be called when the record was written; `isPutBack`: it was listed before and lost. */
  wrote(nowMs: number, isPutBack: boolean): void {
    if (isPutBack && !this.#isEnded) this.#putBacks++;
    this.#isEnded = false;
    this.#writtenAtMs = nowMs;
  }
}
