import type { Clock } from "./clock.ts";

/** A number in [0, 1), such as `Math.random` gives; a test hands in its own. */
export type Random = () => number;

/**
 * How long to wait before try number `attempt` (from 0): doubles from `firstMs` up to `mostMs`, and lies anywhere in
 * the upper half of that, so that nodes that failed together do not come back together.
 */
export function backoffMs(attempt: number, firstMs: number, mostMs: number, random: Random): number {
  const fullMs = Math.min(mostMs, firstMs * 2 ** Math.min(attempt, 30));
  return fullMs / 2 + (fullMs / 2) * random();
}

/**
 * What `work` gives, unless `timeoutMs` passes first; then whatever `late` gives or throws. The work itself goes on:
 * its own bounds must end it.
 */
export function within<T>(clock: Clock, timeoutMs: number, work: Promise<T>, late: () => T): Promise<T> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(timeoutMs, () => {
      try {
        resolve(late());
      } catch (error) {
        reject(error);
      }
    });
    work.then(resolve, reject).finally(cancel);
  });
}
