/**
 * A cache with exact bytes: quick-lru finds the entries, two lists choose the next victim.
 *
 * - quick-lru cannot choose: it bounds entries, not bytes. With a bound that is never reached it evicts in the order of
 *   insertion, the hottest key first.
 * - Eviction approximates LRU with two second-chance lists, `#unread` and `#read`. A hit only writes a tick.
 * - The keys are shared out over 64 maps. An engine rehashes a map of a million entries as a whole, which takes tens of
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

/** Six fields at most: JavaScriptCore then gives it 64 bytes, one cache line. */
interface Entry extends ListNode {
  readonly key: string;
  value: Value;
  /** UTF-8 bytes of the key plus bytes of the body. */
  readonly bytes: number;
  /** The tick of the last read, or of the insertion. Negative: not read since it was appended to its list. */
  usedAt: number;
}

/** Counters and sizes of one cache, under groupcache's names. */
export interface CacheStats {
  /** Encoded: keys, bodies and header fields. */
  bytes: number;
  /** What counts against the budget: see memory.ts. */
  memoryBytes: number;
  items: number;
  gets: number;
  hits: number;
  evictions: number;
}

/** Bits of a hash that choose the map. At a million entries each of 64 maps holds 16,000: a rehash takes 1 to 2 ms (measured). */
const SHARD_BITS = 6;
const SHARDS = 1 << SHARD_BITS;
const NONE: readonly Entry[] = [];
/**
 * Eviction takes the candidate that has been idle for longer; the read one's idle time is multiplied by this. Found by
 * simulation: with 1 or less, a cache keeps an old hot set a little too long after it has shifted.
 */
const READ_IDLE_FACTOR = 1.15;

/**
 * Chosen: a look for expired entries ends after so many, and goes on from there the next time. A batch of a thousand entries
 * that find no room costs 0.1 s at most.
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
  // The bound is never reached: bytes bound this cache, and quick-lru then keeps one generation.
  readonly #shards = Array.from(
    { length: SHARDS },
    (): Shard => new QuickLRU({ maxSize: Number.MAX_SAFE_INTEGER }),
  );
  /** Entries whose hash equals that of an entry in a map. Among a million entries about a hundred. */
  readonly #collisions = new Map<number, readonly Entry[]>();
  /** Entries not read since they came, the oldest first. */
  readonly #unread = emptyList();
  /** Entries that were read, in the order in which eviction last looked at them. */
  readonly #read = emptyList();
  /** Grows at each insertion and each eviction: "read since" is exact between any two of them. */
  #tick = 1;
  #bytes = 0;
  #memoryBytes = 0;
  #items = 0;
  #gets = 0;
  #hits = 0;
  #evictions = 0;
  /** Entries that this eviction has passed over. */
  #looks = 0;
  /** No entry is gone before. */
  #firstGoneMs = Infinity;
  /** The same for the entries that this pass over the lists has seen, and those that have come since it began. */
  #seenGoneMs = Infinity;
  /** Where the look for expired entries goes on: an entry, or the head of the list that it has come to. */
  #cursor: ListNode = this.#unread;

  /**
   * @param isHashed whether maps are keyed by the hash of the key instead of the key. V8 interns a string before it looks
   * it up in a map. At a million entries interning took a third of the time and caused the longest pause (measured).
   * @param costOf what an entry counts. @default its encoded bytes
   */
  constructor(isHashed = false, costOf: CostOf = entryBytes) {
    this.#isHashed = isHashed;
    this.#costOf = costOf;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** What its entries cost in memory. */
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
   * Finds a fresh value and counts the use. A value that nothing may serve any more is removed.
   *
   * @param label a value with another label must be checked first, and is not given. @default any will do
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

  /** Counts a hit of a value that `get` did not give: a variant, a stale value, or one that had to be checked. */
  use(key: string, hash = hashOf(key)): void {
    const entry = this.#find(key, hash);
    if (entry === undefined) return;
    entry.usedAt = this.#tick;
    this.#hits++;
  }

  /** Puts the same value with an earlier end in its place, if it is there. */
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

  /** Stores or replaces a value. The caller has made room before. */
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
   * @param maxLooks how many entries that were read it may pass over in each list; the next one goes, read or not
   * @returns how many entries it has looked at; 0 when the cache is empty
   */
  evictOne(maxLooks = Infinity): number {
    if (this.#items === 0) return 0;
    this.#looks = 0;
    const unread = this.#candidate(this.#unread, maxLooks);
    const read = this.#candidate(this.#read, 2 * maxLooks);
    // The look at `#unread` may have moved all its entries to `#read`: then only `read` is left.
    const victim = unread === undefined || (read !== undefined && this.#isIdler(read, unread)) ? read : unread;
    this.#delete(victim!, hashOf(victim!.key));
    this.#evictions++;
    // A read from now on counts as later than this look.
    this.#tick++;
    return this.#looks + 1;
  }

  /**
   * Removes one entry that nothing may serve any more. Lifetimes differ, so the entries are looked at in turn, a bounded
   * number at each call.
   *
   * @returns whether one was found
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

  /** All entries were seen once: the bound is exact again. */
  #endPass(): void {
    this.#firstGoneMs = this.#seenGoneMs;
    this.#seenGoneMs = Infinity;
    this.#cursor = this.#unread;
  }

  /** All entries, in no order. O(n): for changes of owners, not for requests. */
  entries(): readonly KeyAndValue[] {
    return this.#all();
  }

  /** The keys of all entries, in parts of which each is read when it is asked for, so that none takes long. */
  *keysInParts(): Generator<string[]> {
    // First those that may move into a map meanwhile.
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
   * The first entry of a list not read since it was appended. Entries in front of it were read and move to `#read`.
   *
   * @param maxLooks after so many looks in both lists, an entry that was read is taken, too
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

  /** Takes an entry out of its map. An entry with the same hash takes its place. */
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

  /** The look for expired entries goes on behind it. */
  #unlink(entry: Entry): void {
    if (this.#cursor === entry) this.#cursor = entry.previous;
    unlink(entry);
  }
}
