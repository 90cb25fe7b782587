/** How long the values of a group may be served, where the origin itself does not say. */
export interface LifetimePolicy {
  /** Lifetime, in milliseconds; null: until it is evicted. */
  readonly ttlMs: number | null;
  /** The largest random share to shorten lifetimes by, 0 to 1, so that values loaded together do not expire together. */
  readonly ttlJitter: number;
  /** How long after its lifetime a value is served while one load in the whole cluster refreshes it, in milliseconds. */
  readonly staleWhileRevalidateMs: number;
  /** How long after its lifetime a value is served when the origin fails, in milliseconds. */
  readonly staleIfErrorMs: number;
  /** After this time of a load, in milliseconds, a stale value that may be served is the answer. null: wait for the load. */
  readonly softTimeoutMs: number | null;
  /** Whether popular values are refreshed shortly before they expire. */
  readonly refreshAhead: boolean;
  /** How long "not found" is remembered, in milliseconds. */
  readonly negativeTtlMs: number;
  /** Whether an HTTP origin's own freshness has priority. */
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
