/** What an answer of an HTTP origin may be kept and served for (RFC 9111, 9213, 5861). Fields and a clock in, decision out. */
import { cacheControlOf, type Directives, MAX_SECONDS, secondsOf, targetedCacheControlOf } from "./cache-control.ts";
import { parseHttpDate } from "./dates.ts";
import { type Fields, has, linesOf, valueOf } from "./fields.ts";

/** One exchange with the origin. */
export interface Exchange {
  readonly requestFields: Fields;
  readonly status: number;
  readonly fields: Fields;
  /** When the request left and when the head of the answer came, by one clock. */
  readonly requestedAtMs: number;
  readonly receivedAtMs: number;
  /** How far that clock is ahead of the origin's. @default 0 */
  readonly clockAheadMs?: number;
}

/** What the group's policy adds to the origin's word. */
export interface FreshnessPolicy {
  /** Whether the origin's own words count at all. */
  readonly honourOrigin: boolean;
  /** Where the origin names no lifetime; null: it has none. */
  readonly ttlMs: number | null;
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
  /** Whether `Last-Modified` gives a lifetime where nothing else does (RFC 9111, section 4.2.2). */
  readonly hasHeuristics: boolean;
  /** Whether an answer with `Set-Cookie` is kept. */
  readonly keepsCookies: boolean;
}

/** Durations from the moment at which the answer came. */
export interface Freshness {
  /** Whether a shared cache may keep it. What may not be kept may not be shared among those who wait for it either. */
  readonly isStorable: boolean;
  /** How old it was already. */
  readonly ageMs: number;
  /** How long it may be served without asking the origin. Below zero: it has been stale for so long when it came. */
  readonly freshMs: number;
  /** After that end, for how long while it is refreshed, and for how long while the origin fails. */
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
  /** Whether the origin itself named the lifetime, and one of the times after it. If not, the group's policy gave them. */
  readonly hasOwnLifetime: boolean;
  readonly hasOwnStale: boolean;
}

/** Cacheable by default (RFC 9110, section 15.1); without 206, which is no whole value. */
const HEURISTIC_STATUSES: ReadonlySet<number> = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);
/** Those whose caching this code knows (`must-understand`, RFC 9111, section 5.2.2.3): the final ones of RFC 9110. */
const UNDERSTOOD_STATUSES: ReadonlySet<number> = new Set([
  ...[
    200,
    201,
    202,
    203,
    204,
    205,
    300,
    301,
    302,
    303,
    305,
    307,
    308,
    400,
    401,
    402,
    403,
    404,
    405,
    406,
    407,
    408,
    409,
  ],
  ...[410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 500, 501, 502, 503, 504, 505],
]);
/** Parts and "not modified" are answers to one request, and 1xx is no answer yet. */
const NEVER_STORED: ReadonlySet<number> = new Set([206, 304, 416]);
const HEURISTIC_SHARE = 0.1;
/** Chosen: what nobody gave a lifetime is looked at once a day. */
const MAX_HEURISTIC_MS = 86_400_000;

/** The lifetime and the storability of an answer to a GET. */
export function freshnessOf(exchange: Exchange, policy: FreshnessPolicy): Freshness {
  const targeted = policy.honourOrigin ? targetedCacheControlOf(exchange.fields) : undefined;
  const directives: Directives = policy.honourOrigin ? targeted ?? cacheControlOf(exchange.fields) : new Map();
  const ageMs = policy.honourOrigin ? initialAgeMs(exchange) : 0;
  const isStorable = mayStore(exchange, directives, policy) && hasReasonToStore(exchange, directives, policy);
  const explicitMs = policy.honourOrigin ? explicitLifetimeMs(exchange, directives, targeted !== undefined) : undefined;
  const lifetimeMs = explicitMs ?? heuristicLifetimeMs(exchange, directives, policy) ?? policy.ttlMs ??
    defaultMs(policy);
  const isValidatedAlways = directives.has("no-cache");
  // s-maxage means proxy-revalidate as well (RFC 9111, section 5.2.2.10).
  const isNeverStale = isValidatedAlways || directives.has("must-revalidate") || directives.has("proxy-revalidate") ||
    directives.has("s-maxage");
  const stale = (name: string, otherwiseMs: number) => {
    const seconds = secondsOf(directives, name);
    return isNeverStale ? 0 : seconds === undefined ? otherwiseMs : seconds * 1_000;
  };
  return {
    isStorable,
    ageMs,
    freshMs: isValidatedAlways ? 0 : lifetimeMs - ageMs,
    staleWhileRevalidateMs: stale("stale-while-revalidate", policy.staleWhileRevalidateMs),
    staleIfErrorMs: stale("stale-if-error", policy.staleIfErrorMs),
    hasOwnLifetime: explicitMs !== undefined,
    hasOwnStale: directives.has("stale-while-revalidate") || directives.has("stale-if-error"),
  };
}

/**
 * Whether the origin itself says for how long the answer may be served (RFC 9111, section 4.2.1). The answer to a POST is
 * not kept otherwise (RFC 9110, section 9.3.3).
 */
export function hasExplicitLifetime(fields: Fields): boolean {
  const targeted = targetedCacheControlOf(fields);
  const directives = targeted ?? cacheControlOf(fields);
  return directives.has("s-maxage") || directives.has("max-age") || targeted === undefined && has(fields, "expires");
}

/** A key that is put into a template lives until it is evicted; an answer of a site without a lifetime is looked at again. */
function defaultMs({ hasHeuristics }: FreshnessPolicy): number {
  return hasHeuristics ? 0 : Infinity;
}

/** RFC 9111, section 3, and what shared caches must leave alone. */
function mayStore(
  { requestFields, status, fields }: Exchange,
  directives: Directives,
  policy: FreshnessPolicy,
): boolean {
  if (status < 200 || NEVER_STORED.has(status)) return false;
  const isUnderstood = UNDERSTOOD_STATUSES.has(status);
  if (directives.has("must-understand") ? !isUnderstood : directives.has("no-store")) return false;
  if (directives.has("private")) return false;
  if (linesOf(fields, "vary").some((line) => line.split(",").some((name) => name.trim() === "*"))) return false;
  if (has(fields, "set-cookie") && !policy.keepsCookies) return false;
  const isForAll = ["public", "s-maxage", "must-revalidate"].some((name) => directives.has(name));
  return isForAll || !has(requestFields, "authorization");
}

function hasReasonToStore({ status, fields }: Exchange, directives: Directives, policy: FreshnessPolicy): boolean {
  if (!policy.honourOrigin) return HEURISTIC_STATUSES.has(status);
  const isExplicit = ["max-age", "s-maxage", "public", "no-cache"].some((name) => directives.has(name)) ||
    has(fields, "expires");
  if (isExplicit) return true;
  if (!HEURISTIC_STATUSES.has(status)) return false;
  // Nothing to serve it for and nothing to validate it by: it would only take room.
  return !policy.hasHeuristics || policy.ttlMs !== null || has(fields, "etag") || has(fields, "last-modified");
}

/** RFC 9111, section 4.2.3. */
function initialAgeMs({ fields, requestedAtMs, receivedAtMs, clockAheadMs = 0 }: Exchange): number {
  const dateMs = dateOf(fields, receivedAtMs);
  const sinceDateMs = dateMs === undefined ? 0 : receivedAtMs - clockAheadMs - dateMs;
  // A date has whole seconds: less than one says nothing.
  const apparentMs = sinceDateMs < 1_000 ? 0 : sinceDateMs;
  // Of a list the first member counts; one that is no whole number is ignored (section 5.1).
  const told = linesOf(fields, "age")[0]?.split(",")[0]?.trim() ?? "";
  const toldMs = /^\d+$/.test(told) ? Math.min(Number(told), MAX_SECONDS) * 1_000 : 0;
  return Math.max(apparentMs, toldMs + Math.max(0, receivedAtMs - requestedAtMs));
}

function dateOf(fields: Fields, nowMs: number): number | undefined {
  const [date] = linesOf(fields, "date");
  return date === undefined ? undefined : parseHttpDate(date, nowMs);
}

/** RFC 9111, section 4.2.1; a targeted field puts `Expires` out of force, too (RFC 9213, section 2.2). */
function explicitLifetimeMs(exchange: Exchange, directives: Directives, isTargeted: boolean): number | undefined {
  const seconds = secondsOf(directives, "s-maxage") ?? secondsOf(directives, "max-age");
  if (seconds !== undefined) return seconds * 1_000;
  const { fields, receivedAtMs } = exchange;
  const expires = isTargeted ? undefined : valueOf(fields, "expires");
  if (expires === undefined) return undefined;
  // Two of them join into no date: an invalid one, such as 0, means "already expired" (section 5.3).
  const expiresMs = parseHttpDate(expires, receivedAtMs);
  return expiresMs === undefined ? 0 : Math.max(0, expiresMs - (dateOf(fields, receivedAtMs) ?? receivedAtMs));
}

function heuristicLifetimeMs(exchange: Exchange, directives: Directives, policy: FreshnessPolicy): number | undefined {
  const { status, fields, receivedAtMs } = exchange;
  const [lastModified] = linesOf(fields, "last-modified");
  if (!policy.hasHeuristics || !policy.honourOrigin || policy.ttlMs !== null || lastModified === undefined) {
    return undefined;
  }
  if (!HEURISTIC_STATUSES.has(status) && !directives.has("public")) return undefined;
  const modifiedMs = parseHttpDate(lastModified, receivedAtMs);
  if (modifiedMs === undefined) return undefined;
  const sinceMs = (dateOf(fields, receivedAtMs) ?? receivedAtMs) - modifiedMs;
  return Math.min(MAX_HEURISTIC_MS, Math.max(0, sinceMs * HEURISTIC_SHARE));
}
