import { ByteCache, entryBytes } from "./byte-cache.ts";
import type { Clock } from "../base/clock.ts";
import { hashOf } from "../base/hash.ts";
import { costBy, type CostOf, MOST_COSTS } from "./memory.ts";
import { primaryKey } from "../base/variant-key.ts";
import type { Validity } from "../invalidation/validity.ts";
import type { LifetimePolicy } from "../lifetime/policy.ts";
import { isMarker, type Value, within } from "../value.ts";

export interface BudgetOptions {
  /** See ByteCache. @default false */
  readonly isHashed?: boolean;
  /** Runs the steps that bring the caches back under their budget. @default later stores do it */
  readonly clock?: Clock;
  /** The cost of an entry against the budget. @default its memory on the runtime that needs more */
  readonly costOf?: CostOf | undefined;
}

/** A value in one of the caches. */
export interface Found {
  readonly value: Value;
  readonly from: "main" | "hot";
}

/**
 * The most entries that one step evicts or skips. Chosen: such a step takes 0.3 to 2 ms (measured), a delay of the
 * event loop that nobody notices.
 */
export const MAX_LOOKED_AT_ONCE = 1_000;

/**
 * A group's main and hot cache under one budget of bytes. It counts the entries' cost in memory (memory.ts), not their
 * encoded bytes. A key is in at most one of the two caches.
 *
 * A store makes room by one bounded step. If that is not enough, the value is stored anyway: the caches then exceed
 * their budget, by at most this one value, until further steps freed enough. Until then, a store that does not free its
 * own room is refused. A smaller budget is reached in the same way.
 */
export class SharedBudget {
  readonly main: ByteCache;
  readonly hot: ByteCache;
  #budgetBytes: number;
  readonly #clock: Clock | undefined;
  readonly #costOf: CostOf;
  /** Whether a step is due. */
  #isPaying = false;
  /** Bounds the values that loads under the group's former policy store. */
  #lifetime: LifetimePolicy | undefined;
  /** Whether a marker was ever stored. Without one, each value is stored under the requested key itself. */
  hasVariants = false;
  /** Decides which values are still good. It has checked every value that `find` returns or that is stored. */
  readonly validity: Validity;

  /**
   * @param budgetBytes 0 keeps nothing
   * @throws RangeError unless the budget is a whole number of bytes
   */
  constructor(budgetBytes: number, validity: Validity, options: BudgetOptions = {}) {
    mustBeBytes(budgetBytes);
    const { isHashed = false, clock, costOf = costBy(MOST_COSTS) } = options;
    this.#budgetBytes = budgetBytes;
    this.#clock = clock;
    this.#costOf = costOf;
    this.validity = validity;
    this.main = new ByteCache(isHashed, costOf);
    this.hot = new ByteCache(isHashed, costOf);
  }

  /**
   * The good value under a cache key, fresh or not. A bad value is removed; a softly invalidated one becomes stale. No
   * use is counted.
   */
  find(cacheKey: string, hash = hashOf(cacheKey)): Found | undefined {
    return this.validity.isBlind ? undefined : this.held(cacheKey, hash);
  }

  /** Like `find`, but also while nothing may be served: a store compares the new value with it. */
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
   * Stores a value in `cache`, and makes room.
   *
   * @returns false when it is not stored. It exceeds the whole budget, or an invalidation covers it; this node has a
   * value of the key that is good up to a later label; or the caches still exceed their budget
   */
  store(cache: ByteCache, key: string, given: Value): boolean {
    const hash = hashOf(key);
    const bounded = this.#lifetime === undefined ? given : within(this.#lifetime, given);
    const value = isMarker(bounded) ? bounded : this.validity.check(primaryKey(key), bounded);
    if (value === undefined) return false;
    const held = this.held(key, hash)?.value;
    if (held !== undefined && !isMarker(held) && this.validity.compare(held.label, value.label) > 0) return false;
    // The old value is outdated even if the new one is too large to keep.
    this.main.remove(key, hash);
    this.hot.remove(key, hash);
    const bytes = this.#costOf(key, value);
    if (bytes > this.budgetBytes) return false;
    const beforeBytes = this.memoryBytes;
    const isFitting = this.#makeRoom(bytes);
    if (!isFitting) this.#payLater();
    const isOver = beforeBytes > this.budgetBytes;
    if (!isFitting && isOver && this.memoryBytes + bytes > beforeBytes) return false;
    if (isMarker(value)) this.hasVariants = true;
    cache.add(key, value, entryBytes(key, value), hash);
    return true;
  }

  /** Removes a value from either cache. */
  remove(key: string): void {
    const hash = hashOf(key);
    this.main.remove(key, hash);
    this.hot.remove(key, hash);
  }

  get budgetBytes(): number {
    return this.#budgetBytes;
  }

  /** The cost of all entries in memory. */
  get memoryBytes(): number {
    return this.main.memoryBytes + this.hot.memoryBytes;
  }

  /** Evicts in steps until a smaller budget is met. @throws RangeError as the constructor */
  resize(budgetBytes: number): void {
    mustBeBytes(budgetBytes);
    this.#budgetBytes = budgetBytes;
    if (!this.#makeRoom(0)) this.#payLater();
  }

  /**
   * Applies another policy: stored values live no longer than it says. All are examined in steps, so a million of them
   * take some seconds. Values that a load under the former policy stores later are bounded, too.
   */
  follow(lifetime: LifetimePolicy): void {
    this.#lifetime = lifetime;
    this.#boundLater(lifetime, this.#eachToBound(lifetime));
  }

  *#eachToBound(lifetime: LifetimePolicy): Generator<void> {
    for (const cache of [this.main, this.hot]) {
      for (const keys of cache.keysInParts()) {
        for (const key of keys) {
          const hash = hashOf(key);
          const held = cache.peek(key, hash);
          const bounded = held && within(lifetime, held);
          if (bounded !== undefined && bounded !== held) cache.shorten(key, bounded, hash);
          yield;
        }
      }
    }
  }

  /** Does one step now and schedules the next. */
  #boundLater(lifetime: LifetimePolicy, each: Generator<void>): void {
    for (let left = MAX_LOOKED_AT_ONCE; left > 0; left--) {
      if (this.#lifetime !== lifetime || each.next().done === true) return;
    }
    if (this.#clock === undefined) this.#boundLater(lifetime, each);
    else this.#clock.after(0, () => this.#boundLater(lifetime, each));
  }

  /** Whether the value fits without evicting anything. */
  hasRoom(key: string, value: Value): boolean {
    return this.#fits(this.#costOf(key, value));
  }

  /**
   * Stores a value in the main cache if it evicts only hot copies and expired entries, and not too many of them.
   *
   * @returns whether it was stored
   */
  storeWithoutLoss(key: string, value: Value, nowMs: number): boolean {
    const bytes = this.#costOf(key, value);
    const moreBytes = () => {
      // The value that it replaces frees its room.
      const present = this.main.peek(key);
      return present === undefined ? bytes : bytes - this.#costOf(key, present);
    };
    let left = MAX_LOOKED_AT_ONCE;
    for (; this.main.memoryBytes + moreBytes() > this.budgetBytes; left--) {
      if (left === 0 || !this.main.removeExpired(nowMs)) return false;
    }
    for (; !this.#fits(moreBytes()); left -= this.hot.evictOne(left)) if (left <= 0) return false;
    return this.store(this.main, key, value);
  }

  #fits(bytes: number): boolean {
    return this.memoryBytes + bytes <= this.budgetBytes;
  }

  /** One step. @returns whether there is room for `bytes` now */
  #makeRoom(bytes: number): boolean {
    for (let left = MAX_LOOKED_AT_ONCE; !this.#fits(bytes); left -= this.#victim().evictOne(left)) {
      if (left <= 0) return false;
    }
    return true;
  }

  /** Does further steps, one per turn of the event loop, until the caches are under their budget. */
  #payLater(): void {
    if (this.#isPaying || this.#clock === undefined) return;
    this.#isPaying = true;
    this.#clock.after(0, () => {
      this.#isPaying = false;
      if (!this.#makeRoom(0)) this.#payLater();
    });
  }

  /** The cache to evict from: the hot cache while it is larger than an eighth of the main cache, as in groupcache. */
  #victim(): ByteCache {
    return this.hot.items > 0 && (this.hot.memoryBytes > this.main.memoryBytes / 8 || this.main.items === 0)
      ? this.hot
      : this.main;
  }
}

/** @throws RangeError */
function mustBeBytes(budgetBytes: number): void {
  if (Number.isSafeInteger(budgetBytes) && budgetBytes >= 0) return;
  throw new RangeError(`Cannot make a cache as budgetBytes must be a whole number: current value is ${budgetBytes}`);
}
