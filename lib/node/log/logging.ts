/** Writes log lines as text for people or as JSON for machines, with LogTape's formatters. */
import { getJsonLinesFormatter, getTextFormatter, type LogRecord } from "@logtape/logtape";
import { LOG_LEVELS, type LogLevel } from "../../config/options.ts";
import type { Log, LogCall, LogFields } from "../../core/base/log.ts";

export interface LogOptions {
  /**
   * `text`: `2026-01-01T00:00:00.000Z info  message field="value"`; `json`: `{"time","level","message",...facts,
   * ...fields}`.
   */
  readonly format: "text" | "json";
  /** Takes one line without its end. Control characters are escaped, so it stays one line. */
  readonly write: (line: string) => void;
  /** Milliseconds since the Unix epoch. */
  readonly nowMs: () => number;
  /** Lines of lower levels are dropped. Called for each line, as a reload may change the level. @default "info" */
  readonly lowestLevel?: () => LogLevel;
}

/**
 * Makes a log. It leaves LogTape's process-wide configuration alone, so two nodes in one process have separate logs. A
 * message is printed unchanged: braces in it are text, not placeholders.
 */
export function createLog(options: LogOptions): Log {
  const isText = options.format === "text";
  const { lowestLevel = () => "info" } = options;
  const say = (level: LogLevel): LogCall => (message, fields = {}, facts = {}) => {
    if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(lowestLevel())) return;
    const nowMs = options.nowMs();
    options.write(
      isText ? textLine(nowMs, level, message, fields) : jsonLine(nowMs, level, message, { ...facts, ...fields }),
    );
  };
  return { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
}

const formatText = getTextFormatter({
  timestamp: "rfc3339",
  level: (level) => (level === "warning" ? "warn" : level).padEnd(5),
  sanitize: { sgr: "escape", newlines: "escape" },
  format: ({ timestamp, level, message }) => `${timestamp} ${level} ${message}`,
});

/** Handles errors, bigints and circular values in the fields. */
const formatJson = getJsonLinesFormatter();

type Line = (timestamp: number, level: LogLevel, message: string, fields: LogFields) => string;

const textLine: Line = (timestamp, level, message, fields) => {
  const told = plainFields(fields).map(([key, value]) => ` ${key}=${bareOrQuoted(value)}`).join("");
  return formatText(record(timestamp, level, message + told, {})).slice(0, -1); // the line feed
};

const jsonLine: Line = (timestamp, level, message, fields) => {
  const head = { time: new Date(timestamp).toISOString(), level, message };
  // The head is spread twice, so that it comes first and no field can replace it.
  const line = JSON.stringify({ ...head, ...Object.fromEntries(plainFields(fields)), ...head });
  // Terminals obey these control characters too, and JSON does not escape them.
  return line.replace(/[\u007f-\u009f]/g, (char) => `\\u00${char.charCodeAt(0).toString(16)}`);
};

/** Makes a record like LogTape's loggers, but without replacing `{…}` in a message. */
function record(timestamp: number, level: LogLevel, message: string, properties: LogFields): LogRecord {
  const [logTapeLevel, rawMessage] = [level === "warn" ? "warning" as const : level, message];
  return { category: [], level: logTapeLevel, message: [message], rawMessage, timestamp, properties };
}

/** Turns fields into JSON values. An error becomes its name and message: a stack does not help an operator. */
function plainFields(fields: LogFields): [string, unknown][] {
  const entries = Object.entries(fields);
  if (entries.length === 0) return [];
  const told = entries.map(([key, value]) => [key, value instanceof Error ? `${value.name}: ${value.message}` : value]);
  return Object.entries(JSON.parse(formatJson(record(0, "info", "", Object.fromEntries(told)))).properties);
}

function bareOrQuoted(value: unknown): string {
  return typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}
