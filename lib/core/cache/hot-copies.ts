import QuickLRU from "quick-lru";
import type { SharedBudget } from "./shared-budget.ts";
import { type Value, within } from "../value.ts";

/** Keys whose fetches are counted. Chosen: some 8,000 numbers; the key unfetched for longest is forgotten first. */
const MAX_COUNTED_KEYS = 8_192;

/**
 * The copies that this node keeps of values that others own. Spare room is filled with any value. When there is no room, only
 * a popular value displaces others.
 */
export class HotCopies {
  readonly #caches: SharedBudget;
  readonly #ttlMs: number | null;
  readonly #afterFetches: number;
  readonly #fetchCounts = new QuickLRU<string, number>({ maxSize: MAX_COUNTED_KEYS });

  /**
   * @param ttlMs the longest lifetime of a copy, in milliseconds; null: until it is evicted
   * @param afterFetches a key fetched this many times recently is popular; 0: no copies
   */
  constructor(caches: SharedBudget, ttlMs: number | null, afterFetches: number) {
    this.#caches = caches;
    this.#ttlMs = ttlMs;
    this.#afterFetches = afterFetches;
  }

  /**
   * Keeps a copy of a fetched value, if it is popular or there is room.
   *
   * @returns whether it is kept as popular. Copies in spare room are evicted first, so they are not reported as stored
   */
  keep(key: string, value: Value): boolean {
    if (this.#afterFetches === 0) return false;
    const fetches = (this.#fetchCounts.get(key) ?? 0) + 1;
    const isPopular = fetches >= this.#afterFetches;
    if (isPopular) this.#fetchCounts.delete(key);
    else this.#fetchCounts.set(key, fetches);
    const { main, hot } = this.#caches;
    // This node may have become the owner during the fetch and loaded the value: the main cache's entry stays.
    if (main.peek(key) !== undefined || !isPopular && !this.#caches.hasRoom(key, value)) return false;
    // The body may be a view of a frame with many answers. The cache must not keep that frame alive.
    const copy = { ...within(this.#ttlMs, value), body: value.body.slice() };
    return this.#caches.store(hot, key, copy) && isPopular;
  }
}
