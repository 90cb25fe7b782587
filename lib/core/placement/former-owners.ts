/** Which nodes may hold a key's value because they owned the key under an earlier roster. */
import type { Clock } from "../base/clock.ts";
import type { Peer } from "../ports.ts";
import type { PeerRecord, Roster } from "../roster.ts";
import { type Ownership, ownershipOf, type Reach } from "./ownership.ts";
import { unreachable } from "./unreachable.ts";

/** Chosen: rosters that are remembered. A long memory is cheap: only keys that changed owners are looked for elsewhere. */
const MAX_FORMER = 128;
/** Chosen: after five minutes the values of a former owner were asked for, or are cold. */
const FORMER_FOR_MS = 300_000;
/** Chosen: names of lost nodes, the latest ones. */
const MAX_LOST = 100;

interface Former extends Ownership {
  /** When the next roster replaced it, or when this node was first listed. */
  readonly sinceMs: number;
  readonly untilMs: number;
}

/** The rosters of the last five minutes, and the nodes that were lost. */
export class FormerOwners {
  readonly #group: string;
  readonly #reach: Reach;
  readonly #clock: Clock;
  /** The latest first. */
  #former: readonly Former[] = [];
  /** Nodes that left the roster without draining: dead, or taken to be dead. */
  #lost: ReadonlySet<string> = new Set();
  #wasListed = false;
  #hasStoodAside = false;

  constructor(group: string, reach: Reach, clock: Clock) {
    this.#group = group;
    this.#reach = reach;
    this.#clock = clock;
  }

  /**
   * The owners have changed.
   *
   * @param before what was valid until now
   * @param serving the serving peers of the new roster
   */
  changed(before: Ownership, roster: Roster, serving: readonly PeerRecord[]): void {
    const former: Ownership[] = [before, ...this.#former];
    const self = serving.find(({ name }) => name === this.#reach.selfName);
    if (roster.revision > 0 && self !== undefined && !this.#wasListed) {
      this.#wasListed = true;
      former.push(...this.#predecessors(self, serving));
    }
    const nowMs = this.#clock.nowMs();
    this.#former = former
      .filter(({ records }) => records.length > 0)
      .map((ownership) => ({ sinceMs: nowMs, untilMs: nowMs + FORMER_FOR_MS, ...ownership }))
      .slice(0, MAX_FORMER);
    const listed = new Set(roster.peers.map(({ name }) => name));
    const missing = [...this.#lost, ...before.records.map(({ name }) => name)].filter((name) => !listed.has(name));
    this.#lost = new Set(missing.slice(-MAX_LOST));
  }

  /** Other nodes may have loaded this node's keys in its place. From now on a node that said it was empty is asked too. */
  standAside(): void {
    this.#hasStoodAside = true;
  }

  /** The ownership before the last change, if that was not long ago. */
  get last(): Ownership | undefined {
    return this.#remembered()[0];
  }

  /** Whether no earlier roster is remembered. */
  get isEmpty(): boolean {
    const latest = this.#former[0];
    return latest === undefined || latest.untilMs <= this.#clock.nowMs();
  }

  /** The key's former owners, the latest first, without this node; `owner` in front if there is one. `count` at most. */
  holders(hash: number, owner: Peer | undefined, count: number): readonly Peer[] {
    const found = owner === undefined ? [] : [owner];
    for (const { rendezvous, records, sinceMs } of this.#remembered()) {
      if (found.length >= count) break;
      const { name } = records[rendezvous.owner(hash)]!;
      if (name === this.#reach.selfName || found.some((peer) => peer.name === name)) continue;
      const peer = this.#reached(name);
      const emptyAtMs = peer?.emptyAtMs?.(this.#group) ?? -Infinity;
      // A node that was empty after it had lost the key holds nothing from that time.
      if (peer === undefined || emptyAtMs >= sinceMs && !this.#hasStoodAside) continue;
      found.push(peer);
    }
    return found;
  }

  /**
   * A node as it is reached today, as it may have restarted. A lost node is returned too: its failure tells the caller that
   * values are lost. A node that has drained is not: it has handed over its values.
   */
  #reached(name: string): Peer | undefined {
    return this.#reach.peerOf(name) ?? (this.#lost.has(name) ? unreachable(name) : undefined);
  }

  #remembered(): readonly Former[] {
    if (this.isEmpty) return this.#former = [];
    const nowMs = this.#clock.nowMs();
    return this.#former.filter(({ untilMs }) => untilMs > nowMs);
  }

  /**
   * The rosters before this node was listed, which it never saw: the list without itself, then without the nodes that joined
   * shortly before, one after another. Those may be empty too, with the value further back. The joining times stand on
   * several nodes' clocks; an error costs a peek or a load.
   */
  #predecessors(self: PeerRecord, serving: readonly PeerRecord[]): Ownership[] {
    const sinceMs = Date.parse(self.joined) - FORMER_FOR_MS;
    let left = serving.filter((peer) => peer !== self);
    const found = [ownershipOf(left, this.#reach)];
    const recent = left.filter(({ joined }) => Date.parse(joined) > sinceMs)
      .sort((a, b) => Date.parse(b.joined) - Date.parse(a.joined));
    for (const last of recent.slice(0, MAX_FORMER)) {
      left = left.filter((peer) => peer !== last);
      found.push(ownershipOf(left, this.#reach));
    }
    return found;
  }
}
