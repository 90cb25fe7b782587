/** Until when a value may be served, and why. Times are in Unix milliseconds of this node's clock. */
export interface Times {
  /** When the origin gave the value. */
  readonly bornAtMs: number;
  /** Until when it is served without asking another node or the origin. `Infinity`: until it is evicted. */
  readonly freshUntilMs: number;
  /** How long after `freshUntilMs` it is served while one load in the whole cluster refreshes it. */
  readonly staleWhileRevalidateMs: number;
  /** How long after `freshUntilMs` it is served when the origin fails. */
  readonly staleIfErrorMs: number;
}

/** The same as durations from one moment. Nodes send these to each other, as their clocks differ. */
export interface Spans {
  readonly ageMs: number;
  /** Negative: how long it has been stale. */
  readonly freshMs: number;
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
}

/** The times of a value whose spans start at `nowMs`. */
export function timesFrom(nowMs: number, { ageMs, freshMs, staleWhileRevalidateMs, staleIfErrorMs }: Spans): Times {
  return { bornAtMs: nowMs - ageMs, freshUntilMs: nowMs + freshMs, staleWhileRevalidateMs, staleIfErrorMs };
}

/** Whether it may be served while it is refreshed. */
export function isUsableStale({ freshUntilMs, staleWhileRevalidateMs }: Times, nowMs: number): boolean {
  return freshUntilMs + staleWhileRevalidateMs > nowMs;
}

/** Whether it may be served when the origin fails. */
export function isUsableOnError({ freshUntilMs, staleIfErrorMs }: Times, nowMs: number): boolean {
  return freshUntilMs + staleIfErrorMs > nowMs;
}

/** When the value may not be served at all any more. */
export function goneAtMs({ freshUntilMs, staleWhileRevalidateMs, staleIfErrorMs }: Times): number {
  return freshUntilMs + Math.max(staleWhileRevalidateMs, staleIfErrorMs);
}

/** A lifetime shortened at random by at most `jitter` of itself. @param random from 0 to 1, as Math.random */
export function jittered(lifetimeMs: number, jitter: number, random: () => number): number {
  return lifetimeMs === Infinity ? Infinity : lifetimeMs * (1 - jitter * random());
}

/**
 * Whether a get refreshes a still fresh value: likelier near its end and for a long load. So one of many gets refreshes
 * it before the end. XFetch (Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB
 * 2015), with beta 1.
 *
 * @param loadMs how long the last load took
 */
export function isDueEarly(nowMs: number, freshUntilMs: number, loadMs: number, random: () => number): boolean {
  return nowMs - loadMs * Math.log(1 - random()) >= freshUntilMs;
}
