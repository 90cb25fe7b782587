/**
 * Singleflight: one load in flight per key, shared by all its waiters.
 *
 * A waiter that leaves cancels nothing for the others. A flight is cancelled when its last waiter has left (as in tailscale's
 * util/singleflight), or when its own deadline has passed.
 */
import { Cancel, type CancelSignal } from "../base/cancel.ts";
import { IntrusiveTable, type TableNode } from "../base/intrusive-table.ts";
import type { Clock } from "../base/clock.ts";
import { OriginTimeoutError, OverloadedError } from "../errors.ts";
import { hashOf } from "../base/hash.ts";
import type { Reply } from "../base/reply.ts";
import { Deadlines } from "../base/deadlines.ts";
import type { Ask } from "../ports.ts";
import type { Value } from "../value.ts";

/** One load in flight, as its maker sees it: aborted when no waiter is left, or when its deadline has passed. */
export interface Flight<T> extends CancelSignal, Reply<T> {
  /** Resolves or rejects as this work does. */
  follow(work: Promise<T>): void;
  /** The same signal for an API that needs a real AbortSignal, such as `fetch`. */
  abortSignal(): AbortSignal;
}

/** Is its own signal: one object per load instead of two. */
class LoadInFlight<T> extends Cancel implements Flight<T>, TableNode<LoadInFlight<T>> {
  readonly key: string;
  /** The hash of the key. */
  readonly number: number;
  follower: LoadInFlight<T> | undefined = undefined;
  readonly deadlineMs: number;
  private readonly flights: Flights<T>;
  /** Empty once the flight has ended or all waiters have left. */
  waiters: Waiter<T>[] = [];

  constructor(key: string, hash: number, deadlineMs: number, flights: Flights<T>) {
    super();
    this.key = key;
    this.number = hash;
    this.deadlineMs = deadlineMs;
    this.flights = flights;
  }

  resolve(value: T): void {
    for (const waiter of this.flights.end(this)) waiter.resolve(value);
  }

  reject(error: unknown): void {
    for (const waiter of this.flights.end(this)) waiter.reject(error);
  }

  follow(work: Promise<T>): void {
    work.then((value) => this.resolve(value), (error) => this.reject(error));
  }

  leave(waiter: Waiter<T>): void {
    this.flights.leave(waiter, this);
  }
}

/** A caller that waits for one flight. It is its own abort listener. */
export abstract class Waiter<T> implements Reply<T> {
  /** When it aborts, this waiter is rejected with the reason; the others wait on. */
  readonly signal: CancelSignal | undefined;
  private flight: LoadInFlight<T> | undefined = undefined;

  constructor(signal: CancelSignal | undefined) {
    this.signal = signal;
  }

  /** Whether this waiter is answered before the others. */
  get isFirst(): boolean {
    return false;
  }

  abstract resolve(value: T): void;
  /** @param error the load's error; OriginTimeoutError, OverloadedError; the signal's reason */
  abstract reject(error: unknown): void;

  board(flight: LoadInFlight<T>): void {
    this.flight = flight;
    this.signal?.addEventListener("abort", this, ONCE);
  }

  handleEvent(): void {
    this.flight?.leave(this);
  }
}

class PromiseWaiter<T> extends Waiter<T> {
  private readonly reply: Reply<T>;

  constructor(signal: CancelSignal | undefined, reply: Reply<T>) {
    super(signal);
    this.reply = reply;
  }

  resolve(value: T): void {
    this.reply.resolve(value);
  }

  reject(error: unknown): void {
    this.reply.reject(error);
  }
}

/** Waits by a promise. Not for hot paths. */
export function promised<T>(signal: CancelSignal | undefined, wait: (waiter: Waiter<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => wait(new PromiseWaiter(signal, { resolve, reject })));
}

/** A peer that waits for a flight. It is answered first: more waiters wait behind it, at the peer. */
export class PeerWaiter<T extends { readonly value: Value }> extends Waiter<T> {
  private readonly ask: Ask;

  constructor(ask: Ask) {
    super(ask.signal);
    this.ask = ask;
  }

  override get isFirst(): boolean {
    return true;
  }

  resolve({ value }: T): void {
    this.ask.resolve(value);
  }

  reject(error: unknown): void {
    this.ask.reject(error);
  }
}

export interface FlightOptions {
  readonly clock: Clock;
  /** How long a flight may last, in milliseconds. */
  readonly timeoutMs: number;
  /** The most flights at once; one more is refused. */
  readonly maxFlights: number;
}

/** The flights of one kind, by key. */
export class Flights<T> {
  readonly #options: FlightOptions;
  readonly #flights = new IntrusiveTable<LoadInFlight<T>>();
  /** One timer for all deadlines. */
  readonly #deadlines: Deadlines;

  constructor(options: FlightOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock, (nowMs) => this.#endOverdue(nowMs));
  }

  get size(): number {
    return this.#flights.size;
  }

  /**
   * Waits for the flight of `key`; starts one with `start` when there is none.
   *
   * @param start is given the flight, which is also its signal
   */
  fly(key: string, waiter: Waiter<T>, start: (flight: Flight<T>) => void): void {
    const { signal } = waiter;
    if (signal?.aborted) return waiter.reject(signal.reason);
    const hash = hashOf(key);
    const present = this.#find(key, hash);
    if (present !== undefined) return board(waiter, present);
    const { clock, timeoutMs, maxFlights } = this.#options;
    if (this.#flights.size >= maxFlights) {
      return waiter.reject(new OverloadedError(`Too many loads at once: ${maxFlights}`));
    }
    const flight = new LoadInFlight(key, hash, clock.nowMs() + timeoutMs, this);
    this.#flights.add(flight);
    this.#deadlines.cover(flight.deadlineMs);
    board(waiter, flight);
    try {
      start(flight);
    } catch (error) {
      // A `start` that throws must not leave its flight in the table.
      flight.reject(error);
    }
  }

  /** Waits for the flight of `key`, if there is one. @returns whether there is */
  join(key: string, waiter: Waiter<T>): boolean {
    const flight = this.#find(key, hashOf(key));
    if (flight === undefined) return false;
    if (waiter.signal?.aborted) waiter.reject(waiter.signal.reason);
    else board(waiter, flight);
    return true;
  }

  /** Resolves when the flights of these keys have ended, in any way, or the signal aborts. Never rejects. */
  async ended(keys: readonly string[], signal: CancelSignal): Promise<void> {
    const none = (waiter: Waiter<T>) => waiter.reject(undefined);
    await Promise.allSettled(
      keys.map((key) => promised<T>(signal, (waiter) => this.join(key, waiter) || none(waiter))),
    );
  }

  /**
   * For flights: takes one out of the table, if it is still there.
   *
   * @returns the waiters that are left
   */
  end(flight: LoadInFlight<T>): readonly Waiter<T>[] {
    this.#flights.delete(flight);
    const { waiters } = flight;
    flight.waiters = [];
    for (const waiter of waiters) waiter.signal?.removeEventListener("abort", waiter);
    return waiters;
  }

  /** For flights: a waiter leaves. */
  leave(waiter: Waiter<T>, flight: LoadInFlight<T>): void {
    const at = flight.waiters.indexOf(waiter);
    if (at < 0) return;
    flight.waiters.splice(at, 1);
    const reason = waiter.signal!.reason;
    waiter.reject(reason);
    if (flight.waiters.length > 0) return;
    // Out of the table first: a new caller must not join a flight that is being cancelled.
    this.end(flight);
    flight.abort(reason);
  }

  #find(key: string, hash: number): LoadInFlight<T> | undefined {
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
      // The end of another flight may have ended this one.
      if (flight.waiters.length === 0) continue;
      flight.reject(new OriginTimeoutError(`No answer within ${this.#options.timeoutMs} ms`));
      flight.abort(new OriginTimeoutError("deadline"));
    }
    return nextMs;
  }
}

function board<T>(waiter: Waiter<T>, flight: LoadInFlight<T>): void {
  if (waiter.isFirst) flight.waiters.unshift(waiter);
  else flight.waiters.push(waiter);
  waiter.board(flight);
}

const ONCE = { once: true };
