/**
 * Time as an argument: nothing under core/ reads a clock of its own, so a test can hold it still.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number;
  /** Calls `action` once after `delayMs` milliseconds; the returned function cancels it, and may be called late. */
  after(delayMs: number, action: () => void): () => void;
}
