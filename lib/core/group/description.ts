/** A group's keys, for people who ask why a get is a hit or a miss. */
import { type Finding, findingOf } from "../cache/describe.ts";
import type { SharedBudget } from "../cache/shared-budget.ts";
import { cacheKeyFor } from "../cache/variants.ts";
import type { Label } from "../invalidation/label.ts";
import type { PassedKeys } from "../lifetime/passed-keys.ts";
import type { PeerPicker, RequestHead } from "../ports.ts";

/** A key at this node. */
export interface Description extends Finding {
  /** The key's nodes by rank, the owner first, at most {@link MAX_RANKED}; `undefined` is this node. */
  readonly owners: readonly (string | undefined)[];
  /** Whether the requests for the key go through one by one for now, as its answers may not be shared. */
  readonly isPassed: boolean;
  /** Whether a load or a fetch of the key is in flight. */
  readonly isLoading: boolean;
  /** How far this node has applied the log of invalidations. */
  readonly applied: Label;
}

/** Ranked nodes of a key that are told. Chosen: two may hold it, and a few more may have been asked. */
export const MAX_RANKED = 4;

/** Where a group looks. */
export interface Looked {
  readonly caches: SharedBudget;
  readonly picker: PeerPicker;
  readonly passed: PassedKeys;
  readonly nowMs: number;
  readonly isLoading: (cacheKey: string) => boolean;
}

/** What a get of the key would find. Leaves no trace: no use is counted, and nothing is refreshed or dropped. */
export function describe(
  key: string,
  request: RequestHead | undefined,
  { caches, picker, passed, nowMs, isLoading }: Looked,
): Description {
  return {
    ...findingOf(caches, key, request, nowMs),
    owners: picker.ranked(key, MAX_RANKED).map((peer) => peer?.name),
    isPassed: passed.has(key),
    isLoading: isLoading(cacheKeyFor(caches, key, request)),
    applied: caches.validity.applied,
  };
}
