import type { Clock } from "../core/base/clock.ts";

/** What an origin needs. */
export interface OriginDeps {
  readonly clock: Clock;
  /** From the call of `load` to its end, in milliseconds. @default LOAD_TIMEOUT_MS */
  readonly loadTimeoutMs?: number;
}

/** The default of a group's `loadTimeoutMs`. */
export const LOAD_TIMEOUT_MS = 10_000;
