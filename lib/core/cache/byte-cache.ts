/**
 * A cache that counts bytes exactly. quick-lru finds the entries; two lists choose the next victim.
 *
 * - quick-lru cannot choose the victim: it bounds entries, not bytes. With a bound that is never reached it evicts in
 *   insertion order, so the hottest key first.
 * - Eviction approximates LRU with two second-chance lists, `#unread` and `#read`. A hit only writes a tick.
 * - The keys are spread over 64 maps. An engine rehashes a map of a million entries at once, which takes tens of
 *   milliseconds (measured).
 */
import QuickLRU from "quick-lru";
import type { Entry as KeyAndValue } from "../ports.ts";
import type { Label } from "../invalidation/label.ts";
import { goneAtMs } from "../lifetime/times.ts";
import { canBeValidated, type Value } from "../value.ts";
import { hashOf, utf8Bytes } from "../base/hash.ts";
import { append, emptyList, type ListNode, unlink } from "../base/tables/intrusive-list.ts";
import type { CostOf } from "./memory.ts";

type Shard = QuickLRU<string | number, Entry>;

/** At most six fields, so that JavaScriptCore gives an entry 64 bytes, one cache line. */
interface Entry extends ListNode {
  readonly key: string;
  value: Value;
  /** UTF-8 bytes of the key plus bytes of the body. */
  readonly bytes: number;
  /** The tick of the last read or of the insertion. Negative: not read since the entry was appended to its list. */
  usedAt: number;
}

/** Counters and sizes of one cache, under groupcache's names. */
export interface CacheStats {
  /** Encoded: keys, bodies and header fields. */
  bytes: number;
  /** Their cost in memory, which counts against the budget: see memory.ts. */
  memoryBytes: number;
  items: number;
  gets: number;
  hits: number;
  evictions: number;
}

/**
 * The bits of a hash that choose the map. With a million entries each of 64 maps holds 16,000: a rehash takes 1 to 2 ms
 * (measured).
 */
const SHARD_BITS = 6;
const SHARDS = 1 << SHARD_BITS;
const NONE: readonly Entry[] = [];
/**
 * Eviction takes the candidate with the longer idle time; that of the read candidate is multiplied by this factor.
 * Found by simulation: with 1 or less, a cache keeps an old hot set a little too long after traffic shifted.
 */
const READ_IDLE_FACTOR = 1.15;

/**
 * A search for expired entries stops after this many and continues there the next time. Chosen: a batch of a thousand
 * entries that find no room then costs at most 0.1 s.
 */
const MAX_LOOKED_AT = 1_000;

/** An entry's encoded bytes: its key in UTF-8, its body, and its header fields. */
export function entryBytes(key: string, { body, about: { fields } }: Value): number {
  let bytes = utf8Bytes(key) + body.byteLength;
  for (const [name, value] of fields) bytes += name.length + value.length;
  return bytes;
}

/** One cache of values. It evicts only when told, since two caches share one budget (see SharedBudget). */
export class ByteCache {
  readonly #isHashed: boolean;
  readonly #costOf: CostOf;
  // quick-lru never reaches this bound, as bytes bound the cache. It then keeps one generation.
  readonly #shards = Array.from(
    { length: SHARDS },
    (): Shard => new QuickLRU({ maxSize: Number.MAX_SAFE_INTEGER }),
  );
  /** Entries with the same hash as an entry in a map: about a hundred among a million entries. */
  readonly #collisions = new Map<number, readonly Entry[]>();
  /** Entries not read since they were stored, the oldest first. */
  readonly #unread = emptyList();
  /** Entries that were read, in the order in which eviction last examined them. */
  readonly #read = emptyList();
  /** Grows at each insertion and each eviction, so "read since" is exact between any two of them. */
  #tick = 1;
  #bytes = 0;
  #memoryBytes = 0;
  #items = 0;
  #gets = 0;
  #hits = 0;
  #evictions = 0;
  /** The number of entries that this eviction skipped. */
  #looks = 0;
  /** Before this time no entry is gone, as `goneAtMs` defines it. */
  #firstGoneMs = Infinity;
  /** The same for the entries that this pass over the lists has seen or that were stored since it began. */
  #seenGoneMs = Infinity;
  /** Where the search for expired entries continues: an entry, or the head of the current list. */
  #cursor: ListNode = this.#unread;

  /**
   * @param isHashed whether maps use the key's hash in place of the key. V8 interns a string before it looks it up in a
   * map. With a million entries interning took a third of the time and caused the longest pause (measured).
   * @param costOf the cost of an entry. @default its encoded bytes
   */
  constructor(isHashed = false, costOf: CostOf = entryBytes) {
    this.#isHashed = isHashed;
    this.#costOf = costOf;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** The cost of all entries in memory. */
  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  get items(): number {
    return this.#items;
  }

  stats(): CacheStats {
    return {
      bytes: this.#bytes,
      memoryBytes: this.#memoryBytes,
      items: this.#items,
      gets: this.#gets,
      hits: this.#hits,
      evictions: this.#evictions,
    };
  }

  /**
   * Finds a fresh value and counts the use. Removes a value that may not be served at all any more.
   *
   * @param label a value with another label is not returned, as it must be checked first. @default any label
   */
  get(key: string, nowMs: () => number, hash = hashOf(key), label?: Label): Value | undefined {
    this.#gets++;
    if (this.#items === 0) return undefined;
    const entry = this.#find(key, hash);
    if (entry === undefined) return undefined;
    const { value } = entry;
    if (value.freshUntilMs !== Infinity && value.freshUntilMs <= nowMs()) {
      if (goneAtMs(value) <= nowMs() && !canBeValidated(value)) this.#delete(entry, hash);
      return undefined;
    }
    if (label !== undefined && value.label !== label) return undefined;
    entry.usedAt = this.#tick;
    this.#hits++;
    return value;
  }

  /** Counts a hit of a value that `get` did not return: a variant, a stale value, or one that had to be checked. */
  use(key: string, hash = hashOf(key)): void {
    const entry = this.#find(key, hash);
    if (entry === undefined) return;
    entry.usedAt = this.#tick;
    this.#hits++;
  }

  /** Replaces a stored value by the same value with an earlier end. Does nothing if the key is absent. */
  shorten(key: string, value: Value, hash = hashOf(key)): void {
    const entry = this.#find(key, hash);
    if (entry === undefined) return;
    entry.value = value;
    const goneMs = goneAtMs(value);
    this.#firstGoneMs = Math.min(this.#firstGoneMs, goneMs);
    this.#seenGoneMs = Math.min(this.#seenGoneMs, goneMs);
  }

  /** Finds a value, expired or not, and counts nothing. */
  peek(key: string, hash = hashOf(key)): Value | undefined {
    return this.#find(key, hash)?.value;
  }

  /** Stores or replaces a value. The caller makes room first. */
  set(key: string, value: Value): void {
    const hash = hashOf(key);
    this.remove(key, hash);
    this.add(key, value, entryBytes(key, value), hash);
  }

  /** Stores a value whose key is absent. @param bytes as `entryBytes` counts them */
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
    else this.#collisions.set(hash, [...this.#collisionsOf(hash), entry]);
    this.#bytes += bytes;
    this.#memoryBytes += this.#costOf(key, value);
    this.#items++;
    const goneMs = goneAtMs(value);
    this.#firstGoneMs = Math.min(this.#firstGoneMs, goneMs);
    this.#seenGoneMs = Math.min(this.#seenGoneMs, goneMs);
  }

  /** @returns whether the key was present */
  remove(key: string, hash = hashOf(key)): boolean {
    if (this.#items === 0) return false;
    const entry = this.#find(key, hash);
    if (entry === undefined) return false;
    this.#delete(entry, hash);
    return true;
  }

  /**
   * Evicts the longer idle of the two lists' candidates.
   *
   * @param maxLooks how many entries that were read it may skip in each list; then it evicts the next one, read or not
   * @returns the number of entries examined; 0 when the cache is empty
   */
  evictOne(maxLooks = Infinity): number {
    if (this.#items === 0) return 0;
    this.#looks = 0;
    const unread = this.#candidate(this.#unread, maxLooks);
    const read = this.#candidate(this.#read, 2 * maxLooks);
    // The search may have moved all entries of `#unread` to `#read`; then only `read` is left.
    const victim = unread === undefined || (read !== undefined && this.#isIdler(read, unread)) ? read : unread;
    this.#delete(victim!, hashOf(victim!.key));
    this.#evictions++;
    // So that a read from now on counts as later than this look.
    this.#tick++;
    return this.#looks + 1;
  }

  /**
   * Removes one entry that may not be served any more. Lifetimes differ, so it examines the entries in turn, a bounded
   * number per call.
   *
   * @returns whether it found one
   */
  removeExpired(nowMs: number): boolean {
    for (let looked = 0; looked < MAX_LOOKED_AT && this.#firstGoneMs <= nowMs; looked++) {
      this.#cursor = this.#cursor.next;
      if (this.#cursor === this.#read) this.#endPass();
      else if (this.#cursor === this.#unread) this.#cursor = this.#read;
      else {
        const entry = this.#cursor as Entry;
        const goneMs = goneAtMs(entry.value);
        if (goneMs <= nowMs) {
          this.#delete(entry, hashOf(entry.key));
          return true;
        }
        this.#seenGoneMs = Math.min(this.#seenGoneMs, goneMs);
      }
    }
    return false;
  }

  /** Every entry was seen once, so the bound is exact again. */
  #endPass(): void {
    this.#firstGoneMs = this.#seenGoneMs;
    this.#seenGoneMs = Infinity;
    this.#cursor = this.#unread;
  }

  /** All entries, in no order. O(n): for changes of owners, not for requests. */
  entries(): readonly KeyAndValue[] {
    return this.#all();
  }

  /** The keys of all entries in several parts. Each part is read on demand, so that no step takes long. */
  *keysInParts(): Generator<string[]> {
    // Collisions first, as they may move into a map between two parts.
    yield [...this.#collisions.values()].flat().map(({ key }) => key);
    for (const shard of this.#shards) yield [...shard].map(([, { key }]) => key);
  }

  /** All entries, the most recently used first. O(n log n). */
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

  /**
   * The first entry of a list that was not read since it was appended. Entries before it were read and move to `#read`.
   *
   * @param maxLooks after this many entries in both lists, it takes an entry that was read, too
   */
  #candidate(list: ListNode, maxLooks: number): Entry | undefined {
    for (let first = list.next; first !== list; first = list.next) {
      const entry = first as Entry;
      if (entry.usedAt < 0 || this.#looks >= maxLooks) return entry;
      this.#looks++;
      entry.usedAt = -entry.usedAt;
      this.#unlink(entry);
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
    return this.#collisionsOf(hash).find((other) => other.key === key);
  }

  /** Takes an entry out of its map. If another entry has the same hash, it moves into the map. */
  #unfind(entry: Entry, hash: number): void {
    const shard = this.#shardOf(hash);
    if (!this.#isHashed) return void shard.delete(entry.key);
    const id = hash >>> SHARD_BITS;
    const collisions = this.#collisionsOf(hash);
    if (collisions.length === 0) return void shard.delete(id);
    const [first, ...others] = [shard.get(id)!, ...collisions].filter((one) => one !== entry);
    shard.set(id, first!);
    if (others.length === 0) this.#collisions.delete(hash);
    else this.#collisions.set(hash, others);
  }

  #collisionsOf(hash: number): readonly Entry[] {
    return this.#collisions.get(hash) ?? NONE;
  }

  #isIdler(read: Entry, unread: Entry): boolean {
    return (this.#tick - Math.abs(read.usedAt)) * READ_IDLE_FACTOR > this.#tick - Math.abs(unread.usedAt);
  }

  #delete(entry: Entry, hash: number): void {
    this.#unfind(entry, hash);
    this.#unlink(entry);
    this.#bytes -= entry.bytes;
    this.#memoryBytes -= this.#costOf(entry.key, entry.value);
    this.#items--;
  }

  /** Unlinks an entry; the search for expired entries then continues after it. */
  #unlink(entry: Entry): void {
    if (this.#cursor === entry) this.#cursor = entry.previous;
    unlink(entry);
  }
}
