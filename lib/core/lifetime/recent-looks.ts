import QuickLRU from "quick-lru";
import type { Clock } from "../base/clock.ts";

/** Chosen. quick-lru keeps up to twice as many. A forgotten key costs one ask too many. */
const MAX_KEYS = 65_536;

/** When this node last asked the owner to refresh its own copy, by key. */
export class RecentLooks {
  readonly #clock: Clock;
  readonly #lookedAtMs = new QuickLRU<string, number>({ maxSize: MAX_KEYS });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether this is the first ask for the key within `pauseMs`. */
  isFirst(key: string, pauseMs: number): boolean {
    const nowMs = this.#clock.nowMs();
    if (nowMs - (this.#lookedAtMs.get(key) ?? -Infinity) < pauseMs) return false;
    this.#lookedAtMs.set(key, nowMs);
    return true;
  }
}
