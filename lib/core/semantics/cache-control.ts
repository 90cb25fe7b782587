import { parseDictionary } from "structured-headers";
import { type Fields, linesOf, membersOf } from "./fields.ts";

/**
 * Directives by name in lower case; `true` without an argument. Of two with the same name the first counts (RFC 9111,
 * 4.2.1).
 */
export type Directives = ReadonlyMap<string, string | true>;

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** The largest number of seconds, 68 years; larger ones count as this (RFC 9111, section 1.2.2). */
export const MAX_SECONDS = 2 ** 31;

/** Reads `Cache-Control` (RFC 9111, section 5.2). Skips malformed members, as unknown directives are ignored too. */
export function cacheControlOf(fields: Fields): Directives {
  const found = new Map<string, string | true>();
  for (const member of membersOf(linesOf(fields, "cache-control").join(","))) {
    const equals = member.indexOf("=");
    const name = (equals < 0 ? member : member.slice(0, equals)).toLowerCase();
    if (!TOKEN.test(name) || found.has(name)) continue;
    found.set(name, equals < 0 ? true : unquoted(member.slice(equals + 1)));
  }
  return found;
}

/**
 * Reads `CDN-Cache-Control` (RFC 9213), a dictionary of structured fields (RFC 9651).
 *
 * @returns `undefined` if it is absent, empty or malformed: then `Cache-Control` and `Expires` count
 */
export function targetedCacheControlOf(fields: Fields): Directives | undefined {
  const lines = linesOf(fields, "cdn-cache-control");
  if (lines.length === 0) return undefined;
  try {
    const found = new Map<string, string | true>();
    for (const [name, [item]] of parseDictionary(lines.join(", "))) {
      // A number as a string or a token is no number here: the directive counts as unknown (section 2.1).
      if (item === true || typeof item === "number" || typeof item === "string") {
        found.set(name, item === true ? true : typeof item === "number" ? String(item) : `"${item}"`);
      }
    }
    return found.size === 0 ? undefined : found;
  } catch {
    return undefined;
  }
}

/**
 * The argument of a directive as delta-seconds, in seconds; `undefined` if the directive is absent. 0 for an argument
 * that is no whole number, as it makes an answer stale (RFC 9111, section 4.2.1).
 */
export function secondsOf(directives: Directives, name: string): number | undefined {
  const value = directives.get(name);
  if (value === undefined) return undefined;
  return typeof value === "string" && /^\d+$/.test(value) ? Math.min(Number(value), MAX_SECONDS) : 0;
}

function unquoted(value: string): string {
  return /^"(?:[^"\\]|\\.)*"$/.test(value) ? value.slice(1, -1).replace(/\\(.)/g, "$1") : value;
}
