import type { Failover } from "../load/failover.ts";
import type { Flights } from "../load/flights.ts";
import type { OriginLoads } from "../load/origin-loads.ts";
import type { PeerPicker } from "../ports.ts";
import type { Loaded } from "./loaded.ts";
import type { OwnerLoads } from "./owner-loads.ts";
import type { GroupCounters } from "./stats.ts";

/** A group's ways to a value that is not in memory: the parts by which a get, a refresh and a load alone go. */
export interface Ways {
  readonly picker: PeerPicker;
  readonly origin: OriginLoads;
  /** For keys that this node owns. */
  readonly owner: OwnerLoads;
  /** For keys that peers own. */
  readonly failover: Failover<Loaded>;
  /**
   * Two tables: a peer's request never waits for a flight that itself waits for a peer. Else two nodes with different
   * rosters could wait for each other for ever (mailgun/groupcache issue 72).
   */
  readonly loads: Flights<Loaded>;
  readonly fetches: Flights<Loaded>;
  readonly counters: GroupCounters;
}
