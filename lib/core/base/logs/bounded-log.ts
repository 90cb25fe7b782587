/** A log that cannot be flooded: a stranger, a client or a peer may cause its lines. */
import type { Clock } from "../clock.ts";
import type { Log, LogCall, LogFields } from "../log.ts";

/** The span for which lines are counted, in milliseconds. Chosen: short enough to report a flood while it lasts. */
export const SPAN_MS = 60_000;
/** The longest text in a line, in characters; the rest is cut. Chosen: two addresses and a reason are much shorter. */
const MAX_TEXT_CHARS = 1_000;
/** The longest list in a field; the rest is left out. Chosen: more peers than most fleets have. */
const MAX_LIST_ITEMS = 256;

export interface BoundedLogOptions {
  readonly clock: Clock;
  /** The most lines in a minute. Lines of level debug do not count. */
  readonly maxLinesPerMinute: number;
  /** The subject of the lines. The line that counts the omitted ones names it. */
  readonly about: string;
  /** The longest text in a line, in characters. @default 1,000 */
  readonly maxTextChars?: number;
}

/**
 * Passes on a bounded number of lines a minute. After that minute, one line says how many were left out. Each subject
 * of a node has its own bound, so a flood in one subject hides no other.
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

/** Shortens a field's value. An error stays an error, as logs print errors in their own way. */
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
