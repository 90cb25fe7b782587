/**
 * Asking the owner, or whoever stands in for it. An owner that cannot be reached is passed over for the next in rank, by
 * every node alike; one that is slow is not dead: after a while the next in rank is asked as well, for a few requests.
 */
import type { CancelSignal } from "./cancel.ts";
import type { Clock } from "./clock.ts";
import { PeerError } from "./errors.ts";
import { PeerHealth } from "./peer-health.ts";
import type { Peer, PeerPicker } from "./ports.ts";
import { Sweep } from "./sweep.ts";
import type { Value } from "./value.ts";

export interface FailoverOptions {
  readonly group: string;
  readonly picker: PeerPicker;
  readonly clock: Clock;
  /** For one ask, in milliseconds. */
  readonly timeoutMs: number;
  /** This node's own load, where it is the next in rank. */
  readonly loadHere: (key: string, signal: CancelSignal) => Promise<Value>;
  readonly onPeerError: () => void;
  readonly onHedge: () => void;
}

/** The owner, and so many in its place, are asked before this node loads by itself. */
const MAX_PEERS_ASKED = 3;
/** Second asks are for a few percent of all, so that a slow origin is not asked twice for everything. */
const HEDGES_PER_ASK = 0.03;
const MAX_HEDGES_SAVED = 20;

const NOBODY: ReadonlySet<string> = new Set();

/** A question to a peer for which another may be asked as well. */
interface Hedged {
  readonly peer: Peer;
  readonly health: PeerHealth;
  readonly key: string;
  readonly signal: CancelSignal;
  readonly failed: ReadonlySet<string>;
  readonly resolve: (value: Value) => void;
  /** The peer is silent if it has answered nobody since then. */
  sinceMs: number;
  hedgeAtMs: number;
}

/** One group's way to the peers that answer for its keys. */
export class Failover {
  readonly #options: FailoverOptions;
  readonly #health = new WeakMap<Peer, PeerHealth>();
  readonly #hedged = new Set<Hedged>();
  readonly #sweep: Sweep;
  #hedges = 1;

  constructor(options: FailoverOptions) {
    this.#options = options;
    this.#sweep = new Sweep(options.clock, (nowMs) => this.#hedgeOverdue(nowMs));
  }

  /**
   * The value as the owner has it, or the next in rank in its place; `undefined` when it is this node's turn to load it.
   * The rank is taken anew for each ask, since the roster may have changed while the last one failed; who has failed is
   * not asked twice.
   *
   * @throws the owner's final answers; OverloadedError; the signal's reason
   */
  async fetch(key: string, signal: CancelSignal): Promise<Value | undefined> {
    const { picker, onPeerError } = this.#options;
    this.#hedges = Math.min(MAX_HEDGES_SAVED, this.#hedges + HEDGES_PER_ASK);
    let failed = NOBODY;
    while (failed.size < MAX_PEERS_ASKED) {
      const peer = failed.size === 0 ? picker.pick(key) : this.#next(picker.ranked(key, failed.size + 1), failed);
      if (peer === undefined) return undefined;
      if (!this.#healthOf(peer).isPaused(this.#options.clock.nowMs())) {
        try {
          return await this.#ask(peer, key, signal, failed);
        } catch (error) {
          if (signal.aborted || !(error instanceof PeerError)) throw error;
          onPeerError();
        }
      }
      failed = new Set([...failed, peer.name]);
    }
    return undefined;
  }

  #next(ranked: readonly (Peer | undefined)[], failed: ReadonlySet<string>): Peer | undefined {
    return ranked.find((peer) => peer === undefined || !failed.has(peer.name));
  }

  /** Asks one peer, and when that has been silent for a while the next in rank as well; the first answer counts. */
  #ask(peer: Peer, key: string, signal: CancelSignal, failed: ReadonlySet<string>): Promise<Value> {
    return new Promise((resolve, reject) => {
      const sinceMs = this.#options.clock.nowMs();
      const health = this.#healthOf(peer);
      const hedged: Hedged = {
        peer,
        health,
        key,
        signal,
        failed,
        resolve,
        sinceMs,
        hedgeAtMs: sinceMs + health.hedgeMs,
      };
      this.#hedged.add(hedged);
      this.#sweep.cover(hedged.hedgeAtMs);
      this.#askOne(peer, key, signal, sinceMs).then((value) => {
        this.#hedged.delete(hedged);
        resolve(value);
      }, (error) => {
        this.#hedged.delete(hedged);
        reject(error);
      });
    });
  }

  /** Hedges what is overdue. @returns when the next is, or Infinity */
  #hedgeOverdue(nowMs: number): number {
    let nextMs = Infinity;
    for (const hedged of this.#hedged) {
      if (hedged.hedgeAtMs <= nowMs && hedged.health.hasAnsweredSince(hedged.sinceMs)) {
        hedged.sinceMs = nowMs;
        hedged.hedgeAtMs = nowMs + hedged.health.hedgeMs;
      }
      if (hedged.hedgeAtMs > nowMs) {
        nextMs = Math.min(nextMs, hedged.hedgeAtMs);
        continue;
      }
      this.#hedged.delete(hedged);
      // A second ask that fails says nothing: the first one is still on its way.
      this.#hedge(hedged)?.then(hedged.resolve, () => {});
    }
    return nextMs;
  }

  /** @returns `undefined` when too many were asked twice of late */
  #hedge({ peer: slow, key, signal, failed }: Hedged): Promise<Value> | undefined {
    const { picker, clock, onHedge, loadHere } = this.#options;
    if (this.#hedges < 1 || signal.aborted) return undefined;
    const others = picker.ranked(key, failed.size + 2).filter((peer) => peer !== slow);
    const next = this.#next(others, failed);
    this.#hedges--;
    onHedge();
    // Whoever it is looks first whether the slow owner has it in the air: a slow origin is not asked twice.
    return next === undefined ? loadHere(key, signal) : this.#askOne(next, key, signal, clock.nowMs());
  }

  #askOne(peer: Peer, key: string, signal: CancelSignal, sinceMs: number): Promise<Value> {
    const { group, clock, timeoutMs } = this.#options;
    const health = this.#healthOf(peer);
    return peer.get(group, key, { signal, timeoutMs }).then((value) => {
      const nowMs = clock.nowMs();
      health.answered(nowMs - sinceMs, nowMs);
      return value;
    }, (error) => {
      const nowMs = clock.nowMs();
      if (error instanceof PeerError) health.failed(nowMs - sinceMs, nowMs);
      throw error;
    });
  }

  #healthOf(peer: Peer): PeerHealth {
    let health = this.#health.get(peer);
    if (health === undefined) this.#health.set(peer, health = new PeerHealth());
    return health;
  }
}
