import type { Clock } from "../core/base/clock.ts";
import { WrongRevisionError } from "../core/errors.ts";
import { pause } from "../core/base/time/timeout.ts";
import { type Backoff, backoffMs, type Random } from "../core/base/time/backoff.ts";
import type { Entry, PeerStore } from "./store/store.ts";

/** Chosen: a stopping node has 0.5 s for the whole leave. */
const RETRY: Backoff = { firstMs: 100, mostMs: 1_000 };

export interface Departure {
  readonly store: PeerStore;
  readonly key: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Whether the record was ever listed. If so, other nodes may remember it. */
  readonly hasStood: boolean;
  readonly isOurs: (entry: Entry) => boolean;
  /** The revision that an unanswered put of this node replaces. */
  readonly unanswered: () => number | undefined;
}

/**
 * Removes this node's record for good: after this, no earlier put of this node can list it again.
 *
 * @returns whether there was a record to remove; `late`: the signal was aborted before this was known
 */
export async function depart(departure: Departure, late: AbortSignal): Promise<"removed" | "absent" | "late"> {
  const { store, key, clock, random, hasStood, isOurs, unanswered } = departure;
  let isRemoved = false;
  for (let attempt = 0; !late.aborted; attempt++) {
    try {
      // Get this before the read: a put that is answered during the read may have been applied after it.
      const onItsWay = unanswered();
      const entry = await store.read(key);
      if (late.aborted) break;
      // A key that was lost with the bucket needs a delete, too: other nodes keep its peer until they see a delete.
      const isListed = isOurs(entry) || (entry.revision === 0 && hasStood);
      // A put in flight could list this node after it left. So delete at the same revision: the second of the two to
      // arrive loses. If that is the delete, the next round deletes the put's record.
      if (!isListed && entry.revision !== onItsWay) return isRemoved ? "removed" : "absent";
      // Set before the delete, as its answer may be lost; then the next round finds no record.
      if (isListed) isRemoved = true;
      await store.delete(key, entry.revision);
      return isRemoved ? "removed" : "absent";
    } catch (error) {
      if (error instanceof WrongRevisionError && attempt < 5) continue;
      await pause(clock, backoffMs(attempt, RETRY, random), late);
    }
  }
  return "late";
}
