import type { CacheStats } from "../cache/byte-cache.ts";
import type { HandoffStats } from "../handoff/options.ts";
import type { FailoverStats } from "../load/failover.ts";
import type { Told, ValidityStats } from "../invalidation/validity.ts";
import type { OriginStats } from "../load/origin-loads.ts";
import { type HistogramFigures, type Percentiles, percentilesOf } from "../measure/histogram.ts";

/** The counters of a group, under groupcache's names. */
export interface GroupCounters extends FailoverStats, HandoffStats, OriginStats {
  gets: number;
  cacheHits: number;
  /** Hits on a stale value, which was being refreshed or needed a refresh. */
  staleHits: number;
  /** Refreshes that a hit began: of a stale value, or of a fresh one before its end. */
  refreshes: number;
  /** Gets that neither cache answered. */
  loads: number;
  /** Loads that were really made, each for all its waiters. */
  loadsDeduped: number;
  serverRequests: number;
}

/** A group's counters and contents. */
export interface GroupStats extends GroupCounters {
  mainCache: CacheStats;
  hotCache: CacheStats;
  /** 1 while this node cannot reach the origin, else 0. */
  originUnreachable: number;
  /** The invalidations that the group has applied, and the latest of them. */
  invalidation: ValidityStats & { readonly last: readonly Told[] };
  /** The latencies since the group began. */
  latency: Latencies;
  /** The answers to clients, by status. */
  answers: Readonly<Record<string, number>>;
}

/** The latencies of a group, each as a histogram with two percentiles for people. */
export interface Latencies {
  /** From a request to the head of its answer. */
  readonly client: HistogramFigures & Percentiles;
  /** From an ask of a peer to its reply or its failure. */
  readonly hop: HistogramFigures & Percentiles;
  /** From a request to the origin to the end of its answer, including the wait at the guard. */
  readonly origin: HistogramFigures & Percentiles;
}

/** Adds the percentiles to the histograms. */
export function latenciesOf(figures: Readonly<Record<keyof Latencies, HistogramFigures>>): Latencies {
  const withPercentiles = (one: HistogramFigures) => ({ ...one, ...percentilesOf(one) });
  const { client, hop, origin } = figures;
  return { client: withPercentiles(client), hop: withPercentiles(hop), origin: withPercentiles(origin) };
}

/** New counters, all 0. */
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
