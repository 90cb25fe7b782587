import type { CacheStats } from "./cache/byte-cache.ts";
import type { HandoffStats } from "./handoff/handoff.ts";

/** What a group counts by itself, under the names that groupcache made standard. */
export interface GroupCounters {
  gets: number;
  cacheHits: number;
  peerLoads: number;
  peerErrors: number;
  loads: number;
  loadsDeduped: number;
  localLoads: number;
  localLoadErrs: number;
  serverRequests: number;
  /** What the origin was really asked. */
  originLoads: number;
  /** Second asks, because the first one was slow. */
  hedges: number;
}

/** What a group has done and holds. */
export interface GroupStats extends GroupCounters, HandoffStats {
  mainCache: CacheStats;
  hotCache: CacheStats;
}

/** All of them 0. */
export function newCounters(): GroupCounters {
  return {
    gets: 0,
    cacheHits: 0,
    peerLoads: 0,
    peerErrors: 0,
    loads: 0,
    loadsDeduped: 0,
    localLoads: 0,
    localLoadErrs: 0,
    serverRequests: 0,
    originLoads: 0,
    hedges: 0,
  };
}
