import QuickLRU from "quick-lru";
import { type Backoff, backoffMs } from "../base/time/backoff.ts";
import type { Clock } from "../base/clock.ts";

/** The pause between two refreshes of a key whose origin fails. */
const RETRY: Backoff = { firstMs: 1_000, mostMs: 30_000 };
/** Chosen. quick-lru keeps up to twice as many. A forgotten key costs one refresh too many. */
const MAX_KEYS = 8_192;

interface Failure {
  readonly failures: number;
  readonly untilMs: number;
  readonly error: unknown;
}

/** Keys whose last load failed while a stale value could be served. The origin is asked for each only now and then. */
export class FailedRefreshes {
  readonly #clock: Clock;
  readonly #failed = new QuickLRU<string, Failure>({ maxSize: MAX_KEYS });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The error of the last refresh, until the next one is due. */
  errorOf(key: string): unknown {
    const failure = this.#failed.size === 0 ? undefined : this.#failed.get(key);
    return failure !== undefined && failure.untilMs > this.#clock.nowMs() ? failure.error : undefined;
  }

  failed(key: string, error: unknown): void {
    const failures = this.#failed.get(key)?.failures ?? 0;
    const untilMs = this.#clock.nowMs() + backoffMs(failures, RETRY);
    this.#failed.set(key, { failures: failures + 1, untilMs, error });
  }

  succeeded(key: string): void {
    if (this.#failed.size > 0) this.#failed.delete(key);
  }
}
