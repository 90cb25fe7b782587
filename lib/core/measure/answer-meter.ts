/** Measures a group's answers to its clients: duration and status. */
import { type Clock, fineClock } from "../base/clock.ts";
import { Histogram } from "./histogram.ts";
import { SpanMeter } from "./span-meter.ts";
import { StatusCounts } from "./status-counts.ts";

/**
 * Of the immediate answers, one in this many is timed; the others count with the latest timed duration. Measured:
 * reading the fine clock twice takes 0.2 us on Bun and 0.6 us on Deno, of the 9 us of a hit.
 */
const TIMED_IN = 64;

/** Counts answers. An immediate answer costs a few additions. */
export class AnswerMeter {
  readonly took = new Histogram();
  readonly statuses = new StatusCounts();
  /** The time in whole milliseconds, for answers that come later. */
  readonly nowMs: () => number;
  readonly #fineMs: () => number;
  readonly #later: SpanMeter;
  #untilTimed = 0;
  #latestMs = 0;

  constructor(clock: Clock) {
    this.nowMs = () => clock.nowMs();
    this.#fineMs = fineClock(clock);
    this.#later = new SpanMeter(clock, this.took);
  }

  /** To be called when a request comes. @returns the start time, or NaN if it is not timed */
  begin(): number {
    return this.#untilTimed > 0 ? NaN : this.#fineMs();
  }

  /** To be called when its answer came at once. @param begun the result of `begin` */
  answeredNow(status: number, begun: number): void {
    this.statuses.add(status);
    if (this.#untilTimed-- <= 0) {
      this.#latestMs = this.#fineMs() - begun;
      this.#untilTimed = TIMED_IN - 1;
    }
    this.took.observe(this.#latestMs);
  }

  /** To be called when its answer will come later. @returns the start time for `answeredLater` */
  beginLater(): number {
    return this.#later.begin();
  }

  /**
   * @param begun the result of `beginLater`
   * @param sinceMs `nowMs` at that moment
   */
  answeredLater(status: number, begun: number, sinceMs: number): void {
    this.statuses.add(status);
    this.#later.end(begun, this.nowMs() - sinceMs);
  }
}
