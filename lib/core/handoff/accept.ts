import type { Entry, PeerPicker } from "../ports.ts";
import { within } from "../value.ts";
import type { HandoffOptions } from "./options.ts";

/** Chosen: a value looks younger by the time it was under way, so birth times this close are the same load. */
const SAME_BIRTH_MS = 100;

/**
 * Takes the entries that a peer pushes and this node is to keep. A handed-over value displaces only hot copies and expired
 * entries, and is refused when there is no room. A second copy, which has to be there, displaces what any value does.
 *
 * @returns how many entries were taken
 */
export function accept(entries: readonly Entry[], from: string, options: HandoffOptions): number {
  const { picker, caches, clock, ttlMs, replicas, stats } = options;
  const nowMs = clock.nowMs();
  let taken = 0;
  for (const { key, value: sent } of entries) {
    const value = within(ttlMs, sent);
    if (value.expiresAtMs <= nowMs || !isToKeep(key, from, picker, replicas)) continue;
    const present = caches.main.peek(key);
    if (present !== undefined && present.bornAtMs >= value.bornAtMs) continue;
    const copy = caches.hot.peek(key);
    if (copy !== undefined && copy.bornAtMs > value.bornAtMs + SAME_BIRTH_MS) continue;
    const isStored = replicas > 1 ? caches.store(caches.main, key, value) : caches.storeWithoutLoss(key, value, nowMs);
    if (isStored) taken++;
  }
  stats.entriesTaken += taken;
  return taken;
}

/** Whether this node ranks among the key's owners without the sender, which may be leaving before this roster shows it. */
function isToKeep(key: string, from: string, picker: PeerPicker, replicas: number): boolean {
  const others = picker.ranked(key, replicas + 1).filter((peer) => peer?.name !== from);
  return others.slice(0, replicas).includes(undefined);
}
