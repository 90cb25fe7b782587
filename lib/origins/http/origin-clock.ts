import { parseHttpDate } from "../../core/semantics/dates.ts";
import { type Fields, linesOf } from "../../core/semantics/fields.ts";

/**
 * Chosen: longer than the pauses between the loads of a busy group. A corrected clock is believed after twice this
 * time.
 */
const WINDOW_MS = 300_000;

/**
 * How far this node's clock is ahead of an origin's. An answer's `Date` tells its age only if the two agree (RFC 9111,
 * section 4.2.3): for a clock that is an hour ahead, each answer would be an hour old, and nothing would be kept. So
 * the youngest recent answer counts as new, and the distance from its `Date` is the difference of the clocks.
 */
export class OriginClock {
  #sinceMs = 0;
  /** The smallest distance of an answer from its `Date`, in this window and in the one before. */
  #leastMs = Infinity;
  #leastBeforeMs = Infinity;

  /**
   * Returns the difference, and notes this answer for later ones.
   *
   * @returns the difference by earlier answers, in milliseconds; 0: this clock is not ahead, or there were none
   */
  aheadMs(fields: Fields, receivedAtMs: number): number {
    if (receivedAtMs - this.#sinceMs >= WINDOW_MS) {
      // After a longer pause, the known difference is still the best guess.
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
