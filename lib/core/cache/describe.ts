/** What a node holds under a key, and what a get would make of it: for people who ask why. Looking changes nothing. */
import { hashOf } from "../base/hash.ts";
import { primaryKey } from "../base/variant-key.ts";
import type { Standing } from "../invalidation/validity.ts";
import { isUsableOnError, isUsableStale } from "../lifetime/times.ts";
import type { RequestHead } from "../ports.ts";
import { isMarker, type Value } from "../value.ts";
import { entryBytes } from "./byte-cache.ts";
import type { SharedBudget } from "./shared-budget.ts";
import { cacheKeyFor, isFor } from "./variants.ts";

/**
 * `fresh` is served; `stale` is served while it is refreshed; `on-error` only where the origin fails; `expired` not at all;
 * `invalidated` is dropped when somebody looks for it.
 */
export type HeldState = "fresh" | "stale" | "on-error" | "expired" | "invalidated";

/** One value in memory. */
export interface Held {
  readonly from: "main" | "hot";
  readonly value: Value;
  readonly state: HeldState;
  /** Until when it is fresh, soft invalidations counted; Unix milliseconds, or Infinity. */
  readonly freshUntilMs: number;
  readonly standing: Standing;
  /** Encoded: its key, body and header fields. */
  readonly bytes: number;
}

/** Why a get would be a hit, or a miss. */
export type Reason =
  | "fresh"
  | "stale"
  | "not-held"
  | "other-variant"
  | "expired"
  | "invalidated"
  | "blind";

/** What a get of a key would find here now. */
export interface Finding {
  readonly isHit: boolean;
  readonly reason: Reason;
  /** The values under the key: one, or its variants. At most {@link MAX_VARIANTS}. */
  readonly held: readonly Held[];
}

/** Variants of one key that are shown. Chosen: more are no help to a reader. */
export const MAX_VARIANTS = 32;

/**
 * What a get finds. No use is counted, and nothing is dropped, so the next get finds the same.
 *
 * O(1); O(n) in the entries of the caches for a key with variants, as no index leads from a key to them.
 */
export function findingOf(
  caches: SharedBudget,
  key: string,
  request: RequestHead | undefined,
  nowMs: number,
): Finding {
  const cacheKey = cacheKeyFor(caches, key, request);
  const asked = heldUnder(caches, cacheKey, nowMs);
  const held = hasMarker(caches, key) ? variantsOf(caches, key, nowMs) : asked === undefined ? [] : [asked];
  const reason = reasonOf(caches, asked, held.length > 0, request);
  return { isHit: reason === "fresh" || reason === "stale", reason, held };
}

function reasonOf(
  { validity }: SharedBudget,
  asked: Held | undefined,
  hasOthers: boolean,
  request: RequestHead | undefined,
): Reason {
  if (asked === undefined) return hasOthers ? "other-variant" : "not-held";
  if (!isFor(asked.value, request)) return "other-variant";
  if (validity.isBlind) return "blind";
  if (asked.state === "fresh" || asked.state === "stale" || asked.state === "invalidated") return asked.state;
  return "expired";
}

function hasMarker({ main, hot }: SharedBudget, key: string): boolean {
  const hash = hashOf(key);
  const value = main.peek(key, hash) ?? hot.peek(key, hash);
  return value !== undefined && isMarker(value);
}

function variantsOf(caches: SharedBudget, key: string, nowMs: number): Held[] {
  const found: Held[] = [];
  for (const cache of [caches.main, caches.hot]) {
    for (const entry of cache.entries()) {
      if (entry.key === key || !entry.key.startsWith(key) || primaryKey(entry.key) !== key) continue;
      const held = heldUnder(caches, entry.key, nowMs);
      if (held !== undefined && found.length < MAX_VARIANTS) found.push(held);
    }
  }
  return found;
}

/** `undefined`: nothing, or only the marker that leads to variants. */
function heldUnder({ main, hot, validity }: SharedBudget, cacheKey: string, nowMs: number): Held | undefined {
  const hash = hashOf(cacheKey);
  const own = main.peek(cacheKey, hash);
  const value = own ?? hot.peek(cacheKey, hash);
  if (value === undefined || isMarker(value)) return undefined;
  const standing = validity.standing(primaryKey(cacheKey), value);
  const freshUntilMs = Math.min(value.freshUntilMs, standing.staleSinceMs);
  const times = { ...value, freshUntilMs };
  const state = standing.isBad || standing.isPending
    ? "invalidated"
    : freshUntilMs > nowMs
    ? "fresh"
    : isUsableStale(times, nowMs)
    ? "stale"
    : isUsableOnError(times, nowMs)
    ? "on-error"
    : "expired";
  const from = own === undefined ? "hot" : "main";
  return { from, value, state, freshUntilMs, standing, bytes: entryBytes(cacheKey, value) };
}
