import type { Peer } from "../ports.ts";
import type { PeerRecord } from "../roster.ts";
import { Rendezvous } from "./rendezvous.ts";
import { unreachable } from "./unreachable.ts";

/** The owners of all keys under one roster. Immutable: built whole, then swapped in by one assignment. */
export interface Ownership {
  readonly rendezvous: Rendezvous;
  /** The serving peers, in the order of `rendezvous`. */
  readonly records: readonly PeerRecord[];
  /** In the same order; `undefined` is this node. */
  readonly peers: readonly (Peer | undefined)[];
}

/** How this node reaches the others. */
export interface Reach {
  readonly selfName: string;
  /** The current connection to a node; `undefined`: there is none. */
  readonly peerOf: (name: string) => Peer | undefined;
}

/** Makes the ownership for a roster with these serving peers. */
export function ownershipOf(records: readonly PeerRecord[], { selfName, peerOf }: Reach): Ownership {
  return {
    rendezvous: new Rendezvous(records),
    records,
    peers: records.map(({ name }) => name === selfName ? undefined : peerOf(name) ?? unreachable(name)),
  };
}
