/**
 * Validators in both directions: conditions for the origin, and the evaluation of a client's conditions (RFC 9110,
 * section 13).
 */
import { parseHttpDate } from "./dates.ts";
import { type Fields, has, linesOf, membersOf, valueOf, without } from "./fields.ts";

/** Fields of a stored answer that a 304 does not replace, as they describe the stored body (RFC 9111, section 3.2). */
const OF_THE_BODY: ReadonlySet<string> = new Set([
  "content-encoding",
  "content-length",
  "content-md5",
  "content-range",
  "content-type",
]);
/** Conditions of a client. The cache evaluates them on its stored value, and does not send them on in its own validation. */
const CONDITIONS: ReadonlySet<string> = new Set([
  "if-match",
  "if-none-match",
  "if-modified-since",
  "if-unmodified-since",
  "if-range",
]);

/** The request fields without a client's conditions and ranges, as a stored answer must be whole. */
export function unconditional(requestFields: Fields): Fields {
  return without(requestFields, new Set([...CONDITIONS, "range"]));
}

/** The conditions to validate a stored answer at the origin; empty if it has no validator. */
export function validatorsOf(stored: Fields): Fields {
  const conditions: [string, string][] = [];
  const [etag] = linesOf(stored, "etag");
  const [modified] = linesOf(stored, "last-modified");
  if (etag !== undefined) conditions.push(["if-none-match", etag]);
  if (modified !== undefined) conditions.push(["if-modified-since", modified]);
  return conditions;
}

/** The fields of a stored answer after a 304: each name in the 304 replaces the stored lines of that name. */
export function freshened(stored: Fields, notModified: Fields): Fields {
  const newer = without(notModified, OF_THE_BODY);
  return [...without(stored, new Set(newer.map(([name]) => name))), ...newer];
}

/** Whether a 304 is about this stored answer: it has the same entity tag, or none (RFC 9111, section 4.3.4). */
export function isAbout(stored: Fields, notModified: Fields): boolean {
  const [told] = linesOf(notModified, "etag");
  const [held] = linesOf(stored, "etag");
  return told === undefined || held === undefined || weakly(told) === weakly(held);
}

/**
 * Whether the client's conditions allow a 304 without a body (RFC 9110, section 13.2.2). `If-None-Match` has priority
 * over `If-Modified-Since`; entity tags are compared weakly (section 8.8.3.2).
 *
 * @param stored the fields of the answer, with its `ETag` and `Last-Modified`
 */
export function isNotModified(requestFields: Fields, stored: Fields, nowMs: number): boolean {
  const tags = valueOf(requestFields, "if-none-match");
  if (tags !== undefined) {
    if (tags.trim() === "*") return true;
    const [held] = linesOf(stored, "etag");
    return held !== undefined && membersOf(tags).some((tag) => weakly(tag) === weakly(held));
  }
  const [since] = linesOf(requestFields, "if-modified-since");
  // Without `Last-Modified`, `Date` counts (RFC 9111, section 4.3.2).
  const [modified] = [...linesOf(stored, "last-modified"), ...linesOf(stored, "date")];
  if (since === undefined || has(requestFields, "range") && has(requestFields, "if-range")) return false;
  const sinceMs = parseHttpDate(since, nowMs);
  const modifiedMs = modified === undefined ? undefined : parseHttpDate(modified, nowMs);
  return sinceMs !== undefined && modifiedMs !== undefined && modifiedMs <= sinceMs;
}

/** Whether `If-Range` lets a range be served from this answer (RFC 9110, section 13.1.5): strong tags, or the exact date. */
export function isRangeOf(requestFields: Fields, stored: Fields): boolean {
  const [condition] = linesOf(requestFields, "if-range");
  if (condition === undefined) return true;
  const [held] = linesOf(stored, condition.startsWith('"') || condition.startsWith("W/") ? "etag" : "last-modified");
  return held !== undefined && held === condition && !condition.startsWith("W/");
}

function weakly(tag: string): string {
  return tag.startsWith("W/") ? tag.slice(2) : tag;
}
