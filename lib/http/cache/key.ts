/**
 * Keys in URL paths: the one codec, both ends in this file.
 *
 * A key is any well-formed Unicode string of 1 to 1,024 bytes of UTF-8 without control characters, except `.` and
 * `..`. In a path it is the rest of the path, slashes included, percent-decoded exactly once as UTF-8; the query string
 * is not part of it, and `+` is a plus.
 *
 * What a URL path cannot carry, and what is done about it:
 *
 * - A dot segment (`.`, `..`, also written `%2e`) is collapsed by every URL parser: by clients before they send, by
 *   Bun's server after it received, by Deno's never. So no node reads one: what arrives with one is refused. The
 *   encoder writes `/` as `%2F`, so `a/../b` is a single segment and travels; only the keys `.` and `..` themselves
 *   have no form that survives, and are no keys.
 * - A raw `\` is a `/` to Bun's server and a `\` to Deno's: refused where it can be seen; `%5C` travels.
 * - A raw `#` would begin a fragment, which no client may send: refused rather than cut, `%23` travels.
 *
 * Bytes outside ASCII that were sent unescaped are the server's: Deno's refuses what is not UTF-8, Bun's turns it into
 * U+FFFD before we see it.
 */
import { Buffer } from "node:buffer";
import { MAX_KEY_BYTES } from "../../core/base/limits.ts";
import { BadKeyError } from "../../core/errors.ts";

/** Every byte of the longest key, escaped. */
const maxTailLength = 3 * MAX_KEY_BYTES;

/** Cc is C0, DEL and C1; Cs, in a `u` expression, is a surrogate without its other half. */
const controlOrLoneSurrogate = /[\p{Cc}\p{Cs}]/u;

const dotSegment = /(?:^|\/)(?:\.|%2e){1,2}(?:\/|$)/i;

/**
 * Makes sure that `key` is one which every node takes.
 *
 * @throws BadKeyError with the rule that it breaks
 */
export function checkKey(key: string): void {
  if (key === "") throw new BadKeyError("Cannot use an empty key");
  // A UTF-16 unit is 1 to 3 bytes: most keys are short enough not to be measured.
  if (key.length * 3 > MAX_KEY_BYTES) {
    const bytes = key.length > MAX_KEY_BYTES ? key.length : Buffer.byteLength(key);
    if (bytes > MAX_KEY_BYTES) {
      throw new BadKeyError(`Cannot use a key of more than ${MAX_KEY_BYTES} bytes of UTF-8`);
    }
  }
  if (controlOrLoneSurrogate.test(key)) {
    throw new BadKeyError("Cannot use a key with control characters or lone surrogates");
  }
  if (key === "." || key === "..") {
    throw new BadKeyError(`Cannot use "${key}" as a key as it cannot travel in a URL path`);
  }
}

/**
 * The form in which `key` is put behind `/cache/<group>/` or `/define/`: one path segment, ASCII, at most 3,072
 * characters.
 *
 * @throws BadKeyError the key is none that a node takes
 */
export function encodeKeyPath(key: string): string {
  checkKey(key);
  return encodeURIComponent(key);
}

/**
 * The key that the raw rest of a path carries, decoded once.
 *
 * @param rawPathTail what follows `/cache/<group>/` in the request's target as received, without the query
 * @throws BadKeyError malformed escapes, dot segments, raw `#` or `\`, or a key that {@linkcode checkKey} refuses
 */
export function decodeKeyPath(rawPathTail: string): string {
  if (isPlain(rawPathTail)) return rawPathTail;
  if (rawPathTail.length > maxTailLength) {
    throw new BadKeyError(`Cannot use a key of more than ${MAX_KEY_BYTES} bytes of UTF-8`);
  }
  if (rawPathTail.includes("#") || rawPathTail.includes("\\")) {
    throw new BadKeyError("Cannot use a raw # or \\ in a key as they must be escaped: %23, %5C");
  }
  if (dotSegment.test(rawPathTail)) {
    throw new BadKeyError("Cannot use . or .. as a segment of the path as URL parsers remove it: escape / as %2F");
  }
  const key = percentDecode(rawPathTail);
  checkKey(key);
  return key;
}

/**
 * The key (or group name) in a path written by a Go groupcache peer, whose client escapes with `url.QueryEscape`: there,
 * and only there, `+` is a space. A plus comes as `%2B`, so nothing is ambiguous.
 *
 * @throws BadKeyError as {@linkcode decodeKeyPath}
 */
export function decodeGroupcacheKeyPath(rawPathTail: string): string {
  return decodeKeyPath(rawPathTail.includes("+") ? rawPathTail.replaceAll("+", "%20") : rawPathTail);
}

/**
 * The path of a request as it was received, without the query: no URL object is built, nothing is decoded or
 * normalised. Bun gives a bare path as the URL when the Host header is unusable.
 */
export function rawPathOf(url: string): string {
  const start = pathStart(url);
  if (start < 0) return "/";
  const query = url.indexOf("?", start);
  return query < 0 ? url.slice(start) : url.slice(start, query);
}

/** Where the path of a URL as a server gives it begins; -1 when it has none. */
export function pathStart(url: string): number {
  // "http://" and one character of host is 8 long, and so is "https://".
  return url.charCodeAt(0) === 0x2f ? 0 : url.indexOf("/", 8);
}

/** Whether a tail is its own key: visible ASCII in which nothing needs decoding or a second look. */
function isPlain(tail: string): boolean {
  const { length } = tail;
  if (length === 0 || length > MAX_KEY_BYTES) return false;
  for (let i = 0; i < length; i++) {
    const code = tail.charCodeAt(i);
    if (code < 0x20 || code > 0x7e) return false;
    if (code === 0x25 /* % */ || code === 0x2e /* . */ || code === 0x23 /* # */ || code === 0x5c /* \ */) return false;
  }
  return true;
}

function percentDecode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new BadKeyError("Cannot decode the key as its percent escapes must be well-formed UTF-8");
  }
}
