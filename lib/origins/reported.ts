/** Logs why an origin fails, because a client is only told that it fails. */
import type { Clock } from "../core/base/clock.ts";
import { OriginError, OriginUnreachableError } from "../core/errors.ts";
import type { Log, LogFields } from "../core/base/log.ts";
import type { Trace } from "../core/base/trace.ts";
import { followed } from "./followed.ts";
import type { CheckedOrigin } from "./origin.ts";

/** The shortest time between two lines. Chosen: an origin that is down fails every load. */
const SILENCE_MS = 5_000;

/** The group's knowledge of whether this node reaches the origin. */
export interface Reached {
  answered(): void;
  failed(askedAtMs: number, reason: string): void;
}

/** The group's record of how the origin answers. */
export interface Health {
  succeeded(): void;
  failed(reason: string): void;
}

/**
 * The same origin, with its failures logged: at most one line in SILENCE_MS, with the number of failures since.
 *
 * @param reached and `health` hear of forwarded requests: the group sees only loads
 */
export function reported(
  origin: CheckedOrigin,
  group: string,
  { clock, log }: { clock: Clock; log: Log },
  reached?: Reached,
  health?: Health,
): CheckedOrigin {
  let silentUntilMs = -Infinity;
  let unsaid = 0;
  // A site's key has a query, which may hold a secret.
  const shown = (key: string) => origin.forward === undefined ? key : key.replace(/\?.*$/s, "");
  const report = (asked: string, error: unknown, signal: AbortSignal, trace: Trace | undefined) => {
    if (!(error instanceof OriginError) || signal.aborted) return;
    if (clock.nowMs() < silentUntilMs) return void unsaid++;
    const key = shown(asked);
    const others = unsaid === 0 ? "" : `, and ${unsaid} more failed since the last of these lines`;
    const facts = { group, key, reason: error.message, unsaid };
    log.warn(
      `the origin of ${group} failed: ${error.message} (key ${JSON.stringify(key)}${others})`,
      idOf(trace),
      facts,
    );
    silentUntilMs = clock.nowMs() + SILENCE_MS;
    unsaid = 0;
  };
  const { forward, changedBy } = origin;
  return {
    async load(key, signal, context) {
      try {
        return await origin.load(key, signal, context);
      } catch (error) {
        report(key, error, signal, context?.trace);
        throw error;
      }
    },
    check: () => origin.check(),
    close: () => origin.close(),
    ...(forward && {
      async forward(request, signal) {
        const askedAtMs = clock.nowMs();
        const failed = (error: unknown) => {
          if (!(error instanceof OriginError) || signal.aborted) return;
          if (error instanceof OriginUnreachableError) reached?.failed(askedAtMs, error.message);
          health?.failed(error.message);
          report(request.key, error, signal, request.trace);
        };
        try {
          const answer = await forward.call(origin, request, signal);
          reached?.answered();
          const { status } = answer;
          if (status >= 500) health?.failed(`it answered with the status ${status}`);
          const over = (error?: unknown) => {
            if (error !== undefined) failed(error);
            else if (status < 500) health?.succeeded();
          };
          return { ...answer, body: followed(answer.body, over) };
        } catch (error) {
          failed(error);
          throw error;
        }
      },
    }),
    ...(changedBy && { changedBy: (key, answer) => changedBy.call(origin, key, answer) }),
  };
}

function idOf(trace: Trace | undefined): LogFields {
  return trace?.requestId === undefined ? {} : { requestId: trace.requestId };
}
