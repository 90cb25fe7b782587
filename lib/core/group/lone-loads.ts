/** Loads that not every caller may share: of answers that no cache may keep, and of keys whose change no log has ordered yet. */
import type { Validity } from "../invalidation/validity.ts";
import type { PassedKeys } from "../lifetime/passed-keys.ts";
import type { Waiter } from "../load/flights.ts";
import type { Value } from "../value.ts";
import type { Loaded } from "./loaded.ts";
import type { Ways } from "./ways.ts";

export interface LoneLoadsOptions {
  readonly ways: Ways;
  readonly validity: Validity;
  /** The keys whose answers may not be shared. */
  readonly passed: PassedKeys;
  /** Whether this node may ask the origin. */
  readonly isServed: boolean;
}

/** Their flights stand in the group's tables under keys that no other get has. Nothing is kept of what they bring. */
export class LoneLoads {
  readonly #options: LoneLoadsOptions;
  #count = 0;

  constructor(options: LoneLoadsOptions) {
    this.#options = options;
  }

  /** For one request, whose answer is not shared. An answer that could be ends that. */
  alone(key: string, waiter: Waiter<Loaded>): void {
    const { isServed, passed } = this.#options;
    if (!isServed) return this.#fetchAlone(key, waiter);
    this.once(key, waiter, ({ about }) => {
      if (!about.isPrivate) passed.delete(key);
    });
  }

  /** The key has changed, which no peer knows: from the origin, in a flight that began since then. */
  pending(key: string, waiter: Waiter<Loaded>): void {
    this.#loadUnder(`${key}\n!${this.#options.validity.pendingCount}`, key, waiter);
  }

  /** From the origin, in a flight that no other joins. @param loaded told of the value before the waiter is */
  once(key: string, waiter: Waiter<Loaded>, loaded?: (value: Value) => void): void {
    // No key ends so, and no other load has this number.
    this.#loadUnder(`${key}\n#${this.#count++}`, key, waiter, loaded);
  }

  /** As `alone`, where only the owner may ask the origin. */
  #fetchAlone(key: string, waiter: Waiter<Loaded>): void {
    const { picker, failover, fetches, counters } = this.#options.ways;
    const { request } = waiter;
    fetches.fly(`${key}\n#${this.#count++}`, waiter, (flight) => {
      counters.loadsDeduped++;
      failover.fetch(picker.pick(key)!, key, flight, request);
    });
  }

  #loadUnder(cacheKey: string, key: string, waiter: Waiter<Loaded>, loaded: (value: Value) => void = () => {}): void {
    const { ways: { origin, loads, counters }, validity } = this.#options;
    const { request } = waiter;
    waiter.mayGoOn = false;
    loads.fly(cacheKey, waiter, (flight) => {
      counters.loadsDeduped++;
      flight.follow(
        origin.load(key, cacheKey, flight, validity.applied, () => undefined, request).then(({ value }) => {
          loaded(value);
          return { value, source: "origin", stored: false };
        }),
      );
    });
  }
}
