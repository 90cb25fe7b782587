/**
 * Singleflight: one load in the air per key, shared by all who wait for it.
 *
 * A waiter that goes away leaves alone; the flight is cancelled when its last waiter has gone (as in tailscale's
 * util/singleflight) or its own deadline has passed.
 */
import { Cancel, type CancelSignal } from "./cancel.ts";
import type { Clock } from "./clock.ts";
import { OriginTimeoutError, OverloadedError } from "./errors.ts";
import { Sweep } from "./sweep.ts";

/** A flight as whoever makes it sees it: aborted when nobody waits any more, or its deadline has passed. */
export interface Landing<T> extends CancelSignal {
  /** Answers all who still wait. Counts once, as does `fail`, whichever comes first. */
  land(value: T): void;
  fail(error: unknown): void;
  /** Ends as this work does. */
  follow(work: Promise<T>): void;
}

/** Its own signal: one object for each load instead of two. */
class Flight<T> extends Cancel implements Landing<T> {
  readonly key: string;
  readonly deadlineMs: number;
  private readonly end: (flight: Flight<T>) => readonly Waiter<T>[];
  /** Empty when it is over: it has landed, or nobody waits any more. */
  waiters: Waiter<T>[] = [];

  constructor(key: string, deadlineMs: number, end: (flight: Flight<T>) => readonly Waiter<T>[]) {
    super();
    this.key = key;
    this.deadlineMs = deadlineMs;
    this.end = end;
  }

  land(value: T): void {
    for (const { resolve } of this.end(this)) resolve(value);
  }

  fail(error: unknown): void {
    for (const { reject } of this.end(this)) reject(error);
  }

  follow(work: Promise<T>): void {
    work.then((value) => this.land(value), (error) => this.fail(error));
  }
}

/** One who waits; its own abort listener. */
class Waiter<T> {
  readonly flight: Flight<T>;
  readonly signal: CancelSignal | undefined;
  readonly resolve: (value: T) => void;
  readonly reject: (error: unknown) => void;
  private readonly left: (waiter: Waiter<T>) => void;

  constructor(
    flight: Flight<T>,
    signal: CancelSignal | undefined,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
    left: (waiter: Waiter<T>) => void,
  ) {
    this.flight = flight;
    this.signal = signal;
    this.resolve = resolve;
    this.reject = reject;
    this.left = left;
  }

  handleEvent(): void {
    this.left(this);
  }
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
  /** One timer for all deadlines. */
  readonly #sweep: Sweep;
  readonly #ended = (flight: Flight<T>) => this.#end(flight);
  readonly #left = (waiter: Waiter<T>) => this.#leave(waiter);

  constructor(options: FlightOptions) {
    this.#options = options;
    this.#sweep = new Sweep(options.clock, (nowMs) => this.#endOverdue(nowMs));
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
  run(key: string, signal: CancelSignal | undefined, start: (signal: Cancel) => Promise<T>): Promise<T> {
    return this.#join(key, signal, (flight) => flight.follow(start(flight)));
  }

  /** As `run`, for a `start` that calls back: without the promises between it and those who wait. */
  fly(key: string, signal: CancelSignal | undefined, start: (landing: Landing<T>) => void): Promise<T> {
    return this.#join(key, signal, start);
  }

  /** Waits for the flight of `key` as `run` does; `undefined` when there is none. */
  join(key: string, signal: CancelSignal): Promise<T> | undefined {
    const flight = this.#flights.get(key);
    if (flight === undefined) return undefined;
    return signal.aborted ? Promise.reject(signal.reason) : this.#wait(flight, signal);
  }

  #join(key: string, signal: CancelSignal | undefined, start: (flight: Flight<T>) => void): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const present = this.#flights.get(key);
    if (present !== undefined) return this.#wait(present, signal);
    const { clock, timeoutMs, maxFlights } = this.#options;
    if (this.#flights.size >= maxFlights) {
      return Promise.reject(new OverloadedError(`Too many loads at once: ${maxFlights}`));
    }
    const flight = new Flight(key, clock.nowMs() + timeoutMs, this.#ended);
    this.#flights.set(key, flight);
    this.#sweep.cover(flight.deadlineMs);
    const landing = this.#wait(flight, signal);
    try {
      start(flight);
    } catch (error) {
      // A `start` that throws at once must not leave its flight in the table.
      flight.fail(error);
    }
    return landing;
  }

  #wait(flight: Flight<T>, signal: CancelSignal | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiter = new Waiter(flight, signal, resolve, reject, this.#left);
      flight.waiters.push(waiter);
      signal?.addEventListener("abort", waiter, ONCE);
    });
  }

  /** Takes a flight out of the table, unless a later one has its place. @returns those who still waited for it */
  #end(flight: Flight<T>): readonly Waiter<T>[] {
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key);
    const { waiters } = flight;
    flight.waiters = [];
    for (const waiter of waiters) waiter.signal?.removeEventListener("abort", waiter);
    return waiters;
  }

  #leave(waiter: Waiter<T>): void {
    const { flight } = waiter;
    const at = flight.waiters.indexOf(waiter);
    if (at < 0) return;
    flight.waiters.splice(at, 1);
    const reason = waiter.signal!.reason;
    waiter.reject(reason);
    if (flight.waiters.length > 0) return;
    // Out of the table first: whoever asks from now on must not join a flight that is being cancelled.
    this.#end(flight);
    flight.abort(reason);
  }

  /** @returns the earliest deadline left, or Infinity */
  #endOverdue(nowMs: number): number {
    let nextMs = Infinity;
    for (const flight of this.#flights.values()) {
      if (flight.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, flight.deadlineMs);
        continue;
      }
      flight.fail(new OriginTimeoutError(`No answer within ${this.#options.timeoutMs} ms`));
      flight.abort(new OriginTimeoutError("deadline"));
    }
    return nextMs;
  }
}

const ONCE = { once: true };
