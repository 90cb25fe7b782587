import type { Clock } from "./clock.ts";

/**
 * What `work` gives, or `late` when `timeoutMs` passes first. The work itself goes on, and its own bounds must end it;
 * what it comes to later is dropped.
 *
 * @param work may throw at once, which is no different from a rejection
 * @throws what `work` throws in time
 */
export function withTimeout<T, L>(clock: Clock, timeoutMs: number, work: () => Promise<T>, late: L): Promise<T | L> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(timeoutMs, () => resolve(late));
    Promise.resolve().then(work).then(resolve, reject).finally(cancel);
  });
}

/** Resolves after `delayMs`, or as soon as `signal` is aborted. Never rejects. */
export function pause(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = (): void => {
      cancel();
      signal.removeEventListener("abort", end);
      resolve();
    };
    const cancel = clock.after(delayMs, end);
    signal.addEventListener("abort", end);
  });
}
