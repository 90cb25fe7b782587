/**
 * Time as an argument: nothing under core/ reads a clock of its own, so a test can hold it still.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch, never less than before: see `steady`. */
  nowMs(): number;
  /** Calls `action` once after `delayMs` milliseconds; the returned function cancels it, and may be called late. */
  after(delayMs: number, action: () => void): () => void;
}

/**
 * A time that never goes back, made of a machine's clock, which may be set back: what was due in a second is not to wait for
 * an hour then. From there on it is ahead by as much. What a clock that is set forward skips has passed, as does the time of
 * a machine that was asleep; the runtimes' own steady clock would leave that out, and values would outlive their time.
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
