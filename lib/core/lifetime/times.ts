/** Until when a value may be served, and for what reason. Times in Unix milliseconds of this node's clock. */
export interface Times {
  /** When the origin gave the value. */
  readonly bornAtMs: number;
  /** Until when it is served without asking anybody; `Infinity`: until it is evicted. */
  readonly freshUntilMs: number;
  /** After that, for how long it is served while one load in the whole cluster refreshes it. */
  readonly staleWhileRevalidateMs: number;
  /** After `freshUntilMs`, for how long it is served because the origin fails. */
  readonly staleIfErrorMs: number;
}

/** The same, counted from one moment. Nodes send each other these, as their clocks differ. */
export interface Spans {
  readonly ageMs: number;
  /** Below zero: it has been stale for so long. */
  readonly freshMs: number;
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
}

/** The times of a value for which these spans begin at `nowMs`. */
export function timesFrom(nowMs: number, { ageMs, freshMs, staleWhileRevalidateMs, staleIfErrorMs }: Spans): Times {
  return { bornAtMs: nowMs - ageMs, freshUntilMs: nowMs + freshMs, staleWhileRevalidateMs, staleIfErrorMs };
}

/** Whether it may be served while it is refreshed. */
export function isUsableStale({ freshUntilMs, staleWhileRevalidateMs }: Times, nowMs: number): boolean {
  return freshUntilMs + staleWhileRevalidateMs > nowMs;
}

/** Whether it may be served because the origin fails. */
export function isUsableOnError({ freshUntilMs, staleIfErrorMs }: Times, nowMs: number): boolean {
  return freshUntilMs + staleIfErrorMs > nowMs;
}

/** When nothing may serve the value any more. */
export function goneAtMs({ freshUntilMs, staleWhileRevalidateMs, staleIfErrorMs }: Times): number {
  return freshUntilMs + Math.max(staleWhileRevalidateMs, staleIfErrorMs);
}

/** A lifetime shortened at random by at most `jitter` of itself. @param random from 0 to 1, as Math.random */
export function jittered(lifetimeMs: number, jitter: number, random: () => number): number {
  return lifetimeMs === Infinity ? Infinity : lifetimeMs * (1 - jitter * random());
}

/**
 * Whether a get refreshes a value that is still fresh: the nearer its end and the longer its load, the likelier; so of many
 * gets one comes before the end. XFetch (Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede
 * Prevention", VLDB 2015), with beta 1.
 *
 * @param loadMs how long the last load took
 */
export function isDueEarly(nowMs: number, freshUntilMs: number, loadMs: number, random: () => number): boolean {
  return nowMs - loadMs * Math.log(1 - random()) >= freshUntilMs;
}
