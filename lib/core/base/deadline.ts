import type { Clock } from "./clock.ts";

/** A process that is late by so much itself has not come to read what came in time: timers are served before sockets. */
const LATE_MS = 50;
/** Some turns of the event loop. */
const READ_MS = 20;

/**
 * Calls `action` when time is over for an answer: after `delayMs` milliseconds, as `clock.after` does. Where this process
 * stood still meanwhile, as on a machine that is too busy, it first reads what has come, and who answered in time is not
 * given up.
 *
 * @returns what cancels it, and may be called late
 */
export function atDeadline(clock: Clock, delayMs: number, action: () => void): () => void {
  const dueMs = clock.nowMs() + delayMs;
  let cancel = clock.after(delayMs, () => {
    if (clock.nowMs() - dueMs < LATE_MS) action();
    else cancel = clock.after(READ_MS, action);
  });
  return () => cancel();
}
