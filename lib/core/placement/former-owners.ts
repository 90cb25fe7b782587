/** Finds nodes that may hold a key's value because they owned the key under an earlier roster. */
import type { Clock } from "../base/clock.ts";
import type { Peer } from "../ports.ts";
import type { PeerRecord, Roster } from "../roster.ts";
import { type Ownership, ownershipOf, type Reach } from "./ownership.ts";
import { type Members, RosterTable } from "./roster-table.ts";
import { unreachable } from "./unreachable.ts";

/** The most rosters to remember. Chosen: a long memory is cheap, as only keys with a changed owner are searched elsewhere. */
const MAX_FORMER = 128;
/** Chosen: after five minutes a former owner's values were already asked for, or are cold. */
const FORMER_FOR_MS = 300_000;
/** The most names of lost nodes to remember, the latest ones. Chosen. */
const MAX_LOST = 100;
/**
 * The table of nodes is rebuilt when it has this many nodes more than twice the serving ones. Chosen: names rarely
 * change.
 */
const SPARE_PLACES = 256;

/** One earlier roster. */
interface Former {
  readonly members: Members;
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
  #table = new RosterTable();
  /** The ownership by the latest of them. */
  #last: Ownership | undefined;
  /** Nodes that left the roster without draining: dead, or taken for dead. */
  #lost: ReadonlySet<string> = new Set();
  #wasListed = false;
  #hasStoodAside = false;

  constructor(group: string, reach: Reach, clock: Clock) {
    this.#group = group;
    this.#reach = reach;
    this.#clock = clock;
  }

  /**
   * To be called when the owners change.
   *
   * @param before the ownership until now
   * @param serving the serving peers of the new roster
   */
  changed(before: Ownership, roster: Roster, serving: readonly PeerRecord[]): void {
    const nowMs = this.#clock.nowMs();
    const since = { sinceMs: nowMs, untilMs: nowMs + FORMER_FOR_MS };
    const former = [...this.#former];
    if (before.records.length > 0) {
      former.unshift({ ...since, members: this.#table.membersOf(before.records) });
      this.#last = before;
    }
    const self = serving.find(({ name }) => name === this.#reach.selfName);
    if (roster.revision > 0 && self !== undefined && !this.#wasListed) {
      this.#wasListed = true;
      const left = serving.filter((peer) => peer !== self);
      if (left.length > 0 && former.length === 0) this.#last = ownershipOf(left, this.#reach);
      former.push(...this.#predecessors(self, left).map((members) => ({ ...since, members })));
    }
    this.#former = former.slice(0, MAX_FORMER);
    this.#compact(serving.length);
    const listed = new Set(roster.peers.map(({ name }) => name));
    const missing = [...this.#lost, ...before.records.map(({ name }) => name)].filter((name) => !listed.has(name));
    this.#lost = new Set(missing.slice(-MAX_LOST));
  }

  /**
   * Other nodes may have loaded this node's keys in its place. So from now on nodes that said they were empty are
   * asked, too.
   */
  standAside(): void {
    this.#hasStoodAside = true;
  }

  /** The ownership before the last change, if that was not long ago. */
  get last(): Ownership | undefined {
    return this.isEmpty ? undefined : this.#last;
  }

  /** Whether no earlier roster is remembered. */
  get isEmpty(): boolean {
    const latest = this.#former[0];
    return latest === undefined || latest.untilMs <= this.#clock.nowMs();
  }

  /** The key's former owners, the latest first, without this node; `owner` in front if there is one. `count` at most. */
  holders(hash: number, owner: Peer | undefined, count: number): readonly Peer[] {
    const found = owner === undefined ? [] : [owner];
    const former = this.#remembered();
    let at = 0;
    for (const name of this.#table.owners(hash, former.map(({ members }) => members))) {
      if (found.length >= count) break;
      const { sinceMs } = former[at++]!;
      if (name === undefined || name === this.#reach.selfName || found.some((peer) => peer.name === name)) continue;
      const peer = this.#reached(name);
      const emptyAtMs = peer?.emptyAtMs?.(this.#group) ?? -Infinity;
      // A node that was empty after it lost the key holds no value from its time as the owner.
      if (peer === undefined || emptyAtMs >= sinceMs && !this.#hasStoodAside) continue;
      found.push(peer);
    }
    return found;
  }

  /**
   * The node's current connection, as it may have restarted. A lost node is returned, too: its failure tells the caller
   * that values are lost. A drained node is not, as it has handed over its values.
   */
  #reached(name: string): Peer | undefined {
    return this.#reach.peerOf(name) ?? (this.#lost.has(name) ? unreachable(name) : undefined);
  }

  #remembered(): readonly Former[] {
    if (this.isEmpty) {
      this.#table = new RosterTable();
      this.#last = undefined;
      return this.#former = [];
    }
    const nowMs = this.#clock.nowMs();
    return this.#former.filter(({ untilMs }) => untilMs > nowMs);
  }

  /** Forgets the nodes that are in no remembered roster, when there may be many of them. */
  #compact(serving: number): void {
    if (this.#table.size <= 2 * serving + SPARE_PLACES) return;
    const [before, after] = [this.#table, new RosterTable()];
    this.#former = this.#remembered().map((former) => ({
      ...former,
      members: after.membersOf(before.contendersOf(former.members)),
    }));
    this.#table = after;
  }

  /**
   * The rosters before this node was listed, which it never saw: the list without itself, then also without the nodes
   * that joined shortly before, one after another. Those may be empty too, with the value at an earlier owner. Joining
   * times come from several clocks; an error costs a peek or a load.
   */
  #predecessors(self: PeerRecord, others: readonly PeerRecord[]): Members[] {
    const sinceMs = Date.parse(self.joined) - FORMER_FOR_MS;
    let members = this.#table.membersOf(others);
    const found = [members];
    const recent = others.filter(({ joined }) => Date.parse(joined) > sinceMs)
      .sort((a, b) => Date.parse(b.joined) - Date.parse(a.joined));
    for (const last of recent.slice(0, MAX_FORMER)) {
      members = this.#table.without(members, last);
      found.push(members);
    }
    return found.slice(0, others.length);
  }
}
