import { type Backoff, backoffMs, type Random } from "../core/base/time/backoff.ts";

/** Chosen: a flapping node changes every roster twice a minute at most. */
const PACE: Backoff = { firstMs: 500, mostMs: 30_000 };
/** After so long a stay the next loss counts as the first. Chosen. */
const stableMs = 60_000;
/** A wait ends early at most once in so long: peers that come and go must not set the pace. Chosen. */
const END_REST_EVERY_MS = 5_000;

/**
 * How soon a record that vanished may be written again: at once the first time, then ever more slowly. A node that is
 * taken for dead again and again must not make every roster flap with it.
 */
export class PutBackPace {
  #putBacks = 0;
  #writtenAtMs = -Infinity;
  #endedAtMs = -Infinity;

  /** How long to wait, in ms; 0 when it may be written now. */
  restMs(nowMs: number, random: Random): number {
    const sinceMs = nowMs - this.#writtenAtMs;
    if (sinceMs >= stableMs) this.#putBacks = 0;
    if (this.#putBacks === 0) return 0;
    const restMs = backoffMs(this.#putBacks - 1, PACE) - sinceMs;
    return restMs <= 0 ? 0 : restMs * (1 + random() / 10);
  }

  /** The record may be written now. @returns false when a wait was ended shortly before */
  endRest(nowMs: number): boolean {
    if (nowMs - this.#endedAtMs < END_REST_EVERY_MS) return false;
    this.#endedAtMs = nowMs;
    this.#putBacks = 0;
    return true;
  }

  /** The record was written; `isPutBack` when it had stood before and vanished. */
  wrote(nowMs: number, isPutBack: boolean): void {
    if (isPutBack) this.#putBacks++;
    this.#writtenAtMs = nowMs;
  }
}
