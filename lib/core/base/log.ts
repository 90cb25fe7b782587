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
 * @param fields what the message does not say; a text line and a JSON line both print them
 * @param facts what the message says already, for machines: only a JSON line prints them
 */
export type LogCall = (message: string, fields?: LogFields, facts?: LogFields) => void;

export type LogFields = Readonly<Record<string, unknown>>;
