/**
 * The peers of one group at one revision: an immutable value. Registry changes go in, a new roster comes out.
 */

/** `draining`: listed and reachable, but owner of nothing. */
export type PeerState = "serving" | "draining";

/** A node as the others see it: what stands in the registry under `<group>.<name>`, as JSON. */
export interface PeerRecord {
  readonly name: string;
  readonly url: string;
  /** A ULID made at each start: tells a node from its earlier lives. */
  readonly incarnation: string;
  readonly state: PeerState;
  readonly weight: number;
  readonly zone: string;
  /** ISO 8601, UTC. */
  readonly joined: string;
  readonly version: string;
  readonly runtime: string;
}

export interface Roster {
  readonly group: string;
  /** The revision of the last change applied; 0 before the registry was ever heard. */
  readonly revision: number;
  /** Sorted by name (code units), so that equal rosters are equal arrays. */
  readonly peers: readonly PeerRecord[];
}

/** The roster of a node that has not heard from the registry: only itself, at revision 0. */
export function rosterOf(group: string, revision: number, peers: Iterable<PeerRecord>): Roster {
  const sorted = [...peers].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  return Object.freeze({ group, revision, peers: Object.freeze(sorted) });
}
