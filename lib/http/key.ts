/**
 * Keys in URL paths: the encoder and the decoder.
 *
 * A key is any well-formed Unicode string of 1 to 1,024 bytes of UTF-8 without control characters and dot segments. In
 * a URL it is the rest of the path, slashes included, percent-decoded once as UTF-8. The query string is not part of
 * the key, and `+` is a plus.
 *
 * A URL path cannot carry every string:
 *
 * - URL parsers remove dot segments (`.`, `..`, `%2e`): clients before they send, Bun's server on receipt, Deno's
 *   server never. Servers behind an HTTP origin may do so after decoding. The key `../secret` at
 *   `http://h/public/{key}` is sent as `/public/..%2Fsecret`, and many servers read that as `/secret`. So a key with a
 *   dot segment, in any form, is refused.
 * - A raw `\` is a `/` to Bun's server and a `\` to Deno's, so it is refused; `%5C` is accepted.
 * - A raw `#` begins a fragment, which no client may send. It is refused, not cut off; `%23` is accepted.
 *
 * Servers treat unescaped bytes outside ASCII differently. Deno's refuses bytes that are not UTF-8; Bun's has already
 * replaced them by U+FFFD.
 */
import { Buffer } from "node:buffer";
import { MAX_KEY_BYTES } from "../core/base/limits.ts";
import { BadKeyError } from "../core/errors.ts";

/** Derived: the longest key with every byte escaped as `%xx`. */
const maxTailLength = 3 * MAX_KEY_BYTES;

/** Cc is C0, DEL and C1. In a `u` expression, Cs is a surrogate without its other half. */
const controlOrLoneSurrogate = /[\p{Cc}\p{Cs}]/u;

/**
 * A dot segment in a decoded key, in every form that a server behind an origin may read as one: with `\` for `/`,
 * escaped once or more often, and ended by the end of a path (`?`, `#`) or of a segment's name (`;`).
 */
const dotSegment = /(?:^|[/\\]|%(?:25)*(?:2f|5c))(?:\.|%(?:25)*2e){1,2}(?:$|[/\\;?#]|%(?:25)*(?:2f|5c|3b|3f|23))/i;

/**
 * Checks that every node accepts `key`.
 *
 * @throws BadKeyError names the rule that the key breaks
 */
export function checkKey(key: string): void {
  if (key === "") throw new BadKeyError("Cannot use an empty key");
  // A UTF-16 unit takes at most 3 bytes, so most keys need no count of their bytes.
  if (key.length * 3 > MAX_KEY_BYTES) {
    const bytes = key.length > MAX_KEY_BYTES ? key.length : Buffer.byteLength(key);
    if (bytes > MAX_KEY_BYTES) {
      throw new BadKeyError(`Cannot use a key of more than ${MAX_KEY_BYTES} bytes of UTF-8`);
    }
  }
  if (controlOrLoneSurrogate.test(key)) {
    throw new BadKeyError("Cannot use a key with control characters or lone surrogates");
  }
  if (dotSegment.test(key)) {
    throw new BadKeyError("Cannot use a key with . or .. as a segment as servers take it for another path");
  }
}

/**
 * Encodes `key` for the path after `/cache/<group>/` or `/define/`: one path segment of ASCII, at most 3,072
 * characters.
 *
 * @throws BadKeyError see {@linkcode checkKey}
 */
export function encodeKeyPath(key: string): string {
  checkKey(key);
  return encodeURIComponent(key);
}

/**
 * Decodes a key from the raw rest of a path.
 *
 * @param rawPathTail the part after `/cache/<group>/` as received, without the query
 * @throws BadKeyError malformed escapes, raw `#` or `\`, or a key that {@linkcode checkKey} refuses
 */
export function decodeKeyPath(rawPathTail: string): string {
  if (isPlain(rawPathTail)) return rawPathTail;
  if (rawPathTail.length > maxTailLength) {
    throw new BadKeyError(`Cannot use a key of more than ${MAX_KEY_BYTES} bytes of UTF-8`);
  }
  if (rawPathTail.includes("#") || rawPathTail.includes("\\")) {
    throw new BadKeyError("Cannot use a raw # or \\ in a key as they must be escaped: %23, %5C");
  }
  const key = percentDecode(rawPathTail);
  checkKey(key);
  return key;
}

/**
 * Decodes a key in a query, where a plus is also a plus.
 *
 * @param isOfSite whether the key is a site's: the rest of a path with its query, as it is, so any text
 * @throws BadKeyError malformed escapes, or a key that {@linkcode checkKey} refuses
 */
export function decodeQueryKey(text: string, isOfSite: boolean): string {
  if (text.length > maxTailLength) {
    throw new BadKeyError(`Cannot use a key of more than ${MAX_KEY_BYTES} bytes of UTF-8`);
  }
  const key = percentDecode(text);
  if (!isOfSite) checkKey(key);
  return key;
}

/**
 * Decodes a key or a group name that a Go groupcache peer has escaped with `url.QueryEscape`. Only in this escaping `+`
 * is a space; a plus comes as `%2B`.
 *
 * @throws BadKeyError as {@linkcode decodeKeyPath}
 */
export function decodeGroupcacheKeyPath(rawPathTail: string): string {
  return decodeKeyPath(rawPathTail.includes("+") ? rawPathTail.replaceAll("+", "%20") : rawPathTail);
}

/**
 * The path of a request as received, without the query. This builds no URL object, and neither decodes nor normalises.
 * When the Host header is unusable, Bun gives a bare path as the URL.
 */
export function rawPathOf(url: string): string {
  const start = pathStart(url);
  if (start < 0) return "/";
  return url.slice(start, pathEnd(url, start));
}

/** The index at which the path of a request's URL begins; -1 when it has none. */
export function pathStart(url: string): number {
  // Derived: "http://" and one character of host are 8 long, and so is "https://".
  return url.charCodeAt(0) === 0x2f ? 0 : url.indexOf("/", 8);
}

/** The index after the path of a request's URL, where its query may begin. @param start where the path begins */
export function pathEnd(url: string, start: number): number {
  const query = url.indexOf("?", start);
  return query < 0 ? url.length : query;
}

/** Whether a tail needs no decoding: visible ASCII without escapes, dots, `#` or `\`. */
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
