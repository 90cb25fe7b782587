/**
 * Fetches a value from the owner, or from the next in rank when the owner cannot be reached. Every node picks the same next in
 * rank, so one load still serves the cluster. If the owner is only slow, a second peer is asked, too: see hedging.ts.
 *
 * One node that cannot reach the origin proves little, so the next in rank tries in its place. That is one more load per key in
 * the whole cluster, as every node tries the same next one. If that node cannot reach the origin either, the get fails.
 */
import { SLOW_FAILURE_MS } from "../base/time/breaker.ts";
import type { CancelSignal } from "../base/cancel.ts";
import type { Clock } from "../base/clock.ts";
import type { ListNode } from "../base/tables/intrusive-list.ts";
import { WeakMemo } from "../base/tables/memo.ts";
import { NO_TRACING, type Trace, type Tracing } from "../base/trace.ts";
import {
  BehindError,
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OriginUnreachableError,
  PassThroughError,
  PeerError,
} from "../errors.ts";
import type { Label } from "../invalidation/label.ts";
import type { SpanMeter } from "../measure/span-meter.ts";
import type { Ask, Peer, PeerPicker, RequestHead } from "../ports.ts";
import type { Value } from "../value.ts";
import type { Flight } from "./flights.ts";
import { AskedPeer, type Hedgeable, Hedging } from "./hedging.ts";
import { RecordedAsk } from "./recorded-ask.ts";

export interface FailoverOptions<T> {
  readonly group: string;
  readonly picker: PeerPicker;
  readonly clock: Clock;
  /** The time for one ask, in milliseconds. */
  readonly timeoutMs: number;
  /** The counters to increment. */
  readonly stats: FailoverStats;
  /** Records the duration of each ask, answered or failed. @default none */
  readonly spans?: SpanMeter;
  /**
   * The result of a flight for a value that a peer sent. `undefined`: this node may not serve the value and loads for itself.
   */
  readonly received: (key: string, value: Value, ask: ReceivedBy) => T | undefined;
  /** What this node has applied. Each ask carries it, and `received` gets it back. */
  readonly after: () => Label;
  /** The result to use in place of the owner's final error, such as an old copy; `undefined`: none. */
  readonly standIn: (key: string, error: unknown, request: RequestHead | undefined) => T | undefined;
  /** This node's own load without storing, for when the asked peer is behind this node. */
  readonly loadUnkept: LoadHere<T>;
  /** Whether this node may ask the origin. If not, `loadHere` finds values of other nodes or fails. @default true */
  readonly mayLoadHere?: boolean;
  /** This node's own load in place of an owner that is slow or cannot be reached. */
  readonly loadHere: LoadHere<T>;
  /** Records each ask. @default no records */
  readonly tracing?: Tracing | undefined;
}

/** A load by this node. */
type LoadHere<T> = (
  key: string,
  signal: CancelSignal,
  request: RequestHead | undefined,
  trace: Trace | undefined,
) => Promise<T>;

/** The ask that led to a value. */
export interface ReceivedBy {
  readonly after: Label;
  readonly askedAtMs: number;
  /** Whether the owner could not reach the origin. */
  readonly isElsewhere: boolean;
}

/** The counters of failover. */
export interface FailoverStats {
  /** Values that a peer delivered. */
  peerLoads: number;
  /** Asks of peers that failed, so that this node asked another node. */
  peerErrors: number;
  /** Second asks because the first one was slow. */
  hedges: number;
  /** Asks of peers that were behind this node and could not catch up in time. */
  behindPeers: number;
}

/** Chosen: after this many useless waits in a row, this node loads by itself. */
const MAX_WAITS = 3;
/**
 * After this many peers that could not be asked, this node loads by itself. Chosen: finding the next costs no time, and
 * with half the fleet dead, one key in 65,536 (2^16) has 16 dead peers in front.
 */
const MAX_PASSED_OVER = 16;

/** The peers that were asked for a key without success, or skipped. */
interface Tried {
  readonly names: ReadonlySet<string>;
  /** How many of them kept the caller waiting. */
  readonly waits: number;
  /** The error of the first node that tried to load but could not reach the origin. The next node that tries is the last. */
  readonly unreachable: OriginUnreachableError | undefined;
  /** Whether that node is this one. */
  readonly hasLoadedHere: boolean;
}

const NONE_TRIED: Tried = { names: new Set(), waits: 0, unreachable: undefined, hasLoadedHere: false };

function withTried(tried: Tried, peer: Peer, waited: boolean): Tried {
  const { names, waits } = tried;
  return { ...tried, names: new Set([...names, peer.name]), waits: waited ? waits + 1 : waits };
}

function loadedHere(tried: Tried, unreachable: OriginUnreachableError): Tried {
  return { ...tried, unreachable, hasLoadedHere: true };
}

/** The ask of the owner, or of the next in rank after the owner failed. It can be hedged. */
class PrimaryAsk<T> implements Ask, Hedgeable {
  previous: ListNode = this;
  next: ListNode = this;
  readonly failover: Failover<T>;
  readonly peer: Peer;
  readonly asked: AskedPeer;
  readonly key: string;
  readonly request: RequestHead | undefined;
  readonly trace: Trace | undefined;
  readonly signal: Flight<T>;
  readonly timeoutMs: number;
  readonly tried: Tried;
  readonly askedAtMs: number;
  readonly begunMs: number;
  readonly after: Label;
  silentSinceMs: number;
  hedgeAtMs: number;
  isOver = false;

  constructor(
    failover: Failover<T>,
    peer: Peer,
    asked: AskedPeer,
    key: string,
    request: RequestHead | undefined,
    flight: Flight<T>,
    tried: Tried,
    nowMs: number,
  ) {
    this.request = request;
    this.trace = flight.trace;
    this.failover = failover;
    this.peer = peer;
    this.asked = asked;
    this.key = key;
    this.signal = flight;
    this.timeoutMs = failover.timeoutMs;
    this.tried = tried;
    this.askedAtMs = nowMs;
    this.begunMs = failover.begin();
    this.after = failover.after();
    this.silentSinceMs = nowMs;
    this.hedgeAtMs = nowMs + asked.hedgeDelay.delayMs;
  }

  resolve(value: Value): void {
    this.failover.answered(this, this, value);
  }

  reject(error: unknown): void {
    this.failover.failed(this, error);
  }

  arriving(untilMs: number): void {
    this.failover.arriving(this, this, untilMs);
  }
}

/** The second ask, of another peer. Its failure ends nothing, since the primary ask is still in flight. */
class HedgeAsk<T> implements Ask {
  readonly primary: PrimaryAsk<T>;
  readonly request: RequestHead | undefined;
  readonly trace: Trace | undefined;
  readonly asked: AskedPeer;
  readonly signal: Flight<T>;
  readonly timeoutMs: number;
  readonly after: Label;
  readonly askedAtMs: number;
  readonly begunMs: number;

  constructor(primary: PrimaryAsk<T>, asked: AskedPeer, nowMs: number) {
    this.primary = primary;
    this.request = primary.request;
    this.trace = primary.trace;
    this.asked = asked;
    this.signal = primary.signal;
    this.timeoutMs = primary.timeoutMs;
    this.after = primary.after;
    this.askedAtMs = nowMs;
    this.begunMs = primary.failover.begin();
  }

  resolve(value: Value): void {
    this.primary.failover.answered(this.primary, this, value);
  }

  reject(error: unknown): void {
    this.primary.failover.noteFailure(this, error);
  }

  arriving(untilMs: number): void {
    this.primary.failover.arriving(this.primary, this, untilMs);
  }
}

/** One group's asks of the peers that own its keys. */
export class Failover<T> {
  readonly timeoutMs: number;
  readonly after: () => Label;
  readonly #options: FailoverOptions<T>;
  readonly #asked = new WeakMemo<Peer, AskedPeer>(() => new AskedPeer());
  readonly #hedging: Hedging<PrimaryAsk<T>>;

  constructor(options: FailoverOptions<T>) {
    this.timeoutMs = options.timeoutMs;
    this.after = options.after;
    this.#options = options;
    this.#hedging = new Hedging(options.clock, (ask, nowMs) => this.#hedge(ask, nowMs));
  }

  /**
   * Asks the owner for a value and ends the flight with it or with the owner's final error. If the owner cannot be
   * reached, asks the next in rank by the roster of that moment. No promise per step: it would cost more than the ask.
   */
  fetch(owner: Peer, key: string, flight: Flight<T>, request?: RequestHead): void {
    this.#hedging.earn();
    this.#ask(owner, key, request, flight, NONE_TRIED);
  }

  /** Whether another node could be asked for the key in place of this one. */
  hasOther(key: string): boolean {
    return this.#options.picker.ranked(key, 2).some((peer) => peer !== undefined);
  }

  /** Like `fetch`, for a key that this node owns: the next in rank loads it, as this node cannot reach the origin. */
  fetchElsewhere(key: string, unreachable: OriginUnreachableError, flight: Flight<T>, request?: RequestHead): void {
    this.#askNext(key, request, flight, loadedHere(NONE_TRIED, unreachable));
  }

  /** Called by an ask when it begins. @returns the start time, to be given back at its end */
  begin(): number {
    return this.#options.spans?.begin() ?? NaN;
  }

  /** Called by an ask when a value came from the primary ask or its hedge (`by`). The first value counts. */
  answered(ask: PrimaryAsk<T>, by: PrimaryAsk<T> | HedgeAsk<T>, value: Value): void {
    const { clock, received, stats, spans } = this.#options;
    const nowMs = clock.nowMs();
    spans?.end(by.begunMs, nowMs - by.askedAtMs);
    by.asked.breaker.succeeded(nowMs);
    by.asked.hedgeDelay.answered(nowMs - by.askedAtMs);
    if (!this.#end(ask)) return;
    stats.peerLoads++;
    try {
      const { peer, key, request, signal: flight, tried, after, askedAtMs } = ask;
      const result = received(key, value, { after, askedAtMs, isElsewhere: tried.unreachable !== undefined });
      if (result !== undefined) return flight.resolve(result);
      if (tried.hasLoadedHere) return this.#failedFinally(key, request, flight, tried.unreachable);
      this.#loadHere(key, request, flight, withTried(tried, peer, false));
    } catch (error) {
      ask.signal.reject(error);
    }
  }

  /**
   * Called by an ask when a value arrives in parts. A peer that sends is not silent, so it is not hedged. If it stops,
   * there is still time for a load in its place.
   */
  arriving(ask: PrimaryAsk<T>, by: PrimaryAsk<T> | HedgeAsk<T>, untilMs: number): void {
    if (by === ask) this.#hedging.forget(ask);
    ask.signal.keepUntil(untilMs + this.timeoutMs);
  }

  /** Called by the primary ask when it failed. */
  failed(ask: PrimaryAsk<T>, error: unknown): void {
    const { peer, key, request, signal: flight, tried, askedAtMs } = ask;
    this.noteFailure(ask, error);
    if (!this.#end(ask)) return;
    if (flight.aborted) return flight.reject(error);
    const { clock, stats, loadUnkept } = this.#options;
    if (error instanceof BehindError) {
      stats.behindPeers++;
      const standIn = (fault: unknown) => {
        const found = this.#options.standIn(key, fault, request);
        if (found === undefined) throw fault;
        return found;
      };
      return flight.follow(loadUnkept(key, flight, request, flight.trace).catch(standIn));
    }
    if (error instanceof OriginUnreachableError && tried.unreachable === undefined) {
      return this.#askNext(key, request, flight, withTried({ ...tried, unreachable: error }, peer, false));
    }
    if (!(error instanceof PeerError)) return this.#failedFinally(key, request, flight, error);
    stats.peerErrors++;
    this.#askNext(key, request, flight, withTried(tried, peer, clock.nowMs() - askedAtMs >= SLOW_FAILURE_MS));
  }

  #askNext(key: string, request: RequestHead | undefined, flight: Flight<T>, tried: Tried): void {
    try {
      this.#ask(this.#next(key, tried), key, request, flight, tried);
    } catch (fault) {
      flight.reject(fault);
    }
  }

  #failedFinally(key: string, request: RequestHead | undefined, flight: Flight<T>, error: unknown): void {
    const standIn = this.#options.standIn(key, error, request);
    if (standIn === undefined) flight.reject(error);
    else flight.resolve(standIn);
  }

  /** Called by an ask to report its failure to the peer's breaker. */
  noteFailure({ asked, askedAtMs, begunMs, signal }: PrimaryAsk<T> | HedgeAsk<T>, error: unknown): void {
    const nowMs = this.#options.clock.nowMs();
    // An ask that its waiters cancelled says nothing about the peer.
    if (!signal.aborted) this.#options.spans?.end(begunMs, nowMs - askedAtMs);
    if (error instanceof PeerError) asked.breaker.failed(askedAtMs, nowMs);
    else if (isAnswer(error)) asked.breaker.succeeded(nowMs);
  }

  /** Asks `peer`, or the next in rank while its breaker is open. `undefined`: it is this node's turn. */
  #ask(
    peer: Peer | undefined,
    key: string,
    request: RequestHead | undefined,
    flight: Flight<T>,
    tried: Tried,
  ): void {
    const { group, clock, mayLoadHere = true } = this.#options;
    while (peer !== undefined && tried.names.size < MAX_PASSED_OVER && tried.waits < MAX_WAITS) {
      const asked = this.#asked.get(peer);
      const nowMs = clock.nowMs();
      if (asked.breaker.admit(nowMs)) {
        const ask = new PrimaryAsk(this, peer, asked, key, request, flight, tried, nowMs);
        this.#hedging.watch(ask);
        return peer.ask(group, key, this.#recorded(ask, peer, key));
      }
      tried = withTried(tried, peer, false);
      peer = this.#next(key, tried);
    }
    // If this node does not serve the group, the answer of a serving node is final.
    const isLast = tried.hasLoadedHere || tried.unreachable !== undefined && !mayLoadHere;
    if (isLast) this.#failedFinally(key, request, flight, tried.unreachable);
    else this.#loadHere(key, request, flight, tried);
  }

  #loadHere(key: string, request: RequestHead | undefined, flight: Flight<T>, tried: Tried): void {
    const loaded = this.#options.loadHere(key, flight, request, flight.trace);
    if (tried.unreachable !== undefined) return flight.follow(loaded);
    loaded.then((result) => flight.resolve(result), (error) => {
      if (!(error instanceof OriginUnreachableError) || flight.aborted) return flight.reject(error);
      this.#askNext(key, request, flight, loadedHere(tried, error));
    });
  }

  #recorded(ask: Ask, { name }: Peer, key: string): Ask {
    const { group, tracing = NO_TRACING } = this.#options;
    return tracing.isOn ? new RecordedAsk(ask, tracing, group, key, { "muster.peer": name }) : ask;
  }

  /** The first in rank that was not tried. `undefined`: it is this node, or no node is left. */
  #next(key: string, { names, hasLoadedHere }: Tried): Peer | undefined {
    const ranked = this.#options.picker.ranked(key, names.size + (hasLoadedHere ? 2 : 1));
    return hasLoadedHere
      ? ranked.find((peer) => peer !== undefined && !names.has(peer.name))
      : firstNotTried(ranked, names);
  }

  /** @returns whether the ask was still open */
  #end(ask: PrimaryAsk<T>): boolean {
    this.#hedging.forget(ask);
    if (ask.isOver) return false;
    ask.isOver = true;
    return true;
  }

  /**
   * Also asks the next in rank, if hedges are left. That node peeks at the owner first, so a slow origin is not asked
   * twice.
   */
  #hedge(ask: PrimaryAsk<T>, nowMs: number): void {
    const { peer: slow, key, request, signal, tried } = ask;
    const { group, picker, stats, loadHere, mayLoadHere = true } = this.#options;
    if (signal.aborted || !this.#hedging.spend()) return;
    const others = picker.ranked(key, tried.names.size + 2).filter((peer) => peer !== slow);
    const second = firstNotTried(others, tried.names);
    if (second === undefined && !mayLoadHere) return;
    stats.hedges++;
    if (second !== undefined) {
      const hedge = new HedgeAsk(ask, this.#asked.get(second), nowMs);
      return second.ask(group, key, this.#recorded(hedge, second, key));
    }
    loadHere(key, signal, request, signal.trace).then((loaded) => this.#end(ask) && signal.resolve(loaded), () => {});
  }
}

/** Whether the peer itself sent this error. A time-out or an overload of this node says nothing about the peer. */
function isAnswer(error: unknown): boolean {
  return error instanceof NotFoundError || error instanceof PassThroughError || error instanceof BehindError ||
    error instanceof OriginError && !(error instanceof OriginTimeoutError);
}

function firstNotTried(ranked: readonly (Peer | undefined)[], tried: ReadonlySet<string>): Peer | undefined {
  return ranked.find((peer) => peer === undefined || !tried.has(peer.name));
}
