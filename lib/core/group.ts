import type { CancelSignal } from "./base/cancel.ts";
import type { Clock } from "./base/clock.ts";
import { hashOf } from "./base/hash.ts";
import { primaryKey } from "./base/variant-key.ts";
import { entryBytes } from "./cache/byte-cache.ts";
import { type Finding, findingOf } from "./cache/describe.ts";
import { HotCopies } from "./cache/hot-copies.ts";
import type { CostOf } from "./cache/memory.ts";
import { SharedBudget } from "./cache/shared-budget.ts";
import { cacheKeyFor, cacheKeyOf, findFor, isFor, storeVariant } from "./cache/variants.ts";
import { BehindError, NotFoundError, OriginUnreachableError, OverloadedError, PassThroughError } from "./errors.ts";
import { type GroupStats, newCounters } from "./group-stats.ts";
import { accept } from "./handoff/accept.ts";
import { Drain } from "./handoff/drain.ts";
import type { HandoffOptions } from "./handoff/options.ts";
import { Peeks } from "./handoff/peek.ts";
import { Pusher } from "./handoff/push.ts";
import { Replicas } from "./handoff/replicas.ts";
import { type KeyWatch, KeyWatches } from "./invalidation/key-watch.ts";
import type { Label } from "./invalidation/label.ts";
import type { Invalidation } from "./invalidation/message.ts";
import { LogPosition } from "./invalidation/position.ts";
import { type Labelled, Validity } from "./invalidation/validity.ts";
import { PassedKeys } from "./lifetime/passed-keys.ts";
import { DEFAULT_LIFETIME, type LifetimePolicy } from "./lifetime/policy.ts";
import { RecentLooks } from "./lifetime/recent-looks.ts";
import { isDueEarly, isUsableOnError, isUsableStale } from "./lifetime/times.ts";
import { Failover } from "./load/failover.ts";
import { BackgroundWaiter, type Flight, Flights, PeerWaiter, promised, type Waiter } from "./load/flights.ts";
import type { LoadingBytes } from "./load/loading-bytes.ts";
import { isFailureStatus, isWorthKeeping, OriginLoads } from "./load/origin-loads.ts";
import type { OriginHealth } from "./load/origin-health.ts";
import { Reachability } from "./load/reachability.ts";
import { SoftWaiter } from "./load/soft-waiter.ts";
import type { StartGate } from "./load/start-gate.ts";
import type { Ask, Entry, Origin, PeerPicker, RequestHead } from "./ports.ts";
import { type Answer, isMarker, isNothingHere, PLAIN, type Value } from "./value.ts";

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

/** A key at this node, for people who ask why a get is a hit or a miss. */
export interface Description extends Finding {
  /** The key's nodes by rank, the owner first, at most {@link MAX_RANKED}; `undefined` is this node. */
  readonly owners: readonly (string | undefined)[];
  /** Whether the requests for the key go through one by one for now, as its answers may not be shared. */
  readonly isPassed: boolean;
  /** Whether a load or a fetch of the key is in flight. */
  readonly isLoading: boolean;
  /** How far this node has applied the log of invalidations. */
  readonly applied: Label;
}

/** Ranked nodes of a key that are told. Chosen: two may hold it, and a few more may have been asked. */
export const MAX_RANKED = 4;

export interface GroupOptions {
  readonly name: string;
  readonly origin: Origin;
  readonly picker: PeerPicker;
  readonly clock: Clock;
  /** For the main and the hot cache together: what their entries cost in memory, in bytes. See cache/memory.ts. */
  readonly budgetBytes: number;
  /** Whether the caches find entries by the hash of their key: see ByteCache. @default false */
  readonly isHashed?: boolean;
  /** What an entry counts against the budget: see cache/memory.ts. @default as on the runtime that needs more */
  readonly costOf?: CostOf;
  /** For how long values may be served. @default DEFAULT_LIFETIME */
  readonly lifetime?: Partial<LifetimePolicy>;
  /** Where this node is in the log of invalidations. @default nothing is ever invalidated */
  readonly position?: LogPosition;
  /** Without contact with the log for so long, in milliseconds, the caches are not used; null: they are. @default null */
  readonly maxBlindMs?: number | null;
  /** The group of this name so far: this one goes on with its values. @default it begins empty */
  readonly takesOver?: Group | undefined;
  /** Whether it is only written to, so that what no node holds can be had nowhere. @default false */
  readonly isWriteOnly?: boolean;
  /** Whether this node reaches the origin. @default it finds out, and tells nobody */
  readonly reachability?: Reachability;
  /** Told how each load from the origin ended. @default nobody is */
  readonly health?: OriginHealth | undefined;
  /**
   * Whether this node serves the group. If not, it asks the peers that do, and its origin refuses every load; the picker never
   * picks this node.
   *
   * @default true
   */
  readonly isServed?: boolean;
  /** Holds this node's own misses while it is closed; what peers ask does not wait. @default nothing is held */
  readonly gate?: StartGate | undefined;
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
  /** Bounds the bodies that all groups of this process are loading. @default nothing does */
  readonly loading?: LoadingBytes | undefined;
  /** Makes an entity tag for a body that came without one, for HTTP origins. @default none is made */
  readonly etagOf?: (body: Uint8Array<ArrayBuffer>) => string;
  /** From 0 to 1. @default Math.random */
  readonly random?: () => number;
}

const MAX_FLIGHTS = 10_000;
/** Chosen: from one look of this node at a value's owner to the next, while its own copy is stale. */
const REFRESH_PAUSE_MS = 250;
/** Chosen: what a fetch has left when the owner has timed out, for the peeks and the load in the owner's place. */
const FETCH_MARGIN_MS = 1_000;
/** The longest that a get waits for this node to apply what the asker has. */
const CATCH_UP_MS = 250;

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
 *    So it does when a node, the owner or this one, cannot reach the origin: the next in rank tries then, once.
 *
 * A value that has expired is served where its times allow it: at once while `#refresh` renews it in the background, or in
 * the place of an origin that fails (`OriginLoads`). An answer that no cache may keep goes to the request that it was loaded
 * for; for a while after it, each request for that key loads for itself (`#loadAlone`).
 *
 * Values are checked against the invalidations that this node has applied wherever they are found or stored
 * (`SharedBudget`). A load that one of them covers answers those who asked before, and is not stored (`Flights`). A get of a
 * peer that has applied more waits until this node has caught up.
 */
export class Group {
  readonly name: string;
  readonly #picker: PeerPicker;
  readonly #clock: Clock;
  readonly #nowMs: () => number;
  readonly #softTimeoutMs: number | null;
  readonly #isRefreshedAhead: boolean;
  readonly #random: () => number;
  readonly #position: LogPosition;
  readonly #validity: Validity;
  readonly #isWriteOnly: boolean;
  readonly #isServed: boolean;
  readonly #gate: StartGate | undefined;
  readonly #caches: SharedBudget;
  readonly #copies: HotCopies;
  readonly #reachability: Reachability;
  readonly #origin: OriginLoads;
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
  readonly #passed: PassedKeys;
  readonly #looks: RecentLooks;
  readonly #watches = new KeyWatches();
  #loadsAlone = 0;
  readonly #storeInMain = (cacheKey: string, value: Value) => this.#caches.store(this.#caches.main, cacheKey, value);
  readonly #counters = newCounters();

  constructor(options: GroupOptions) {
    const { name: group, clock, picker, loadTimeoutMs, replicas = 1, maxFlights = MAX_FLIGHTS } = options;
    const { random = Math.random, isWriteOnly = false, isServed = true } = options;
    const lifetime = { ...DEFAULT_LIFETIME, ...options.lifetime };
    const stats = this.#counters;
    this.name = group;
    this.#picker = picker;
    this.#clock = clock;
    this.#nowMs = () => clock.nowMs();
    this.#softTimeoutMs = lifetime.softTimeoutMs;
    this.#isRefreshedAhead = lifetime.refreshAhead;
    this.#random = random;
    this.#passed = new PassedKeys(clock);
    this.#looks = new RecentLooks(clock);
    this.#isWriteOnly = isWriteOnly;
    this.#isServed = isServed;
    this.#gate = options.gate;
    const memory = Group.#memoryOf(options, (isCovered, keys) => this.#covered(isCovered, keys));
    this.#position = memory.position;
    this.#caches = memory.caches;
    this.#validity = memory.caches.validity;
    this.#copies = new HotCopies(this.#caches, lifetime, options.hotAfterFetches ?? 2);
    this.#handoff = { group, picker, caches: this.#caches, clock, lifetime, loadTimeoutMs, replicas, stats };
    const pusher = new Pusher(this.#handoff);
    this.#peeks = new Peeks(this.#handoff);
    this.#replicas = new Replicas(this.#handoff, pusher);
    this.#drain = new Drain(this.#handoff, pusher);
    const { origin, etagOf, loading, health } = options;
    const reachability = this.#reachability = options.reachability ?? new Reachability(clock);
    const ofOrigin = { origin, isBarred: !isServed, reachability, health, etagOf, loading };
    this.#origin = new OriginLoads({ ...ofOrigin, clock, lifetime, random, stats });
    this.#failover = new Failover({
      group,
      picker,
      clock,
      timeoutMs: loadTimeoutMs,
      stats,
      after: () => this.#validity.after,
      received: (key, value, after, isElsewhere) => this.#received(key, value, after, isElsewhere),
      standIn: (key, error, request) => this.#standIn(cacheKeyFor(this.#caches, key, request), error, request),
      mayLoadHere: isServed,
      loadHere: (key, signal, request) => this.#loadInPlaceOfOwner(key, signal, request),
      loadUnkept: (key, signal, request) => promised(signal, (waiter) => this.loadUnkept(key, waiter), request),
    });
    const shared = {
      clock,
      maxFlights,
      applied: () => this.#validity.applied,
      isFor: (cacheKey: string, { value }: Loaded, { request, hasAskedBefore }: Waiter<Loaded>) =>
        !value.about.isPrivate && isFor(value, request) &&
        (hasAskedBefore || !this.#validity.isCovered(primaryKey(cacheKey), value)),
    };
    this.#loads = new Flights({
      ...shared,
      timeoutMs: loadTimeoutMs,
      refuse: (cacheKey, { value }, waiter) => this.#notShared(primaryKey(cacheKey), value, waiter, true),
      goesOn: (cacheKey, error, waiter) => this.#goesOn(cacheKey, error, waiter),
      standIn: (cacheKey, error, request) => this.#standIn(cacheKey, error, request),
    });
    // A fetch may time out at the owner, and then needs the time for a load in the owner's place.
    this.#fetches = new Flights({
      ...shared,
      timeoutMs: 2 * loadTimeoutMs + FETCH_MARGIN_MS,
      refuse: (cacheKey, { value }, waiter) => this.#notShared(primaryKey(cacheKey), value, waiter, false),
      standIn: (cacheKey, error, request) => this.#standIn(cacheKey, error, request),
    });
  }

  /** The caches, and what is still good in them: new ones, or those of the group that this one takes over. */
  static #memoryOf(
    { name, clock, budgetBytes, isHashed = false, costOf, maxBlindMs = null, ...options }: GroupOptions,
    onCovered: (isCovered: (key: string) => boolean, keys: readonly string[]) => void,
  ): { position: LogPosition; caches: SharedBudget } {
    const { takesOver, position = new LogPosition({ clock }) } = options;
    if (takesOver !== undefined) {
      const caches = takesOver.#caches;
      caches.validity.changeHands({ maxBlindMs, onCovered });
      caches.resize(budgetBytes);
      return { position: takesOver.#position, caches };
    }
    const validity = new Validity({ position, clock, maxBlindMs, onCovered });
    position.add(name, validity);
    return { position, caches: new SharedBudget(budgetBytes, validity, { isHashed, clock, costOf }) };
  }

  /** What this node has in memory. Synchronous: a hit awaits nothing. */
  lookup(key: string, request?: RequestHead): Hit | undefined {
    this.#counters.gets++;
    const hash = hashOf(key);
    const { label } = this.#validity;
    const own = this.#caches.main.get(key, this.#nowMs, hash, label);
    const value = own ?? this.#caches.hot.get(key, this.#nowMs, hash, label);
    if (value === undefined || value.about.selection !== undefined) return this.#lookFurther(key, hash, request);
    if (this.#isRefreshedAhead) this.#refreshIfDue(key, key, value, request);
    this.#counters.cacheHits++;
    return { value, from: own === undefined ? "hot" : "main" };
  }

  /** A get whose lookup found nothing: makes the value when this node owns the key, else fetches it from its owner. */
  load(key: string, waiter: Waiter<Loaded>): void {
    if (this.#gate?.isOpen === false) return this.#gate.hold(waiter, () => this.load(key, waiter));
    this.#counters.loads++;
    if (this.#validity.mayBePending(key)) return this.#loadPending(key, waiter);
    if (this.#passed.has(key)) return this.#loadAlone(key, waiter);
    const owner = this.#picker.pick(key);
    const patient = this.#withSoftTimeout(key, waiter);
    if (owner === undefined) return this.#loadAsOwner(key, patient, true);
    const { request } = waiter;
    const cacheKey = cacheKeyFor(this.#caches, key, request);
    if (this.#origin.isBackingOff(cacheKey)) {
      const hit = findFor(this.#caches, cacheKey, request);
      if (hit !== undefined && this.#origin.heldBack(cacheKey, hit.value)) return patient.resolve(asLoaded(hit));
    }
    this.#fetches.fly(cacheKey, patient, (flight) => {
      this.#counters.loadsDeduped++;
      this.#failover.fetch(owner, key, flight, request);
    });
  }

  /**
   * Lookup, then load. May ask a peer.
   *
   * @param options.after gives nothing that an invalidation up to this label covers
   * @throws NotFoundError, OriginError, OriginTimeoutError, OriginUnreachableError, OverloadedError; the signal's reason when
   * the caller left
   */
  async get(
    key: string,
    { signal, after }: { signal?: CancelSignal; after?: Label | undefined } = {},
  ): Promise<Loaded> {
    if (after !== undefined && !(await this.reach(after))) {
      return found(await promised(signal, (waiter) => this.loadUnkept(key, waiter)), key);
    }
    const hit = this.lookup(key);
    if (hit !== undefined) return found(asLoaded(hit), key);
    return found(await promised(signal, (waiter) => this.load(key, waiter)), key);
  }

  /** `lookup` for a peer that takes this node for the owner. */
  lookupAsOwner(key: string, request?: RequestHead, after?: Label): Hit | undefined {
    this.#counters.serverRequests++;
    return after === undefined || this.#validity.has(after) ? this.lookup(key, request) : undefined;
  }

  /** The rest of a peer's get. Never asks another owner. Fails as `get`. */
  loadAsOwner(key: string, ask: Ask): void {
    const reached = this.#validity.reach(ask.after, CATCH_UP_MS);
    if (reached !== true) return void this.#answerLater(reached, key, ask);
    this.#counters.loads++;
    this.#loadAsOwner(key, this.#withSoftTimeout(key, new PeerWaiter(ask)));
  }

  /** Whether this node has applied all up to the label; catches up first, for 250 ms at most. */
  reach(label: Label): true | Promise<boolean> {
    return this.#validity.reach(label, CATCH_UP_MS);
  }

  /** Asks the origin for this one request, and keeps nothing: this node, or the owner, is behind. Fails as `get`. */
  loadUnkept(key: string, waiter: Waiter<Loaded>): void {
    if (this.#isWriteOnly) return waiter.reject(new OverloadedError("a node is behind, and there is no origin to ask"));
    this.#loadOnce(key, waiter);
  }

  /** Whether this node cannot read the log of invalidations now. */
  get isBehind(): boolean {
    return this.#validity.isBehind;
  }

  /** `lookupAsOwner`, then `loadAsOwner`, by a promise. Throws as `get`. */
  async getAsOwner(key: string, { signal }: { signal?: CancelSignal } = {}): Promise<Loaded> {
    const hit = this.lookupAsOwner(key);
    if (hit !== undefined) return found(asLoaded(hit), key);
    this.#counters.loads++;
    return found(await promised(signal, (waiter) => this.#loadAsOwner(key, waiter)), key);
  }

  /**
   * What a peer can take over from this node: a value in memory, or from a load in flight. Starts no load and asks no node.
   * A flight that still asks other nodes is joined at the owner only; else two nodes could wait for each other. The owner
   * gives a stale value that may be served on error, too: a node in its place is not to ask the origin besides.
   */
  peek(key: string, options: { signal: CancelSignal }): Value | undefined | Promise<Value | undefined> {
    const hash = hashOf(key);
    const held = this.#caches.find(key, hash)?.value;
    const value = this.#fresh(held);
    const isOwner = this.#picker.pick(key) === undefined;
    if (value !== undefined || !(this.#origin.isAsking(key) || isOwner)) return value;
    const usable = (value: Value | undefined) =>
      isOwner && value !== undefined && isUsableOnError(value, this.#clock.nowMs()) ? value : this.#fresh(value);
    const loaded = this.#loads.lookOn(key, options.signal);
    if (loaded === undefined) return usable(held);
    const isForAll = (value: Value) => !value.about.isPrivate && !this.#validity.isCovered(primaryKey(key), value);
    return loaded.then(({ value }) => isForAll(value) ? usable(value) : undefined, () => undefined);
  }

  /** What a get of the key would find here. Leaves no trace: no use is counted, and nothing is refreshed or dropped. */
  describe(key: string, request?: RequestHead): Description {
    const cacheKey = cacheKeyFor(this.#caches, key, request);
    return {
      ...findingOf(this.#caches, key, request, this.#clock.nowMs()),
      owners: this.#picker.ranked(key, MAX_RANKED).map((peer) => peer?.name),
      isPassed: this.#passed.has(key),
      isLoading: this.#loads.has(cacheKey) || this.#fetches.has(cacheKey),
      applied: this.#validity.applied,
    };
  }

  /** The entries of the main cache, in no order, with their encoded bytes; a variant under its own key. O(n). */
  resident(): readonly { readonly key: string; readonly bytes: number }[] {
    return this.#caches.main.entries().map(({ key, value }) => ({ key, bytes: entryBytes(key, value) }));
  }

  /** Whether the requests for this key go to the origin one by one for now, as its answers may not be shared. */
  isPassed(key: string): boolean {
    return this.#passed.has(key);
  }

  /** An answer to such a request could have been kept: the next request is a load again. */
  passNoMore(key: string): void {
    this.#passed.delete(key);
  }

  /**
   * Values have changed, and the log cannot be told now: what the message covers is bad at this node until `settlePending`.
   * Loads that began before are not stored; callers that wait already may still get them.
   */
  addPending(message: Invalidation): void {
    this.#validity.addPending(message);
  }

  /** The changes that wait for the log. */
  get pending(): readonly Invalidation[] {
    return this.#validity.pending;
  }

  /** The log has taken the change, and this node has applied it. */
  settlePending(message: Invalidation): void {
    this.#validity.settlePending(message);
  }

  /** Whether an invalidation that is applied here covers the value. */
  isCovered(key: string, value: Labelled): boolean {
    return this.#validity.isCovered(key, value);
  }

  /** A request is about to change the key. The caller ends the watch. `undefined`: too many are under way. */
  watch(key: string): KeyWatch | undefined {
    return this.#watches.begin(key, this.#validity.applied);
  }

  /** The value of an answer that came from the origin by another way than a load. @param spentMs how long it took */
  valueOf(answer: Answer, spentMs: number, label: Label): Value {
    return this.#origin.valueOf(answer, spentMs, label);
  }

  /** Takes the entries that a peer pushes and this node is to keep, if there is room. @returns how many were taken */
  accept(entries: readonly Entry[], from: string, isWritten = false): number {
    const taken = accept(entries, from, this.#handoff, isWritten);
    if (!isWritten || taken === 0) return taken;
    for (const { key, value } of entries) if (this.#picker.pick(key) === undefined) this.#replicas.send(key, value);
    return taken;
  }

  /** Keeps a value that a client has written, if there is room, and sends it to the nodes that are to have it besides. */
  keepWritten(key: string, value: Value): boolean {
    return this.#keepAsOwner(key, value);
  }

  /** Another group of this name takes its place: what it has begun goes on, and it begins nothing of itself. */
  retire(): void {
    this.#replicas.stop();
    this.#watches.retire();
  }

  /** The log is not told to this group any more. */
  close(): void {
    this.#position.remove(this.name);
    this.#validity.close();
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
      await this.#loads.ended(this.#origin.asking, signal);
    });
  }

  /** Since when this node has not reached the origin, in Unix milliseconds; `undefined`: it does, or has not asked. */
  get originLostAtMs(): number | undefined {
    return this.#reachability.lostAtMs;
  }

  /** Whether this node has nothing that a peer could look for, neither in memory nor in flight. */
  get isEmpty(): boolean {
    return this.#caches.main.items === 0 && this.#caches.hot.items === 0 && this.#loads.size === 0;
  }

  stats(): GroupStats {
    const { main, hot } = this.#caches;
    const { stats, latest } = this.#validity;
    return {
      ...this.#counters,
      mainCache: main.stats(),
      hotCache: hot.stats(),
      originUnreachable: Number(this.originLostAtMs !== undefined),
      invalidation: { ...stats, last: latest },
    };
  }

  /** A variant, or a stale value that may be served. */
  #lookFurther(key: string, hash: number, request: RequestHead | undefined): Hit | undefined {
    const { main, hot } = this.#caches;
    if (main.peek(key, hash) === undefined && hot.peek(key, hash) === undefined) return undefined;
    const cacheKey = cacheKeyFor(this.#caches, key, request);
    const hit = findFor(this.#caches, cacheKey, request);
    if (hit === undefined) return undefined;
    const { value, from } = hit;
    const nowMs = this.#clock.nowMs();
    if (value.freshUntilMs > nowMs) {
      if (this.#isRefreshedAhead) this.#refreshIfDue(key, cacheKey, value, request);
    } else {
      if (!isUsableStale(value, nowMs)) return undefined;
      this.#counters.staleHits++;
      this.#refresh(key, cacheKey, value, request);
    }
    this.#caches[from].use(cacheKey);
    this.#counters.cacheHits++;
    return hit;
  }

  /** Later gets of these keys join no flight that began before; what is in memory of the named ones goes at once. */
  #covered(isCovered: (key: string) => boolean, keys: readonly string[]): void {
    for (const flights of [this.#loads, this.#fetches]) flights.detach((cacheKey) => isCovered(primaryKey(cacheKey)));
    this.#watches.covered(isCovered, this.#validity.after);
    for (const key of keys) this.#caches.find(key);
  }

  async #answerLater(reached: Promise<boolean>, key: string, ask: Ask): Promise<void> {
    try {
      if (!await reached) return ask.reject(new BehindError("it has not applied what the asker has"));
      const hit = this.lookup(key, ask.request);
      if (hit !== undefined) return ask.resolve(hit.value);
      this.#counters.loads++;
      this.#loadAsOwner(key, this.#withSoftTimeout(key, new PeerWaiter(ask)));
    } catch (error) {
      ask.reject(error);
    }
  }

  #refreshIfDue(key: string, cacheKey: string, value: Value, request: RequestHead | undefined): void {
    const { freshUntilMs, loadMs } = value;
    if (isDueEarly(this.#clock.nowMs(), freshUntilMs, loadMs, this.#random)) {
      this.#refresh(key, cacheKey, value, request);
    }
  }

  /** One load in the whole cluster, at the owner; this node's own look at the owner is none. Nothing waits for it. */
  #refresh(key: string, cacheKey: string, value: Value, request: RequestHead | undefined): void {
    if (this.#origin.isBackingOff(cacheKey)) return;
    const owner = this.#picker.pick(key);
    const background = new BackgroundWaiter<Loaded>(request);
    if (owner === undefined) {
      if (this.#loads.has(cacheKey)) return;
      this.#counters.refreshes++;
      this.#loads.fly(cacheKey, background, (flight) => {
        // A fresh one is refreshed ahead of its end: any other node has the same at best.
        const isFresh = value.freshUntilMs > this.#clock.nowMs();
        flight.follow(
          isFresh ? this.#fromOrigin(key, cacheKey, flight, request) : this.#make(key, cacheKey, flight, request),
        );
      });
    } else if (!this.#fetches.has(cacheKey) && this.#looks.isFirst(cacheKey, REFRESH_PAUSE_MS)) {
      this.#counters.refreshes++;
      this.#fetches.fly(cacheKey, background, (flight) => this.#failover.fetch(owner, key, flight, request));
    }
  }

  /** @param isOwn whether the waiter may wait for another node then: it is no peer's, which would wait for this node */
  #loadAsOwner(key: string, waiter: Waiter<Loaded>, isOwn = false): void {
    if (this.#validity.mayBePending(key)) return this.#loadPending(key, waiter);
    waiter.mayGoOn = isOwn;
    const { request } = waiter;
    const cacheKey = cacheKeyFor(this.#caches, key, request);
    this.#loads.fly(cacheKey, waiter, (flight) => {
      this.#counters.loadsDeduped++;
      flight.follow(this.#make(key, cacheKey, flight, request));
    });
  }

  /**
   * This node owns the key and has not reached the origin: the next in rank loads it. A fetch, as peers may wait for the load
   * that has failed, and none for this.
   */
  #goesOn(cacheKey: string, error: unknown, waiter: Waiter<Loaded>): boolean {
    if (!(error instanceof OriginUnreachableError)) return false;
    const key = primaryKey(cacheKey);
    if (this.#validity.mayBePending(key) || !this.#failover.hasOther(key)) return false;
    waiter.mayGoOn = false;
    const { request } = waiter;
    this.#fetches.fly(cacheKey, waiter, (flight) => this.#failover.fetchElsewhere(key, error, flight, request));
    return true;
  }

  /** Not counted: the fetch that led here is the load. */
  #loadInPlaceOfOwner(key: string, signal: CancelSignal, request: RequestHead | undefined): Promise<Loaded> {
    const cacheKey = cacheKeyFor(this.#caches, key, request);
    const wait = (waiter: Waiter<Loaded>) => {
      this.#loads.fly(cacheKey, waiter, (flight) => flight.follow(this.#make(key, cacheKey, flight, request)));
    };
    return promised(signal, wait, request);
  }

  /** For one request, whose answer is not shared. An answer that could be ends that. */
  #loadAlone(key: string, waiter: Waiter<Loaded>): void {
    if (!this.#isServed) return this.#fetchAlone(key, waiter);
    this.#loadOnce(key, waiter, ({ about }) => {
      if (!about.isPrivate) this.#passed.delete(key);
    });
  }

  /** As `#loadAlone`, where only the owner may ask the origin. */
  #fetchAlone(key: string, waiter: Waiter<Loaded>): void {
    const { request } = waiter;
    this.#fetches.fly(`${key}\n#${this.#loadsAlone++}`, waiter, (flight) => {
      this.#counters.loadsDeduped++;
      this.#failover.fetch(this.#picker.pick(key)!, key, flight, request);
    });
  }

  /** The key has changed, which no peer knows: from the origin, in a flight that began since then. Nothing is kept. */
  #loadPending(key: string, waiter: Waiter<Loaded>): void {
    this.#loadUnder(`${key}\n!${this.#validity.pendingCount}`, key, waiter);
  }

  /** From the origin, in a flight that no other joins; nothing is kept. */
  #loadOnce(key: string, waiter: Waiter<Loaded>, loaded?: (value: Value) => void): void {
    // No key ends so, and no other load has this number.
    this.#loadUnder(`${key}\n#${this.#loadsAlone++}`, key, waiter, loaded);
  }

  #loadUnder(cacheKey: string, key: string, waiter: Waiter<Loaded>, loaded: (value: Value) => void = () => {}): void {
    const { request } = waiter;
    waiter.mayGoOn = false;
    this.#loads.fly(cacheKey, waiter, (flight) => {
      this.#counters.loadsDeduped++;
      flight.follow(
        this.#origin.load(key, cacheKey, flight, this.#validity.applied, () => undefined, request).then(({ value }) => {
          loaded(value);
          return { value, source: "origin", stored: false };
        }),
      );
    });
  }

  /** The result of a flight is for another request than this waiter's. */
  #notShared(key: string, { about }: Value, waiter: Waiter<Loaded>, isOwn: boolean): void {
    if (!about.isPrivate) return isOwn ? this.#loadAsOwner(key, waiter, waiter.mayGoOn) : this.load(key, waiter);
    this.#loadAlone(key, waiter);
  }

  #withSoftTimeout(key: string, waiter: Waiter<Loaded>): Waiter<Loaded> {
    const softTimeoutMs = this.#softTimeoutMs;
    if (softTimeoutMs === null || waiter.signal?.aborted) return waiter;
    const { request } = waiter;
    const find = () => findFor(this.#caches, cacheKeyFor(this.#caches, key, request), request);
    if (find() === undefined) return waiter;
    const stale = () => {
      const hit = find();
      const nowMs = this.#clock.nowMs();
      if (hit === undefined || !(isUsableOnError(hit.value, nowMs) || isUsableStale(hit.value, nowMs))) {
        return undefined;
      }
      this.#counters.staleHits++;
      return asLoaded(hit);
    };
    return new SoftWaiter(waiter, this.#clock, softTimeoutMs, stale);
  }

  async #make(
    key: string,
    cacheKey: string,
    flight: Flight<Loaded>,
    request: RequestHead | undefined,
  ): Promise<Loaded> {
    return this.#present(key, request) ?? await this.#fromFormerOwners(key, cacheKey, flight, request) ??
      await this.#fromOrigin(key, cacheKey, flight, request);
  }

  /** A value that came while the owner was asked in vain, or while former owners were asked. */
  #present(key: string, request: RequestHead | undefined): Loaded | undefined {
    const hit = findFor(this.#caches, cacheKeyFor(this.#caches, key, request), request);
    const value = hit?.from === "main" ? this.#fresh(hit.value) : undefined;
    return value && { value, source: "main", stored: true };
  }

  /** `undefined` at once when no other node can hold the value. */
  #fromFormerOwners(
    key: string,
    cacheKey: string,
    flight: Flight<Loaded>,
    request: RequestHead | undefined,
  ): Promise<Loaded | undefined> | undefined {
    return this.#peeks.ask(cacheKey, flight)?.then(async (found) => {
      let value = found;
      if (value !== undefined && isMarker(value)) {
        // There are variants: the one for this request is asked for by its own key.
        this.#storeInMain(key, value);
        value = await this.#peeks.ask(cacheKeyFor(this.#caches, key, request), flight);
      }
      const present = this.#present(key, request);
      if (present !== undefined || value === undefined || !isFor(value, request)) return present;
      if (this.#validity.isCovered(key, value)) return undefined;
      // In the place of an owner that is slow or lost: the value stays with that owner, and this node keeps a copy.
      const isOwner = this.#picker.pick(key) === undefined;
      const stored = isOwner ? this.#keepAsOwner(key, value) : this.#copies.keep(key, value, this.#clock.nowMs());
      return { value, source: "peer", stored };
    });
  }

  async #fromOrigin(
    key: string,
    cacheKey: string,
    flight: Flight<Loaded>,
    request: RequestHead | undefined,
  ): Promise<Loaded> {
    const find = () => findFor(this.#caches, cacheKey, request);
    const before = find()?.value;
    const askedAtMs = this.#clock.nowMs();
    const label = this.#validity.applied;
    const isOutdated = (held: Value | undefined) =>
      held !== undefined && held !== before &&
      (flight.aborted || held.bornAtMs >= askedAtMs || this.#validity.compare(held.label, this.#validity.applied) > 0);
    try {
      const { value, isStandIn } = await this.#origin.load(key, cacheKey, flight, label, () => find()?.value, request);
      if (isStandIn) return { value, source: find()?.from ?? "main", stored: true };
      // Kept even without waiters, since the origin has done the work. But another load may have stored a newer value.
      const held = findFor(this.#caches, cacheKeyOf(key, value), request)?.value;
      const stored = !isOutdated(held) && this.#keepOrForget(key, value, held !== undefined);
      return { value, source: "origin", stored };
    } catch (error) {
      if (error instanceof PassThroughError) this.#passed.add(key);
      // A later change of the key covers this answer, too.
      const isCovered = this.#validity.isCovered(key, { label, freshUntilMs: Infinity, about: PLAIN });
      if (error instanceof NotFoundError && !isCovered && !isOutdated(find()?.value)) this.#caches.remove(cacheKey);
      throw error;
    }
  }

  /** What the origin has just said. An answer that is not kept still ends the one before it, unless the origin has failed. */
  #keepOrForget(key: string, value: Value, hasOlder: boolean): boolean {
    if (value.about.isPrivate) this.#passed.add(key);
    // The key has changed again since the load began. The cache holds something newer by now.
    if (this.#validity.isCovered(key, value)) return false;
    if (isWorthKeeping(value, this.#clock.nowMs())) return this.#keepAsOwner(key, value);
    if (hasOlder && !isFailureStatus(value.about.status)) this.#caches.remove(cacheKeyOf(key, value));
    return false;
  }

  /** The owner has answered: by its word, the value is good up to `after` at least. */
  #received(key: string, given: Value, after: Label, isElsewhere: boolean): Loaded {
    // A node that has seen no log asks for nothing: the answer then says nothing about its labels.
    const isLower = after.epoch > 0 && this.#validity.compare(given.label, after) < 0;
    const value = isLower ? { ...given, label: after } : given;
    const nowMs = this.#clock.nowMs();
    const { isPrivate, status } = value.about;
    if (isPrivate) this.#passed.add(key);
    else if (!this.#isServed) this.#passed.delete(key);
    if (value.freshUntilMs > nowMs) this.#origin.succeeded(cacheKeyOf(key, value));
    if (this.#validity.isCovered(key, value)) return { value, source: "peer", stored: false };
    if (isWorthKeeping(value, nowMs)) {
      const isOwner = isElsewhere && this.#picker.pick(key) === undefined;
      const stored = isOwner ? this.#keepAsOwner(key, value) : this.#copies.keep(key, value, nowMs);
      return { value, source: "peer", stored };
    }
    if (!isFailureStatus(status)) this.#forgetStale(cacheKeyOf(key, value));
    return { value, source: "peer", stored: false };
  }

  /** A load has failed, here or at the owner: this node may have a copy that may be served then. */
  #standIn(cacheKey: string, error: unknown, request: RequestHead | undefined): Loaded | undefined {
    if (error instanceof NotFoundError) this.#forgetStale(cacheKey);
    const hit = findFor(this.#caches, cacheKey, request);
    return hit && this.#origin.failed(cacheKey, error, hit.value) && asLoaded(hit);
  }

  /** The owner has nothing that could be kept in the place of this copy. A fresh one has come meanwhile. */
  #forgetStale(cacheKey: string): void {
    const held = this.#caches.find(cacheKey)?.value;
    if (held !== undefined && this.#fresh(held) === undefined) this.#caches.remove(cacheKey);
  }

  /** Also sends the value to the nodes that are to have it besides. @returns whether this node keeps it */
  #keepAsOwner(key: string, given: Value): boolean {
    const value = this.#validity.check(key, given);
    if (value === undefined) return false;
    if (this.#drain.hasBegun) this.#drain.add(key, value);
    else this.#replicas.send(key, value);
    return storeVariant(this.#caches, key, value, this.#storeInMain);
  }

  #fresh(value: Value | undefined): Value | undefined {
    return value !== undefined && value.freshUntilMs > this.#clock.nowMs() ? value : undefined;
  }
}

function asLoaded({ value, from }: Hit): Loaded {
  return { value, source: from, stored: true };
}

/** @throws NotFoundError it is remembered that there is no such value */
function found(loaded: Loaded, key: string): Loaded {
  if (isNothingHere(loaded.value)) throw new NotFoundError(`there is no ${JSON.stringify(key)}`);
  return loaded;
}
