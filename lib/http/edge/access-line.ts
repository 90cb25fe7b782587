/** One line for each answer: as nginx and Apache write it, or as JSON. */

/** The facts of one answer. */
export interface Answered {
  /** When the request came, in Unix milliseconds. */
  readonly atMs: number;
  /** The address of the connection; `undefined`: the server does not tell it. */
  readonly remote: string | undefined;
  readonly method: string;
  /** The path and the query as received. */
  readonly target: string;
  readonly status: number;
  /** The bytes of the body that the server was given. */
  readonly bytes: number;
  /** From the request until the server had the last of them, in milliseconds. */
  readonly durationMs: number;
  /** Where the value came from: see CacheStatus. `undefined`: no cache was asked. */
  readonly cache: string | undefined;
  readonly group: string | undefined;
  readonly requestId: string | undefined;
  /** Of W3C Trace Context: 32 hexadecimal digits. */
  readonly traceId: string | undefined;
  readonly headers: Headers;
}

export type AccessFormat = "combined" | "json";

/** The longest texts in a line, in characters after escaping. Chosen: a line with all of them has under 4,096 bytes. */
const MAX_TARGET_CHARS = 2_048;
const MAX_TEXT_CHARS = 512;
const MAX_SHORT_CHARS = 64;

/** @returns a line of printable ASCII and its line feed, of at most 4,096 bytes */
export function accessLine(answered: Answered, format: AccessFormat): string {
  return format === "combined" ? combined(answered) : json(answered);
}

/** The Combined Log Format. The runtimes do not tell the version of HTTP; nearly all requests use 1.1. */
function combined({ atMs, remote, method, target, status, bytes, headers }: Answered): string {
  const request = `${escaped(method, MAX_SHORT_CHARS)} ${escaped(target, MAX_TARGET_CHARS)} HTTP/1.1`;
  const referer = escaped(headers.get("referer") ?? "-", MAX_TEXT_CHARS);
  const agent = escaped(headers.get("user-agent") ?? "-", MAX_TEXT_CHARS);
  const address = remote === undefined ? "-" : escaped(remote, MAX_SHORT_CHARS);
  return `${address} - - [${timeLocal(atMs)}] "${request}" ${status} ${bytes} "${referer}" "${agent}"\n`;
}

/** Escapes as nginx does: writes characters that end a quoted text, or are not printable ASCII, as `\xXX`. */
function escaped(text: string, maxChars: number): string {
  // deno-lint-ignore no-control-regex
  const safe = /[\x00-\x1f"\\\x7f-\uffff]/.test(text) ? text.slice(0, maxChars).replace(UNSAFE, hex) : text;
  // Do not leave half of an escape at the cut.
  return safe.length <= maxChars ? safe : safe.slice(0, maxChars).replace(/\\x?[0-9A-F]?$|\\u[0-9A-F]{0,3}$/, "");
}

// deno-lint-ignore no-control-regex
const UNSAFE = /[\x00-\x1f"\\\x7f-\uffff]/g;

function hex(char: string): string {
  const code = char.charCodeAt(0).toString(16).toUpperCase();
  return code.length <= 2 ? `\\x${code.padStart(2, "0")}` : `\\u${code.padStart(4, "0")}`;
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
let lastSecond = NaN;
let lastTime = "";

/** `29/Nov/2026:14:50:16 +0000`, always in UTC. Lines of one second share it. */
function timeLocal(atMs: number): string {
  const second = Math.floor(atMs / 1_000);
  if (second !== lastSecond) {
    const [date = "", time] = new Date(second * 1_000).toISOString().slice(0, 19).split("T");
    const [year, month, day] = date.split("-");
    lastTime = `${day}/${MONTHS[Number(month) - 1]}/${year}:${time} +0000`;
    lastSecond = second;
  }
  return lastTime;
}

function json(answered: Answered): string {
  const { atMs, remote, method, target, status, bytes, durationMs, cache, group, requestId, traceId } = answered;
  const { headers } = answered;
  const field = (name: string, maxChars: number) => cut(headers.get(name) ?? undefined, maxChars);
  const line = JSON.stringify({
    time: new Date(atMs).toISOString(),
    remote,
    method: cut(method, MAX_SHORT_CHARS),
    path: cut(target, MAX_TARGET_CHARS),
    status,
    bytes,
    durationMs: Math.round(durationMs * 1_000) / 1_000,
    cache,
    group: cut(group, MAX_SHORT_CHARS),
    requestId,
    traceId,
    userAgent: field("user-agent", MAX_TEXT_CHARS),
    referer: field("referer", MAX_TEXT_CHARS),
    forwardedFor: field("x-forwarded-for", MAX_TEXT_CHARS / 2),
  });
  return `${line.replace(/[\x7f-\uffff]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`;
}

/** Counts the length in JSON, where characters outside printable ASCII take up to six. */
function cut(text: string | undefined, maxChars: number): string | undefined {
  if (text === undefined) return undefined;
  let chars = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    chars += unit < 0x20 || unit > 0x7e ? 6 : unit === 0x22 || unit === 0x5c ? 2 : 1;
    if (chars > maxChars) return text.slice(0, i);
  }
  return text;
}
