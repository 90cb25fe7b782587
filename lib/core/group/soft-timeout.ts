/** Serves a stale value when a load takes too long. */
import type { Clock } from "../base/clock.ts";
import type { SharedBudget } from "../cache/shared-budget.ts";
import { cacheKeyFor, findFor } from "../cache/variants.ts";
import { isUsableOnError, isUsableStale } from "../lifetime/times.ts";
import type { Waiter } from "../load/flights.ts";
import { SoftWaiter } from "../load/soft-waiter.ts";
import { asLoaded, type Loaded } from "./loaded.ts";
import type { GroupCounters } from "./stats.ts";

export interface SoftTimeoutOptions {
  /** From the group's policy. null: always wait for the load. */
  readonly softTimeoutMs: number | null;
  readonly caches: SharedBudget;
  readonly clock: Clock;
  readonly counters: GroupCounters;
}

/** The soft timeout of one group's policy. */
export class SoftTimeout {
  readonly #options: SoftTimeoutOptions;

  constructor(options: SoftTimeoutOptions) {
    this.#options = options;
  }

  /** The waiter itself, or a wrapper that takes the stale value after the soft timeout if this node has one. */
  bound(key: string, waiter: Waiter<Loaded>): Waiter<Loaded> {
    const { softTimeoutMs, caches, clock, counters } = this.#options;
    if (softTimeoutMs === null || waiter.signal?.aborted) return waiter;
    const { request } = waiter;
    const find = () => findFor(caches, cacheKeyFor(caches, key, request), request);
    if (find() === undefined) return waiter;
    const stale = () => {
      const hit = find();
      const nowMs = clock.nowMs();
      if (hit === undefined || !(isUsableOnError(hit.value, nowMs) || isUsableStale(hit.value, nowMs))) {
        return undefined;
      }
      counters.staleHits++;
      return asLoaded(hit);
    };
    return new SoftWaiter(waiter, clock, softTimeoutMs, stale);
  }
}
