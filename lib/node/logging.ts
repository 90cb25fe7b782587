/** Log lines, as text for people and as JSON for machines, through LogTape's formatters. */
import { getJsonLinesFormatter, getTextFormatter, type LogRecord } from "@logtape/logtape";
import type { Log } from "../core/base/log.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface LogOptions {
  /** `text`: `2026-01-01T00:00:00.000Z info  message field="value"`; `json`: `{"time","level","message",...fields}`. */
  readonly format: "text" | "json";
  /** Takes one line without its end; control characters are escaped, so it is one line indeed. */
  readonly write: (line: string) => void;
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: () => number;
  /** What is less is dropped. @default "info" */
  readonly lowestLevel?: LogLevel;
}

const levels: readonly LogLevel[] = ["debug", "info", "warn", "error"];

/**
 * Makes a log of its own: LogTape's process-wide configuration is left alone, so that two nodes in one process keep
 * apart. A message is printed as it is: braces in it are text, not places for fields.
 */
export function createLog(options: LogOptions): Log {
  const line = options.format === "text" ? textLine : jsonLine;
  const lowest = levels.indexOf(options.lowestLevel ?? "info");
  const say = (level: LogLevel) => (message: string, fields: Record<string, unknown> = {}): void => {
    if (levels.indexOf(level) >= lowest) options.write(line(options.nowMs(), level, message, fields));
  };
  return { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
}

const formatText = getTextFormatter({
  timestamp: "rfc3339",
  level: (level) => (level === "warning" ? "warn" : level).padEnd(5),
  sanitize: { sgr: "escape", newlines: "escape" },
  format: ({ timestamp, level, message }) => `${timestamp} ${level} ${message}`,
});

/** Copes with errors, bigints and circles in the fields. */
const formatJson = getJsonLinesFormatter();

type Line = (timestamp: number, level: LogLevel, message: string, fields: Record<string, unknown>) => string;

const textLine: Line = (timestamp, level, message, fields) => {
  const told = plainFields(fields).map(([key, value]) => ` ${key}=${bareOrQuoted(value)}`).join("");
  return formatText(record(timestamp, level, message + told, {})).slice(0, -1); // the line feed
};

const jsonLine: Line = (timestamp, level, message, fields) => {
  const head = { time: new Date(timestamp).toISOString(), level, message };
  // Spread twice: the head comes first, and no field can pass for it.
  const line = JSON.stringify({ ...head, ...Object.fromEntries(plainFields(fields)), ...head });
  // A terminal obeys these too, and JSON leaves them as they are.
  return line.replace(/[\u007f-\u009f]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
};

/** A record as LogTape's loggers make it, but for one thing: they would look for `{…}` in the message. */
function record(timestamp: number, level: LogLevel, message: string, properties: Record<string, unknown>): LogRecord {
  const [logTapeLevel, rawMessage] = [level === "warn" ? "warning" as const : level, message];
  return { category: [], level: logTapeLevel, message: [message], rawMessage, timestamp, properties };
}

/** The fields as JSON values; an error becomes its name and message, for a stack says nothing to an operator. */
function plainFields(fields: Record<string, unknown>): [string, unknown][] {
  const entries = Object.entries(fields);
  if (entries.length === 0) return [];
  const told = entries.map(([key, value]) => [key, value instanceof Error ? `${value.name}: ${value.message}` : value]);
  return Object.entries(JSON.parse(formatJson(record(0, "info", "", Object.fromEntries(told)))).properties);
}

function bareOrQuoted(value: unknown): string {
  return typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}
