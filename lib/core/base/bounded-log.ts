/** A log that nobody can flood: a stranger, a client or a peer may cause its lines. */
import type { Clock } from "./clock.ts";
import type { Log, LogCall, LogFields } from "./log.ts";

/** The span for which lines are counted, in milliseconds. Chosen: a flood is told about while it lasts. */
export const SPAN_MS = 60_000;
/** The longest text in a line, in characters; the rest is cut. Chosen: two addresses and a reason need far less. */
const MAX_TEXT_CHARS = 1_000;

export interface BoundedLogOptions {
  readonly clock: Clock;
  /** The most lines in a minute; those of level debug are not counted. */
  readonly maxLinesPerMinute: number;
  /** What the lines are about, for the one that tells how many were left out. */
  readonly about: string;
}

/**
 * Passes on a bounded number of lines a minute. When the minute is over, one line tells how many more there were. Each
 * subject of a node has a bound of its own, so that a flood in one hides nothing of another.
 */
export function boundedLog(log: Log, { clock, maxLinesPerMinute, about }: BoundedLogOptions): Log {
  let endsMs = -Infinity;
  let lines = 0;
  let unsaid = 0;
  const tell = () => {
    log.warn(`${unsaid} more lines about ${about} were left out`, {}, { about, unsaid });
    unsaid = 0;
  };
  const say = (level: keyof Log): LogCall => (message, fields, facts) => {
    const nowMs = clock.nowMs();
    if (nowMs >= endsMs) [endsMs, lines] = [nowMs + SPAN_MS, 0];
    if (lines < maxLinesPerMinute) {
      lines++;
      log[level](cut(message), fields && cutAll(fields), facts && cutAll(facts));
    } else if (++unsaid === 1) clock.after(endsMs - nowMs, tell);
  };
  return {
    debug: (message, fields, facts) => log.debug(message, fields, facts),
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
  };
}

function cut(text: string): string {
  return text.length <= MAX_TEXT_CHARS ? text : `${text.slice(0, MAX_TEXT_CHARS)}…`;
}

function cutAll(fields: LogFields): LogFields {
  const isShort = Object.values(fields).every((value) => typeof value !== "string" || value.length <= MAX_TEXT_CHARS);
  if (isShort) return fields;
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === "string" ? cut(value) : value]),
  );
}
