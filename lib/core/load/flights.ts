/**
 * Singleflight: one load in flight per key, shared by all its waiters.
 *
 * A waiter that leaves cancels nothing for the others. A flight is cancelled when its last waiter leaves (as in
 * tailscale's util/singleflight) or at its own deadline.
 */
import { Cancel, type CancelSignal } from "../base/cancel.ts";
import { IntrusiveTable, type TableNode } from "../base/tables/intrusive-table.ts";
import type { Clock } from "../base/clock.ts";
import type { Trace } from "../base/trace.ts";
import { OriginTimeoutError, OverloadedError } from "../errors.ts";
import { hashOf } from "../base/hash.ts";
import type { Reply } from "../base/reply.ts";
import { BLIND, type Label } from "../invalidation/label.ts";
import { Deadlines } from "../base/time/deadlines.ts";
import type { Ask, RequestHead } from "../ports.ts";
import type { Value } from "../value.ts";

/** One load in flight, as its loader sees it. It is aborted when no waiter is left, or at its deadline. */
export interface Flight<T> extends CancelSignal, Reply<T> {
  /** The trace of the waiter that started the flight: one load belongs to one trace. */
  readonly trace: Trace | undefined;
  /** Extends the deadline to `untilMs`, if that is later. */
  keepUntil(untilMs: number): void;
  /** Ends with the result or the error of `work`. */
  follow(work: Promise<T>): void;
  /** The same signal for an API that needs a real AbortSignal, such as `fetch`. */
  abortSignal(): AbortSignal;
}

/** A flight that is its own signal: one object per load instead of two. */
class LoadInFlight<T> extends Cancel implements Flight<T>, TableNode<LoadInFlight<T>> {
  readonly key: string;
  /** The hash of the key. */
  readonly number: number;
  follower: LoadInFlight<T> | undefined = undefined;
  deadlineMs: number;
  private readonly flights: Flights<T>;
  /** The waiter that started the flight. */
  readonly initiator: Waiter<T>;
  /** The node's label in the log of invalidations when the flight began. */
  readonly begun: Label;
  /** Empty once the flight has ended or all waiters have left. */
  waiters: Waiter<T>[] = [];

  constructor(key: string, hash: number, deadlineMs: number, flights: Flights<T>, initiator: Waiter<T>) {
    super();
    this.initiator = initiator;
    this.key = key;
    this.number = hash;
    this.deadlineMs = deadlineMs;
    this.flights = flights;
    this.begun = flights.applied();
  }

  get trace(): Trace | undefined {
    return this.initiator.trace;
  }

  resolve(value: T): void {
    for (const waiter of this.flights.end(this)) {
      if (waiter === this.initiator || waiter.isOnlooker || this.flights.isFor(this, value, waiter)) {
        waiter.resolve(value);
      } else this.flights.refuse(this.key, value, waiter);
    }
  }

  reject(error: unknown): void {
    for (const waiter of this.flights.end(this)) {
      if (!waiter.mayGoOn || !this.flights.goesOn(this.key, error, waiter)) waiter.reject(error);
    }
  }

  keepUntil(untilMs: number): void {
    this.deadlineMs = Math.max(this.deadlineMs, untilMs);
  }

  follow(work: Promise<T>): void {
    work.then((value) => this.resolve(value), (error) => this.reject(error));
  }

  leave(waiter: Waiter<T>): void {
    this.flights.leave(waiter, this);
  }
}

/** A caller that waits for one flight. It is its own abort listener, to save an object. */
export abstract class Waiter<T> implements Reply<T> {
  /** When it aborts, this waiter is rejected with the reason; the others wait on. */
  readonly signal: CancelSignal | undefined;
  /** The header fields of its request, where they matter. */
  readonly request: RequestHead | undefined;
  /** The trace of its request. */
  readonly trace: Trace | undefined;
  private flight: LoadInFlight<T> | undefined = undefined;
  /**
   * Whether the node applied no invalidation between the start of the flight and this waiter's arrival. Then it may get
   * any result.
   */
  hasAskedBefore = true;
  /** Whether another load may take over this waiter after an error of its flight: see `goesOn` of the options. */
  mayGoOn = false;
  /** Whether it joined a flight that another waiter started (RFC 9211, section 2.6). */
  isCollapsed = false;

  constructor(signal: CancelSignal | undefined, request?: RequestHead, trace?: Trace) {
    this.signal = signal;
    this.request = request;
    this.trace = trace;
  }

  /** Whether this waiter is answered before the others. */
  get isFirst(): boolean {
    return false;
  }

  /** Whether it gets any result, as it has no request of its own. */
  get isOnlooker(): boolean {
    return false;
  }

  abstract resolve(value: T): void;
  /** @param error the load's error; OriginTimeoutError, OverloadedError; the signal's reason */
  abstract reject(error: unknown): void;

  board(flight: LoadInFlight<T>, applied: Label): void {
    this.flight = flight;
    this.hasAskedBefore = flight.begun === applied;
    this.isCollapsed = flight.initiator !== this;
    if (this.isCollapsed && this.trace !== undefined) this.trace.joined = flight.trace;
    this.signal?.addEventListener("abort", this, ONCE);
  }

  handleEvent(): void {
    this.flight?.leave(this);
  }
}

class PromiseWaiter<T> extends Waiter<T> {
  private readonly reply: Reply<T>;

  constructor(
    signal: CancelSignal | undefined,
    reply: Reply<T>,
    request: RequestHead | undefined,
    trace: Trace | undefined,
  ) {
    super(signal, request, trace);
    this.reply = reply;
  }

  resolve(value: T): void {
    this.reply.resolve(value);
  }

  reject(error: unknown): void {
    this.reply.reject(error);
  }
}

/** Waits and returns a promise. Not for hot paths. */
export function promised<T>(
  signal: CancelSignal | undefined,
  wait: (waiter: Waiter<T>) => void,
  request?: RequestHead,
  trace?: Trace,
): Promise<T> {
  return new Promise<T>((resolve, reject) => wait(new PromiseWaiter<T>(signal, { resolve, reject }, request, trace)));
}

class Onlooker<T> extends PromiseWaiter<T> {
  constructor(signal: CancelSignal | undefined, reply: Reply<T>) {
    super(signal, reply, undefined, undefined);
  }

  override get isOnlooker(): boolean {
    return true;
  }
}

/** Ignores the result. It only keeps a flight alive, such as a refresh. */
export class BackgroundWaiter<T> extends Waiter<T> {
  constructor(request: RequestHead | undefined) {
    super(undefined, request);
  }

  resolve(): void {}
  reject(): void {}
}

/** A peer that waits for a flight. It is answered first, as more waiters wait at the peer. */
export class PeerWaiter<T extends { readonly value: Value }> extends Waiter<T> {
  private readonly ask: Ask;

  constructor(ask: Ask) {
    super(ask.signal, ask.request, ask.trace);
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

export interface FlightOptions<T> {
  readonly clock: Clock;
  /** How long a flight may last, in milliseconds. */
  readonly timeoutMs: number;
  /** The most flights at once. Further ones are refused. */
  readonly maxFlights: number;
  /** This node's label in the log of invalidations. @default nothing is ever invalidated */
  readonly applied?: () => Label;
  /** Whether a result is also for this waiter, not only for the one that started the flight. @default always */
  readonly isFor?: (key: string, result: T, waiter: Waiter<T>) => boolean;
  /** Handles a waiter that the result is not for. Required if `isFor` is given. @default the waiter gets no result */
  readonly refuse?: (key: string, result: T, waiter: Waiter<T>) => void;
  /** May take over a waiter with `mayGoOn` whose flight failed. @returns whether it did @default it gets the error */
  readonly goesOn?: (key: string, error: unknown, waiter: Waiter<T>) => boolean;
  /** A result to use when a flight takes too long or is one too many. @default none: the waiters get the error */
  readonly standIn?: (key: string, error: Error, request: RequestHead | undefined) => T | undefined;
}

/** The flights of one kind, by key. */
export class Flights<T> {
  readonly #options: FlightOptions<T>;
  /** Flights that later callers must not join. */
  readonly #detached = new Set<LoadInFlight<T>>();
  readonly #flights = new IntrusiveTable<LoadInFlight<T>>();
  /** One timer for all deadlines. */
  readonly #deadlines: Deadlines;

  constructor(options: FlightOptions<T>) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.clock, (nowMs) => this.#endOverdue(nowMs));
  }

  /** Whether this key has a flight. */
  has(key: string): boolean {
    return this.#find(key, hashOf(key)) !== undefined;
  }

  /** For flights. */
  isFor({ key }: LoadInFlight<T>, result: T, waiter: Waiter<T>): boolean {
    return this.#options.isFor === undefined || this.#options.isFor(key, result, waiter);
  }

  /** For flights. */
  goesOn(key: string, error: unknown, waiter: Waiter<T>): boolean {
    return this.#options.goesOn?.(key, error, waiter) ?? false;
  }

  /** For flights. */
  applied(): Label {
    return this.#options.applied?.() ?? BLIND;
  }

  /** For flights. */
  refuse(key: string, result: T, waiter: Waiter<T>): void {
    this.#options.refuse?.(key, result, waiter);
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
    if (present !== undefined) return this.#board(waiter, present);
    const { clock, timeoutMs, maxFlights } = this.#options;
    if (this.#flights.size + this.#detached.size >= maxFlights) {
      const error = new OverloadedError(`Too many loads at once: ${maxFlights}`);
      const standIn = this.#options.standIn?.(key, error, waiter.request);
      return standIn === undefined ? waiter.reject(error) : waiter.resolve(standIn);
    }
    const flight = new LoadInFlight(key, hash, clock.nowMs() + timeoutMs, this, waiter);
    this.#flights.add(flight);
    this.#deadlines.cover(flight.deadlineMs);
    this.#board(waiter, flight);
    try {
      start(flight);
    } catch (error) {
      // A `start` that throws must not leave its flight in the table.
      flight.reject(error);
    }
  }

  /**
   * Observes the flight of `key`, whatever its result and whichever request it is for.
   *
   * @returns its result; rejects with its error or the signal's reason. `undefined`: there is no such flight
   */
  lookOn(key: string, signal: CancelSignal): Promise<T> | undefined {
    const flight = this.#find(key, hashOf(key));
    if (flight === undefined) return undefined;
    return new Promise<T>((resolve, reject) => {
      if (signal.aborted) reject(signal.reason);
      else this.#board(new Onlooker<T>(signal, { resolve, reject }), flight);
    });
  }

  /** Resolves when the flights of these keys have ended in any way, or when the signal aborts. Never rejects. */
  async ended(keys: readonly string[], signal: CancelSignal): Promise<void> {
    await Promise.allSettled(keys.map((key) => this.lookOn(key, signal)));
  }

  /** Makes later callers for these keys start new flights. Present waiters still get the result of theirs. */
  detach(isMeant: (key: string) => boolean): void {
    for (const flight of this.#flights.all()) {
      if (isMeant(flight.key) && this.#flights.delete(flight)) this.#detached.add(flight);
    }
  }

  /**
   * Called by a flight: removes it from the table, if it is still there.
   *
   * @returns the waiters that are left
   */
  end(flight: LoadInFlight<T>): readonly Waiter<T>[] {
    if (!this.#flights.delete(flight)) this.#detached.delete(flight);
    const { waiters } = flight;
    flight.waiters = [];
    for (const waiter of waiters) waiter.signal?.removeEventListener("abort", waiter);
    return waiters;
  }

  /** Called by a flight when a waiter leaves. */
  leave(waiter: Waiter<T>, flight: LoadInFlight<T>): void {
    const at = flight.waiters.indexOf(waiter);
    if (at < 0) return;
    flight.waiters.splice(at, 1);
    const reason = waiter.signal!.reason;
    waiter.reject(reason);
    if (flight.waiters.length > 0) return;
    // Remove it from the table first: a new caller must not join a flight that is being cancelled.
    this.end(flight);
    flight.abort(reason);
  }

  #find(key: string, hash: number): LoadInFlight<T> | undefined {
    let flight = this.#flights.first(hash);
    while (flight !== undefined && flight.key !== key) flight = this.#flights.after(flight);
    return flight;
  }

  #board(waiter: Waiter<T>, flight: LoadInFlight<T>): void {
    if (waiter.isFirst) flight.waiters.unshift(waiter);
    else flight.waiters.push(waiter);
    waiter.board(flight, this.applied());
  }

  /** @returns the earliest remaining deadline, or Infinity */
  #endOverdue(nowMs: number): number {
    let nextMs = Infinity;
    for (const flight of [...this.#flights.all(), ...this.#detached]) {
      if (flight.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, flight.deadlineMs);
        continue;
      }
      // The end of another flight may have ended this one.
      if (flight.waiters.length === 0) continue;
      const error = new OriginTimeoutError(`No answer within ${this.#options.timeoutMs} ms`);
      const standIn = this.#options.standIn?.(flight.key, error, flight.initiator.request);
      if (standIn === undefined) flight.reject(error);
      else flight.resolve(standIn);
      flight.abort(new OriginTimeoutError("deadline"));
    }
    return nextMs;
  }
}

const ONCE = { once: true };
