/** Time as an argument: no code under core/ reads a clock of its own, so a test can move time by hand. */
export interface Clock {
  /** Milliseconds since the Unix epoch. It never goes back: see `steady`. */
  nowMs(): number;
  /** Milliseconds with fractions since an arbitrary moment, for spans too short for `nowMs`. @default as `nowMs` */
  fineMs?(): number;
  /** Calls `action` once, after `delayMs` milliseconds. @returns a function that cancels it; a late call does nothing */
  after(delayMs: number, action: () => void): () => void;
}

/** The clock's finest reading: `fineMs`, or `nowMs` where there is none. */
export function fineClock(clock: Clock): () => number {
  return clock.fineMs === undefined ? () => clock.nowMs() : () => clock.fineMs!();
}

/**
 * Makes a time that never goes back from the machine's clock. When the clock is set back, this time continues from
 * where it was: a timer due in a second must not wait for an hour. It includes jumps forward and the machine's sleep.
 * The runtimes' monotonic clocks leave sleep out, so values would outlive their lifetime.
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
