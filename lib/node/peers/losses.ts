/** Remembers evicted nodes: a dead node is on no list, but its operator must hear of it. */
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import type { PeerRecord, Roster } from "../../core/roster.ts";
import type { LostPeer } from "../../http/figures.ts";

/** Chosen: an operator still sees it after a break, and a node that never returns is not reported forever. */
const TOLD_MS = 15 * 60_000;
/** The most lost nodes kept; the oldest are dropped. Chosen: as many as an operator reads. */
const MAX_LOST = 20;

export interface LossesOptions {
  readonly selfName: string;
  /** Whether any list that this node follows has the peer now. */
  readonly isListed: (name: string) => boolean;
  /** Whether the peer is connected and answers probes: then it was not evicted as dead. */
  readonly isReached: (name: string) => boolean;
  readonly clock: Clock;
  readonly log: Pick<Log, "warn">;
}

/** Nodes that left the lists while they were serving, and have not come back. */
export class Losses {
  readonly #options: LossesOptions;
  /** The peers of each list. */
  readonly #lists = new Map<string, readonly PeerRecord[]>();
  readonly #lostMs = new Map<string, number>();

  constructor(options: LossesOptions) {
    this.#options = options;
  }

  /** To be called with each new list, before the links to removed peers are closed. */
  see({ group: list, peers, isStandIn = false }: Roster): void {
    // The list is empty because the bucket was lost, not because all nodes are dead.
    if (isStandIn) return;
    const { selfName, isListed, isReached, clock, log } = this.#options;
    for (const { name } of peers) this.#lostMs.delete(name);
    const names = new Set(peers.map(({ name }) => name));
    for (const { name, state } of this.#lists.get(list) ?? []) {
      if (names.has(name) || name === selfName || state !== "serving" || isListed(name) || isReached(name)) continue;
      this.#lostMs.set(name, clock.nowMs());
      log.warn(`peer ${name} is off the lists: it did not answer`, {}, { peer: name });
    }
    this.#lists.set(list, peers);
    for (const name of this.#lostMs.keys()) {
      if (this.#lostMs.size <= MAX_LOST) break;
      this.#lostMs.delete(name);
    }
  }

  /** To be called when this node stops following the list. */
  forget(list: string): void {
    this.#lists.delete(list);
  }

  /** The losses of the last 15 minutes, the oldest first. */
  get lost(): LostPeer[] {
    const nowMs = this.#options.clock.nowMs();
    for (const [name, atMs] of this.#lostMs) if (nowMs - atMs > TOLD_MS) this.#lostMs.delete(name);
    return [...this.#lostMs].map(([name, atMs]) => ({ name, atMs }));
  }
}
