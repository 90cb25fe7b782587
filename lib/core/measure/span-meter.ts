import { type Clock, fineClock } from "../base/clock.ts";
import { Histogram } from "./histogram.ts";

/**
 * One short span in so many is timed; the others count as long as the latest timed one. Measured: to read the fine clock
 * takes 0.1 us on Bun and 0.3 us on Deno, and a hop of 25 us would pay for four readings.
 */
const TIMED_IN = 8;
/** From here on the clock of whole milliseconds is fine enough. Chosen: it is off by a tenth. */
const COARSE_FROM_MS = 10;

/** Times spans that overlap. All that are long are timed, by readings of the clock that are there anyway. */
export class SpanMeter {
  readonly took: Histogram;
  readonly #fineMs: () => number;
  #untilTimed = 0;
  /** NaN: none has been timed. */
  #latestMs = NaN;

  /** @param took where the times go */
  constructor(clock: Clock, took = new Histogram()) {
    this.took = took;
    this.#fineMs = fineClock(clock);
  }

  /** @returns the time by the fine clock, or NaN if this one is not to be timed by it */
  begin(): number {
    if (this.#untilTimed-- > 0) return NaN;
    this.#untilTimed = TIMED_IN - 1;
    return this.#fineMs();
  }

  /**
   * @param begun what `begin` gave
   * @param coarseMs how long it took by `Clock.nowMs`
   */
  end(begun: number, coarseMs: number): void {
    if (coarseMs >= COARSE_FROM_MS) return this.took.observe(coarseMs);
    if (begun === begun) this.#latestMs = this.#fineMs() - begun;
    this.took.observe(this.#latestMs === this.#latestMs ? this.#latestMs : coarseMs);
  }
}
