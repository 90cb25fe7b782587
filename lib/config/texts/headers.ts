/**
 * The headers that a group sends to its HTTP origin: their names, and the sources of their values. A value may be a
 * secret, so faults never show it.
 */

/** The value itself, or the file or variable that is read at the start. */
export type HeaderSource = string | { readonly file: string } | { readonly env: string };

/** Reads values. Both functions may throw. */
export interface HeaderInput {
  readonly readFile: (path: string) => string;
  readonly readVariable: (name: string) => string | undefined;
}

/** The longest value, in characters. Chosen: the longest header line that most servers accept. */
const MOST_VALUE_CHARS = 8_192;
/** How many characters of the name of a file or a variable a fault shows. Chosen. */
const MOST_SHOWN_CHARS = 200;
/** Fields of one connection (RFC 9110, section 7.6.1), or fields that the HTTP client writes for each request. */
const OF_ONE_CONNECTION: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
/** Each load and each client sets these itself. A fixed value would turn whole values into parts, or into nothing. */
const OF_ONE_REQUEST: ReadonlySet<string> = new Set([
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "range",
]);

/** Why a header cannot be sent, completing "must …", or the source of its value. */
export type HeaderRead = { readonly fault: string } | { readonly name: string; readonly source: HeaderSource };

/** Checks one entry of `headers`, but does not read its file or variable yet. */
export function readHeader(written: string, source: unknown): HeaderRead {
  if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/.test(written)) {
    return { fault: "have a name of 1 to 128 letters, digits and - _ . (RFC 9110, section 5.1)" };
  }
  const name = written.toLowerCase();
  if (OF_ONE_CONNECTION.has(name)) return { fault: "not be set: each connection has its own" };
  if (OF_ONE_REQUEST.has(name)) return { fault: "not be set: each request has its own" };
  if (typeof source === "string") {
    const fault = faultOf(source);
    return fault === undefined ? { name, source: source.trim() } : { fault: `have a value ${fault}` };
  }
  const place = placeOf(source);
  return place === undefined ? { fault: 'be a text, {"file": path} or {"env": name}' } : { name, source: place };
}

/**
 * The value that is sent.
 *
 * @returns the value, or the reason for having none, completing "must …"
 */
export function headerValue(
  source: HeaderSource,
  { readFile, readVariable }: HeaderInput,
): { readonly fault: string } | { readonly value: string } {
  if (typeof source === "string") return { value: source };
  const where = "file" in source
    ? `the file ${JSON.stringify(source.file.slice(0, MOST_SHOWN_CHARS))}`
    : `the variable ${source.env.slice(0, MOST_SHOWN_CHARS)}`;
  try {
    const text = "file" in source ? readFile(source.file) : readVariable(source.env);
    // Editors end a file with a line feed.
    const value = typeof text === "string" ? text.trim() : undefined; // `__proto__` is a variable of no environment
    if (!value) return { fault: `have a value in ${where}: there is none` };
    const fault = faultOf(value);
    return fault === undefined ? { value } : { fault: `have a value ${fault} in ${where}` };
  } catch (error) {
    return { fault: `have a value in ${where}: ${(error as Error).message.slice(0, 2 * MOST_SHOWN_CHARS)}` };
  }
}

/** RFC 9110, section 5.5, but without characters outside ASCII: senders and receivers disagree about their meaning. */
function faultOf(value: string): string | undefined {
  if (!/^[\t\x20-\x7e]*$/.test(value)) return "of ASCII without line breaks and control characters";
  return value.length > MOST_VALUE_CHARS ? `of at most ${MOST_VALUE_CHARS} characters` : undefined;
}

/** `{"file": path}` or `{"env": name}`, without other fields. */
function placeOf(source: unknown): HeaderSource | undefined {
  if (typeof source !== "object" || source === null || Array.isArray(source)) return undefined;
  const [[kind, place] = [], ...others] = Object.entries(source);
  if (others.length > 0 || typeof place !== "string" || place === "" || place.includes("\0")) return undefined;
  if (kind === "file") return { file: place };
  return kind === "env" && /^[A-Za-z_][A-Za-z0-9_]*$/.test(place) ? { env: place } : undefined;
}
