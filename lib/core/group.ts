import type { CancelSignal } from "./base/cancel.ts";
import type { Clock } from "./base/clock.ts";
import { hashOf } from "./base/hash.ts";
import { Memo } from "./base/memo.ts";
import { HotCopies } from "./cache/hot-copies.ts";
import { SharedBudget } from "./cache/shared-budget.ts";
import { OriginTimeoutError } from "./errors.ts";
import { type GroupStats, newCounters } from "./group-stats.ts";
import { accept } from "./handoff/accept.ts";
import { Drain } from "./handoff/drain.ts";
import type { HandoffOptions } from "./handoff/options.ts";
import { Peeks } from "./handoff/peek.ts";
import { Pusher } from "./handoff/push.ts";
import { Replicas } from "./handoff/replicas.ts";
import { Failover } from "./load/failover.ts";
import { type Flight, Flights, PeerWaiter, promised, type Waiter } from "./load/flights.ts";
import type { Ask, Entry, Origin, PeerPicker } from "./ports.ts";
import type { Fresh, Value } from "./value.ts";

/** A value found in this node's memory. */
export interface Hit {
  readonly value: Value;
  readonly from: "main" | "hot";
}

/** The value of a get, and where it came from. */
export interface Loaded {
  readonly value: Value;
  readonly source: "main" | "hot" | "origin" | "peer";
  /** Whether this node keeps it. */
  readonly stored: boolean;
}

export interface GroupOptions {
  readonly name: string;
  readonly origin: Origin;
  readonly picker: PeerPicker;
  readonly clock: Clock;
  /** For the main and the hot cache together: bytes of keys in UTF-8 and of values. */
  readonly budgetBytes: number;
  /** Whether the caches find entries by the hash of their key: see ByteCache. @default false */
  readonly isHashed?: boolean;
  /** How long a value may be served, in milliseconds; null: until it is evicted. */
  readonly ttlMs: number | null;
  /** How long a load from the origin may take, in milliseconds. */
  readonly loadTimeoutMs: number;
  /** On how many nodes each value is kept, 1 or 2. @default 1 */
  readonly replicas?: number;
  /**
   * A key fetched from its owner this many times recently is popular: its hot copy may displace others. Spare room is filled
   * with any copy. 0: no hot copies. @default 2
   */
  readonly hotAfterFetches?: number;
  /** The most loads in flight, and the most fetches from peers in flight. @default 10_000 */
  readonly maxFlights?: number;
}

const MAX_FLIGHTS = 10_000;
/** Chosen: an origin uses a handful; quick-lru keeps up to twice as many. */
const MAX_CONTENT_TYPES = 128;
/** Chosen: what a fetch has left when the owner has timed out, for the peeks and the load in the owner's place. */
const FETCH_MARGIN_MS = 1_000;

/**
 * One named cache of this node. It knows no NATS, no HTTP and no runtime, and never asks whether there is a cluster (see
 * NoPeers).
 *
 * A get goes this way; each step has a method of its name:
 *
 * 1. `lookup`: the main or the hot cache has the value. Nothing is awaited.
 * 2. `load`: the picker names the key's owner. One flight per key serves all callers.
 * 3. This node owns the key: `#make` takes the value from the main cache (`#present`), else from a node that owned the key
 *    before (`#fromFormerOwners`), else from the origin (`#fromOrigin`). It stays in the main cache.
 * 4. A peer owns the key: `Failover.fetch` asks it. The owner answers by `lookupAsOwner` and `loadAsOwner`, which do step 1
 *    and step 3 and never ask another owner. The value may stay in the hot cache.
 * 5. The owner cannot be reached: failover asks the next in rank. When that is this node, it does step 3 in the owner's place.
 */
export class Group {
  readonly name: string;
  readonly #origin: Origin;
  readonly #picker: PeerPicker;
  readonly #clock: Clock;
  readonly #nowMs: () => number;
  readonly #ttlMs: number | null;
  readonly #caches: SharedBudget;
  readonly #copies: HotCopies;
  readonly #failover: Failover<Loaded>;
  readonly #handoff: HandoffOptions;
  readonly #peeks: Peeks;
  readonly #replicas: Replicas;
  readonly #drain: Drain;
  /**
   * Two tables: a peer's request never waits for a flight that itself waits for a peer. Else two nodes with different
   * rosters could wait for each other for ever (mailgun/groupcache issue 72).
   */
  readonly #loads: Flights<Loaded>;
  readonly #fetches: Flights<Loaded>;
  /** The keys that the origin is being asked for now, each with its load. */
  readonly #atOrigin = new Map<string, Flight<Loaded>>();
  /** One string per content type: each answer to a peer compares it with the last one. */
  readonly #contentTypes = new Memo<string, string>(MAX_CONTENT_TYPES, (type) => type);
  readonly #counters = newCounters();

  constructor(options: GroupOptions) {
    const { name: group, clock, picker, ttlMs, loadTimeoutMs, replicas = 1, maxFlights = MAX_FLIGHTS } = options;
    const stats = this.#counters;
    this.name = group;
    this.#origin = options.origin;
    this.#picker = picker;
    this.#clock = clock;
    this.#nowMs = () => clock.nowMs();
    this.#ttlMs = ttlMs;
    this.#caches = new SharedBudget(options.budgetBytes, options.isHashed);
    this.#copies = new HotCopies(this.#caches, ttlMs, options.hotAfterFetches ?? 2);
    this.#handoff = { group, picker, caches: this.#caches, clock, ttlMs, loadTimeoutMs, replicas, stats };
    const pusher = new Pusher(this.#handoff);
    this.#peeks = new Peeks(this.#handoff);
    this.#replicas = new Replicas(this.#handoff, pusher);
    this.#drain = new Drain(this.#handoff, pusher);
    this.#failover = new Failover({
      group,
      picker,
      clock,
      timeoutMs: loadTimeoutMs,
      stats,
      received: (key, value) => ({ value, source: "peer", stored: this.#copies.keep(key, value) }),
      loadHere: (key, signal) => this.#loadInPlaceOfOwner(key, signal),
    });
    this.#loads = new Flights({ clock, timeoutMs: loadTimeoutMs, maxFlights });
    // A fetch may time out at the owner, and then needs the time for a load in the owner's place.
    this.#fetches = new Flights({ clock, timeoutMs: 2 * loadTimeoutMs + FETCH_MARGIN_MS, maxFlights });
  }

  /** What this node has in memory. Synchronous: a hit awaits nothing. */
  lookup(key: string): Hit | undefined {
    this.#counters.gets++;
    const hash = hashOf(key);
    const value = this.#caches.main.get(key, this.#nowMs, hash);
    if (value !== undefined) {
      this.#counters.cacheHits++;
      return { value, from: "main" };
    }
    const copy = this.#caches.hot.get(key, this.#nowMs, hash);
    if (copy === undefined) return undefined;
    this.#counters.cacheHits++;
    return { value: copy, from: "hot" };
  }

  /** A get whose lookup found nothing: makes the value when this node owns the key, else fetches it from its owner. */
  load(key: string, waiter: Waiter<Loaded>): void {
    this.#counters.loads++;
    const owner = this.#picker.pick(key);
    if (owner === undefined) return this.#loadAsOwner(key, waiter);
    this.#fetches.fly(key, waiter, (flight) => {
      this.#counters.loadsDeduped++;
      this.#failover.fetch(owner, key, flight);
    });
  }

  /**
   * Lookup, then load. May ask a peer.
   *
   * @throws NotFoundError, OriginError, OriginTimeoutError, OverloadedError; the signal's reason when the caller left
   */
  async get(key: string, { signal }: { signal?: CancelSignal } = {}): Promise<Loaded> {
    const hit = this.lookup(key);
    if (hit !== undefined) return { value: hit.value, source: hit.from, stored: true };
    return await promised(signal, (waiter) => this.load(key, waiter));
  }

  /** `lookup` for a peer that takes this node for the owner. */
  lookupAsOwner(key: string): Hit | undefined {
    this.#counters.serverRequests++;
    return this.lookup(key);
  }

  /** The rest of a peer's get. Never asks another owner. Fails as `get`. */
  loadAsOwner(key: string, ask: Ask): void {
    this.#counters.loads++;
    this.#loadAsOwner(key, new PeerWaiter(ask));
  }

  /** `lookupAsOwner`, then `loadAsOwner`, by a promise. Throws as `get`. */
  async getAsOwner(key: string, { signal }: { signal?: CancelSignal } = {}): Promise<Loaded> {
    const hit = this.lookupAsOwner(key);
    if (hit !== undefined) return { value: hit.value, source: hit.from, stored: true };
    this.#counters.loads++;
    return await promised(signal, (waiter) => this.#loadAsOwner(key, waiter));
  }

  /**
   * What a peer can take over from this node: a value in memory, or from a load in flight. Starts no load and asks no node.
   * A flight that still asks other nodes is joined at the owner only; else two nodes could wait for each other.
   */
  peek(key: string, options: { signal: CancelSignal }): Value | undefined | Promise<Value | undefined> {
    const hash = hashOf(key);
    const value = this.#fresh(this.#caches.main.peek(key, hash) ?? this.#caches.hot.peek(key, hash));
    if (value !== undefined || !(this.#atOrigin.has(key) || this.#picker.pick(key) === undefined)) return value;
    let isInFlight = false;
    const loaded = promised<Loaded>(options.signal, (waiter) => isInFlight = this.#loads.join(key, waiter));
    return isInFlight ? loaded.then(({ value }) => value, () => undefined) : undefined;
  }

  /** Takes the entries that a peer pushes and this node is to keep, if there is room. @returns how many were taken */
  accept(entries: readonly Entry[], from: string): number {
    return accept(entries, from, this.#handoff);
  }

  /** After a change of owners: with two replicas, sends each key to its new second owner. */
  ownersChanged(): Promise<void> {
    return this.#replicas.rebalance();
  }

  /**
   * Hands over all values when this node is to own nothing any more, and the values that it still loads for peers which do
   * not know that yet. Ends when done or aborted. Never rejects.
   *
   * @param unasked resolves when all peers should know
   */
  drain(signal: AbortSignal, unasked: Promise<void>): Promise<void> {
    this.#replicas.stop();
    return this.#drain.run(signal, async () => {
      await unasked;
      await this.#loads.ended([...this.#atOrigin.keys()], signal);
    });
  }

  /** Whether this node has nothing that a peer could look for, neither in memory nor in flight. */
  get isEmpty(): boolean {
    return this.#caches.main.items === 0 && this.#caches.hot.items === 0 && this.#loads.size === 0;
  }

  stats(): GroupStats {
    return { ...this.#counters, mainCache: this.#caches.main.stats(), hotCache: this.#caches.hot.stats() };
  }

  #loadAsOwner(key: string, waiter: Waiter<Loaded>): void {
    this.#loads.fly(key, waiter, (flight) => {
      this.#counters.loadsDeduped++;
      flight.follow(this.#make(key, flight));
    });
  }

  /** Not counted: the fetch that led here is the load. */
  #loadInPlaceOfOwner(key: string, signal: CancelSignal): Promise<Loaded> {
    return promised(signal, (waiter) => {
      this.#loads.fly(key, waiter, (flight) => flight.follow(this.#make(key, flight)));
    });
  }

  async #make(key: string, flight: Flight<Loaded>): Promise<Loaded> {
    return this.#present(key) ?? await this.#fromFormerOwners(key, flight) ?? await this.#fromOrigin(key, flight);
  }

  /** A value that came while the owner was asked in vain, or while former owners were asked. */
  #present(key: string): Loaded | undefined {
    const value = this.#fresh(this.#caches.main.peek(key));
    return value && { value, source: "main", stored: true };
  }

  /** `undefined` at once when no other node can hold the value. */
  #fromFormerOwners(key: string, flight: Flight<Loaded>): Promise<Loaded | undefined> | undefined {
    return this.#peeks.ask(key, flight)?.then((value) => {
      const present = this.#present(key);
      if (present !== undefined || value === undefined) return present;
      // In the place of an owner that is slow or lost: the value stays with that owner, and this node keeps a copy.
      const isOwner = this.#picker.pick(key) === undefined;
      const stored = isOwner ? this.#keepAsOwner(key, value) : this.#copies.keep(key, value);
      return { value, source: "peer", stored };
    });
  }

  async #fromOrigin(key: string, flight: Flight<Loaded>): Promise<Loaded> {
    const value = await this.#askOrigin(key, flight);
    // Kept even without waiters, since the origin has done the work. But after the deadline a later load may have stored a
    // newer value.
    const isOutdated = flight.aborted && this.#caches.main.peek(key) !== undefined;
    return { value, source: "origin", stored: !isOutdated && this.#keepAsOwner(key, value) };
  }

  async #askOrigin(key: string, flight: Flight<Loaded>): Promise<Value> {
    flight.throwIfAborted();
    this.#counters.originLoads++;
    this.#atOrigin.set(key, flight);
    let fresh: Fresh;
    try {
      fresh = await this.#origin.load(key, flight.abortSignal());
    } catch (error) {
      // A load that was cancelled by its waiters is no error of the origin.
      if (!flight.aborted || flight.reason instanceof OriginTimeoutError) this.#counters.localLoadErrs++;
      throw error;
    } finally {
      // A cancelled load may end after the next one has begun.
      if (this.#atOrigin.get(key) === flight) this.#atOrigin.delete(key);
    }
    this.#counters.localLoads++;
    const bornAtMs = this.#clock.nowMs();
    const expiresAtMs = this.#ttlMs === null ? Infinity : bornAtMs + this.#ttlMs;
    return { body: fresh.body, contentType: this.#contentTypes.get(fresh.contentType), bornAtMs, expiresAtMs };
  }

  /** Also sends the value to the nodes that are to have it besides. @returns whether this node keeps it */
  #keepAsOwner(key: string, value: Value): boolean {
    if (this.#drain.hasBegun) this.#drain.add(key, value);
    else this.#replicas.send(key, value);
    return this.#caches.store(this.#caches.main, key, value);
  }

  #fresh(value: Value | undefined): Value | undefined {
    return value !== undefined && value.expiresAtMs > this.#clock.nowMs() ? value : undefined;
  }
}
