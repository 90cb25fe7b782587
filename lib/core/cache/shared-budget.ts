import { ByteCache, entryBytes } from "./byte-cache.ts";
import { hashOf } from "../base/hash.ts";
import { primaryKey } from "../base/variant-key.ts";
import { InvalidatedKeys } from "../lifetime/invalidated-keys.ts";
import { isMarker, type Value } from "../value.ts";

/** A group's main and hot cache under one budget of bytes. A key is in one of them at most. */
export class SharedBudget {
  readonly main: ByteCache;
  readonly hot: ByteCache;
  readonly budgetBytes: number;
  /** Whether it has held a marker: without one, each value is kept under the key that is asked for. */
  hasVariants = false;

  /** By the keys that are asked for: no older value of theirs is stored or served. */
  readonly invalidated = new InvalidatedKeys();

  /**
   * @param budgetBytes 0 keeps nothing
   * @param isHashed see ByteCache
   * @throws RangeError unless the budget is a whole number of bytes
   */
  constructor(budgetBytes: number, isHashed = false) {
    if (!Number.isSafeInteger(budgetBytes) || budgetBytes < 0) {
      throw new RangeError(
        `Cannot make a cache as budgetBytes must be a whole number: current value is ${budgetBytes}`,
      );
    }
    this.budgetBytes = budgetBytes;
    this.main = new ByteCache(isHashed);
    this.hot = new ByteCache(isHashed);
  }

  /**
   * Stores a value in `cache`. Makes room first: the budget is never exceeded, not even for a moment.
   *
   * @returns false when the value is larger than the whole budget, or invalidated: it is served, not stored
   */
  store(cache: ByteCache, key: string, value: Value): boolean {
    // The old value is outdated, also when the new one is too large to keep.
    const hash = hashOf(key);
    this.main.remove(key, hash);
    this.hot.remove(key, hash);
    const bytes = entryBytes(key, value);
    if (bytes > this.budgetBytes || this.invalidated.covers(primaryKey(key), value.bornAtMs)) return false;
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
