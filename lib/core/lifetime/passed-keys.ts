import QuickLRU from "quick-lru";
import type { Clock } from "../base/clock.ts";

/** How long requests go to the origin separately after an answer that may not be shared, like Varnish's hit-for-miss. */
const PASS_MS = 120_000;
/** Chosen. quick-lru keeps up to twice as many. A forgotten key costs its waiters one useless wait. */
const MAX_KEYS = 65_536;

/** Keys whose answers may not be shared, each for a while. */
export class PassedKeys {
  readonly #clock: Clock;
  readonly #untilMs = new QuickLRU<string, number>({ maxSize: MAX_KEYS });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  has(key: string): boolean {
    return this.#untilMs.size > 0 && (this.#untilMs.get(key) ?? -Infinity) > this.#clock.nowMs();
  }

  add(key: string): void {
    this.#untilMs.set(key, this.#clock.nowMs() + PASS_MS);
  }

  delete(key: string): void {
    if (this.#untilMs.size > 0) this.#untilMs.delete(key);
  }
}
