import type { Clock } from "../core/base/clock.ts";
import { WrongRevisionError } from "../core/errors.ts";
import { pause } from "../core/base/timeout.ts";
import { type Backoff, backoffMs, type Random } from "../core/base/backoff.ts";
import type { Entry, PeerStore } from "./store.ts";

const RETRY: Backoff = { firstMs: 100, mostMs: 1_000 };

export interface Departure {
  readonly store: PeerStore;
  readonly key: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Whether the record once stood: then others may remember it. */
  readonly hasStood: boolean;
  readonly isOurs: (entry: Entry) => boolean;
  /** What a put of ours replaces whose answer has not come. */
  readonly unanswered: () => number | undefined;
}

/**
 * Takes a record out for good: once this resolves, no put of ours that was on its way can list us any more.
 *
 * @returns whether there was anything to remove, or `late` when the signal was aborted before that was known
 */
export async function depart(departure: Departure, late: AbortSignal): Promise<"removed" | "absent" | "late"> {
  const { store, key, clock, random, hasStood, isOurs, unanswered } = departure;
  let isRemoved = false;
  for (let attempt = 0; !late.aborted; attempt++) {
    try {
      // Taken before the read: a put that is answered while we read was perhaps applied after it.
      const onItsWay = unanswered();
      const entry = await store.read(key);
      if (late.aborted) break;
      // A key that was lost with the bucket is not enough: others keep who stood there in mind until they see a delete.
      const isListed = isOurs(entry) || (entry.revision === 0 && hasStood);
      // A put of ours that is still on its way would list us after we left. A delete at the same revision beats it:
      // whichever comes second loses, and if it is the delete, the next round deletes what the put wrote.
      if (!isListed && entry.revision !== onItsWay) return isRemoved ? "removed" : "absent";
      // Also when the answer is lost, and the next round finds nothing.
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
