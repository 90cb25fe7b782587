/** What liveness needs of the connection to another node. */
import type { PeerRecord } from "../roster.ts";

/** A peer in one of its lives. */
export type Suspect = Pick<PeerRecord, "name" | "incarnation">;

/** A peer as liveness sees it, over the connection that requests take. */
export interface ProbedPeer {
  readonly record: PeerRecord;
  /** Whether there is a connection to it, which may be half dead. */
  readonly isOpen: boolean;
  /**
   * Resolves when the peer has answered, in the life of `record`.
   *
   * @throws PeerError the peer refuses, is lost or silent, or is in another life. Any other error says nothing about the peer
   */
  probe(options: { timeoutMs: number }): Promise<void>;
  /**
   * Asks this peer to probe a suspect over its own connection.
   *
   * @returns whether the suspect answered it
   * @throws PeerError this peer cannot be asked, or cannot say: it does not list the suspect in that life
   */
  probeIndirectly(suspect: Suspect, options: { timeoutMs: number }): Promise<boolean>;
}

/** One string for a name in one of its lives; neither part can hold a space. */
export function lifeOf({ name, incarnation }: Suspect): string {
  return `${name} ${incarnation}`;
}

/** Whether two peers are the same in the same life. */
export function isSameLife(left: ProbedPeer, right: ProbedPeer): boolean {
  return lifeOf(left.record) === lifeOf(right.record);
}
