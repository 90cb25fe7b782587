/** Takes log lines; lib/node/log/logging.ts writes them. */
export interface Log {
  debug: LogCall;
  info: LogCall;
  warn: LogCall;
  error: LogCall;
}

/**
 * Writes one line.
 *
 * @param message for people
 * @param fields more than the message says; text lines and JSON lines print them
 * @param facts repeats parts of the message for machines; only JSON lines print them
 */
export type LogCall = (message: string, fields?: LogFields, facts?: LogFields) => void;

export type LogFields = Readonly<Record<string, unknown>>;
