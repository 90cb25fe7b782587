import type { Failover } from "../load/failover.ts";
import type { Flights } from "../load/flights.ts";
import type { OriginLoads } from "../load/origin-loads.ts";
import type { PeerPicker } from "../ports.ts";
import type { Loaded } from "./loaded.ts";
import type { OwnerLoads } from "./owner-loads.ts";
import type { GroupCounters } from "./stats.ts";

/** The parts of a group that find a value outside its memory; gets, refreshes and lone loads share them. */
export interface Ways {
  readonly picker: PeerPicker;
  readonly origin: OriginLoads;
  /** For keys that this node owns. */
  readonly owner: OwnerLoads;
  /** For keys that peers own. */
  readonly failover: Failover<Loaded>;
  /**
   * Two tables, as a peer's request must never wait for a flight that itself waits for a peer. Otherwise two nodes with
   * different rosters could wait for each other forever (mailgun/groupcache issue 72).
   */
  readonly loads: Flights<Loaded>;
  readonly fetches: Flights<Loaded>;
  readonly counters: GroupCounters;
}
