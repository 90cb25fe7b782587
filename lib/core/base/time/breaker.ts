import { type Backoff, backoffMs } from "./backoff.ts";

/**
 * A failure that took longer than this, in milliseconds, kept a caller waiting: the next caller is to be spared that.
 * Chosen: a refusal or a reset takes less, a silence takes more.
 */
export const SLOW_FAILURE_MS = 100;
/** Chosen: the first pause is short, since most stalls are; the longest bounds how late a recovery is noticed. */
const PAUSE: Backoff = { firstMs: 250, mostMs: 5_000 };

export interface BreakerOptions {
  /** How many slow failures in a row are forgiven; the next one opens the breaker. @default 0 */
  readonly tolerated?: number;
  /** A failure that took less, in milliseconds, does not count; 0: every failure counts. @default SLOW_FAILURE_MS */
  readonly slowMs?: number;
  /** How long the breaker stays open, growing with each failed probe. @default from 250 ms to 5 s */
  readonly pause?: Backoff;
}

/**
 * A circuit breaker (Nygard, "Release It!"): spares callers a wait in vain.
 *
 * - Closed: every caller is admitted. Too many slow failures in a row open it.
 * - Open: no caller is admitted, for a pause that doubles with each failure.
 * - Half-open: the pause is over, and one caller is admitted as a probe. Its success closes the breaker, a slow failure
 *   opens it again. A probe that never ends counts for the longest pause; then the next caller is admitted.
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
  /** When the probe was admitted; Infinity while none is out. */
  #probedAtMs = Infinity;

  constructor({ tolerated = 0, slowMs = SLOW_FAILURE_MS, pause = PAUSE }: BreakerOptions = {}) {
    this.#tolerated = tolerated;
    this.#slowMs = slowMs;
    this.#pause = pause;
  }

  /** Whether the caller may go ahead. If so, it must report how that ended, unless it leaves before. */
  admit(nowMs: number): boolean {
    if (nowMs < this.#openUntilMs) return false;
    if (this.#failures > this.#tolerated) {
      this.#probedAtMs = nowMs;
      this.#openUntilMs = nowMs + this.#pause.mostMs;
    }
    return true;
  }

  /** Whether anything succeeded after that moment. Then one call is slow, not the whole other side. */
  hasSucceededSince(sinceMs: number): boolean {
    return this.#succeededAtMs > sinceMs;
  }

  succeeded(nowMs: number): void {
    this.#failures = 0;
    this.#failedAtMs = this.#openUntilMs = -Infinity;
    this.#probedAtMs = Infinity;
    this.#succeededAtMs = nowMs;
  }

  /** @param startedAtMs when the call began that has failed */
  failed(startedAtMs: number, nowMs: number): void {
    // One lost connection fails all calls that waited for it. Those that began before the probe say nothing new.
    if (nowMs < this.#openUntilMs && startedAtMs < this.#probedAtMs) return;
    this.#probedAtMs = Infinity;
    if (nowMs - startedAtMs < this.#slowMs) {
      // A quick failure costs nobody time: the next caller may try at once.
      this.#openUntilMs = -Infinity;
      return;
    }
    if (startedAtMs < this.#failedAtMs) return;
    this.#failedAtMs = nowMs;
    const pauses = this.#failures++ - this.#tolerated;
    if (pauses >= 0) this.#openUntilMs = nowMs + backoffMs(pauses, this.#pause);
  }
}
