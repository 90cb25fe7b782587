/** Time as an argument: nothing under core/ reads a clock of its own, so a test can move time by hand. */
export interface Clock {
  /** Milliseconds since the Unix epoch. It never goes back: see `steady`. */
  nowMs(): number;
  /** Milliseconds with fractions since some moment, for spans that `nowMs` is too coarse for. @default as `nowMs` */
  fineMs?(): number;
  /** Calls `action` once, after `delayMs` milliseconds. @returns a function that cancels it, and may be called too late */
  after(delayMs: number, action: () => void): () => void;
}

/** Reads a clock as finely as it can be read. */
export function fineClock(clock: Clock): () => number {
  return clock.fineMs === undefined ? () => clock.nowMs() : () => clock.fineMs!();
}

/**
 * Makes a time that never goes back from the machine's clock. When that clock is set back, this time goes on from where it
 * was: a timer due in a second must not wait for an hour. When it is set forward, or the machine was asleep, that time has
 * passed. The runtimes' monotonic clock leaves sleep out, so values would outlive their lifetime.
 */
export function steady(wallMs: () => number): () => number {
  let lastMs = wallMs();
  let aheadMs = 0;
  return () => {
    const nowMs = wallMs();
    if (nowMs < lastMs) aheadMs += lastMs - nowMs;
    lastMs = nowMs;
    return nowMs + aheadMs;
  };
}
