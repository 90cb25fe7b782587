import type { Backoff } from "../base/time/backoff.ts";
import { Breaker } from "../base/time/breaker.ts";
import type { Clock } from "../base/clock.ts";

/** Chosen: this node asks again soon, and a caller rarely waits for a connection in vain. */
const PAUSE: Backoff = { firstMs: 250, mostMs: 1_000 };
/** Chosen: an origin that answered so lately is reached, though one request of many was lost. */
const LATELY_MS = 1_000;

/** Called once when this node loses its way to the origin, and once when the origin answers again. */
export interface ReachabilityWatcher {
  onLost(reason: string): void;
  /** @param lostForMs how long this node had no way to the origin */
  onFound(lostForMs: number): void;
}

const NOBODY: ReachabilityWatcher = { onLost: () => {}, onFound: () => {} };

/**
 * Whether this node reaches a group's origin, by what came of its requests. Another node may have a way to the origin that this
 * one lacks. So while connections time out, only one request in a while finds out; the others go to another node at once.
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

  /** Since when this node has not reached the origin, in Unix milliseconds; `undefined`: it does, or has not asked. */
  get lostAtMs(): number | undefined {
    return this.#lostAtMs;
  }

  /** Whether to ask the origin. If so, the caller tells how that ended, unless it gives up before. */
  admit(): boolean {
    return this.#breaker.admit(this.#clock.nowMs());
  }

  /** The origin has answered, in whatever way. */
  answered(): void {
    const nowMs = this.#clock.nowMs();
    this.#breaker.succeeded(nowMs);
    this.#answeredAtMs = nowMs;
    const lostAtMs = this.#lostAtMs;
    if (lostAtMs === undefined) return;
    this.#lostAtMs = undefined;
    this.#watcher.onFound(nowMs - lostAtMs);
  }

  /** @param askedAtMs when the request began that has got no answer */
  failed(askedAtMs: number, reason: string): void {
    const nowMs = this.#clock.nowMs();
    // It has answered others meanwhile: one request of many was lost, and not the way.
    if (this.#answeredAtMs > askedAtMs) return;
    this.#breaker.failed(askedAtMs, nowMs);
    if (this.#lostAtMs !== undefined || nowMs - this.#answeredAtMs < LATELY_MS) return;
    this.#lostAtMs = nowMs;
    this.#watcher.onLost(reason);
  }
}
