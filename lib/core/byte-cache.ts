/**
 * Values under a byte budget, on quick-lru.
 *
 * quick-lru bounds entries, in two generations: a budget of bytes would leave a part of its room idle or, with a bound
 * that is never reached, evict in the order of insertion, the hottest key first. It therefore finds the values, and who
 * is evicted next is told by two lists that run through all entries: what came and was not read since, in the order of
 * arrival, and what was read, in the order in which it was last looked at. A hit writes one number and moves nothing.
 *
 * A map of a million entries that keeps deleting and inserting is rehashed as a whole now and then, which takes tens of
 * milliseconds; so there are many small ones, each with its share of the keys.
 */
import QuickLRU from "quick-lru";
import type { Value } from "./value.ts";
import { utf8Bytes } from "./hash.ts";

/** Also the head of a list, which is a ring: it needs no case for its ends. */
interface Linked {
  previous: Linked;
  next: Linked;
}

type Shard = QuickLRU<string, Entry>;

interface Entry extends Linked {
  readonly key: string;
  readonly shard: Shard;
  readonly value: Value;
  /** UTF-8 bytes of the key + bytes of the body. */
  readonly bytes: number;
  /** The tick of the last read (of the insertion, at first). */
  usedAt: number;
  /** `usedAt` when the entry was put where it stands in its list: equal means "not read since". */
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

/** A power of two. At a million entries each map holds 16,000, and is rehashed in a millisecond or two. */
const SHARDS = 64;
/** So many units of a long key, evenly spread: keys may differ at the beginning, at the end or in the middle. */
const HASHED_UNITS = 16;
/**
 * Of the two candidates for eviction it is the one that nobody has read for longer; a candidate among the read ones counts
 * as so much more idle. Found by simulation: with 1, or less, a hot set that has shifted is let go a little too late.
 */
const READ_IDLE_FACTOR = 1.15;

/** The size that a value is accounted with, in bytes. */
export function entryBytes(key: string, value: Value): number {
  return utf8Bytes(key) + value.body.byteLength;
}

/** Which of the maps has a key, from 0 to SHARDS - 1. */
function shardOf(key: string): number {
  const { length } = key;
  let hash = length;
  const step = Math.max(1, (length / HASHED_UNITS) | 0);
  for (let i = 0; i < length; i += step) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
  }
  return (hash ^ (hash >>> 15)) & (SHARDS - 1);
}

/** One cache of values with exact bytes. It evicts when told: the budget may be shared (see MainAndHot). */
export class ByteCache {
  // Never reached: bytes bound this cache, so quick-lru keeps one generation.
  readonly #shards = Array.from(
    { length: SHARDS },
    () => new QuickLRU<string, Entry>({ maxSize: Number.MAX_SAFE_INTEGER }),
  );
  /** What was not read since it came, the oldest first. */
  readonly #unread = emptyList();
  /** What was read, in the order in which eviction last looked at it. */
  readonly #read = emptyList();
  /** Moves on at each insertion and each eviction, so that "read since" is exact between any two of them. */
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
    if (this.#items === 0) return undefined;
    const entry = this.#shards[shardOf(key)]!.get(key);
    if (entry === undefined) return undefined;
    const { value } = entry;
    if (value.expiresAtMs !== Infinity && value.expiresAtMs <= nowMs()) {
      this.#delete(entry);
      return undefined;
    }
    entry.usedAt = this.#tick;
    this.#hits++;
    return value;
  }

  /** The value, with no trace of the look. */
  peek(key: string): Value | undefined {
    return this.#shards[shardOf(key)]!.get(key)?.value;
  }

  /** Stores or replaces. The caller has made room before. */
  set(key: string, value: Value): void {
    const shard = shardOf(key);
    this.remove(key, shard);
    this.add(key, value, entryBytes(key, value), shard);
  }

  /** Stores under a key that is not there. @param bytes as `entryBytes` counts them */
  add(key: string, value: Value, bytes: number, shardIndex: number): void {
    const tick = this.#tick++;
    const shard = this.#shards[shardIndex]!;
    const list = this.#unread;
    const { previous } = list;
    const entry: Entry = { key, shard, value, bytes, usedAt: tick, seenAt: tick, previous, next: list };
    previous.next = entry;
    list.previous = entry;
    shard.set(key, entry);
    this.#bytes += bytes;
    this.#items++;
  }

  /** @returns whether it was there */
  remove(key: string, shardIndex = shardOf(key)): boolean {
    if (this.#items === 0) return false;
    const entry = this.#shards[shardIndex]!.get(key);
    if (entry === undefined) return false;
    this.#delete(entry);
    return true;
  }

  /** Evicts the entry that was idle for the longest, as far as the heads of the lists tell. */
  evictOne(): boolean {
    if (this.#items === 0) return false;
    const unread = this.#candidate(this.#unread);
    const read = this.#candidate(this.#read);
    // Finding the second candidate may have been what made the first list's last entry a read one.
    const victim = unread === undefined || (read !== undefined && this.#isIdler(read, unread)) ? read : unread;
    this.#delete(victim!);
    this.#evictions++;
    // What is read from now on was read after this look, also when it is the other cache that grows.
    this.#tick++;
    return true;
  }

  /** Keys and values, the most recently used first. O(n log n): for draining, not for requests. */
  byRecency(): { key: string; value: Value }[] {
    const all = [...entriesOf(this.#unread), ...entriesOf(this.#read)];
    return all.sort((a, b) => b.usedAt - a.usedAt).map(({ key, value }) => ({ key, value }));
  }

  /** The first entry of a list that was not read since it was put there; those before it go to the end of `#read`. */
  #candidate(list: Linked): Entry | undefined {
    for (let first = list.next; first !== list; first = list.next) {
      const entry = first as Entry;
      if (entry.usedAt === entry.seenAt) return entry;
      entry.seenAt = entry.usedAt;
      unlink(entry);
      append(this.#read, entry);
    }
    return undefined;
  }

  #isIdler(read: Entry, unread: Entry): boolean {
    return (this.#tick - read.usedAt) * READ_IDLE_FACTOR > this.#tick - unread.usedAt;
  }

  #delete(entry: Entry): void {
    entry.shard.delete(entry.key);
    unlink(entry);
    this.#bytes -= entry.bytes;
    this.#items--;
  }
}

function emptyList(): Linked {
  const head = {} as Linked;
  head.previous = head.next = head;
  return head;
}

function append(list: Linked, entry: Linked): void {
  entry.previous = list.previous;
  entry.next = list;
  list.previous.next = entry;
  list.previous = entry;
}

function unlink(entry: Linked): void {
  entry.previous.next = entry.next;
  entry.next.previous = entry.previous;
}

function* entriesOf(list: Linked): Generator<Entry> {
  for (let one = list.next; one !== list; one = one.next) yield one as Entry;
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
    const shard = shardOf(key);
    this.main.remove(key, shard);
    this.hot.remove(key, shard);
    const bytes = entryBytes(key, value);
    if (bytes > this.budgetBytes) return false;
    while (!this.#fits(bytes)) this.#victim().evictOne();
    cache.add(key, value, bytes, shard);
    return true;
  }

  /** Whether it fits beside all that is here. */
  hasRoom(key: string, value: Value): boolean {
    return this.#fits(entryBytes(key, value));
  }

  /** Stores a value in the main cache as `store` does, but displaces hot copies only: else it is not kept. */
  storeForHotOnes(key: string, value: Value): boolean {
    const bytes = entryBytes(key, value);
    if (this.main.bytes + bytes > this.budgetBytes) return false;
    while (!this.#fits(bytes)) this.hot.evictOne();
    return this.store(this.main, key, value);
  }

  #fits(bytes: number): boolean {
    return this.main.bytes + this.hot.bytes + bytes <= this.budgetBytes;
  }

  /** The hot cache pays while it holds more than an eighth of the main cache (as in groupcache). */
  #victim(): ByteCache {
    return this.hot.items > 0 && (this.hot.bytes > this.main.bytes / 8 || this.main.items === 0) ? this.hot : this.main;
  }
}
