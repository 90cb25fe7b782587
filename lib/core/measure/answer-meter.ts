/** A group's answers to its clients: how long each took, and its status. */
import { type Clock, fineClock } from "../base/clock.ts";
import { Histogram } from "./histogram.ts";
import { SpanMeter } from "./span-meter.ts";
import { StatusCounts } from "./status-counts.ts";

/**
 * One in so many answers that come at once is timed; the others count as long as the latest timed one. Measured: to read the
 * fine clock twice takes 0.2 us on Bun and 0.6 us on Deno, of the 9 us of a hit.
 */
const TIMED_IN = 64;

/** Counts answers. An answer that comes at once costs a few additions. */
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

  /** A request has come. @returns the time, or NaN if it is not to be timed */
  begin(): number {
    return this.#untilTimed > 0 ? NaN : this.#fineMs();
  }

  /** Its answer has come at once. @param begun what `begin` gave */
  answeredNow(status: number, begun: number): void {
    this.statuses.add(status);
    if (this.#untilTimed-- <= 0) {
      this.#latestMs = this.#fineMs() - begun;
      this.#untilTimed = TIMED_IN - 1;
    }
    this.took.observe(this.#latestMs);
  }

  /** Its answer will come later. @returns what `answeredLater` takes */
  beginLater(): number {
    return this.#later.begin();
  }

  /**
   * @param begun what `beginLater` gave
   * @param sinceMs `nowMs` at that moment
   */
  answeredLater(status: number, begun: number, sinceMs: number): void {
    this.statuses.add(status);
    this.#later.end(begun, this.nowMs() - sinceMs);
  }
}
