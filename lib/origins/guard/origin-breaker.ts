import { Breaker } from "../../core/base/time/breaker.ts";
import type { Clock } from "../../core/base/clock.ts";

/** How many of the latest loads count. Chosen. */
const MAX_LOADS = 100;
/** How long a load counts. Chosen: older ones say nothing about the present. */
const WINDOW_MS = 10_000;
/** With fewer loads the breaker stays closed. Chosen: a share of a few loads says little. */
const MIN_LOADS = 10;

export interface OriginBreakerOptions {
  /** The share of failures at which it opens, above 0 to 1. */
  readonly share: number;
  /** How long it stays open before each probe, in milliseconds. */
  readonly pauseMs: number;
  readonly clock: Clock;
  /** Called when it opens, with the number of failures among the latest loads. */
  readonly onOpened: (failures: number, loads: number) => void;
  readonly onClosed: () => void;
}

/**
 * Stops requests to an origin that fails, and so spares the origin and its callers. It is a {@link Breaker} that opens
 * at a share of failures among the latest loads. While it is half-open, one load is the probe.
 */
export class OriginBreaker {
  readonly #options: OriginBreakerOptions;
  readonly #breaker: Breaker;
  readonly #endedAtMs = new Float64Array(MAX_LOADS).fill(-Infinity);
  readonly #hasFailed = new Uint8Array(MAX_LOADS);
  #ended = 0;
  /** When it opened; Infinity: it is closed. */
  #openedAtMs = Infinity;
  #isProbing = false;

  constructor(options: OriginBreakerOptions) {
    this.#options = options;
    const { pauseMs } = options;
    // A probe that says nothing about the origin, because its caller left, costs one more pause.
    this.#breaker = new Breaker({ slowMs: 0, pause: { firstMs: pauseMs, mostMs: pauseMs } });
  }

  get state(): "closed" | "open" | "half-open" {
    if (this.#openedAtMs === Infinity) return "closed";
    return this.#isProbing ? "half-open" : "open";
  }

  /** Whether a load may begin. The load must report its end, unless that says nothing about the origin. */
  admit(): boolean {
    if (this.#openedAtMs === Infinity) return true;
    if (!this.#breaker.admit(this.#options.clock.nowMs())) return false;
    return this.#isProbing = true;
  }

  /** @param startedAtMs when the load began */
  ended(startedAtMs: number, hasFailed: boolean): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#openedAtMs === Infinity) return this.#count(startedAtMs, nowMs, hasFailed);
    // The load began before the breaker opened, so it says nothing new.
    if (!this.#isProbing || startedAtMs < this.#openedAtMs) return;
    this.#isProbing = false;
    if (hasFailed) return this.#breaker.failed(startedAtMs, nowMs);
    this.#breaker.succeeded(nowMs);
    this.#openedAtMs = Infinity;
    this.#endedAtMs.fill(-Infinity);
    this.#options.onClosed();
  }

  #count(startedAtMs: number, nowMs: number, hasFailed: boolean): void {
    const at = this.#ended++ % MAX_LOADS;
    this.#endedAtMs[at] = nowMs;
    this.#hasFailed[at] = Number(hasFailed);
    if (!hasFailed) return;
    let loads = 0;
    let failures = 0;
    for (let i = 0; i < MAX_LOADS; i++) {
      if (this.#endedAtMs[i]! <= nowMs - WINDOW_MS) continue;
      loads++;
      failures += this.#hasFailed[i]!;
    }
    if (loads < MIN_LOADS || failures < this.#options.share * loads) return;
    this.#openedAtMs = nowMs;
    this.#breaker.failed(startedAtMs, nowMs);
    this.#options.onOpened(failures, loads);
  }
}
