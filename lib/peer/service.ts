import type { Suspect } from "../core/liveness/liveness.ts";
import type { Ask, AskOptions, Entry } from "../core/ports.ts";
import type { Value } from "../core/value.ts";

/**
 * What this node does for its peers. Only peers of the roster reach it, over a connection on which both ends have
 * greeted, and for groups that both ends named there; whether the peer is listed in that very group, the roster knows.
 *
 * What is answered before the call returns travels back at the end of the frame that asked for it; `signal` is made when
 * it is first read.
 */
export interface PeerService {
  /**
   * What is in memory of what a peer asks of the owner. Without an options object, so that a hit costs none.
   *
   * @default nothing: `get` is asked at once
   */
  lookup?(group: string, key: string): Value | undefined;
  /**
   * Answers as owner, when the lookup found nothing.
   *
   * @param ask fails with the group's errors; PeerError lets the asker fall back
   */
  get(group: string, key: string, ask: Ask): void;
  /**
   * What is in memory, or being loaded; starts no load.
   *
   * @throws the group's errors, all of which the asker takes for "nothing here"
   * @default nothing
   */
  peek?(group: string, key: string, options: AskOptions): Value | undefined | Promise<Value | undefined>;
  /**
   * Takes what it is to keep and has room for of the entries that peer `from` hands over.
   *
   * @returns how many it took
   * @default 0
   */
  push?(group: string, entries: readonly Entry[], from: string): number;
  /**
   * Polls a suspect by itself.
   *
   * @returns whether the suspect answered
   * @throws PeerError it cannot tell
   * @default false
   */
  probeIndirectly?(suspect: Suspect, options: { readonly timeoutMs: number }): Promise<boolean>;
}
