import QuickLRU from "quick-lru";
import type { MainAndHot } from "./shared-budget.ts";
import { type Value, within } from "../value.ts";

/** How many keys have their fetches counted; the longest unfetched are forgotten first. */
const MAX_COUNTED_KEYS = 8_192;

/**
 * Copies of what others own: of what is popular, and of anything while there is room. One displaces something only when it
 * is popular; room that nobody needs is filled at once.
 */
export class HotCopies {
  readonly #caches: MainAndHot;
  readonly #ttlMs: number | null;
  readonly #afterFetches: number;
  readonly #fetchCounts = new QuickLRU<string, number>({ maxSize: MAX_COUNTED_KEYS });

  /**
   * @param ttlMs how long a value may be served, in milliseconds; null: until it is evicted
   * @param afterFetches a key that was fetched so often, not long ago, is popular; 0: no copies
   */
  constructor(caches: MainAndHot, ttlMs: number | null, afterFetches: number) {
    this.#caches = caches;
    this.#ttlMs = ttlMs;
    this.#afterFetches = afterFetches;
  }

  /** @returns whether it is kept as popular: what only fills room is the first to go, and no word is given for it */
  keep(key: string, value: Value): boolean {
    if (this.#afterFetches === 0) return false;
    const fetches = (this.#fetchCounts.get(key) ?? 0) + 1;
    const isPopular = fetches >= this.#afterFetches;
    if (isPopular) this.#fetchCounts.delete(key);
    else this.#fetchCounts.set(key, fetches);
    const { main, hot } = this.#caches;
    // While the owner was asked, this node may have become the owner and loaded it: the main cache's copy stays.
    if (main.peek(key) !== undefined || !isPopular && !this.#caches.hasRoom(key, value)) return false;
    // It may be a part of a frame with many others, which a cache must not keep alive.
    const copy = { ...within(this.#ttlMs, value), body: value.body.slice() };
    return this.#caches.store(hot, key, copy) && isPopular;
  }
}
