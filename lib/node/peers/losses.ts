/** Remembers the nodes that the others took off the lists: a dead node is on no list, and its operator must hear of it. */
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import type { PeerRecord, Roster } from "../../core/roster.ts";
import type { LostPeer } from "../../http/ports.ts";

/** Chosen: an operator who comes back after a break still sees it; a node that never returns is not told for ever. */
const TOLD_MS = 15 * 60_000;
/** More are not kept, the oldest first. Chosen: as many as an operator reads. */
const MAX_LOST = 20;

export interface LossesOptions {
  readonly selfName: string;
  /** Whether any list that this node follows has the peer now. */
  readonly isListed: (name: string) => boolean;
  /** Whether the peer is connected and answers probes: then it was not taken off for being dead. */
  readonly isReached: (name: string) => boolean;
  readonly clock: Clock;
  readonly log: Pick<Log, "warn">;
}

/** Nodes that were serving when they went off the lists, and have not come back. */
export class Losses {
  readonly #options: LossesOptions;
  /** Of each list, its peers by name. */
  readonly #lists = new Map<string, readonly PeerRecord[]>();
  readonly #lostMs = new Map<string, number>();

  constructor(options: LossesOptions) {
    this.#options = options;
  }

  /** To be called with each new list, before the links to those that are not in it are closed. */
  see({ group: list, peers, isStandIn = false }: Roster): void {
    // Nobody is listed because the bucket was lost, not because all are dead.
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

  /** To be called when this node follows the list no more. */
  forget(list: string): void {
    this.#lists.delete(list);
  }

  /** Those of the last 15 minutes, the first first. */
  get lost(): LostPeer[] {
    const nowMs = this.#options.clock.nowMs();
    for (const [name, atMs] of this.#lostMs) if (nowMs - atMs > TOLD_MS) this.#lostMs.delete(name);
    return [...this.#lostMs].map(([name, atMs]) => ({ name, atMs }));
  }
}
