import type { Clock } from "../clock.ts";

/**
 * Resolves to the result of `work`, or to `late` after `timeoutMs`. A late result is dropped. The work continues until
 * its own limits end it.
 *
 * @param work may also throw synchronously
 * @throws the error of `work`, if it fails in time
 */
export function withTimeout<T, L>(clock: Clock, timeoutMs: number, work: () => Promise<T>, late: L): Promise<T | L> {
  return new Promise((resolve, reject) => {
    const cancel = clock.after(timeoutMs, () => resolve(late));
    Promise.resolve().then(work).then(resolve, reject).finally(cancel);
  });
}

/** Resolves after `delayMs` milliseconds, or as soon as `signal` is aborted. Never rejects. */
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
