import { ByteCache, entryBytes } from "./byte-cache.ts";
import { hashOf } from "../base/hash.ts";
import { primaryKey } from "../base/variant-key.ts";
import type { Validity } from "../invalidation/validity.ts";
import { isMarker, type Value } from "../value.ts";

/** A value in one of the caches. */
export interface Found {
  readonly value: Value;
  readonly from: "main" | "hot";
}

/** A group's main and hot cache under one budget of bytes. A key is in one of them at most. */
export class SharedBudget {
  readonly main: ByteCache;
  readonly hot: ByteCache;
  #budgetBytes: number;
  /** Whether it has held a marker: without one, each value is kept under the key that is asked for. */
  hasVariants = false;
  /** Which values are still good. What `find` gives, and what is stored, has been checked. */
  readonly validity: Validity;

  /**
   * @param budgetBytes 0 keeps nothing
   * @param isHashed see ByteCache
   * @throws RangeError unless the budget is a whole number of bytes
   */
  constructor(budgetBytes: number, validity: Validity, isHashed = false) {
    mustBeBytes(budgetBytes);
    this.#budgetBytes = budgetBytes;
    this.validity = validity;
    this.main = new ByteCache(isHashed);
    this.hot = new ByteCache(isHashed);
  }

  /**
   * The value under a cache key, fresh or not, if it is good: one that is found to be bad is removed, and one that was
   * softly invalidated is stale from here on. No use is counted.
   */
  find(cacheKey: string, hash = hashOf(cacheKey)): Found | undefined {
    return this.validity.isBlind ? undefined : this.held(cacheKey, hash);
  }

  /** The same, also while nothing may be served: for what is to take its place. */
  held(cacheKey: string, hash = hashOf(cacheKey)): Found | undefined {
    const { validity } = this;
    const own = this.main.peek(cacheKey, hash);
    const held = own ?? this.hot.peek(cacheKey, hash);
    if (held === undefined) return undefined;
    const from = own === undefined ? "hot" : "main";
    if (held.label === validity.label || isMarker(held)) return { value: held, from };
    const value = validity.check(primaryKey(cacheKey), held);
    if (value === undefined) return void this[from].remove(cacheKey, hash);
    if (value !== held) this[from].shorten(cacheKey, value, hash);
    return { value, from };
  }

  /**
   * Stores a value in `cache`. Makes room first: the budget is never exceeded, not even for a moment.
   *
   * @returns false when it is served, not stored: it is larger than the whole budget, an invalidation covers it, or this
   * node has a value of the key that is good up to a later label
   */
  store(cache: ByteCache, key: string, given: Value): boolean {
    const hash = hashOf(key);
    const value = isMarker(given) ? given : this.validity.check(primaryKey(key), given);
    if (value === undefined) return false;
    const held = this.held(key, hash)?.value;
    if (held !== undefined && !isMarker(held) && this.validity.compare(held.label, value.label) > 0) return false;
    // The old value is outdated, also when the new one is too large to keep.
    this.main.remove(key, hash);
    this.hot.remove(key, hash);
    const bytes = entryBytes(key, value);
    if (bytes > this.budgetBytes) return false;
    while (!this.#fits(bytes)) this.#victim().evictOne();
    if (isMarker(value)) this.hasVariants = true;
    cache.add(key, value, bytes, hash);
    return true;
  }

  /** Takes a value out of either cache. */
  remove(key: string): void {
    const hash = hashOf(key);
    this.main.remove(key, hash);
    this.hot.remove(key, hash);
  }

  get budgetBytes(): number {
    return this.#budgetBytes;
  }

  /** Evicts what a smaller budget has no room for. @throws RangeError as the constructor */
  resize(budgetBytes: number): void {
    mustBeBytes(budgetBytes);
    this.#budgetBytes = budgetBytes;
    while (!this.#fits(0)) this.#victim().evictOne();
  }

  /** Whether the value fits without evicting anything. */
  hasRoom(key: string, value: Value): boolean {
    return this.#fits(entryBytes(key, value));
  }

  /**
   * Stores a value in the main cache if only hot copies and expired entries must go for it.
   *
   * @returns whether it was stored
   */
  storeWithoutLoss(key: string, value: Value, nowMs: number): boolean {
    const bytes = entryBytes(key, value);
    const moreBytes = () => {
      // The replaced value makes room.
      const present = this.main.peek(key);
      return present === undefined ? bytes : bytes - entryBytes(key, present);
    };
    while (this.main.bytes + moreBytes() > this.budgetBytes) if (!this.main.removeExpired(nowMs)) return false;
    while (!this.#fits(moreBytes())) this.hot.evictOne();
    return this.store(this.main, key, value);
  }

  #fits(bytes: number): boolean {
    return this.main.bytes + this.hot.bytes + bytes <= this.budgetBytes;
  }

  /** The hot cache gives way while it is larger than an eighth of the main cache, as in groupcache. */
  #victim(): ByteCache {
    return this.hot.items > 0 && (this.hot.bytes > this.main.bytes / 8 || this.main.items === 0) ? this.hot : this.main;
  }
}

/** @throws RangeError */
function mustBeBytes(budgetBytes: number): void {
  if (Number.isSafeInteger(budgetBytes) && budgetBytes >= 0) return;
  throw new RangeError(`Cannot make a cache as budgetBytes must be a whole number: current value is ${budgetBytes}`);
}
