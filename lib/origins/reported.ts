/** Logs why an origin fails: a client learns only that it fails. */
import type { Clock } from "../core/base/clock.ts";
import { OriginError } from "../core/errors.ts";
import type { Log } from "../core/base/log.ts";
import type { CheckedOrigin } from "./origin.ts";

/** The shortest time between two lines. Chosen: an origin that is down fails every load. */
const SILENCE_MS = 5_000;

/** The same origin, with its failures logged: at most one line in SILENCE_MS, with the number of failures since. */
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
    const facts = { group, key, reason: error.message, unsaid };
    log.warn(`the origin of ${group} failed: ${error.message} (key ${JSON.stringify(key)}${others})`, {}, facts);
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
