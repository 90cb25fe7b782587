/**
 * Singleflight: one load in the air per key, shared by all who wait for it.
 *
 * A waiter that goes away leaves alone; the flight is cancelled when its last waiter has gone (as in tailscale's
 * util/singleflight) or its own deadline has passed.
 */
import { Cancel, type CancelSignal } from "../base/cancel.ts";
import { type Chained, ChainedTable } from "../base/intrusive-table.ts";
import type { Clock } from "../base/clock.ts";
import { OriginTimeoutError, OverloadedError } from "../errors.ts";
import { hashOf } from "../base/hash.ts";
import { Sweep } from "../base/sweep.ts";

/** A flight as whoever makes it sees it: aborted when nobody waits any more, or its deadline has passed. */
export interface Landing<T> extends CancelSignal {
  /** Answers all who still wait. Counts once, as does `fail`, whichever comes first. */
  land(value: T): void;
  fail(error: unknown): void;
  /** Ends as this work does. */
  follow(work: Promise<T>): void;
  /** Itself, for what takes nothing less, such as `fetch`. */
  abortSignal(): AbortSignal;
}

/** Its own signal: one object for each load instead of two. */
class Flight<T> extends Cancel implements Landing<T>, Chained<Flight<T>> {
  readonly key: string;
  /** The hash of the key. */
  readonly number: number;
  follower: Flight<T> | undefined = undefined;
  readonly deadlineMs: number;
  private readonly flights: Flights<T>;
  /** Empty when it is over: it has landed, or nobody waits any more. */
  waiters: Waiter<T>[] = [];

  constructor(key: string, hash: number, deadlineMs: number, flights: Flights<T>) {
    super();
    this.key = key;
    this.number = hash;
    this.deadlineMs = deadlineMs;
    this.flights = flights;
  }

  land(value: T): void {
    for (const waiter of this.flights.end(this)) waiter.landed(value);
  }

  fail(error: unknown): void {
    for (const waiter of this.flights.end(this)) waiter.failed(error);
  }

  follow(work: Promise<T>): void {
    work.then((value) => this.land(value), (error) => this.fail(error));
  }

  leave(waiter: Waiter<T>): void {
    this.flights.leave(waiter, this);
  }
}

/**
 * One who waits for one flight, and its own abort listener. One of `landed` and `failed` is called, once, and neither may
 * throw: a promise for each would cost a tenth of a fetch from a peer.
 */
export abstract class Waiter<T> {
  /** When it aborts, `failed` gets its reason, and the others wait on. */
  readonly signal: CancelSignal | undefined;
  private flight: Flight<T> | undefined = undefined;

  constructor(signal: CancelSignal | undefined) {
    this.signal = signal;
  }

  /** Whether it hears before the others. */
  get isFirst(): boolean {
    return false;
  }

  abstract landed(value: T): void;
  /** @param error what the load failed with; OriginTimeoutError, OverloadedError; the signal's reason */
  abstract failed(error: unknown): void;

  board(flight: Flight<T>): void {
    this.flight = flight;
    this.signal?.addEventListener("abort", this, ONCE);
  }

  handleEvent(): void {
    this.flight?.leave(this);
  }
}

class PromiseWaiter<T> extends Waiter<T> {
  private readonly resolve: (value: T) => void;
  private readonly reject: (error: unknown) => void;

  constructor(signal: CancelSignal | undefined, resolve: (value: T) => void, reject: (error: unknown) => void) {
    super(signal);
    this.resolve = resolve;
    this.reject = reject;
  }

  landed(value: T): void {
    this.resolve(value);
  }

  failed(error: unknown): void {
    this.reject(error);
  }
}

/** Waits by a promise: for what is not asked often. */
export function promised<T>(signal: CancelSignal | undefined, wait: (waiter: Waiter<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => wait(new PromiseWaiter(signal, resolve, reject)));
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
  readonly #flights = new ChainedTable<Flight<T>>();
  /** One timer for all deadlines. */
  readonly #sweep: Sweep;

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
   * @param start is given what lands the flight, also the signal that aborts when nobody waits any more or the deadline
   * has passed
   */
  fly(key: string, waiter: Waiter<T>, start: (landing: Landing<T>) => void): void {
    const { signal } = waiter;
    if (signal?.aborted) return waiter.failed(signal.reason);
    const hash = hashOf(key);
    const present = this.#find(key, hash);
    if (present !== undefined) return board(waiter, present);
    const { clock, timeoutMs, maxFlights } = this.#options;
    if (this.#flights.size >= maxFlights) {
      return waiter.failed(new OverloadedError(`Too many loads at once: ${maxFlights}`));
    }
    const flight = new Flight(key, hash, clock.nowMs() + timeoutMs, this);
    this.#flights.add(flight);
    this.#sweep.cover(flight.deadlineMs);
    board(waiter, flight);
    try {
      start(flight);
    } catch (error) {
      // A `start` that throws at once must not leave its flight in the table.
      flight.fail(error);
    }
  }

  /** Waits for the flight of `key` as `fly` does, if there is one. @returns whether there is */
  join(key: string, waiter: Waiter<T>): boolean {
    const flight = this.#find(key, hashOf(key));
    if (flight === undefined) return false;
    if (waiter.signal?.aborted) waiter.failed(waiter.signal.reason);
    else board(waiter, flight);
    return true;
  }

  /** Waits for the flights of these keys, as far as there are any, however they end. Never rejects. */
  async ended(keys: readonly string[], signal: CancelSignal): Promise<void> {
    const none = (waiter: Waiter<T>) => waiter.failed(undefined);
    await Promise.allSettled(
      keys.map((key) => promised<T>(signal, (waiter) => this.join(key, waiter) || none(waiter))),
    );
  }

  /**
   * For flights: takes one out of the table, if it is still there.
   *
   * @returns those who still waited for it
   */
  end(flight: Flight<T>): readonly Waiter<T>[] {
    this.#flights.delete(flight);
    const { waiters } = flight;
    flight.waiters = [];
    for (const waiter of waiters) waiter.signal?.removeEventListener("abort", waiter);
    return waiters;
  }

  /** For flights: a waiter has gone. */
  leave(waiter: Waiter<T>, flight: Flight<T>): void {
    const at = flight.waiters.indexOf(waiter);
    if (at < 0) return;
    flight.waiters.splice(at, 1);
    const reason = waiter.signal!.reason;
    waiter.failed(reason);
    if (flight.waiters.length > 0) return;
    // Out of the table first: whoever asks from now on must not join a flight that is being cancelled.
    this.end(flight);
    flight.abort(reason);
  }

  #find(key: string, hash: number): Flight<T> | undefined {
    let flight = this.#flights.first(hash);
    while (flight !== undefined && flight.key !== key) flight = this.#flights.after(flight);
    return flight;
  }

  /** @returns the earliest deadline left, or Infinity */
  #endOverdue(nowMs: number): number {
    let nextMs = Infinity;
    for (const flight of this.#flights.all()) {
      if (flight.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, flight.deadlineMs);
        continue;
      }
      // Whoever heard of the end of another may have left this one.
      if (flight.waiters.length === 0) continue;
      flight.fail(new OriginTimeoutError(`No answer within ${this.#options.timeoutMs} ms`));
      flight.abort(new OriginTimeoutError("deadline"));
    }
    return nextMs;
  }
}

function board<T>(waiter: Waiter<T>, flight: Flight<T>): void {
  if (waiter.isFirst) flight.waiters.unshift(waiter);
  else flight.waiters.push(waiter);
  waiter.board(flight);
}

const ONCE = { once: true };
