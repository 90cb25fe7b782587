import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import type { PeerService } from "../service.ts";
import type { PeerLimits } from "../limits.ts";
import type { Schedule } from "./outbox.ts";

/** What a channel needs to know of the node that it serves. */
export interface ChannelContext {
  /** Own groups, in the order of one's own greeting. */
  readonly groups: readonly string[];
  readonly service: PeerService;
  /** The peer at the other end has polled this node, which answers by itself. */
  readonly onProbed: () => void;
  readonly clock: Clock;
  readonly schedule: Schedule;
  readonly log: Log;
  readonly limits: PeerLimits;
}
