/** From rosters to the peers that are asked for a key, and to those that may hold its value from before. */
import type { Clock } from "../base/clock.ts";
import { PeerError } from "../errors.ts";
import { PrefixHash } from "../base/hash.ts";
import type { Peer, PeerPicker } from "../ports.ts";
import { Rendezvous } from "./rendezvous.ts";
import type { PeerRecord, Roster } from "../roster.ts";

/** Who owns what at one roster: built whole, then swapped in by one assignment. */
interface Ownership {
  readonly rendezvous: Rendezvous;
  /** The contenders, in their order. */
  readonly records: readonly PeerRecord[];
  /** In the same order; `undefined` is this node. */
  readonly peers: readonly (Peer | undefined)[];
}

interface Former extends Ownership {
  /** When it was followed by another, or this node first heard of any. */
  readonly sinceMs: number;
  readonly untilMs: number;
}

/**
 * So many former ownerships are remembered, each for so long: by then what they held was asked for, or is cold. Only keys
 * whose owner has changed are looked for elsewhere, so a long memory costs the others nothing.
 */
const MAX_FORMER = 128;
const MAX_LOST = 100;
const FORMER_FOR_MS = 300_000;
const NOBODY: readonly Peer[] = [];

/** Picks by rendezvous over the serving peers of the latest roster. */
export class RosterPicker implements PeerPicker {
  readonly #group: string;
  readonly #selfName: string;
  readonly #hash: PrefixHash;
  readonly #peerOf: (name: string) => Peer | undefined;
  readonly #clock: Clock;
  #ownership: Ownership = { rendezvous: new Rendezvous([]), records: [], peers: [] };
  /** The latest first. */
  #former: readonly Former[] = [];
  /** Who owned keys and was off the roster the next moment, without having drained: dead, or taken to be. */
  #lost: ReadonlySet<string> = new Set();
  #wasListed = false;
  #hasStoodAside = false;

  /**
   * @param group its name, hashed before every key, so that groups share out their keys independently
   * @param peerOf how another node is reached now
   */
  constructor(group: string, selfName: string, peerOf: (name: string) => Peer | undefined, clock: Clock) {
    this.#group = group;
    this.#selfName = selfName;
    this.#hash = new PrefixHash(`${group}\0`);
    this.#peerOf = peerOf;
    this.#clock = clock;
  }

  /**
   * Takes a new roster; gets that are under way keep the peers which they have asked.
   *
   * @returns whether the owner of any key may have changed
   */
  swap(roster: Roster): boolean {
    const before = this.#ownership;
    const serving = roster.peers.filter((peer) => peer.state === "serving");
    const next = this.#ownershipOf(serving);
    const isChange = !isSame(before.records, serving);
    if (isChange) {
      const former = [before, ...this.#former];
      const self = serving.find(({ name }) => name === this.#selfName);
      if (roster.revision > 0 && self !== undefined && !this.#wasListed) {
        this.#wasListed = true;
        former.push(...this.#predecessors(self, serving));
      }
      const listed = new Set(roster.peers.map(({ name }) => name));
      const missing = [...this.#lost, ...before.records.map(({ name }) => name)].filter((name) => !listed.has(name));
      const nowMs = this.#clock.nowMs();
      this.#former = former
        .filter(({ records }) => records.length > 0)
        .map((ownership) => ({ sinceMs: nowMs, untilMs: nowMs + FORMER_FOR_MS, ...ownership }))
        .slice(0, MAX_FORMER);
      this.#lost = new Set(missing.slice(-MAX_LOST));
    }
    this.#ownership = next;
    return isChange;
  }

  /**
   * This node passes a key on, or may have been passed over: others may load what it owns in its place, so that they were
   * empty before says nothing any more.
   */
  standAside(): void {
    this.#hasStoodAside = true;
  }

  pick(key: string): Peer | undefined {
    const { rendezvous, peers } = this.#ownership;
    // An empty roster owns nothing, and somebody has to load: this node.
    return rendezvous.size === 0 ? undefined : peers[rendezvous.owner(this.#hash.hash(key))];
  }

  ranked(key: string, count: number): readonly (Peer | undefined)[] {
    const { rendezvous, peers } = this.#ownership;
    if (rendezvous.size === 0) return [undefined];
    return rendezvous.ranked(this.#hash.hash(key), count).map((index) => peers[index]);
  }

  rankedBefore(key: string, count: number): readonly (Peer | undefined)[] {
    const former = this.#remembered()[0];
    return former === undefined
      ? NOBODY
      : former.rendezvous.ranked(this.#hash.hash(key), count).map((index) => former.peers[index]);
  }

  holders(key: string, count: number): readonly Peer[] {
    const former = this.#remembered();
    const owner = this.pick(key);
    if (former.length === 0 && owner === undefined) return NOBODY;
    const hash = this.#hash.hash(key);
    const found = owner === undefined ? [] : [owner];
    for (const { rendezvous, records, sinceMs } of former) {
      if (found.length >= count) break;
      const { name } = records[rendezvous.owner(hash)]!;
      if (name === this.#selfName || found.some((peer) => peer.name === name)) continue;
      // As it is reached today: it may have started anew since, or be gone. Who drained has handed over what it had; who
      // was lost has not, and that is told by a peer that fails.
      const peer = this.#peerOf(name) ?? (this.#lost.has(name) ? unreachable(name) : undefined);
      const emptyAtMs = peer?.emptyAtMs?.(this.#group) ?? -Infinity;
      // Who was empty after that has nothing from then.
      if (peer === undefined || emptyAtMs >= sinceMs && !this.#hasStoodAside) continue;
      found.push(peer);
    }
    return found;
  }

  #remembered(): readonly Former[] {
    if (this.#former.length === 0) return this.#former;
    const nowMs = this.#clock.nowMs();
    if (this.#former[0]!.untilMs <= nowMs) this.#former = [];
    return this.#former.filter(({ untilMs }) => untilMs > nowMs);
  }

  #ownershipOf(records: readonly PeerRecord[]): Ownership {
    return {
      rendezvous: new Rendezvous(records),
      records,
      peers: records.map(({ name }) => name === this.#selfName ? undefined : this.#peerOf(name) ?? unreachable(name)),
    };
  }

  /**
   * What the rosters were before this node was listed: nobody told it. Without itself; then without who joined just
   * before it, one after another, since those are empty too and the value is further back. The times stand on the clocks
   * of several nodes: being wrong costs a peek, or a load.
   */
  #predecessors(self: PeerRecord, serving: readonly PeerRecord[]): Ownership[] {
    const sinceMs = Date.parse(self.joined) - FORMER_FOR_MS;
    let left = serving.filter((peer) => peer !== self);
    const found = [this.#ownershipOf(left)];
    const recent = left.filter(({ joined }) => Date.parse(joined) > sinceMs)
      .sort((a, b) => Date.parse(b.joined) - Date.parse(a.joined));
    for (const last of recent.slice(0, MAX_FORMER)) {
      left = left.filter((peer) => peer !== last);
      found.push(this.#ownershipOf(left));
    }
    return found;
  }
}

/** Whether two rosters give every key the same owner, in the same life. */
function isSame(a: readonly PeerRecord[], b: readonly PeerRecord[]): boolean {
  return a.length === b.length && a.every(({ name, weight, incarnation }, i) => {
    const other = b[i]!;
    return name === other.name && weight === other.weight && incarnation === other.incarnation;
  });
}

/** A listed peer to which there is no connection at all still owns its keys: asking it fails over to the next in rank. */
function unreachable(name: string): Peer {
  const error = () => new PeerError(`Cannot ask ${name} as there is no connection to it`);
  const fail = () => Promise.reject(error());
  return { name, ask: (_group, _key, question) => question.reject(error()), peek: fail, push: fail };
}
