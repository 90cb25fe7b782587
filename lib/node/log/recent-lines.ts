/** Keeps the latest log lines of a node for its status page. */
import type { Clock } from "../../core/base/clock.ts";
import type { Log, LogCall } from "../../core/base/log.ts";
import type { RecentLine } from "../../http/figures.ts";

/** Chosen: covers the last hours of a quiet fleet, and the last minute of a fleet in trouble. */
const MAX_LINES = 100;
const MAX_LINE_CHARS = 500;

/** A log that passes every line on, and remembers lines of level info and above. */
export class RecentLines implements Log {
  readonly debug: LogCall;
  readonly info: LogCall;
  readonly warn: LogCall;
  readonly error: LogCall;
  #lines: RecentLine[] = [];

  constructor(log: Log, clock: Clock) {
    const keep = (level: RecentLine["level"]): LogCall => (message, fields, facts) => {
      this.#lines.push({ atMs: clock.nowMs(), level, message: message.slice(0, MAX_LINE_CHARS) });
      if (this.#lines.length >= 2 * MAX_LINES) this.#lines = this.#lines.slice(-MAX_LINES);
      log[level](message, fields, facts);
    };
    this.debug = (message, fields, facts) => log.debug(message, fields, facts);
    this.info = keep("info");
    this.warn = keep("warn");
    this.error = keep("error");
  }

  /** The latest 100 lines, the latest first. */
  get latest(): RecentLine[] {
    return this.#lines.slice(-MAX_LINES).reverse();
  }
}
