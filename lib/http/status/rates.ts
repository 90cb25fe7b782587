/** The counters of a group that are sampled, and added up over the fleet. */
import type { Rates } from "../figures.ts";

const COUNTERS = ["gets", "serverRequests", "cacheHits", "hotHits", "peerLoads", "originLoads"] as const;

/** The figures of a group at one node that the counters come from, in its own report or in a peer's. */
interface Counted extends Partial<Omit<Rates, "hotHits">> {
  readonly hotCache?: { readonly hits: number } | undefined;
}

/** One result for each counter. */
export function byCounter<T>(resultOf: (counter: keyof Rates) => T): Record<keyof Rates, T> {
  return Object.fromEntries(COUNTERS.map((counter) => [counter, resultOf(counter)])) as Record<keyof Rates, T>;
}

/** The counters of one node. A missing figure is 0. */
export function countsOf({ hotCache, ...figures }: Counted): Rates {
  return byCounter((counter) => (counter === "hotHits" ? hotCache?.hits : figures[counter]) ?? 0);
}
