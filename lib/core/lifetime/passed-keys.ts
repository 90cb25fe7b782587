import QuickLRU from "quick-lru";
import type { Clock } from "../base/clock.ts";

/** For how long the requests for a key whose answer may not be shared go to the origin one by one: as Varnish's hit-for-miss. */
const PASS_MS = 120_000;
/** Chosen; quick-lru keeps up to twice as many. A key that is forgotten costs its waiters one wait in vain. */
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
