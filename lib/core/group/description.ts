/** Explains to people why a get of a key is a hit or a miss. */
import { type Finding, findingOf } from "../cache/describe.ts";
import type { SharedBudget } from "../cache/shared-budget.ts";
import { cacheKeyFor } from "../cache/variants.ts";
import type { Label } from "../invalidation/label.ts";
import type { PassedKeys } from "../lifetime/passed-keys.ts";
import type { PeerPicker, RequestHead } from "../ports.ts";

/** A key as this node sees it. */
export interface Description extends Finding {
  /** The key's nodes by rank, the owner first, at most {@link MAX_RANKED}; `undefined` is this node. */
  readonly owners: readonly (string | undefined)[];
  /** Whether each request for the key now goes to the origin separately, as its answers may not be shared. */
  readonly isPassed: boolean;
  /** Whether a load or a fetch of the key is in flight. */
  readonly isLoading: boolean;
  /** How far this node has applied the log of invalidations. */
  readonly applied: Label;
}

/** The most nodes of a key to name. Chosen: two may hold its value, and a few more may have been asked. */
export const MAX_RANKED = 4;

/** The parts of a group that the description reads. */
export interface Looked {
  readonly caches: SharedBudget;
  readonly picker: PeerPicker;
  readonly passed: PassedKeys;
  readonly nowMs: number;
  readonly isLoading: (cacheKey: string) => boolean;
}

/** What a get of the key would find. It changes nothing: it counts no use, and refreshes or drops nothing. */
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
