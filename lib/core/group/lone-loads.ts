/**
 * Loads that not all callers may share: answers that no cache may keep, and keys with a change that the log has not
 * taken yet.
 */
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

/** Their flights are in the group's tables under keys that no other get uses. No cache keeps their results. */
export class LoneLoads {
  readonly #options: LoneLoadsOptions;
  #count = 0;

  constructor(options: LoneLoadsOptions) {
    this.#options = options;
  }

  /** Loads for one request. The first answer that may be shared ends the separate loads of this key. */
  alone(key: string, waiter: Waiter<Loaded>): void {
    const { isServed, passed } = this.#options;
    if (!isServed) return this.#fetchAlone(key, waiter);
    this.once(key, waiter, ({ about }) => {
      if (!about.isPrivate) passed.delete(key);
    });
  }

  /** The key has a change that no peer knows: asks the origin, in a flight that began after the change. */
  pending(key: string, waiter: Waiter<Loaded>): void {
    this.#loadUnder(`${key}\n!${this.#options.validity.pendingCount}`, key, waiter);
  }

  /** Asks the origin in a flight that nobody else joins. @param loaded gets the value before the waiter does */
  once(key: string, waiter: Waiter<Loaded>, loaded?: (value: Value) => void): void {
    // No key ends like this, and no other load has this number.
    this.#loadUnder(`${key}\n#${this.#count++}`, key, waiter, loaded);
  }

  /** As `alone`, for a node that may not ask the origin: it asks the owner. */
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
