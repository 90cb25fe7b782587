import type { CancelSignal } from "../base/cancel.ts";
import type { Clock } from "../base/clock.ts";
import { hashOf } from "../base/hash.ts";
import type { Trace } from "../base/trace.ts";
import { primaryKey } from "../base/variant-key.ts";
import { entryBytes } from "../cache/byte-cache.ts";
import type { SharedBudget } from "../cache/shared-budget.ts";
import { cacheKeyFor, findFor, isFor } from "../cache/variants.ts";
import { BehindError, OriginUnreachableError, OverloadedError } from "../errors.ts";
import { type KeyWatch, KeyWatches } from "../invalidation/key-watch.ts";
import type { Label } from "../invalidation/label.ts";
import type { Validity } from "../invalidation/validity.ts";
import { PassedKeys } from "../lifetime/passed-keys.ts";
import { DEFAULT_LIFETIME } from "../lifetime/policy.ts";
import { isUsableOnError, isUsableStale } from "../lifetime/times.ts";
import { Failover } from "../load/failover.ts";
import { Flights, PeerWaiter, promised, type Waiter } from "../load/flights.ts";
import { OriginLoads } from "../load/origin-loads.ts";
import { Reachability } from "../load/reachability.ts";
import type { StartGate } from "../load/start-gate.ts";
import { AnswerMeter } from "../measure/answer-meter.ts";
import { SpanMeter } from "../measure/span-meter.ts";
import type { Ask, Entry, PeerPicker, RequestHead } from "../ports.ts";
import type { Answer, Value } from "../value.ts";
import { describe, type Description } from "./description.ts";
import { Keeping } from "./keeping.ts";
import { asLoaded, found, type Hit, type Loaded } from "./loaded.ts";
import { LoneLoads } from "./lone-loads.ts";
import { memoryOf } from "./memory.ts";
import type { GroupMemory, GroupOptions } from "./options.ts";
import { OwnerLoads } from "./owner-loads.ts";
import { Refreshes } from "./refreshes.ts";
import { SoftTimeout } from "./soft-timeout.ts";
import { type GroupStats, latenciesOf, newCounters } from "./stats.ts";

const MAX_FLIGHTS = 10_000;
/** Chosen: extra time of a fetch after the owner timed out, for the peeks and the load in the owner's place. */
const FETCH_MARGIN_MS = 1_000;
/** The longest time that a get waits until this node has applied what the asking node has applied. */
const CATCH_UP_MS = 250;

/**
 * One named cache of this node. It knows no NATS, no HTTP and no runtime, and never asks whether there is a cluster (see
 * NoPeers).
 *
 * The steps of a get, each with the code that does it:
 *
 * 1. `lookup`: the main or the hot cache has the value. Nothing is awaited.
 * 2. `load`: the picker names the key's owner. One flight per key serves all callers.
 * 3. This node owns the key: `OwnerLoads.make` takes the value from the main cache, else from a former owner of the
 *    key, else from the origin. The main cache keeps it (`Keeping`).
 * 4. A peer owns the key: `Failover.fetch` asks it. The owner answers by `lookupAsOwner` and `loadAsOwner`, which do step 1
 *    and step 3 and never ask another owner. The value may stay in the hot cache.
 * 5. The owner cannot be reached: failover asks the next in rank. When that is this node, it does step 3 in the owner's
 *    place. When the owner or this node cannot reach the origin, the next in rank tries, once.
 *
 * An expired value is served where its times allow it: at once during a background refresh (`Refreshes`), or when the
 * origin fails or is slow (`Keeping`, `SoftTimeout`). An answer that no cache may keep goes only to the request that
 * loaded it. For a while after it, each request for that key loads for itself (`LoneLoads`).
 *
 * `SharedBudget` checks every value that it finds or stores against the invalidations that this node has applied. A
 * load that an invalidation covers answers only earlier requests, and is not stored (`Flights`). A get from a peer that
 * has applied more waits until this node has caught up.
 */
export class Group {
  readonly name: string;
  /** For the group that replaces this one. */
  readonly memory: GroupMemory;
  /** Decides which values are still good, by the invalidations that are applied here or that wait for the log. */
  readonly validity: Validity;
  /** The keys whose answers may not be shared. */
  readonly passed: PassedKeys;
  /** Counts the answers to clients. The HTTP edge makes these answers. */
  readonly answers: AnswerMeter;
  readonly #hops: SpanMeter;
  readonly #originLoads: SpanMeter;
  readonly #picker: PeerPicker;
  readonly #clock: Clock;
  readonly #nowMs: () => number;
  readonly #softTimeout: SoftTimeout;
  readonly #isRefreshedAhead: boolean;
  readonly #isWriteOnly: boolean;
  readonly #gate: StartGate | undefined;
  readonly #caches: SharedBudget;
  readonly #reachability: Reachability;
  readonly #origin: OriginLoads;
  readonly #keeping: Keeping;
  readonly #owner: OwnerLoads;
  readonly #failover: Failover<Loaded>;
  readonly #loads: Flights<Loaded>;
  readonly #fetches: Flights<Loaded>;
  readonly #lone: LoneLoads;
  readonly #refreshes: Refreshes;
  readonly #watches = new KeyWatches();
  readonly #counters = newCounters();

  constructor(options: GroupOptions) {
    const { name: group, clock, picker, loadTimeoutMs, replicas = 1, hotAfterFetches = 2 } = options;
    const { random = Math.random, isWriteOnly = false, isServed = true } = options;
    const lifetime = { ...DEFAULT_LIFETIME, ...options.lifetime };
    const stats = this.#counters;
    this.name = group;
    this.answers = new AnswerMeter(clock);
    this.#hops = new SpanMeter(clock);
    this.#originLoads = new SpanMeter(clock);
    this.#picker = picker;
    this.#clock = clock;
    this.#nowMs = () => clock.nowMs();
    this.#isRefreshedAhead = lifetime.refreshAhead;
    this.#isWriteOnly = isWriteOnly;
    this.#gate = options.gate;
    this.memory = memoryOf(options, (isCovered, keys) => this.#covered(isCovered, keys));
    const { caches } = this.memory;
    const { validity } = caches;
    this.#caches = caches;
    this.validity = validity;
    this.#softTimeout = new SoftTimeout({ softTimeoutMs: lifetime.softTimeoutMs, caches, clock, counters: stats });
    const passed = this.passed = new PassedKeys(clock);
    const { origin, etagOf, loading, health, tracing } = options;
    const reachability = this.#reachability = options.reachability ?? new Reachability(clock);
    const ofOrigin = { group, origin, isBarred: !isServed, reachability, health, etagOf, loading, tracing };
    this.#origin = new OriginLoads({ ...ofOrigin, clock, lifetime, random, stats, spans: this.#originLoads });
    const handoff = { group, picker, caches, clock, lifetime, loadTimeoutMs, replicas, stats };
    this.#keeping = new Keeping({ handoff, origin: this.#origin, passed, isServed, hotAfterFetches });
    this.#owner = new OwnerLoads({ handoff, origin: this.#origin, keeping: this.#keeping, passed });
    this.#failover = this.#failoverOf(options);
    [this.#loads, this.#fetches] = this.#flightsOf(options);
    const ways = {
      picker,
      origin: this.#origin,
      owner: this.#owner,
      failover: this.#failover,
      loads: this.#loads,
      fetches: this.#fetches,
      counters: stats,
    };
    this.#lone = new LoneLoads({ ways, validity, passed, isServed });
    this.#refreshes = new Refreshes({ ways, clock, random });
  }

  #failoverOf({ name: group, picker, clock, loadTimeoutMs, isServed = true, tracing }: GroupOptions): Failover<Loaded> {
    const keeping = this.#keeping;
    return new Failover({
      group,
      picker,
      clock,
      timeoutMs: loadTimeoutMs,
      stats: this.#counters,
      spans: this.#hops,
      after: () => this.validity.after,
      received: (key, value, by) => keeping.received(key, value, by),
      standIn: (key, error, request) => keeping.standIn(cacheKeyFor(this.#caches, key, request), error, request),
      mayLoadHere: isServed,
      loadHere: (key, signal, request, trace) => this.#loadInPlaceOfOwner(key, signal, request, trace),
      loadUnkept: (key, signal, request, trace) =>
        promised(signal, (waiter) => this.loadUnkept(key, waiter), request, trace),
      tracing,
    });
  }

  /** @returns the loads from the origin, and the fetches from peers: see Ways */
  #flightsOf({ clock, loadTimeoutMs, maxFlights = MAX_FLIGHTS }: GroupOptions): [Flights<Loaded>, Flights<Loaded>] {
    const shared = {
      clock,
      maxFlights,
      applied: () => this.validity.applied,
      isFor: (cacheKey: string, { value }: Loaded, { request, hasAskedBefore }: Waiter<Loaded>) =>
        !value.about.isPrivate && isFor(value, request) &&
        (hasAskedBefore || !this.validity.isCovered(primaryKey(cacheKey), value)),
      standIn: (cacheKey: string, error: Error, request: RequestHead | undefined) =>
        this.#keeping.standIn(cacheKey, error, request),
    };
    const loads = new Flights<Loaded>({
      ...shared,
      timeoutMs: loadTimeoutMs,
      refuse: (cacheKey, { value }, waiter) => this.#notShared(primaryKey(cacheKey), value, waiter, true),
      goesOn: (cacheKey, error, waiter) => this.#goesOn(cacheKey, error, waiter),
    });
    // After a time-out at the owner, a fetch still needs time for a load in the owner's place.
    const fetches = new Flights<Loaded>({
      ...shared,
      timeoutMs: 2 * loadTimeoutMs + FETCH_MARGIN_MS,
      refuse: (cacheKey, { value }, waiter) => this.#notShared(primaryKey(cacheKey), value, waiter, false),
    });
    return [loads, fetches];
  }

  /** Finds the value in this node's memory. Synchronous: a hit awaits nothing. */
  lookup(key: string, request?: RequestHead): Hit | undefined {
    this.#counters.gets++;
    const hash = hashOf(key);
    const { label } = this.validity;
    const own = this.#caches.main.get(key, this.#nowMs, hash, label);
    const value = own ?? this.#caches.hot.get(key, this.#nowMs, hash, label);
    if (value === undefined || value.about.selection !== undefined) return this.#lookFurther(key, hash, request);
    if (this.#isRefreshedAhead) this.#refreshes.beginIfDue(key, key, value, request);
    this.#counters.cacheHits++;
    return { value, from: own === undefined ? "hot" : "main" };
  }

  /** The rest of a get after a miss: makes the value if this node owns the key, else fetches it from the owner. */
  load(key: string, waiter: Waiter<Loaded>): void {
    if (this.#gate?.isOpen === false) return this.#gate.hold(waiter, () => this.load(key, waiter));
    this.#counters.loads++;
    if (this.validity.mayBePending(key)) return this.#lone.pending(key, waiter);
    if (this.passed.has(key)) return this.#lone.alone(key, waiter);
    const owner = this.#picker.pick(key);
    const patient = this.#softTimeout.bound(key, waiter);
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
   * @param options.after returns no value that an invalidation up to this label covers
   * @param options.trace the identity of the request
   * @throws NotFoundError, OriginError, OriginTimeoutError, OriginUnreachableError, OverloadedError; the signal's
   * reason after the caller left
   */
  async get(
    key: string,
    { signal, after, trace }: { signal?: CancelSignal; after?: Label | undefined; trace?: Trace | undefined } = {},
  ): Promise<Loaded> {
    if (after !== undefined && !(await this.reach(after))) {
      return found(await promised(signal, (waiter) => this.loadUnkept(key, waiter), undefined, trace), key);
    }
    const hit = this.lookup(key);
    if (hit !== undefined) return found(asLoaded(hit), key);
    return found(await promised(signal, (waiter) => this.load(key, waiter), undefined, trace), key);
  }

  /** `lookup` for a peer that asks this node as the owner. */
  lookupAsOwner(key: string, request?: RequestHead, after?: Label): Hit | undefined {
    this.#counters.serverRequests++;
    return after === undefined || this.validity.has(after) ? this.lookup(key, request) : undefined;
  }

  /** The rest of a peer's get after a miss. Never asks another owner. Fails as `get`. */
  loadAsOwner(key: string, ask: Ask): void {
    const reached = this.validity.reach(ask.after, CATCH_UP_MS);
    if (reached !== true) return void this.#answerLater(reached, key, ask);
    this.#counters.loads++;
    this.#loadAsOwner(key, this.#softTimeout.bound(key, new PeerWaiter(ask)));
  }

  /** Whether this node has applied everything up to the label. It first catches up, for at most 250 ms. */
  reach(label: Label): true | Promise<boolean> {
    return this.validity.reach(label, CATCH_UP_MS);
  }

  /** Asks the origin for this one request and keeps nothing, because this node or the owner is behind. Fails as `get`. */
  loadUnkept(key: string, waiter: Waiter<Loaded>): void {
    if (this.#isWriteOnly) return waiter.reject(new OverloadedError("a node is behind, and there is no origin to ask"));
    this.#lone.once(key, waiter);
  }

  /** Whether this node cannot read the log of invalidations now. */
  get isBehind(): boolean {
    return this.validity.isBehind;
  }

  /** `lookupAsOwner`, then `loadAsOwner`, by a promise. Throws as `get`. */
  async getAsOwner(
    key: string,
    { signal, trace }: { signal?: CancelSignal; trace?: Trace | undefined } = {},
  ): Promise<Loaded> {
    const hit = this.lookupAsOwner(key);
    if (hit !== undefined) return found(asLoaded(hit), key);
    this.#counters.loads++;
    return found(await promised(signal, (waiter) => this.#loadAsOwner(key, waiter), undefined, trace), key);
  }

  /**
   * A value for a peer from memory or from a load in flight. It starts no load and asks no node. Only the owner joins a
   * flight that still asks other nodes; else two nodes could wait for each other. The owner also gives a value usable
   * on error, so that a node in its place does not ask the origin too.
   */
  peek(key: string, options: { signal: CancelSignal }): Value | undefined | Promise<Value | undefined> {
    const hash = hashOf(key);
    const held = this.#caches.find(key, hash)?.value;
    const value = this.#keeping.fresh(held);
    const isOwner = this.#picker.pick(key) === undefined;
    if (value !== undefined || !(this.#origin.isAsking(key) || isOwner)) return value;
    const usable = (value: Value | undefined) =>
      isOwner && value !== undefined && isUsableOnError(value, this.#clock.nowMs())
        ? value
        : this.#keeping.fresh(value);
    const loaded = this.#loads.lookOn(key, options.signal);
    if (loaded === undefined) return usable(held);
    const isForAll = (value: Value) => !value.about.isPrivate && !this.validity.isCovered(primaryKey(key), value);
    return loaded.then(({ value }) => isForAll(value) ? usable(value) : undefined, () => undefined);
  }

  /** What a get of the key would find here. It changes nothing: it counts no use, and refreshes or drops nothing. */
  describe(key: string, request?: RequestHead): Description {
    const isLoading = (cacheKey: string) => this.#loads.has(cacheKey) || this.#fetches.has(cacheKey);
    const { passed } = this;
    return describe(key, request, {
      caches: this.#caches,
      picker: this.#picker,
      passed,
      nowMs: this.#clock.nowMs(),
      isLoading,
    });
  }

  /** The entries of the main cache, in no order, with their encoded bytes. A variant has its own cache key. O(n). */
  resident(): readonly { readonly key: string; readonly bytes: number }[] {
    return this.#caches.main.entries().map(({ key, value }) => ({ key, bytes: entryBytes(key, value) }));
  }

  /**
   * To be called before a request changes the key. The caller must end the watch. `undefined`: there are too many
   * watches.
   */
  watch(key: string): KeyWatch | undefined {
    return this.#watches.begin(key, this.validity.applied);
  }

  /** Makes a value from an origin's answer that did not come from a load. @param spentMs how long the answer took */
  valueOf(answer: Answer, spentMs: number, label: Label): Value {
    return this.#origin.valueOf(answer, spentMs, label);
  }

  /** Takes those of a peer's pushed entries that this node must keep, if there is room. @returns how many were taken */
  accept(entries: readonly Entry[], from: string, isWritten = false): number {
    return this.#keeping.accept(entries, from, isWritten);
  }

  /** Keeps a value that a client wrote, if there is room, and sends it to the other nodes that must have it. */
  keepWritten(key: string, value: Value): boolean {
    return this.#keeping.keepAsOwner(key, value);
  }

  /** To be called when another group of this name replaces it. Work in flight continues; it starts no background work. */
  retire(): void {
    this.#keeping.stopRebalance();
    this.#watches.retire();
  }

  /** Stops reading the log of invalidations. */
  close(): void {
    this.memory.position.remove(this.name);
    this.validity.close();
  }

  /** After a change of owners: with two replicas, sends each key to its new second owner. */
  ownersChanged(): Promise<void> {
    return this.#keeping.rebalance();
  }

  /**
   * Hands over all values before this node stops owning keys. It includes values that it still loads for peers without
   * the new roster. Ends when done or aborted. Never rejects.
   *
   * @param unasked resolves when all peers should know that this node owns nothing
   */
  drain(signal: AbortSignal, unasked: Promise<void>): Promise<void> {
    return this.#keeping.drain(signal, async () => {
      await unasked;
      await this.answered(signal);
    });
  }

  /** Resolves when the origin has answered all that it is asked now, or the signal aborts. Never rejects. */
  answered(signal: AbortSignal): Promise<void> {
    return this.#loads.ended(this.#origin.asking, signal);
  }

  /** Since when this node cannot reach the origin, in Unix milliseconds. `undefined`: it reaches it, or has not asked it. */
  get originLostAtMs(): number | undefined {
    return this.#reachability.lostAtMs;
  }

  /** Whether this node has no value for a peer, neither in memory nor in flight. */
  get isEmpty(): boolean {
    return this.#caches.main.items === 0 && this.#caches.hot.items === 0 && this.#loads.size === 0;
  }

  stats(): GroupStats {
    const { main, hot } = this.#caches;
    const { stats, latest } = this.validity;
    return {
      ...this.#counters,
      mainCache: main.stats(),
      hotCache: hot.stats(),
      originUnreachable: Number(this.originLostAtMs !== undefined),
      invalidation: { ...stats, last: latest },
      latency: latenciesOf({
        client: this.answers.took.figures(),
        hop: this.#hops.took.figures(),
        origin: this.#originLoads.took.figures(),
      }),
      answers: this.answers.statuses.figures(true),
    };
  }

  /** Finds a variant, or a stale value that may be served. */
  #lookFurther(key: string, hash: number, request: RequestHead | undefined): Hit | undefined {
    const { main, hot } = this.#caches;
    if (main.peek(key, hash) === undefined && hot.peek(key, hash) === undefined) return undefined;
    const cacheKey = cacheKeyFor(this.#caches, key, request);
    const hit = findFor(this.#caches, cacheKey, request);
    if (hit === undefined) return undefined;
    const { value, from } = hit;
    const nowMs = this.#clock.nowMs();
    if (value.freshUntilMs > nowMs) {
      if (this.#isRefreshedAhead) this.#refreshes.beginIfDue(key, cacheKey, value, request);
    } else {
      if (!isUsableStale(value, nowMs)) return undefined;
      this.#counters.staleHits++;
      this.#refreshes.begin(key, cacheKey, value, request);
    }
    this.#caches[from].use(cacheKey);
    this.#counters.cacheHits++;
    return hit;
  }

  /** Makes later gets of covered keys start new flights. Removes the values of `keys` from memory at once. */
  #covered(isCovered: (key: string) => boolean, keys: readonly string[]): void {
    for (const flights of [this.#loads, this.#fetches]) flights.detach((cacheKey) => isCovered(primaryKey(cacheKey)));
    this.#watches.covered(isCovered, this.validity.after);
    for (const key of keys) this.#caches.find(key);
  }

  async #answerLater(reached: Promise<boolean>, key: string, ask: Ask): Promise<void> {
    try {
      if (!await reached) return ask.reject(new BehindError("it has not applied what the asking node has"));
      const hit = this.lookup(key, ask.request);
      if (hit !== undefined) return ask.resolve(hit.value);
      this.#counters.loads++;
      this.#loadAsOwner(key, this.#softTimeout.bound(key, new PeerWaiter(ask)));
    } catch (error) {
      ask.reject(error);
    }
  }

  /**
   * @param isOwn whether the waiter is this node's own. Only then may it wait for another node: a peer already waits
   * for this one
   */
  #loadAsOwner(key: string, waiter: Waiter<Loaded>, isOwn = false): void {
    if (this.validity.mayBePending(key)) return this.#lone.pending(key, waiter);
    waiter.mayGoOn = isOwn;
    const { request } = waiter;
    const cacheKey = cacheKeyFor(this.#caches, key, request);
    this.#loads.fly(cacheKey, waiter, (flight) => {
      this.#counters.loadsDeduped++;
      flight.follow(this.#owner.make(key, cacheKey, flight, request));
    });
  }

  /**
   * This node owns the key but cannot reach the origin, so the next in rank loads it. It is a fetch, not a load: peers
   * may wait for loads of this node, but never for its fetches.
   */
  #goesOn(cacheKey: string, error: unknown, waiter: Waiter<Loaded>): boolean {
    if (!(error instanceof OriginUnreachableError)) return false;
    const key = primaryKey(cacheKey);
    if (this.validity.mayBePending(key) || !this.#failover.hasOther(key)) return false;
    waiter.mayGoOn = false;
    const { request } = waiter;
    this.#fetches.fly(cacheKey, waiter, (flight) => this.#failover.fetchElsewhere(key, error, flight, request));
    return true;
  }

  /** Counts no load, as the fetch that led here is already counted as one. */
  #loadInPlaceOfOwner(
    key: string,
    signal: CancelSignal,
    request: RequestHead | undefined,
    trace: Trace | undefined,
  ): Promise<Loaded> {
    const cacheKey = cacheKeyFor(this.#caches, key, request);
    const wait = (waiter: Waiter<Loaded>) => {
      this.#loads.fly(cacheKey, waiter, (flight) => flight.follow(this.#owner.make(key, cacheKey, flight, request)));
    };
    return promised(signal, wait, request, trace);
  }

  /** Called when a flight's result is not for this waiter's request. */
  #notShared(key: string, { about }: Value, waiter: Waiter<Loaded>, isOwn: boolean): void {
    if (!about.isPrivate) return isOwn ? this.#loadAsOwner(key, waiter, waiter.mayGoOn) : this.load(key, waiter);
    this.#lone.alone(key, waiter);
  }
}
