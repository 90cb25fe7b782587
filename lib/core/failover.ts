/**
 * Asking the owner, or whoever stands in for it. An owner that cannot be reached is passed over for the next in rank, by
 * every node alike; one that is slow is not dead: after a while the next in rank is asked as well, for a few requests.
 */
import type { Clock } from "./clock.ts";
import { PeerError } from "./errors.ts";
import { PeerHealth } from "./peer-health.ts";
import type { Peer, PeerPicker } from "./ports.ts";
import type { Value } from "./value.ts";

export interface FailoverOptions {
  readonly group: string;
  readonly picker: PeerPicker;
  readonly clock: Clock;
  /** For one ask, in milliseconds. */
  readonly timeoutMs: number;
  /** This node's own load, where it is the next in rank. */
  readonly loadHere: (key: string, signal: AbortSignal) => Promise<Value>;
  readonly onPeerError: () => void;
  readonly onHedge: () => void;
}

/** The owner, and so many in its place, are asked before this node loads by itself. */
const MAX_PEERS_ASKED = 3;
/** Second asks are for a few percent of all, so that a slow origin is not asked twice for everything. */
const HEDGES_PER_ASK = 0.03;
const MAX_HEDGES_SAVED = 20;

/** One group's way to the peers that answer for its keys. */
export class Failover {
  readonly #options: FailoverOptions;
  readonly #health = new WeakMap<Peer, PeerHealth>();
  #hedges = 1;

  constructor(options: FailoverOptions) {
    this.#options = options;
  }

  /**
   * The value as the owner has it, or the next in rank in its place; `undefined` when it is this node's turn to load it.
   * The rank is taken anew for each ask, since the roster may have changed while the last one failed; who has failed is
   * not asked twice.
   *
   * @throws the owner's final answers; OverloadedError; the signal's reason
   */
  async fetch(key: string, signal: AbortSignal): Promise<Value | undefined> {
    const { picker, onPeerError } = this.#options;
    this.#hedges = Math.min(MAX_HEDGES_SAVED, this.#hedges + HEDGES_PER_ASK);
    const failed = new Set<string>();
    while (failed.size < MAX_PEERS_ASKED) {
      const peer = this.#next(picker.ranked(key, failed.size + 1), failed);
      if (peer === undefined) return undefined;
      if (this.#healthOf(peer).isPaused(this.#options.clock.nowMs())) {
        failed.add(peer.name);
        continue;
      }
      try {
        return await this.#ask(peer, key, signal, failed);
      } catch (error) {
        if (signal.aborted || !(error instanceof PeerError)) throw error;
        onPeerError();
        failed.add(peer.name);
      }
    }
    return undefined;
  }

  #next(ranked: readonly (Peer | undefined)[], failed: ReadonlySet<string>): Peer | undefined {
    return ranked.find((peer) => peer === undefined || !failed.has(peer.name));
  }

  /** Asks one peer, and when that has been silent for a while the next in rank as well; the first answer counts. */
  #ask(peer: Peer, key: string, signal: AbortSignal, failed: ReadonlySet<string>): Promise<Value> {
    const { clock } = this.#options;
    const health = this.#healthOf(peer);
    const first = this.#askOne(peer, key, signal);
    return new Promise((resolve, reject) => {
      let cancelHedge = (): void => {};
      const hedgeLater = () => {
        const sinceMs = clock.nowMs();
        cancelHedge = clock.after(health.hedgeMs, () => {
          if (health.hasAnsweredSince(sinceMs)) return hedgeLater();
          // A second ask that fails says nothing: the first one is still on its way.
          this.#hedge(peer, key, signal, failed)?.then(resolve, () => {});
        });
      };
      hedgeLater();
      first.then((value) => (cancelHedge(), resolve(value)), (error) => (cancelHedge(), reject(error)));
    });
  }

  /** @returns `undefined` when too many were asked twice of late */
  #hedge(slow: Peer, key: string, signal: AbortSignal, failed: ReadonlySet<string>): Promise<Value> | undefined {
    const { picker, onHedge, loadHere } = this.#options;
    if (this.#hedges < 1 || signal.aborted) return undefined;
    const others = picker.ranked(key, failed.size + 2).filter((peer) => peer !== slow);
    const next = this.#next(others, failed);
    this.#hedges--;
    onHedge();
    // Whoever it is looks first whether the slow owner has it in the air: a slow origin is not asked twice.
    return next === undefined ? loadHere(key, signal) : this.#askOne(next, key, signal);
  }

  async #askOne(peer: Peer, key: string, signal: AbortSignal): Promise<Value> {
    const { group, clock, timeoutMs } = this.#options;
    const health = this.#healthOf(peer);
    const sinceMs = clock.nowMs();
    try {
      const value = await peer.get(group, key, { signal, timeoutMs });
      const nowMs = clock.nowMs();
      health.answered(nowMs - sinceMs, nowMs);
      return value;
    } catch (error) {
      const nowMs = clock.nowMs();
      if (error instanceof PeerError) health.failed(nowMs - sinceMs, nowMs);
      throw error;
    }
  }

  #healthOf(peer: Peer): PeerHealth {
    let health = this.#health.get(peer);
    if (health === undefined) this.#health.set(peer, health = new PeerHealth());
    return health;
  }
}
