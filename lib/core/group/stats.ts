import type { CacheStats } from "../cache/byte-cache.ts";
import type { HandoffStats } from "../handoff/options.ts";
import type { FailoverStats } from "../load/failover.ts";
import type { Told, ValidityStats } from "../invalidation/validity.ts";
import type { OriginStats } from "../load/origin-loads.ts";

/** What a group counts, under groupcache's names. */
export interface GroupCounters extends FailoverStats, HandoffStats, OriginStats {
  gets: number;
  cacheHits: number;
  /** Hits on a value that was being refreshed, or had to be. */
  staleHits: number;
  /** Refreshes that a hit has begun: of a stale value, or ahead of its end. */
  refreshes: number;
  /** Gets that neither cache answered. */
  loads: number;
  /** Loads that were made, each for all its waiters. */
  loadsDeduped: number;
  serverRequests: number;
}

/** What a group has done and holds. */
export interface GroupStats extends GroupCounters {
  mainCache: CacheStats;
  hotCache: CacheStats;
  /** 1 while this node has no way to the origin, else 0. */
  originUnreachable: number;
  /** What the group has applied of the log of invalidations, and the latest of it. */
  invalidation: ValidityStats & { readonly last: readonly Told[] };
}

/** Counters that all stand at 0. */
export function newCounters(): GroupCounters {
  return {
    gets: 0,
    cacheHits: 0,
    staleHits: 0,
    refreshes: 0,
    staleOnError: 0,
    peerLoads: 0,
    peerErrors: 0,
    loads: 0,
    loadsDeduped: 0,
    localLoads: 0,
    localLoadErrs: 0,
    serverRequests: 0,
    originLoads: 0,
    hedges: 0,
    behindPeers: 0,
    peeks: 0,
    peekHits: 0,
    entriesPushed: 0,
    entriesTaken: 0,
  };
}
