/** For how long the values of a group may be served, where the origin does not say so itself. */
export interface LifetimePolicy {
  /** Lifetime, in milliseconds; null: until it is evicted. */
  readonly ttlMs: number | null;
  /** Share by which lifetimes are shortened at random, 0 to 1: what was loaded together does not expire together. */
  readonly ttlJitter: number;
  /** After that, for how long a value is served while one load in the whole cluster refreshes it, in milliseconds. */
  readonly staleWhileRevalidateMs: number;
  /** After the lifetime, for how long a value is served because the origin fails, in milliseconds. */
  readonly staleIfErrorMs: number;
  /** A load that takes longer than this is answered with a stale value that may be served; null: it is waited for. */
  readonly softTimeoutMs: number | null;
  /** Whether popular values are refreshed shortly before they expire. */
  readonly refreshAhead: boolean;
  /** How long "not found" is remembered, in milliseconds. */
  readonly negativeTtlMs: number;
  /** Whether an HTTP origin's own words on freshness come first. */
  readonly honourOrigin: boolean;
}

/** The policy of a group that sets nothing. */
export const DEFAULT_LIFETIME: LifetimePolicy = {
  ttlMs: null,
  ttlJitter: 0.1,
  staleWhileRevalidateMs: 0,
  staleIfErrorMs: 0,
  softTimeoutMs: null,
  refreshAhead: false,
  negativeTtlMs: 0,
  honourOrigin: true,
};
