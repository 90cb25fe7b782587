/** Tells the operator why an origin fails: a client is told only that it does. */
import type { Clock } from "../core/base/clock.ts";
import { OriginError } from "../core/errors.ts";
import type { Log } from "../core/base/log.ts";
import type { CheckedOrigin } from "./origin.ts";

/** An origin that is down fails every load; one line in so long says enough. */
const SILENCE_MS = 5_000;

/** The same origin; its failures are logged, at most one in SILENCE_MS, with the number of those that were not. */
export function reported(
  origin: CheckedOrigin,
  group: string,
  { clock, log }: { clock: Clock; log: Log },
): CheckedOrigin {
  let silentUntilMs = -Infinity;
  let unsaid = 0;
  const report = (key: string, error: Error) => {
    if (clock.nowMs() < silentUntilMs) return void unsaid++;
    const others = unsaid === 0 ? "" : `, and ${unsaid} more failed since the last of these lines`;
    log.warn(`the origin of ${group} failed: ${error.message} (key ${JSON.stringify(key)}${others})`);
    silentUntilMs = clock.nowMs() + SILENCE_MS;
    unsaid = 0;
  };
  return {
    async load(key, signal) {
      try {
        return await origin.load(key, signal);
      } catch (error) {
        if (error instanceof OriginError && !signal.aborted) report(key, error);
        throw error;
      }
    },
    check: () => origin.check(),
    close: () => origin.close(),
  };
}
