/** What connections need of the node that they belong to. */
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import type { Trace } from "../core/base/trace.ts";
import type { Label } from "../core/invalidation/label.ts";
import type { Suspect } from "../core/liveness/probed-peer.ts";
import type { Ask, AskOptions, Entry, RequestHead } from "../core/ports.ts";
import type { Value } from "../core/value.ts";
import type { PeerLimits } from "./limits.ts";
import type { OwnGroups } from "./own-groups.ts";

/** Calls `action` once, after everything that is ready now has run. */
export type Schedule = (action: () => void) => void;

/** What each channel is given. */
export interface ChannelContext {
  readonly groups: OwnGroups;
  readonly service: PeerService;
  /** The peer at the other end has probed this node; the channel has replied already. */
  readonly onProbed: () => void;
  readonly clock: Clock;
  readonly schedule: Schedule;
  readonly log: Log;
  readonly limits: PeerLimits;
}

/**
 * What this node does for its peers. Only peers of the roster reach it, over a connection on which both ends have
 * greeted, and only for groups that both ends have. It does not check that the peer is listed in that very group.
 *
 * A reply that is ready before the call returns leaves at the end of the frame that asked. `signal` is made when it is
 * first read.
 */
export interface PeerService {
  /**
   * The value of a get, if it is in memory. It takes no options object, so that a hit does not cost one.
   *
   * @param request what the client's request says beside the key; only for sites
   * @param after what the asker has applied. Nothing is found while this node is behind it
   * @param trace what the request is known by that the ask is made for
   * @default nothing: `get` is called at once
   */
  lookup?(
    group: string,
    key: string,
    request: RequestHead | undefined,
    after: Label,
    trace: Trace | undefined,
  ): Value | undefined;
  /**
   * Whether the peer `from` has no part in the group, though both have it: its gets and peeks fail with PeerError, and of what
   * it pushes nothing is taken. It may not know that yet.
   *
   * @default no peer
   */
  isStranger?(group: string, from: string): boolean;
  /**
   * Replies as the owner, when the lookup found nothing.
   *
   * @param ask has the same request and label; rejected with the group's errors; BehindError: this node could not catch up
   * with the label; PeerError lets the asker fall back
   */
  get(group: string, key: string, ask: Ask): void;
  /**
   * A value in memory, or one that is being loaded; starts no load.
   *
   * @throws the group's errors; the asker takes each for "nothing here"
   * @default nothing
   */
  peek?(group: string, key: string, options: AskOptions): Value | undefined | Promise<Value | undefined>;
  /**
   * Takes those of the entries of peer `from` that this node is to keep and has room for.
   *
   * @param isWritten a client has written them: they displace what a load's value would
   * @returns how many it took
   * @default 0
   */
  push?(group: string, entries: readonly Entry[], from: string, isWritten: boolean): number;
  /**
   * Applies all invalidations up to the label, which it reads from the log if it has not.
   *
   * @param options.timeoutMs at most 10 s. It must reply by then, be it there or not: a later reply is dropped
   * @returns where this node is when it has got there, or when the time is over
   * @throws PeerError it cannot tell
   * @default BLIND at once
   */
  catchUp?(label: Label, options: AskOptions): Promise<Label>;
  /**
   * Probes a suspect for a peer.
   *
   * @returns whether the suspect replied
   * @throws PeerError this node cannot tell
   * @default false
   */
  probeIndirectly?(suspect: Suspect, options: { readonly timeoutMs: number }): Promise<boolean>;
}
