/** Explains to people what a node holds under a key and how a get would use it. It changes nothing. */
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
 * `fresh`: served. `stale`: served during its refresh. `on-error`: served only when the origin fails. `expired`: never
 * served. `invalidated`: dropped at the next lookup.
 */
export type HeldState = "fresh" | "stale" | "on-error" | "expired" | "invalidated";

/** One value in memory. */
export interface Held {
  readonly from: "main" | "hot";
  readonly value: Value;
  readonly state: HeldState;
  /** The end of freshness, soft invalidations included; Unix milliseconds, or Infinity. */
  readonly freshUntilMs: number;
  readonly standing: Standing;
  /** Encoded bytes of its key, body and header fields. */
  readonly bytes: number;
}

/** Why a get would be a hit or a miss. */
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

/** The most variants of one key to show. Chosen: more do not help a reader. */
export const MAX_VARIANTS = 32;

/**
 * What a get finds. It counts no use and drops nothing, so the next get finds the same.
 *
 * O(1). For a key with variants O(n) in the entries of the caches, as there is no index from a key to its variants.
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

/** `undefined`: there is nothing, or only the marker of variants. */
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
