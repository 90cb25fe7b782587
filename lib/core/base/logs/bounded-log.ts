/** A log that nobody can flood: a stranger, a client or a peer may cause its lines. */
import type { Clock } from "../clock.ts";
import type { Log, LogCall, LogFields } from "../log.ts";

/** The span for which lines are counted, in milliseconds. Chosen: a flood is told about while it lasts. */
export const SPAN_MS = 60_000;
/** The longest text in a line, in characters; the rest is cut. Chosen: two addresses and a reason need far less. */
const MAX_TEXT_CHARS = 1_000;
/** The longest list in a field; the rest is left out. Chosen: more peers than most fleets have. */
const MAX_LIST_ITEMS = 256;

export interface BoundedLogOptions {
  readonly clock: Clock;
  /** The most lines in a minute; those of level debug are not counted. */
  readonly maxLinesPerMinute: number;
  /** What the lines are about, for the one that tells how many were left out. */
  readonly about: string;
  /** The longest text in a line, in characters. @default 1,000 */
  readonly maxTextChars?: number;
}

/**
 * Passes on a bounded number of lines a minute. When the minute is over, one line tells how many more there were. Each
 * subject of a node has a bound of its own, so that a flood in one hides nothing of another.
 */
export function boundedLog(
  log: Log,
  { clock, maxLinesPerMinute, about, maxTextChars = MAX_TEXT_CHARS }: BoundedLogOptions,
): Log {
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
      const cut = (value: unknown) => shortened(value, maxTextChars);
      const cutAll = (all: LogFields) =>
        Object.fromEntries(Object.entries(all).map(([name, each]) => [name, cut(each)]));
      log[level](cut(message) as string, fields && cutAll(fields), facts && cutAll(facts));
    } else if (++unsaid === 1) clock.after(endsMs - nowMs, tell);
  };
  return {
    debug: (message, fields, facts) => log.debug(message, fields, facts),
    info: say("info"),
    warn: say("warn"),
    error: say("error"),
  };
}

/** A value of a field. An error stays one, as logs print it in their own way. */
function shortened(value: unknown, maxTextChars: number): unknown {
  if (Array.isArray(value)) return value.slice(0, MAX_LIST_ITEMS);
  if (value instanceof Error) return shortError(value, maxTextChars);
  return typeof value === "string" ? shortText(value, maxTextChars) : value;
}

function shortError(error: Error, maxTextChars: number): Error {
  const message = shortText(error.message, maxTextChars);
  return message === error.message ? error : Object.assign(new Error(message), { name: error.name });
}

function shortText(text: string, maxTextChars: number): string {
  return text.length <= maxTextChars ? text : `${text.slice(0, maxTextChars)}…`;
}
