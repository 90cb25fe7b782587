/** Returns a number in [0, 1), as `Math.random` does. */
export type Random = () => number;

/** How the waits between attempts grow. */
export interface Backoff {
  /** The wait before the first attempt, in milliseconds. */
  readonly firstMs: number;
  /** The longest wait, in milliseconds. */
  readonly mostMs: number;
}

/**
 * The wait before attempt number `attempt` (from 0), in milliseconds. It doubles from `firstMs` up to `mostMs`. With
 * `random` it lies in the upper half of that, so nodes that failed together do not return together ("equal jitter":
 * Brooker, "Exponential Backoff And Jitter", AWS 2015).
 */
export function backoffMs(attempt: number, { firstMs, mostMs }: Backoff, random?: Random): number {
  const fullMs = Math.min(mostMs, firstMs * 2 ** Math.min(attempt, 30));
  return random === undefined ? fullMs : fullMs / 2 + (fullMs / 2) * random();
}
