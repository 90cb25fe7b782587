import { type Backoff, backoffMs } from "./backoff.ts";

/**
 * Only failures that took at least this long, in milliseconds, make a breaker open: they kept a caller waiting. Chosen:
 * a refusal or a reset takes less, silence takes more.
 */
export const SLOW_FAILURE_MS = 100;
/** Chosen: the first pause is short, as most stalls are short. The longest pause limits how late a recovery is noticed. */
const PAUSE: Backoff = { firstMs: 250, mostMs: 5_000 };

export interface BreakerOptions {
  /** How many slow failures in a row are tolerated; the next one opens the breaker. @default 0 */
  readonly tolerated?: number;
  /**
   * A failure that took less than this, in milliseconds, does not count. 0: every failure counts.
   *
   * @default SLOW_FAILURE_MS
   */
  readonly slowMs?: number;
  /** How long the breaker stays open, growing with each failed probe. @default from 250 ms to 5 s */
  readonly pause?: Backoff;
}

/**
 * A circuit breaker (Nygard, "Release It!"). It saves callers from useless waits.
 *
 * - Closed: every caller is admitted. Too many slow failures in a row open it.
 * - Open: no caller is admitted, for a pause that doubles with each failure.
 * - Half-open: the pause is over, and one caller is admitted as a probe. Its success closes the breaker; a slow failure
 *   opens it again. A probe that never ends blocks others for the longest pause; then the next caller is admitted.
 */
export class Breaker {
  readonly #tolerated: number;
  readonly #slowMs: number;
  readonly #pause: Backoff;
  /** Slow failures in a row. */
  #failures = 0;
  #failedAtMs = -Infinity;
  #succeededAtMs = -Infinity;
  #openUntilMs = -Infinity;
  /** When the probe was admitted; Infinity without a probe. */
  #probedAtMs = Infinity;

  constructor({ tolerated = 0, slowMs = SLOW_FAILURE_MS, pause = PAUSE }: BreakerOptions = {}) {
    this.#tolerated = tolerated;
    this.#slowMs = slowMs;
    this.#pause = pause;
  }

  /** Whether the caller may proceed. If so, it must report the result, unless it leaves before. */
  admit(nowMs: number): boolean {
    if (nowMs < this.#openUntilMs) return false;
    if (this.#failures > this.#tolerated) {
      this.#probedAtMs = nowMs;
      this.#openUntilMs = nowMs + this.#pause.mostMs;
    }
    return true;
  }

  /** Whether any call succeeded after `sinceMs`. Then one call is slow, not the whole other side. */
  hasSucceededSince(sinceMs: number): boolean {
    return this.#succeededAtMs > sinceMs;
  }

  succeeded(nowMs: number): void {
    this.#failures = 0;
    this.#failedAtMs = this.#openUntilMs = -Infinity;
    this.#probedAtMs = Infinity;
    this.#succeededAtMs = nowMs;
  }

  /** @param startedAtMs when the failed call began */
  failed(startedAtMs: number, nowMs: number): void {
    // One lost connection fails all calls that wait for it. Calls that began before the probe say nothing new.
    if (nowMs < this.#openUntilMs && startedAtMs < this.#probedAtMs) return;
    this.#probedAtMs = Infinity;
    if (nowMs - startedAtMs < this.#slowMs) {
      // A quick failure costs no time, so the next caller may try at once.
      this.#openUntilMs = -Infinity;
      return;
    }
    if (startedAtMs < this.#failedAtMs) return;
    this.#failedAtMs = nowMs;
    const pauses = this.#failures++ - this.#tolerated;
    if (pauses >= 0) this.#openUntilMs = nowMs + backoffMs(pauses, this.#pause);
  }
}
