/**
 * A named cache: cache -> owner -> origin. Knows no NATS, no HTTP and no runtime, and never asks whether there is a
 * cluster (see NoPeers). What it needs from the rest of the node are the ports Origin, Peer and PeerPicker.
 */
import type { CancelSignal } from "./base/cancel.ts";
import type { Clock } from "./base/clock.ts";
import { OriginTimeoutError } from "./errors.ts";
import { Failover } from "./load/failover.ts";
import { type Flight, Flights, promised, type Waiter } from "./load/flights.ts";
import { type GroupStats, newCounters } from "./group-stats.ts";
import { Handoff } from "./handoff/handoff.ts";
import { hashOf } from "./base/hash.ts";
import { HotCopies } from "./cache/hot-copies.ts";
import { SharedBudget } from "./cache/shared-budget.ts";
import { Memo } from "./base/memo.ts";
import { PeerWaiter } from "./load/peer-waiter.ts";
import type { Ask, Entry, Origin, PeerPicker } from "./ports.ts";
import type { Fresh, Value } from "./value.ts";

/** A value found in this node's memory. */
export interface Hit {
  readonly value: Value;
  readonly from: "main" | "hot";
}

/** A value that had to be fetched: from the origin by this node, or from the peer that answers for the key. */
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
  /** Main and hot cache together: bytes of keys and values in UTF-8. */
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
   * A key that was fetched from its owner this often, not long ago, is popular: a copy may displace others. While there is
   * room, one is kept at once. 0: never. @default 2
   */
  readonly hotAfterFetches?: number;
  /** Loads, and fetches from peers, in the air at once. @default 10_000 */
  readonly maxFlights?: number;
}

const MAX_FLIGHTS = 10_000;
const MAX_CONTENT_TYPES = 128;

/** One named cache of this node. */
export class Group {
  readonly name: string;
  readonly #origin: Origin;
  readonly #picker: PeerPicker;
  readonly #clock: Clock;
  readonly #nowMs: () => number;
  readonly #ttlMs: number | null;
  readonly #caches: SharedBudget;
  readonly #copies: HotCopies;
  readonly #handoff: Handoff;
  readonly #failover: Failover<Loaded>;
  /**
   * Two tables, so that what a peer asks of us never waits for a flight that itself waits for a peer: two nodes with
   * different rosters would wait for each other for ever (mailgun/groupcache issue 72).
   */
  readonly #loads: Flights<Loaded>;
  readonly #fetches: Flights<Loaded>;
  /** Keys that the origin is being asked for at this moment, each with the load that does. */
  readonly #atOrigin = new Map<string, Flight<Loaded>>();
  /** One string for all values of a type: it is compared with the last one at each answer to a peer. */
  readonly #contentTypes = new Memo<string, string>(MAX_CONTENT_TYPES, (type) => type);
  readonly #counters = newCounters();

  constructor(options: GroupOptions) {
    const { clock, picker, loadTimeoutMs, replicas = 1, maxFlights = MAX_FLIGHTS } = options;
    this.name = options.name;
    this.#origin = options.origin;
    this.#picker = picker;
    this.#clock = clock;
    this.#nowMs = () => clock.nowMs();
    this.#ttlMs = options.ttlMs;
    this.#caches = new SharedBudget(options.budgetBytes, options.isHashed);
    this.#copies = new HotCopies(this.#caches, options.ttlMs, options.hotAfterFetches ?? 2);
    this.#handoff = new Handoff({
      group: options.name,
      picker,
      caches: this.#caches,
      clock,
      ttlMs: options.ttlMs,
      loadTimeoutMs,
      replicas,
    });
    this.#failover = new Failover({
      group: options.name,
      picker,
      clock,
      timeoutMs: loadTimeoutMs,
      onValue: (flight, key, value) => this.#fetched(flight, key, value),
      onOwnTurn: (flight, key) => flight.follow(this.#loadHere(key, flight, true)),
      loadHere: (key, signal) => this.#loadHere(key, signal, true),
      onPeerError: () => this.#counters.peerErrors++,
      onHedge: () => this.#counters.hedges++,
    });
    this.#loads = new Flights({ clock, timeoutMs: loadTimeoutMs, maxFlights });
    // A fetch may time out at the owner, and must then still have the time to be made in its place.
    this.#fetches = new Flights({ clock, timeoutMs: 2 * loadTimeoutMs + 1_000, maxFlights });
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

  /** The rest of a get whose lookup found nothing: from the origin when this node owns the key, else from its owner. */
  load(key: string, waiter: Waiter<Loaded>): void {
    this.#counters.loads++;
    if (this.#picker.pick(key) === undefined) this.#loadFromOrigin(key, waiter);
    else this.#fetches.fly(key, waiter, (flight) => this.#fetch(key, flight));
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

  /** What this node has in memory of what a peer asks of it. Synchronous, as `lookup`. */
  lookupAsOwner(key: string): Hit | undefined {
    this.#counters.serverRequests++;
    return this.lookup(key);
  }

  /** The rest of a peer's get, from the origin at the latest: it is never passed on to another owner. Fails as `get`. */
  loadAsOwner(key: string, ask: Ask): void {
    this.#counters.loads++;
    this.#loadFromOrigin(key, new PeerWaiter(ask));
  }

  /** Both of the above, one after the other, by a promise. Throws as `get`. */
  async getAsOwner(key: string, { signal }: { signal?: CancelSignal } = {}): Promise<Loaded> {
    const hit = this.lookupAsOwner(key);
    if (hit !== undefined) return { value: hit.value, source: hit.from, stored: true };
    this.#counters.loads++;
    return await this.#loadHere(key, signal);
  }

  /**
   * What this node has of a peer's key, in memory or in the air; no load is started, and nobody else is asked. A flight
   * that is itself still looking among the peers is joined at the owner only: else two nodes could wait for each other.
   */
  peek(key: string, options: { signal: CancelSignal }): Value | undefined | Promise<Value | undefined> {
    const hash = hashOf(key);
    const value = this.#fresh(this.#caches.main.peek(key, hash) ?? this.#caches.hot.peek(key, hash));
    if (value !== undefined || !(this.#atOrigin.has(key) || this.#picker.pick(key) === undefined)) return value;
    let isInTheAir = false;
    const loaded = promised<Loaded>(options.signal, (waiter) => isInTheAir = this.#loads.join(key, waiter));
    return isInTheAir ? loaded.then(({ value }) => value, () => undefined) : undefined;
  }

  /** Takes what a peer hands over, as far as this node is to have it and there is room. @returns how many entries */
  accept(entries: readonly Entry[], from: string): number {
    return this.#handoff.accept(entries, from);
  }

  /** After a change of owners: sees to the second copies, where the group keeps two. */
  ownersChanged(): Promise<void> {
    return this.#handoff.rebalance();
  }

  /**
   * Hands over all that this node holds, when it is to own nothing any more, and what is still loaded for those that do not
   * know that yet; until done or aborted. Never rejects.
   *
   * @param unasked resolves when all should know
   */
  drain(signal: AbortSignal, unasked: Promise<void>): Promise<void> {
    return this.#handoff.drain(signal, async () => {
      await unasked;
      await this.#loads.ended([...this.#atOrigin.keys()], signal);
    });
  }

  /** Whether there is nothing here that a peer could look for. */
  get isEmpty(): boolean {
    return this.#caches.main.items === 0 && this.#caches.hot.items === 0 && this.#loads.size === 0;
  }

  stats(): GroupStats {
    return {
      ...this.#counters,
      ...this.#handoff.stats,
      mainCache: this.#caches.main.stats(),
      hotCache: this.#caches.hot.stats(),
    };
  }

  #loadHere(key: string, signal: CancelSignal | undefined, isCounted = false): Promise<Loaded> {
    return promised(signal, (waiter) => this.#loadFromOrigin(key, waiter, isCounted));
  }

  /**
   * As whoever is to have the value: from memory, from where it was before, or from the origin.
   *
   * @param isCounted whether it is a part of a fetch from peers, which is counted already
   */
  #loadFromOrigin(key: string, waiter: Waiter<Loaded>, isCounted = false): void {
    this.#loads.fly(key, waiter, (flight) => {
      if (!isCounted) this.#counters.loadsDeduped++;
      flight.follow(this.#make(key, flight));
    });
  }

  async #make(key: string, flightSignal: Flight<Loaded>): Promise<Loaded> {
    const main = this.#caches.main;
    // While a peer was asked in vain, somebody else's load may have brought it.
    let present = this.#fresh(main.peek(key));
    const held = present === undefined ? this.#handoff.fetch(key, flightSignal) : undefined;
    if (held !== undefined) {
      const value = await held;
      // Meanwhile it may have been handed over, too.
      present = this.#fresh(main.peek(key));
      if (present === undefined && value !== undefined) {
        // Asked in the place of an owner that is slow or lost: what it may still have stays there.
        if (this.#picker.pick(key) !== undefined) {
          return { value, source: "peer", stored: this.#copies.keep(key, value) };
        }
        this.#handoff.stored(key, value);
        return { value, source: "peer", stored: this.#caches.store(main, key, value) };
      }
    }
    if (present !== undefined) return { value: present, source: "main", stored: true };
    const value = await this.#askOrigin(key, flightSignal);
    // Kept even when nobody waits any more, as the origin has been paid for it; but what comes after the deadline may
    // be older than what a later flight has stored.
    const late = flightSignal.aborted && main.peek(key) !== undefined;
    if (!late) this.#handoff.stored(key, value);
    return { value, source: "origin", stored: !late && this.#caches.store(main, key, value) };
  }

  async #askOrigin(key: string, signal: Flight<Loaded>): Promise<Value> {
    signal.throwIfAborted();
    this.#counters.originLoads++;
    this.#atOrigin.set(key, signal);
    let fresh: Fresh;
    try {
      fresh = await this.#origin.load(key, signal.abortSignal());
    } catch (error) {
      // That nobody waits any more is no fault of the origin.
      if (!signal.aborted || signal.reason instanceof OriginTimeoutError) this.#counters.localLoadErrs++;
      throw error;
    } finally {
      // One that nobody waits for any more may end after the next has begun.
      if (this.#atOrigin.get(key) === signal) this.#atOrigin.delete(key);
    }
    this.#counters.localLoads++;
    const bornAtMs = this.#clock.nowMs();
    const expiresAtMs = this.#ttlMs === null ? Infinity : bornAtMs + this.#ttlMs;
    return { body: fresh.body, contentType: this.#contentTypes.get(fresh.contentType), bornAtMs, expiresAtMs };
  }

  #fetch(key: string, flight: Flight<Loaded>): void {
    this.#counters.loadsDeduped++;
    this.#failover.fetch(key, flight);
  }

  #fetched(flight: Flight<Loaded>, key: string, value: Value): void {
    this.#counters.peerLoads++;
    flight.resolve({ value, source: "peer", stored: this.#copies.keep(key, value) });
  }

  #fresh(value: Value | undefined): Value | undefined {
    return value !== undefined && value.expiresAtMs > this.#clock.nowMs() ? value : undefined;
  }
}
