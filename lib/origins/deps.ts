import type { Clock } from "../core/base/clock.ts";

/** What an origin is made with. */
export interface OriginDeps {
  readonly clock: Clock;
  /** From the call of `load` to its end, in milliseconds. @default LOAD_TIMEOUT_MS */
  readonly loadTimeoutMs?: number;
}

export const LOAD_TIMEOUT_MS = 10_000;
