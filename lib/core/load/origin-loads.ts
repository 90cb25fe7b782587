import type { Clock } from "../base/clock.ts";
import { Memo } from "../base/tables/memo.ts";
import { keyShown, NO_TRACING, type Trace, type Tracing } from "../base/trace.ts";
import {
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OriginUnreachableError,
  OverloadedError,
  PassThroughError,
} from "../errors.ts";
import type { SpanMeter } from "../measure/span-meter.ts";
import { FailedRefreshes } from "../lifetime/failed-refreshes.ts";
import type { Label } from "../invalidation/label.ts";
import type { LifetimePolicy } from "../lifetime/policy.ts";
import { goneAtMs, isUsableOnError, jittered, timesFrom } from "../lifetime/times.ts";
import type { LoadContext, Origin, RequestHead } from "../ports.ts";
import type { Freshness } from "../semantics/freshness.ts";
import { type About, type Answer, canBeValidated, NO_TAGS, NOTHING_HERE, PLAIN, type Value } from "../value.ts";
import type { Flight } from "./flights.ts";
import type { LoadingBytes } from "./loading-bytes.ts";
import type { OriginHealth } from "./origin-health.ts";
import type { Reachability } from "./reachability.ts";

/** Chosen: an origin uses only a few. quick-lru keeps up to twice as many. */
const MAX_CONTENT_TYPES = 128;
const EMPTY = new Uint8Array(0);

/** The counters of loads from the origin. */
export interface OriginStats {
  localLoads: number;
  localLoadErrs: number;
  /** Requests to the origin, whatever their result. */
  originLoads: number;
  /** Loads that a stale value replaced because the origin failed. */
  staleOnError: number;
}

export interface OriginLoadsOptions {
  readonly origin: Origin;
  /** Whether this node must not ask the origin. Then every load is refused and not counted. @default false */
  readonly isBarred?: boolean;
  readonly clock: Clock;
  readonly lifetime: LifetimePolicy;
  /** From 0 to 1, as Math.random. */
  readonly random: () => number;
  /** Tracks whether this node reaches the origin. It is asked before each load and gets each result. */
  readonly reachability: Reachability;
  /** Records how each load ended. @default none */
  readonly health?: OriginHealth | undefined;
  /** Makes an entity tag for a body. @default no tag */
  readonly etagOf?: ((body: Uint8Array<ArrayBuffer>) => string) | undefined;
  /** Bounds unfinished bodies, together with those of other groups. @default no bound */
  readonly loading?: LoadingBytes | undefined;
  /** The name of the group, for spans. @default none */
  readonly group?: string;
  /** Records each load. @default no records */
  readonly tracing?: Tracing | undefined;
  /** The counters to increment. */
  readonly stats: OriginStats;
  /** Records the duration of each load, including its wait at the guard, whatever its result. @default none */
  readonly spans?: SpanMeter;
}

/** The result of a load: the origin's value, or a stale one in its place. */
export interface FromOrigin {
  readonly value: Value;
  readonly isStandIn: boolean;
}

/**
 * One group's requests to its origin. Makes values with their times from its answers, and finds stale values when it
 * fails.
 */
export class OriginLoads {
  readonly #options: OriginLoadsOptions;
  readonly #failed: FailedRefreshes;
  /** Keeps one string object per content type, as each answer to a peer compares it with the last one. */
  readonly #contentTypes = new Memo<string, string>(MAX_CONTENT_TYPES, (type) => type);
  /** The cache keys that the origin is being asked for now, each with its load. */
  readonly #inFlight = new Map<string, Flight<unknown>>();

  constructor(options: OriginLoadsOptions) {
    this.#options = options;
    this.#failed = new FailedRefreshes(options.clock);
  }

  /** Whether the origin is being asked for this key now. */
  isAsking(cacheKey: string): boolean {
    return this.#inFlight.has(cacheKey);
  }

  get asking(): string[] {
    return [...this.#inFlight.keys()];
  }

  /** Whether a refresh of this key failed recently and the next one is not due yet. */
  isBackingOff(cacheKey: string): boolean {
    return this.#failed.errorOf(cacheKey) !== undefined;
  }

  /**
   * Asks the origin. If it fails, is too slow or refuses, a usable stale value is the result, and the key backs off.
   *
   * @param label this node's label in the log of invalidations when the load begins
   * @param held this node's value for the key, which may change during the load; the origin may validate it
   * @throws NotFoundError, OriginError, OriginTimeoutError, OriginUnreachableError, OverloadedError, PassThroughError
   */
  async load(
    key: string,
    cacheKey: string,
    flight: Flight<unknown>,
    label: Label,
    held: () => Value | undefined,
    request: RequestHead | undefined,
  ): Promise<FromOrigin> {
    const asStandIn = (value: Value | undefined) => value && { value, isStandIn: true };
    const early = this.heldBack(cacheKey, held());
    if (early !== undefined) return { value: early, isStandIn: true };
    try {
      const value = await this.#ask(key, cacheKey, flight, label, held(), request);
      const { status } = value.about;
      const isFailed = isFailureStatus(status) && !flight.aborted;
      const error = isFailed ? new OriginError(`the origin answered ${status}`) : undefined;
      if (error === undefined) this.succeeded(cacheKey);
      return (error && asStandIn(this.failed(cacheKey, error, held()))) ?? { value, isStandIn: false };
    } catch (error) {
      // After a flight's deadline, its waiters already got a stale value or the error: see Group.
      const standIn = flight.aborted ? undefined : asStandIn(this.failed(cacheKey, error, held()));
      if (standIn === undefined) throw error;
      return standIn;
    }
  }

  /** The value to serve in place of a load while the key backs off. */
  heldBack(cacheKey: string, held: Value | undefined): Value | undefined {
    return held !== undefined && this.isBackingOff(cacheKey) ? this.#standIn(held) : undefined;
  }

  /**
   * To be called when a load failed. A key backs off if there is a stale value to refresh; else each get tries again.
   *
   * @returns the stale value to serve, if it may be served now
   */
  failed(cacheKey: string, error: unknown, held: Value | undefined): Value | undefined {
    if (held === undefined || !(error instanceof OriginError || error instanceof OverloadedError)) return undefined;
    this.#failed.failed(cacheKey, error);
    return this.#standIn(held);
  }

  /** To be called when a fresh value came. */
  succeeded(cacheKey: string): void {
    this.#failed.succeeded(cacheKey);
  }

  #standIn(held: Value): Value | undefined {
    const { clock, stats } = this.#options;
    if (!isUsableOnError(held, clock.nowMs())) return undefined;
    stats.staleOnError++;
    return held;
  }

  async #ask(
    key: string,
    cacheKey: string,
    flight: Flight<unknown>,
    label: Label,
    stale: Value | undefined,
    request: RequestHead | undefined,
  ): Promise<Value> {
    const { clock, lifetime, reachability, health, stats, spans, isBarred = false } = this.#options;
    flight.throwIfAborted();
    if (!reachability.admit()) throw new OriginUnreachableError("this node could not reach the origin a moment ago");
    const loading = this.#options.loading?.begin();
    if (!isBarred) stats.originLoads++;
    this.#inFlight.set(cacheKey, flight);
    const askedAtMs = clock.nowMs();
    const begun = spans?.begin() ?? NaN;
    try {
      const answer = await this.#answer(key, flight, { stale, request, loading });
      reachability.answered();
      if (answer.status === 404 && this.#isNothing(answer)) {
        throw new NotFoundError(`there is no ${JSON.stringify(key)}`);
      }
      stats.localLoads++;
      if (isFailureStatus(answer.status ?? 200)) health?.failed(`it answered with the status ${answer.status}`);
      else health?.succeeded();
      return this.valueOf(answer, clock.nowMs() - askedAtMs, label);
    } catch (error) {
      // A load that its waiters cancelled is no error of the origin.
      if (!flight.aborted || flight.reason instanceof OriginTimeoutError) stats.localLoadErrs++;
      if (!flight.aborted) tell(reachability, error, askedAtMs);
      if (health !== undefined && !isBarred) tellHealth(health, error, flight);
      if (!(error instanceof NotFoundError) || lifetime.negativeTtlMs === 0) throw error;
      return this.#remembered(clock.nowMs() - askedAtMs, label);
    } finally {
      loading?.end();
      // A load that its waiters cancelled says nothing about the origin.
      const isCancelled = flight.aborted && !(flight.reason instanceof OriginTimeoutError);
      if (!isBarred && !isCancelled) spans?.end(begun, clock.nowMs() - askedAtMs);
      // A cancelled load may end after the next one has begun.
      if (this.#inFlight.get(cacheKey) === flight) this.#inFlight.delete(cacheKey);
    }
  }

  /** The origin's answer, with a span if spans are recorded. */
  #answer(key: string, flight: Flight<unknown>, context: LoadContext): Promise<Answer> {
    const { origin, tracing = NO_TRACING } = this.#options;
    const load = (trace: Trace | undefined) => origin.load(key, flight.abortSignal(), { ...context, trace });
    return tracing.isOn ? this.#recorded(key, flight, load) : load(flight.trace);
  }

  async #recorded(
    key: string,
    flight: Flight<unknown>,
    load: (trace: Trace | undefined) => Promise<Answer>,
  ): Promise<Answer> {
    const { group = "", tracing = NO_TRACING } = this.#options;
    const span = tracing.begin("load", "load", flight.trace, { "muster.group": group, "muster.key": keyShown(key) });
    try {
      const answer = await span.run(() => load(span.trace));
      span.end({ "muster.bytes": answer.body.length, "muster.status": answer.status ?? 200 });
      return answer;
    } catch (error) {
      span.end({}, error);
      throw error;
    }
  }

  /** Whether it is a "not found" that must not be remembered. A site's 404 has a body or fields and is an ordinary answer. */
  #isNothing({ body, fields, freshness }: Answer): boolean {
    return body.length === 0 && fields === undefined && (freshness === undefined || freshness.freshMs <= 0);
  }

  #remembered(loadMs: number, label: Label): Value {
    const { clock, lifetime: { negativeTtlMs, ttlJitter }, random } = this.#options;
    const freshMs = jittered(negativeTtlMs, ttlJitter, random);
    const times = timesFrom(clock.nowMs(), { ageMs: 0, freshMs, staleWhileRevalidateMs: 0, staleIfErrorMs: 0 });
    return { body: EMPTY, contentType: "", loadMs, about: NOTHING_HERE, ...times, label };
  }

  /** Makes a value of the origin's answer; its times start now. @param loadMs how long the origin took */
  valueOf(answer: Answer, loadMs: number, label: Label): Value {
    const { clock } = this.#options;
    const freshness = answer.freshness ?? this.#ownFreshness();
    const contentType = this.#contentTypes.get(answer.contentType);
    const { bornAtMs, freshUntilMs, staleWhileRevalidateMs, staleIfErrorMs } = timesFrom(clock.nowMs(), freshness);
    const about = this.#aboutOf(answer);
    // All fields are listed, as an object made by spreading is slower to read at each hit.
    return {
      body: answer.body,
      contentType,
      about,
      bornAtMs,
      freshUntilMs,
      staleWhileRevalidateMs,
      staleIfErrorMs,
      loadMs,
      label,
    };
  }

  /** The freshness by the group's policy alone. */
  #ownFreshness(): Freshness {
    const { lifetime: { ttlMs, ttlJitter, staleWhileRevalidateMs, staleIfErrorMs }, random } = this.#options;
    const freshMs = jittered(ttlMs ?? Infinity, ttlJitter, random);
    const own = { hasOwnLifetime: false, hasOwnStale: false };
    return { isStorable: true, ageMs: 0, freshMs, staleWhileRevalidateMs, staleIfErrorMs, ...own };
  }

  #aboutOf({ body, status = 200, fields = PLAIN.fields, freshness, selection, tags = NO_TAGS }: Answer): About {
    if (freshness === undefined && status === 200 && tags.length === 0) return PLAIN;
    const [told] = fields.filter(([name]) => name === "etag").map(([, tag]) => tag);
    const etag = told ?? (status === 200 ? this.#options.etagOf?.(body) : undefined);
    const isPrivate = freshness !== undefined && !freshness.isStorable;
    const { hasOwnLifetime = false, hasOwnStale = false } = freshness ?? {};
    return { status, fields, etag, selection, hasOwnLifetime, hasOwnStale, isPrivate, tags };
  }
}

/** Reports how a load ended. A time-out or a refusal of the guard does not show whether the origin can be reached. */
function tell(reachability: Reachability, error: unknown, askedAtMs: number): void {
  if (error instanceof OriginUnreachableError) reachability.failed(askedAtMs, error.message);
  else if (error instanceof OriginTimeoutError) return;
  else if (error instanceof OriginError || error instanceof NotFoundError || error instanceof PassThroughError) {
    reachability.answered();
  }
}

/** Reports how a load ended. A load that its waiters cancelled or the guard refused says nothing about the origin. */
function tellHealth(health: OriginHealth, error: unknown, flight: Flight<unknown>): void {
  const fault = flight.aborted ? flight.reason : error;
  if (fault instanceof OriginTimeoutError) health.failed(flight.aborted ? "no answer in time" : fault.message);
  else if (flight.aborted) return;
  else if (fault instanceof OriginError) health.failed(fault.message);
  else if (fault instanceof NotFoundError || fault instanceof PassThroughError) health.succeeded();
}

/** Whether keeping the value is of any use. */
export function isWorthKeeping(value: Value, nowMs: number): boolean {
  return !value.about.isPrivate && (goneAtMs(value) > nowMs || canBeValidated(value));
}

/** Whether this status counts as a failure while there is a stale value to serve (RFC 5861, section 4). */
export function isFailureStatus(status: number): boolean {
  return status === 500 || status === 502 || status === 503 || status === 504;
}
