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
import type { Entry as KeyAndValue } from "../ports.ts";
import type { Value } from "../value.ts";
import { hashOf, utf8Bytes } from "../base/hash.ts";
import { append, emptyList, type ListNode, unlink } from "../base/intrusive-list.ts";

type Shard = QuickLRU<string | number, Entry>;

/** No more than six fields: with them JavaScriptCore gives it 64 bytes, which is one line of a processor's cache. */
interface Entry extends ListNode {
  readonly key: string;
  readonly value: Value;
  /** UTF-8 bytes of the key + bytes of the body. */
  readonly bytes: number;
  /** The tick of the last read (of the insertion, at first); below zero: not read since it was put where it stands. */
  usedAt: number;
}

/** What a cache has done and holds, under the names that groupcache made standard. */
export interface CacheStats {
  bytes: number;
  items: number;
  gets: number;
  hits: number;
  evictions: number;
}

/** Of a hash, for 64 maps. At a million entries each holds 16,000, and is rehashed in a millisecond or two. */
const SHARD_BITS = 6;
const SHARDS = 1 << SHARD_BITS;
const NOBODY: readonly Entry[] = [];
/**
 * Of the two candidates for eviction it is the one that nobody has read for longer; a candidate among the read ones counts
 * as so much more idle. Found by simulation: with 1, or less, a hot set that has shifted is let go a little too late.
 */
const READ_IDLE_FACTOR = 1.15;

/** The size that a value is accounted with, in bytes. */
export function entryBytes(key: string, value: Value): number {
  return utf8Bytes(key) + value.body.byteLength;
}

/** One cache of values with exact bytes. It evicts when told: the budget may be shared (see MainAndHot). */
export class ByteCache {
  readonly #isHashed: boolean;
  // Never reached: bytes bound this cache, so quick-lru keeps one generation.
  readonly #shards = Array.from(
    { length: SHARDS },
    (): Shard => new QuickLRU({ maxSize: Number.MAX_SAFE_INTEGER }),
  );
  /** Entries whose hash is that of another, which the map has: of a million, some hundred. */
  readonly #namesakes = new Map<number, readonly Entry[]>();
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

  /**
   * @param isHashed whether entries are found by the hash of their key, with a look at the key itself, and not by the key.
   * V8 makes a string unique in the process before it looks for it in a map, in a table that it rehashes as a whole: a
   * third of the time, and the longest pause, at a million entries
   */
  constructor(isHashed = false) {
    this.#isHashed = isHashed;
  }

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
  get(key: string, nowMs: () => number, hash = hashOf(key)): Value | undefined {
    this.#gets++;
    if (this.#items === 0) return undefined;
    const entry = this.#find(key, hash);
    if (entry === undefined) return undefined;
    const { value } = entry;
    if (value.expiresAtMs !== Infinity && value.expiresAtMs <= nowMs()) {
      this.#delete(entry, hash);
      return undefined;
    }
    entry.usedAt = this.#tick;
    this.#hits++;
    return value;
  }

  /** The value, with no trace of the look. */
  peek(key: string, hash = hashOf(key)): Value | undefined {
    return this.#find(key, hash)?.value;
  }

  /** Stores or replaces. The caller has made room before. */
  set(key: string, value: Value): void {
    const hash = hashOf(key);
    this.remove(key, hash);
    this.add(key, value, entryBytes(key, value), hash);
  }

  /** Stores under a key that is not there. @param bytes as `entryBytes` counts them */
  add(key: string, value: Value, bytes: number, hash: number): void {
    const tick = this.#tick++;
    const list = this.#unread;
    const { previous } = list;
    const entry: Entry = { key, value, bytes, usedAt: -tick, previous, next: list };
    previous.next = entry;
    list.previous = entry;
    const shard = this.#shardOf(hash);
    if (!this.#isHashed) shard.set(key, entry);
    else if (shard.get(hash >>> SHARD_BITS) === undefined) shard.set(hash >>> SHARD_BITS, entry);
    else this.#namesakes.set(hash, [...this.#namesakesOf(hash), entry]);
    this.#bytes += bytes;
    this.#items++;
  }

  /** @returns whether it was there */
  remove(key: string, hash = hashOf(key)): boolean {
    if (this.#items === 0) return false;
    const entry = this.#find(key, hash);
    if (entry === undefined) return false;
    this.#delete(entry, hash);
    return true;
  }

  /** Evicts the entry that was idle for the longest, as far as the heads of the lists tell. */
  evictOne(): boolean {
    if (this.#items === 0) return false;
    const unread = this.#candidate(this.#unread);
    const read = this.#candidate(this.#read);
    // Finding the second candidate may have been what made the first list's last entry a read one.
    const victim = unread === undefined || (read !== undefined && this.#isIdler(read, unread)) ? read : unread;
    this.#delete(victim!, hashOf(victim!.key));
    this.#evictions++;
    // What is read from now on was read after this look, also when it is the other cache that grows.
    this.#tick++;
    return true;
  }

  /**
   * Removes an entry that has expired, where one heads a list: as all entries of a group live equally long, the oldest there.
   *
   * @returns whether there was one
   */
  removeExpired(nowMs: number): boolean {
    for (const list of [this.#unread, this.#read]) {
      if (list.next === list) continue;
      const entry = list.next as Entry;
      if (entry.value.expiresAtMs > nowMs) continue;
      this.#delete(entry, hashOf(entry.key));
      return true;
    }
    return false;
  }

  /** All keys and values. O(n), as is what follows: for changes of owners, not for requests. */
  entries(): readonly KeyAndValue[] {
    return this.#all();
  }

  /** The same, the most recently used first. */
  byRecency(): readonly KeyAndValue[] {
    return this.#all().sort((a, b) => Math.abs(b.usedAt) - Math.abs(a.usedAt));
  }

  #all(): Entry[] {
    const all: Entry[] = [];
    for (const list of [this.#unread, this.#read]) {
      for (let one = list.next; one !== list; one = one.next) all.push(one as Entry);
    }
    return all;
  }

  /** The first entry of a list that was not read since it was put there; those before it go to the end of `#read`. */
  #candidate(list: ListNode): Entry | undefined {
    for (let first = list.next; first !== list; first = list.next) {
      const entry = first as Entry;
      if (entry.usedAt < 0) return entry;
      entry.usedAt = -entry.usedAt;
      unlink(entry);
      append(this.#read, entry);
    }
    return undefined;
  }

  #shardOf(hash: number): Shard {
    return this.#shards[hash & (SHARDS - 1)]!;
  }

  #find(key: string, hash: number): Entry | undefined {
    const shard = this.#shardOf(hash);
    if (!this.#isHashed) return shard.get(key);
    const entry = shard.get(hash >>> SHARD_BITS);
    if (entry === undefined || entry.key === key) return entry;
    return this.#namesakesOf(hash).find((namesake) => namesake.key === key);
  }

  /** Takes an entry out of its map; of those with its hash, one takes its place. */
  #unfind(entry: Entry, hash: number): void {
    const shard = this.#shardOf(hash);
    if (!this.#isHashed) return void shard.delete(entry.key);
    const id = hash >>> SHARD_BITS;
    const namesakes = this.#namesakesOf(hash);
    if (namesakes.length === 0) return void shard.delete(id);
    const [first, ...others] = [shard.get(id)!, ...namesakes].filter((one) => one !== entry);
    shard.set(id, first!);
    if (others.length === 0) this.#namesakes.delete(hash);
    else this.#namesakes.set(hash, others);
  }

  #namesakesOf(hash: number): readonly Entry[] {
    return this.#namesakes.get(hash) ?? NOBODY;
  }

  #isIdler(read: Entry, unread: Entry): boolean {
    return (this.#tick + read.usedAt) * READ_IDLE_FACTOR > this.#tick + unread.usedAt;
  }

  #delete(entry: Entry, hash: number): void {
    this.#unfind(entry, hash);
    unlink(entry);
    this.#bytes -= entry.bytes;
    this.#items--;
  }
}
