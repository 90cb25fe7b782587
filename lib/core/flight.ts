/**
 * Singleflight: one load in the air per key, shared by all who wait for it.
 *
 * A waiter that goes away leaves alone; the flight is cancelled when its last waiter has gone (as in tailscale's
 * util/singleflight) or its own deadline has passed.
 */
import type { Clock } from "./clock.ts";
import { OriginTimeoutError, OverloadedError } from "./errors.ts";

interface Flight<T> {
  readonly result: Promise<T>;
  readonly controller: AbortController;
  waiters: number;
}

export interface FlightOptions {
  readonly clock: Clock;
  /** How long a flight may last, in milliseconds, whoever waits for it. */
  readonly timeoutMs: number;
  /** How many flights may be in the air at once; one more is refused. */
  readonly maxFlights: number;
}

/** The flights of one kind, by key. */
export class Flights<T> {
  readonly #options: FlightOptions;
  readonly #flights = new Map<string, Flight<T>>();

  constructor(options: FlightOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#flights.size;
  }

  /**
   * Waits for the flight of `key`; starts it with `start` when there is none.
   *
   * @param signal of the waiter: when it aborts, this call rejects with its reason, and the others wait on
   * @param start is given a signal that aborts when nobody waits any more or the deadline has passed
   * @throws OriginTimeoutError the deadline has passed
   * @throws OverloadedError too many flights are in the air
   */
  run(key: string, signal: AbortSignal | undefined, start: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      if (this.#flights.size >= this.#options.maxFlights) {
        return Promise.reject(new OverloadedError(`Too many loads at once: ${this.#options.maxFlights}`));
      }
      flight = this.#launch(key, start);
    }
    flight.waiters++;
    return signal === undefined ? flight.result : this.#waitUntilAborted(key, flight, signal);
  }

  /** Waits for the flight of `key` as `run` does; `undefined` when there is none. */
  join(key: string, signal: AbortSignal): Promise<T> | undefined {
    const flight = this.#flights.get(key);
    if (flight === undefined) return undefined;
    if (signal.aborted) return Promise.reject(signal.reason);
    flight.waiters++;
    return this.#waitUntilAborted(key, flight, signal);
  }

  #launch(key: string, start: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const flight: Flight<T> = { result: promise, controller, waiters: 0 };
    // Whoever waits sees the failure; when all have gone, nobody does, and that is no unhandled rejection.
    promise.catch(() => {});
    const cancelTimer = this.#options.clock.after(this.#options.timeoutMs, () => {
      this.#land(key, flight);
      reject(new OriginTimeoutError(`No answer within ${this.#options.timeoutMs} ms`));
      controller.abort(new OriginTimeoutError("deadline"));
    });
    const end = () => {
      cancelTimer();
      this.#land(key, flight);
    };
    this.#flights.set(key, flight);
    controller.signal.addEventListener("abort", cancelTimer, { once: true });
    // A `start` that throws at once must not leave its flight in the table.
    new Promise<T>((begun) => begun(start(controller.signal))).then(
      (value) => (end(), resolve(value)),
      (error) => (end(), reject(error)),
    );
    return flight;
  }

  /** Takes a flight out of the table, unless a later one has its place. */
  #land(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }

  #waitUntilAborted(key: string, flight: Flight<T>, signal: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const leave = () => {
        reject(signal.reason);
        if (--flight.waiters > 0) return;
        // Out of the table first: whoever asks from now on must not join a flight that is being cancelled.
        this.#land(key, flight);
        flight.controller.abort(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      flight.result.then(
        (value) => (signal.removeEventListener("abort", leave), resolve(value)),
        (error) => (signal.removeEventListener("abort", leave), reject(error)),
      );
    });
  }
}
