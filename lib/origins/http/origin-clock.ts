import { parseHttpDate } from "../../core/semantics/dates.ts";
import { type Fields, linesOf } from "../../core/semantics/fields.ts";

/** Chosen: longer than the pauses between the loads of a busy group; a clock that is put right is believed after twice that. */
const WINDOW_MS = 300_000;

/**
 * How far this node's clock is ahead of an origin's. An answer's `Date` tells its age only where the two agree (RFC 9111,
 * section 4.2.3): by a clock that is an hour ahead, each answer would be an hour old, and nothing would be kept. The youngest
 * of the answers that came lately has no age; what its `Date` is behind is the clocks' difference.
 */
export class OriginClock {
  #sinceMs = 0;
  /** The least distance of an answer from its `Date`, in this window and in the one before it. */
  #leastMs = Infinity;
  #leastBeforeMs = Infinity;

  /**
   * Also notes this answer, for later ones.
   *
   * @returns the difference by earlier answers, in milliseconds; 0: this clock is not ahead, or there were none
   */
  aheadMs(fields: Fields, receivedAtMs: number): number {
    if (receivedAtMs - this.#sinceMs >= WINDOW_MS) {
      // After a longer pause, what is known is still the best guess.
      if (this.#leastMs < Infinity) this.#leastBeforeMs = this.#leastMs;
      this.#leastMs = Infinity;
      this.#sinceMs = receivedAtMs;
    }
    const earlierMs = Math.min(this.#leastMs, this.#leastBeforeMs);
    const [date] = linesOf(fields, "date");
    const dateMs = date === undefined ? undefined : parseHttpDate(date, receivedAtMs);
    if (dateMs !== undefined) this.#leastMs = Math.min(this.#leastMs, receivedAtMs - dateMs);
    return earlierMs === Infinity ? 0 : Math.max(0, earlierMs);
  }
}
