import { primaryKey } from "../base/variant-key.ts";
import type { Found } from "../cache/shared-budget.ts";
import { cacheKeyOf, storeVariant } from "../cache/variants.ts";
import { goneAtMs } from "../lifetime/times.ts";
import type { Entry, PeerPicker } from "../ports.ts";
import { type Value, within } from "../value.ts";
import type { HandoffOptions } from "./options.ts";

/** Chosen: a value looks younger by its travel time, so birth times this close mean the same load. */
const SAME_BIRTH_MS = 100;

/**
 * Takes those of a peer's pushed entries that this node must keep. A handed-over value evicts only hot copies and
 * expired entries; without room it is refused. A second copy is required, so it may evict like a loaded value; so may a
 * value that a client wrote.
 *
 * @returns how many entries were taken
 */
export function accept(
  entries: readonly Entry[],
  from: string,
  options: HandoffOptions,
  isWritten = false,
): number {
  const { picker, caches, clock, lifetime, replicas, stats } = options;
  const nowMs = clock.nowMs();
  const store = (cacheKey: string, value: Value) =>
    replicas > 1 || isWritten
      ? caches.store(caches.main, cacheKey, value)
      : caches.storeWithoutLoss(cacheKey, value, nowMs);
  let taken = 0;
  for (const { key: sentKey, value: sent } of entries) {
    const key = primaryKey(sentKey);
    const value = caches.validity.check(key, within(lifetime, sent));
    if (value === undefined || goneAtMs(value) <= nowMs || !isToKeep(key, from, picker, replicas)) continue;
    const held = caches.held(cacheKeyOf(key, value));
    if (held !== undefined && !isWritten && isAsGood(held, value)) continue;
    if (storeVariant(caches, key, value, store)) taken++;
  }
  stats.entriesTaken += taken;
  return taken;
}

/**
 * Whether this node's value is from the same load or a later one. A hot copy yields to a value of the same load, which
 * belongs in the main cache. It stays if a soft invalidation made it stale here earlier than at the sender.
 */
function isAsGood({ value: held, from }: Found, { bornAtMs, freshUntilMs }: Value): boolean {
  if (from === "main") return held.bornAtMs >= bornAtMs;
  if (held.bornAtMs > bornAtMs + SAME_BIRTH_MS) return true;
  return held.bornAtMs + SAME_BIRTH_MS >= bornAtMs && held.freshUntilMs < freshUntilMs;
}

/**
 * Whether this node is among the key's owners when the sender is left out, as the sender may be leaving unseen by this
 * roster.
 */
function isToKeep(key: string, from: string, picker: PeerPicker, replicas: number): boolean {
  const others = picker.ranked(key, replicas + 1).filter((peer) => peer?.name !== from);
  return others.slice(0, replicas).includes(undefined);
}
