/** The peers of one group at one revision: an immutable value. Each registry change makes a new one. */

/** `draining`: listed and reachable, but owns no key. */
export type PeerState = "serving" | "draining";

/** A node as the others see it: the registry's record under `<group>.<name>`, as JSON. */
export interface PeerRecord {
  readonly name: string;
  readonly url: string;
  /** A ULID made at each start. It tells this life of the node from earlier ones. */
  readonly incarnation: string;
  /**
   * The Ed25519 public key of this life, raw in base64url. To connect under this name, a node must sign with the
   * private key.
   */
  readonly key: string;
  readonly state: PeerState;
  readonly weight: number;
  readonly zone: string;
  /** ISO 8601, UTC. */
  readonly joined: string;
  readonly version: string;
  readonly runtime: string;
  /** The node's policy for this group, in one line; `undefined` from older nodes. Only compared: it affects no routing. */
  readonly policy?: string | undefined;
  /** A digest of the group's origin at the node. Nodes with different digests share nothing. `undefined` from older nodes. */
  readonly origin?: string | undefined;
}

export interface Roster {
  readonly group: string;
  /** The revision of the last change applied; 0 before the registry has answered. */
  readonly revision: number;
  /** Sorted by name (code units): equal rosters are equal arrays. */
  readonly peers: readonly PeerRecord[];
  /** No peer is listed, not even this node. `peers` then holds this node alone, if it serves the group. */
  readonly isStandIn?: boolean;
}

/** Makes a roster: sorts the peers and freezes it. */
export function rosterOf(group: string, revision: number, peers: Iterable<PeerRecord>): Roster {
  const sorted = [...peers].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return Object.freeze({ group, revision, peers: Object.freeze(sorted) });
}
