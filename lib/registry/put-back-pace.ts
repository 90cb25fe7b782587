import { type Backoff, backoffMs, type Random } from "../core/base/time/backoff.ts";

/** Chosen: a flapping node changes every roster at most twice a minute. */
const PACE: Backoff = { firstMs: 500, mostMs: 30_000 };
/** If the record stays this long, the next loss counts as the first. Chosen. */
const stableMs = 60_000;
/** A wait may end early at most once in this time, so that peers that come and go do not set the pace. Chosen. */
const END_REST_EVERY_MS = 5_000;

/**
 * How soon a lost record may be written again: at once the first time, then after longer and longer waits. A node that
 * is taken for dead again and again must not make every roster flap.
 */
export class PutBackPace {
  #putBacks = 0;
  #writtenAtMs = -Infinity;
  #endedAtMs = -Infinity;

  /** How long to wait, in ms; 0 if it may be written now. */
  restMs(nowMs: number, random: Random): number {
    const sinceMs = nowMs - this.#writtenAtMs;
    if (sinceMs >= stableMs) this.#putBacks = 0;
    if (this.#putBacks === 0) return 0;
    const restMs = backoffMs(this.#putBacks - 1, PACE) - sinceMs;
    return restMs <= 0 ? 0 : restMs * (1 + random() / 10);
  }

  /** Ends the wait. @returns false if another wait was ended shortly before */
  endRest(nowMs: number): boolean {
    if (nowMs - this.#endedAtMs < END_REST_EVERY_MS) return false;
    this.#endedAtMs = nowMs;
    this.#putBacks = 0;
    return true;
  }

  /** To be called when the record was written; `isPutBack`: it was listed before and lost. */
  wrote(nowMs: number, isPutBack: boolean): void {
    if (isPutBack) this.#putBacks++;
    this.#writtenAtMs = nowMs;
  }
}
