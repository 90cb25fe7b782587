import type { CacheStats } from "../cache/byte-cache.ts";
import type { HandoffStats } from "../handoff/options.ts";
import type { FailoverStats } from "../load/failover.ts";
import type { Told, ValidityStats } from "../invalidation/validity.ts";
import type { OriginStats } from "../load/origin-loads.ts";
import { type HistogramFigures, type Percentiles, percentilesOf } from "../measure/histogram.ts";

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
  /** How long things took since the group began. */
  latency: Latencies;
  /** The answers to clients, by status. */
  answers: Readonly<Record<string, number>>;
}

/** How long things took in a group, each as a histogram with two percentiles of it for people. */
export interface Latencies {
  /** From a request to the head of its answer. */
  readonly client: HistogramFigures & Percentiles;
  /** From an ask of a peer to its reply or its failure. */
  readonly hop: HistogramFigures & Percentiles;
  /** From a question to the origin to the end of its answer, with the wait at the guard. */
  readonly origin: HistogramFigures & Percentiles;
}

/** With the percentiles that follow from the histograms. */
export function latenciesOf(figures: Readonly<Record<keyof Latencies, HistogramFigures>>): Latencies {
  const withPercentiles = (one: HistogramFigures) => ({ ...one, ...percentilesOf(one) });
  const { client, hop, origin } = figures;
  return { client: withPercentiles(client), hop: withPercentiles(hop), origin: withPercentiles(origin) };
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
