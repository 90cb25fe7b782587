import QuickLRU from "quick-lru";
import type { Found, SharedBudget } from "./shared-budget.ts";
import type { LifetimePolicy } from "../lifetime/policy.ts";
import { type Value, within } from "../value.ts";
import { cacheKeyOf, storeVariant } from "./variants.ts";

/**
 * The most keys whose fetches are counted. Chosen: some 8,000 numbers. The key with the oldest last fetch is forgotten
 * first.
 */
const MAX_COUNTED_KEYS = 8_192;

/**
 * This node's copies of values that other nodes own. Any value may fill spare room. Without room, only a popular value
 * evicts others.
 */
export class HotCopies {
  readonly #caches: SharedBudget;
  readonly #lifetime: LifetimePolicy;
  readonly #afterFetches: number;
  readonly #fetchCounts = new QuickLRU<string, number>({ maxSize: MAX_COUNTED_KEYS });

  /**
   * @param lifetime bounds the lifetime of a copy
   * @param afterFetches a key fetched this many times recently is popular; 0: no copies
   */
  constructor(caches: SharedBudget, lifetime: LifetimePolicy, afterFetches: number) {
    this.#caches = caches;
    this.#lifetime = lifetime;
    this.#afterFetches = afterFetches;
  }

  /**
   * Keeps a copy of a fetched value if it is popular or there is room, unless this node has a better value.
   *
   * @returns whether the copy is kept as popular. Copies in spare room are evicted first, so they are not reported as stored
   */
  keep(key: string, value: Value, nowMs: number): boolean {
    if (this.#afterFetches === 0) return false;
    const fetches = (this.#fetchCounts.get(key) ?? 0) + 1;
    const isPopular = fetches >= this.#afterFetches;
    if (isPopular) this.#fetchCounts.delete(key);
    else this.#fetchCounts.set(key, fetches);
    const cacheKey = cacheKeyOf(key, value);
    const held = this.#caches.held(cacheKey);
    if (held === undefined) {
      if (!isPopular && !this.#caches.hasRoom(key, value)) return false;
    } else if (isBetter(held, value, nowMs)) return false;
    // `slice`: the body may be a view of a frame with many answers. The cache must not keep that frame alive.
    const copy = { ...within(this.#lifetime, value), body: value.body.slice() };
    const store = (cacheKey: string, one: Value) => this.#caches.store(this.#caches.hot, cacheKey, one);
    return storeVariant(this.#caches, key, copy, store) && isPopular;
  }
}

/**
 * Whether the held value stays. This node may have become the owner during the fetch and loaded the value. A delayed
 * answer may be older than the copy.
 */
function isBetter({ value: held, from }: Found, { bornAtMs, freshUntilMs }: Value, nowMs: number): boolean {
  if (held.freshUntilMs > nowMs) return from === "main" || held.bornAtMs > bornAtMs;
  return freshUntilMs <= nowMs && held.bornAtMs >= bornAtMs;
}
