import { primaryKey } from "../base/variant-key.ts";
import type { Clock } from "../base/clock.ts";
import { PrefixHash } from "../base/hash.ts";
import type { Peer, PeerPicker } from "../ports.ts";
import type { PeerRecord, Roster } from "../roster.ts";
import { FormerOwners } from "./former-owners.ts";
import { type Ownership, ownershipOf, type Reach } from "./ownership.ts";
import { unreachable } from "./unreachable.ts";

const NOBODY: readonly Peer[] = [];

export interface PickerOptions {
  /** Whether this node may own keys. If not, it is never picked, even if the roster lists it. @default true */
  readonly isOwner?: boolean;
}

/** Picks by rendezvous hashing over the serving peers of the latest roster. */
export class RosterPicker implements PeerPicker {
  readonly #hash: PrefixHash;
  readonly #reach: Reach;
  readonly #former: FormerOwners;
  /** The owner of all keys while no peer is listed; `undefined` is this node. */
  readonly #last: Peer | undefined;
  #ownership: Ownership;

  /**
   * @param group its name is hashed in front of every key, so that each group distributes its keys differently
   * @param peerOf the current connection to a node; `undefined`: there is none
   */
  constructor(
    group: string,
    selfName: string,
    peerOf: (name: string) => Peer | undefined,
    clock: Clock,
    { isOwner = true }: PickerOptions = {},
  ) {
    this.#hash = new PrefixHash(`${group}\0`);
    this.#reach = { selfName, peerOf };
    this.#last = isOwner ? undefined : unreachable("a node that serves the group");
    this.#former = new FormerOwners(group, this.#reach, clock);
    this.#ownership = ownershipOf([], this.#reach);
  }

  /**
   * Takes a new roster. Gets in flight keep the peers that they asked.
   *
   * @returns whether the owner of any key may have changed
   */
  swap(roster: Roster): boolean {
    const before = this.#ownership;
    const { selfName } = this.#reach;
    // The roster may still list an earlier life of this node that could own keys.
    const isOwner = ({ name }: PeerRecord) => this.#last === undefined || name !== selfName;
    const serving = roster.peers.filter((peer) => peer.state === "serving" && isOwner(peer));
    // Always rebuilt, even if the owners stay: a peer may now have another connection.
    const next = ownershipOf(serving, this.#reach);
    const isChange = !isSame(before.records, serving);
    if (isChange) this.#former.changed(before, roster, serving);
    this.#ownership = next;
    return isChange;
  }

  /** To be called when this node passes a key on or may have been skipped: other nodes may load its keys in its place. */
  standAside(): void {
    this.#former.standAside();
  }

  pick(key: string): Peer | undefined {
    const { rendezvous, peers } = this.#ownership;
    return rendezvous.size === 0 ? this.#last : peers[rendezvous.owner(this.#hash.hash(primaryKey(key)))];
  }

  ranked(key: string, count: number): readonly (Peer | undefined)[] {
    const { rendezvous, peers } = this.#ownership;
    if (rendezvous.size === 0) return [this.#last];
    return rendezvous.ranked(this.#hash.hash(primaryKey(key)), count).map((index) => peers[index]);
  }

  rankedBefore(key: string, count: number): readonly (Peer | undefined)[] {
    const { last } = this.#former;
    if (last === undefined) return NOBODY;
    return last.rendezvous.ranked(this.#hash.hash(primaryKey(key)), count).map((index) => last.peers[index]);
  }

  holders(key: string, count: number): readonly Peer[] {
    const owner = this.pick(key);
    if (owner === undefined && this.#former.isEmpty) return NOBODY;
    return this.#former.holders(this.#hash.hash(primaryKey(key)), owner, count);
  }
}

/** Whether two rosters give every key the same life of the same owner. */
function isSame(a: readonly PeerRecord[], b: readonly PeerRecord[]): boolean {
  return a.length === b.length && a.every(({ name, weight, incarnation }, i) => {
    const other = b[i]!;
    return name === other.name && weight === other.weight && incarnation === other.incarnation;
  });
}
