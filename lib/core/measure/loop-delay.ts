/**
 * The delay of this process's event loop: how late its timers run. `monitorEventLoopDelay` of `node:perf_hooks` would
 * measure it more finely, but on Bun 1.4 and Deno 2.9 it returns zeros (tried).
 */
import { type Clock, fineClock } from "../base/clock.ts";
import { Histogram } from "./histogram.ts";

/**
 * The interval between two looks. Chosen: it always sees a standstill of this length, and ten timers a second cost
 * nothing.
 */
const LOOK_EVERY_MS = 100;

/** Measures the delay regularly until `stop`. */
export class LoopDelay {
  readonly histogram = new Histogram();
  readonly #clock: Clock;
  readonly #fineMs: () => number;
  #cancel = () => {};

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#fineMs = fineClock(clock);
  }

  start(): void {
    const dueMs = this.#fineMs() + LOOK_EVERY_MS;
    this.#cancel = this.#clock.after(LOOK_EVERY_MS, () => {
      this.histogram.observe(Math.max(0, this.#fineMs() - dueMs));
      this.start();
    });
  }

  stop(): void {
    this.#cancel();
  }
}
