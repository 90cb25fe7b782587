/** The ports of connections to their own node. */
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import type { Trace } from "../core/base/trace.ts";
import type { Label } from "../core/invalidation/label.ts";
import type { Suspect } from "../core/liveness/probed-peer.ts";
import type { Ask, AskOptions, Entry, RequestHead } from "../core/ports.ts";
import type { Value } from "../core/value.ts";
import type { PeerLimits } from "./limits.ts";
import type { OwnGroups } from "./own-groups.ts";

/** Calls `action` once, after all work that is ready now has run. */
export type Schedule = (action: () => void) => void;

/** The context that all channels get. */
export interface ChannelContext {
  readonly groups: OwnGroups;
  readonly service: PeerService;
  /** Called when the peer at the other end probed this node; the channel has already replied. */
  readonly onProbed: () => void;
  readonly clock: Clock;
  readonly schedule: Schedule;
  readonly log: Log;
  readonly limits: PeerLimits;
}

/**
 * The answers of this node to its peers. Only peers of the roster reach it, over a connection on which both ends have
 * greeted, and only for groups that both ends have. It does not check whether the peer is listed in this group.
 *
 * A reply that is ready before the call returns is sent at the end of the asking frame. `signal` is made at its first
 * use.
 */
export interface PeerService {
  /**
   * The value of a get, if it is in memory. It takes no options object, to save one at each hit.
   *
   * @param request the header fields of the client's request; only for sites
   * @param after the asking node's label. While this node is behind it, the lookup finds nothing
   * @param trace the trace of the request that the ask is for
   * @default finds nothing: `get` is called at once
   */
  lookup?(
    group: string,
    key: string,
    request: RequestHead | undefined,
    after: Label,
    trace: Trace | undefined,
  ): Value | undefined;
  /**
   * Whether this node shares no values of the group with the peer `from`, though both have the group. Then the peer's
   * gets and peeks fail with PeerError, and its pushes are not taken. The peer may not know that yet.
   *
   * @default no peer
   */
  isStranger?(group: string, from: string): boolean;
  /**
   * Replies as the owner after a lookup without a result.
   *
   * @param ask has the same request and label; rejected with the group's errors; BehindError: this node could not catch
   * up with the label; PeerError makes the asking node fall back
   */
  get(group: string, key: string, ask: Ask): void;
  /**
   * A value in memory or one that is being loaded. Starts no load.
   *
   * @throws the group's errors; the asking node takes each for "nothing here"
   * @default nothing
   */
  peek?(group: string, key: string, options: AskOptions): Value | undefined | Promise<Value | undefined>;
  /**
   * Takes those entries of peer `from` that this node must keep and has room for.
   *
   * @param isWritten a client wrote them: they may evict whatever a loaded value may evict
   * @returns the number of entries that it took
   * @default 0
   */
  push?(group: string, entries: readonly Entry[], from: string, isWritten: boolean): number;
  /**
   * Applies all invalidations up to the label. It reads missing ones from the log.
   *
   * @param options.timeoutMs at most 10 s. It must reply within this time even if it has not reached the label; a later
   * reply is dropped
   * @returns this node's label when it got there or when the time is over
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
