/**
 * Values under a byte budget, on quick-lru.
 *
 * quick-lru bounds entries, in two generations: under a budget of bytes its bound can be no guide, and with a bound that
 * is never reached its order is that of insertion, so the hottest key would be evicted first. Recency is therefore kept
 * by SIEVE (Zhang et al., NSDI 2024): a hand walks the entries from the oldest to the newest, spares what was read since
 * it last came by, and evicts what was not. A hit writes one number and moves nothing; a scan passes through without
 * displacing what is read; and quick-lru's ascending iterator, kept open, is the hand.
 */
import QuickLRU from "quick-lru";
import type { Value } from "./value.ts";
import { utf8Bytes } from "./hash.ts";

interface Entry {
  readonly value: Value;
  /** UTF-8 bytes of the key + bytes of the body. */
  readonly bytes: number;
  /** The tick of the last read (of the insertion, at first). */
  usedAt: number;
  /** `usedAt` as the hand saw it when it last came by: equal means "not read since". */
  seenAt: number;
}

/** What a cache has done and holds, under the names that groupcache made standard. */
export interface CacheStats {
  bytes: number;
  items: number;
  gets: number;
  hits: number;
  evictions: number;
}

/** The size that a value is accounted with, in bytes. */
export function entryBytes(key: string, value: Value): number {
  return utf8Bytes(key) + value.body.byteLength;
}

/** One map of values with exact bytes. It evicts when told: the budget may be shared (see MainAndHot). */
export class ByteCache {
  // Never reached: bytes bound this cache, so quick-lru keeps one generation and one order.
  readonly #entries = new QuickLRU<string, Entry>({ maxSize: Number.MAX_SAFE_INTEGER });
  #hand: Iterator<[string, Entry]> | undefined;
  /** Moves on at each insertion, so that "read since the hand came by" is exact between any two of them. */
  #tick = 1;
  #bytes = 0;
  #items = 0;
  #gets = 0;
  #hits = 0;
  #evictions = 0;

  get bytes(): number {
    return this.#bytes;
  }

  get items(): number {
    return this.#items;
  }

  stats(): CacheStats {
    return {
      bytes: this.#bytes,
      items: this.#items,
      gets: this.#gets,
      hits: this.#hits,
      evictions: this.#evictions,
    };
  }

  /** The value, counted as a use; what has expired is removed and not found. */
  get(key: string, nowMs: () => number): Value | undefined {
    this.#gets++;
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const { value } = entry;
    if (value.expiresAtMs !== Infinity && value.expiresAtMs <= nowMs()) {
      this.remove(key);
      return undefined;
    }
    entry.usedAt = this.#tick;
    this.#hits++;
    return value;
  }

  /** The value, with no trace of the look. */
  peek(key: string): Value | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Stores or replaces. The caller has made room before. */
  set(key: string, value: Value): void {
    // An overwrite in place would keep the old entry's turn in the hand's walk, and its bytes.
    this.remove(key);
    const bytes = entryBytes(key, value);
    this.#entries.set(key, { value, bytes, usedAt: this.#tick, seenAt: this.#tick });
    this.#tick++;
    this.#bytes += bytes;
    this.#items++;
  }

  /** @returns whether it was there */
  remove(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
    this.#items--;
    return true;
  }

  /** Moves the hand on to the next entry that nobody has read since it last came by, and evicts it. */
  evictOne(): boolean {
    while (this.#items > 0) {
      this.#hand ??= this.#entries.entriesAscending()[Symbol.iterator]();
      const step = this.#hand.next();
      if (step.done) {
        this.#hand = undefined;
        continue;
      }
      const [key, entry] = step.value;
      if (entry.usedAt !== entry.seenAt) {
        entry.seenAt = entry.usedAt;
        continue;
      }
      this.remove(key);
      this.#evictions++;
      return true;
    }
    return false;
  }

  /** Keys and values, the most recently used first. O(n log n): for draining, not for requests. */
  byRecency(): { key: string; value: Value }[] {
    return [...this.#entries.entriesAscending()]
      .sort(([, a], [, b]) => b.usedAt - a.usedAt)
      .map(([key, { value }]) => ({ key, value }));
  }
}

/** The main and the hot cache of a group under one budget. A key is in one of them at the most. */
export class MainAndHot {
  readonly main = new ByteCache();
  readonly hot = new ByteCache();
  readonly budgetBytes: number;

  /**
   * @param budgetBytes 0 keeps nothing
   * @throws RangeError unless the budget is a whole number of bytes
   */
  constructor(budgetBytes: number) {
    if (!Number.isSafeInteger(budgetBytes) || budgetBytes < 0) {
      throw new RangeError(
        `Cannot make a cache as budgetBytes must be a whole number: current value is ${budgetBytes}`,
      );
    }
    this.budgetBytes = budgetBytes;
  }

  /**
   * Stores a value in `cache`, making room first, so that the budget is never exceeded, not even for a moment.
   *
   * @returns false when the value is larger than the whole budget: it is served, but not stored
   */
  store(cache: ByteCache, key: string, value: Value): boolean {
    // Also when the new value is too large to keep: the old one is not what the origin says any more.
    this.main.remove(key);
    this.hot.remove(key);
    const bytes = entryBytes(key, value);
    if (bytes > this.budgetBytes) return false;
    while (this.main.bytes + this.hot.bytes + bytes > this.budgetBytes) this.#victim().evictOne();
    cache.set(key, value);
    return true;
  }

  /** As `store`, but displaces nothing: what does not fit is not kept. */
  storeIfRoom(cache: ByteCache, key: string, value: Value): boolean {
    if (this.main.bytes + this.hot.bytes + entryBytes(key, value) > this.budgetBytes) return false;
    return this.store(cache, key, value);
  }

  /** The hot cache pays while it holds more than an eighth of the main cache (as in groupcache). */
  #victim(): ByteCache {
    return this.hot.items > 0 && (this.hot.bytes > this.main.bytes / 8 || this.main.items === 0) ? this.hot : this.main;
  }
}
