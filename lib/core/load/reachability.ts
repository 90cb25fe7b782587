import type { Backoff } from "../base/time/backoff.ts";
import { Breaker } from "../base/time/breaker.ts";
import type { Clock } from "../base/clock.ts";

/** Chosen: this node tries again soon, and a caller rarely waits uselessly for a connection. */
const PAUSE: Backoff = { firstMs: 250, mostMs: 1_000 };
/** Chosen: if the origin answered within this time, it is reachable; only one request of many was lost. */
const LATELY_MS = 1_000;

/** Called once when this node can no longer reach the origin, and once when the origin answers again. */
export interface ReachabilityWatcher {
  onLost(reason: string): void;
  /** @param lostForMs how long this node could not reach the origin */
  onFound(lostForMs: number): void;
}

const NOBODY: ReachabilityWatcher = { onLost: () => {}, onFound: () => {} };

/**
 * Whether this node reaches a group's origin, by the results of its requests. Another node may still reach it. So while
 * connections time out, only one request in a while tries; the others go to another node at once.
 */
export class Reachability {
  readonly #clock: Clock;
  readonly #watcher: ReachabilityWatcher;
  readonly #breaker = new Breaker({ pause: PAUSE });
  #answeredAtMs = -Infinity;
  #lostAtMs: number | undefined;

  constructor(clock: Clock, watcher: ReachabilityWatcher = NOBODY) {
    this.#clock = clock;
    this.#watcher = watcher;
  }

  /** Since when this node cannot reach the origin, in Unix milliseconds. `undefined`: it reaches it, or has not asked it. */
  get lostAtMs(): number | undefined {
    return this.#lostAtMs;
  }

  /** Whether to ask the origin. If so, the caller must report the result, unless it gives up before. */
  admit(): boolean {
    return this.#breaker.admit(this.#clock.nowMs());
  }

  /** To be called when the origin gave any answer. */
  answered(): void {
    const nowMs = this.#clock.nowMs();
    this.#breaker.succeeded(nowMs);
    this.#answeredAtMs = nowMs;
    const lostAtMs = this.#lostAtMs;
    if (lostAtMs === undefined) return;
    this.#lostAtMs = undefined;
    this.#watcher.onFound(nowMs - lostAtMs);
  }

  /** @param askedAtMs when the request without an answer began */
  failed(askedAtMs: number, reason: string): void {
    const nowMs = this.#clock.nowMs();
    // The origin answered other requests meanwhile, so only this request was lost.
    if (this.#answeredAtMs > askedAtMs) return;
    this.#breaker.failed(askedAtMs, nowMs);
    if (this.#lostAtMs !== undefined || nowMs - this.#answeredAtMs < LATELY_MS) return;
    this.#lostAtMs = nowMs;
    this.#watcher.onLost(reason);
  }
}
