/** The port of liveness to the connection with another node. */
import type { PeerRecord } from "../roster.ts";

/** One life of a peer. */
export type Suspect = Pick<PeerRecord, "name" | "incarnation">;

/** A peer as liveness sees it, over the same connection as requests. */
export interface ProbedPeer {
  readonly record: PeerRecord;
  /** Whether there is a connection to it. It may be half dead. */
  readonly isOpen: boolean;
  /**
   * Resolves when the peer answered in the life of `record`.
   *
   * @throws PeerError the peer refuses, is lost, silent or in another life. Any other error says nothing about the peer
   */
  probe(options: { timeoutMs: number }): Promise<void>;
  /**
   * Asks this peer to probe a suspect over its own connection.
   *
   * @returns whether the suspect answered it
   * @throws PeerError this peer cannot be asked or cannot tell: for example, it does not list the suspect in that life
   */
  probeIndirectly(suspect: Suspect, options: { timeoutMs: number }): Promise<boolean>;
}

/** One string for one life of a name. Neither part can contain a space. */
export function lifeOf({ name, incarnation }: Suspect): string {
  return `${name} ${incarnation}`;
}

/** Whether both are the same life of the same peer. */
export function isSameLife(left: ProbedPeer, right: ProbedPeer): boolean {
  return lifeOf(left.record) === lifeOf(right.record);
}
