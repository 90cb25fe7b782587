import type { Clock } from "../core/base/clock.ts";
import { WrongRevisionError } from "../core/errors.ts";
import { pause } from "../core/base/time/timeout.ts";
import { type Backoff, backoffMs, type Random } from "../core/base/time/backoff.ts";
import type { Entry, PeerStore } from "./store/store.ts";

/** Chosen: the whole leave has 0.5 s when a node stops. */
const RETRY: Backoff = { firstMs: 100, mostMs: 1_000 };

export interface Departure {
  readonly store: PeerStore;
  readonly key: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Whether the record was ever listed: then other nodes may remember it. */
  readonly hasStood: boolean;
  readonly isOurs: (entry: Entry) => boolean;
  /** The revision that a put of this node replaces, while its answer has not come. */
  readonly unanswered: () => number | undefined;
}

/**
 * Takes this node's record out for good: after this, no put of its own that was in flight can list it again.
 *
 * @returns whether there was a record to remove; `late`: the signal was aborted before that was known
 */
export async function depart(departure: Departure, late: AbortSignal): Promise<"removed" | "absent" | "late"> {
  const { store, key, clock, random, hasStood, isOurs, unanswered } = departure;
  let isRemoved = false;
  for (let attempt = 0; !late.aborted; attempt++) {
    try {
      // Taken before the read: a put that is answered during the read may have been applied after it.
      const onItsWay = unanswered();
      const entry = await store.read(key);
      if (late.aborted) break;
      // A key that was lost with the bucket needs a delete too: other nodes keep its peer until they see one.
      const isListed = isOurs(entry) || (entry.revision === 0 && hasStood);
      // A put still in flight would list this node after it left. A delete at the same revision competes with it: the
      // second one to arrive loses, and if that is the delete, the next round deletes what the put wrote.
      if (!isListed && entry.revision !== onItsWay) return isRemoved ? "removed" : "absent";
      // Set before the delete: its answer may be lost, and then the next round finds nothing.
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
