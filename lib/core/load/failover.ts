/**
 * Asking the owner, or whoever stands in for it. An owner that cannot be reached is passed over for the next in rank, by
 * every node alike; one that is slow is not dead: after a while the next in rank is asked as well, for a few requests.
 */
import type { CancelSignal } from "../base/cancel.ts";
import type { Clock } from "../base/clock.ts";
import { PeerError } from "../errors.ts";
import type { Flight } from "./flights.ts";
import { append, emptyList, type ListNode, unlink } from "../base/intrusive-list.ts";
import { type PeerHealth, PeersHealth, SLOW_FAILURE_MS } from "../base/peer-health.ts";
import type { Ask, Peer, PeerPicker } from "../ports.ts";
import { Deadlines } from "../base/deadlines.ts";
import type { Value } from "../value.ts";

export interface FailoverOptions<T> {
  readonly group: string;
  readonly picker: PeerPicker;
  readonly clock: Clock;
  /** For one ask, in milliseconds. */
  readonly timeoutMs: number;
  /** The value as the owner has it, or the next in rank in its place. */
  readonly onValue: (flight: Flight<T>, key: string, value: Value) => void;
  /** It is this node's turn to load the value. */
  readonly onOwnTurn: (flight: Flight<T>, key: string) => void;
  /** This node's own load, where it is the next in rank. */
  readonly loadHere: (key: string, signal: CancelSignal) => Promise<T>;
  readonly onPeerError: () => void;
  readonly onHedge: () => void;
}

/** So many were asked, one after another, and let the caller wait in vain, before this node loads by itself. */
const MAX_WAITS = 3;
/**
 * So many could not be asked: it costs no time to find the next, and who loads in their place is the same for all nodes. Of
 * keys whose first 16 in rank are all dead, while half the fleet is, there is one in 65,536.
 */
const MAX_PASSED_OVER = 16;
/** Second asks are for a few percent of all, so that a slow origin is not asked twice for everything. */
const HEDGES_PER_ASK = 0.03;
const MAX_HEDGES_SAVED = 20;

const NOBODY: ReadonlySet<string> = new Set();

/** A question to a peer for which another may be asked as well. */
class FirstAsk<T> implements Ask, ListNode {
  previous: ListNode = this;
  next: ListNode = this;
  readonly failover: Failover<T>;
  readonly peer: Peer;
  readonly health: PeerHealth;
  readonly key: string;
  readonly signal: Flight<T>;
  readonly timeoutMs: number;
  /** Who was asked before, in vain. */
  readonly failures: ReadonlySet<string>;
  /** How many of those let the caller wait. */
  readonly waits: number;
  readonly askedAtMs: number;
  /** The peer is silent if it has answered nobody since then. */
  sinceMs: number;
  hedgeAtMs: number;
  isOver = false;

  constructor(
    failover: Failover<T>,
    peer: Peer,
    health: PeerHealth,
    key: string,
    signal: Flight<T>,
    timeoutMs: number,
    failures: ReadonlySet<string>,
    waits: number,
    nowMs: number,
  ) {
    this.failover = failover;
    this.peer = peer;
    this.health = health;
    this.key = key;
    this.signal = signal;
    this.timeoutMs = timeoutMs;
    this.failures = failures;
    this.waits = waits;
    this.askedAtMs = nowMs;
    this.sinceMs = nowMs;
    this.hedgeAtMs = nowMs + health.hedgeMs;
  }

  resolve(value: Value): void {
    this.failover.answered(this, value);
  }

  reject(error: unknown): void {
    this.failover.failed(this, error);
  }
}

/** The second ask, of a peer next in rank. That it fails says nothing: the first one is still on its way. */
class SecondAsk<T> implements Ask {
  readonly first: FirstAsk<T>;
  readonly health: PeerHealth;
  readonly signal: Flight<T>;
  readonly timeoutMs: number;
  readonly askedAtMs: number;

  constructor(first: FirstAsk<T>, health: PeerHealth, nowMs: number) {
    this.first = first;
    this.health = health;
    this.signal = first.signal;
    this.timeoutMs = first.timeoutMs;
    this.askedAtMs = nowMs;
  }

  resolve(value: Value): void {
    this.first.failover.answeredSecond(this, value);
  }

  reject(error: unknown): void {
    this.first.failover.failedSecond(this, error);
  }
}

/** One group's way to the peers that answer for its keys. */
export class Failover<T> {
  readonly #options: FailoverOptions<T>;
  readonly #health = new PeersHealth();
  /** Those that are in the air, and have not been hedged. */
  readonly #asks = emptyList();
  readonly #deadlines: Deadlines;
  #hedges = 1;

  constructor(options: FailoverOptions<T>) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock, (nowMs) => this.#hedgeOverdue(nowMs));
  }

  /**
   * Asks the owner, and the next in rank in the place of who cannot be reached. The rank is taken anew for each ask, since
   * the roster may have changed while the last one failed; who has failed is not asked twice.
   *
   * Ends in one call: `onValue`, `onOwnTurn`, or `flight.fail` with the owner's final answer, OverloadedError, or the
   * signal's reason. A promise for each step would cost more than what the peers are asked with.
   */
  fetch(key: string, flight: Flight<T>): void {
    this.#hedges = Math.min(MAX_HEDGES_SAVED, this.#hedges + HEDGES_PER_ASK);
    this.#askNext(key, flight, NOBODY, 0);
  }

  #askNext(key: string, flight: Flight<T>, failed: ReadonlySet<string>, waits: number): void {
    const { picker, clock, timeoutMs, onOwnTurn } = this.#options;
    while (failed.size < MAX_PASSED_OVER && waits < MAX_WAITS) {
      const peer = failed.size === 0 ? picker.pick(key) : next(picker.ranked(key, failed.size + 1), failed);
      if (peer === undefined) break;
      const health = this.#health.of(peer);
      const nowMs = clock.nowMs();
      if (health.admit(nowMs)) {
        return this.#ask(new FirstAsk(this, peer, health, key, flight, timeoutMs, failed, waits, nowMs));
      }
      failed = new Set([...failed, peer.name]);
    }
    onOwnTurn(flight, key);
  }

  /** For questions. */
  answered(ask: FirstAsk<T>, value: Value): void {
    this.#noteAnswer(ask);
    this.#land(ask, value);
  }

  /** For questions. */
  failed(ask: FirstAsk<T>, error: unknown): void {
    const { peer, key, signal: flight, failures, askedAtMs } = ask;
    this.#noteFailure(ask, error);
    if (!this.#end(ask)) return;
    if (flight.aborted || !(error instanceof PeerError)) return flight.reject(error);
    const { clock, onPeerError } = this.#options;
    onPeerError();
    const waits = ask.waits + (clock.nowMs() - askedAtMs < SLOW_FAILURE_MS ? 0 : 1);
    try {
      this.#askNext(key, flight, new Set([...failures, peer.name]), waits);
    } catch (fault) {
      flight.reject(fault);
    }
  }

  /** For second questions. */
  answeredSecond(ask: SecondAsk<T>, value: Value): void {
    this.#noteAnswer(ask);
    this.#land(ask.first, value);
  }

  /** For second questions. */
  failedSecond(ask: SecondAsk<T>, error: unknown): void {
    this.#noteFailure(ask, error);
  }

  /** Asks one peer, and when that has been silent for a while the next in rank as well; the first answer counts. */
  #ask(ask: FirstAsk<T>): void {
    append(this.#asks, ask);
    this.#deadlines.cover(ask.hedgeAtMs);
    ask.peer.ask(this.#options.group, ask.key, ask);
  }

  #land(ask: FirstAsk<T>, value: Value): void {
    if (!this.#end(ask)) return;
    try {
      this.#options.onValue(ask.signal, ask.key, value);
    } catch (error) {
      ask.signal.reject(error);
    }
  }

  #noteAnswer({ health, askedAtMs }: FirstAsk<T> | SecondAsk<T>): void {
    const nowMs = this.#options.clock.nowMs();
    health.answered(nowMs - askedAtMs, nowMs);
  }

  #noteFailure({ health, askedAtMs }: FirstAsk<T> | SecondAsk<T>, error: unknown): void {
    if (!(error instanceof PeerError)) return;
    const nowMs = this.#options.clock.nowMs();
    health.failed(nowMs - askedAtMs, nowMs);
  }

  /** @returns whether it had not ended before */
  #end(ask: FirstAsk<T>): boolean {
    unlink(ask);
    if (ask.isOver) return false;
    ask.isOver = true;
    return true;
  }

  /** Hedges what is overdue. @returns when the next is, or Infinity */
  #hedgeOverdue(nowMs: number): number {
    let nextMs = Infinity;
    const due: FirstAsk<T>[] = [];
    for (let one = this.#asks.next; one !== this.#asks; one = one.next) {
      const ask = one as FirstAsk<T>;
      if (ask.hedgeAtMs <= nowMs && ask.health.hasAnsweredSince(ask.sinceMs)) {
        ask.sinceMs = nowMs;
        ask.hedgeAtMs = nowMs + ask.health.hedgeMs;
      }
      if (ask.hedgeAtMs > nowMs) nextMs = Math.min(nextMs, ask.hedgeAtMs);
      else due.push(ask);
    }
    for (const ask of due) {
      // To hedge one may have found a connection dead, and ended others.
      if (ask.isOver) continue;
      unlink(ask);
      this.#hedge(ask, nowMs);
    }
    return nextMs;
  }

  /** Asks nobody when too many were asked twice of late. */
  #hedge(ask: FirstAsk<T>, nowMs: number): void {
    const { peer: slow, key, signal, failures } = ask;
    const { group, picker, onHedge, loadHere } = this.#options;
    if (this.#hedges < 1 || signal.aborted) return;
    const others = picker.ranked(key, failures.size + 2).filter((peer) => peer !== slow);
    const second = next(others, failures);
    this.#hedges--;
    onHedge();
    // Whoever it is looks first whether the slow owner has it in the air: a slow origin is not asked twice.
    if (second === undefined) {
      loadHere(key, signal).then((loaded) => this.#end(ask) && signal.resolve(loaded), () => {});
    } else second.ask(group, key, new SecondAsk(ask, this.#health.of(second), nowMs));
  }
}

function next(ranked: readonly (Peer | undefined)[], failed: ReadonlySet<string>): Peer | undefined {
  return ranked.find((peer) => peer === undefined || !failed.has(peer.name));
}
