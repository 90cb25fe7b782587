/** Decides how long an answer of an HTTP origin may be kept and served (RFC 9111, 9213, 5861), from fields and a clock. */
import { cacheControlOf, type Directives, MAX_SECONDS, secondsOf, targetedCacheControlOf } from "./cache-control.ts";
import { parseHttpDate } from "./dates.ts";
import { type Fields, has, linesOf, valueOf } from "./fields.ts";

/** One exchange with the origin. */
export interface Exchange {
  readonly requestFields: Fields;
  readonly status: number;
  readonly fields: Fields;
  /** When the request was sent and when the head of the answer came, by the same clock. */
  readonly requestedAtMs: number;
  readonly receivedAtMs: number;
  /** How far this clock is ahead of the origin's. @default 0 */
  readonly clockAheadMs?: number;
}

/** The parts of the group's policy that matter for freshness. */
export interface FreshnessPolicy {
  /** Whether the origin's own freshness counts at all. */
  readonly honourOrigin: boolean;
  /** The lifetime where the origin gives none, in milliseconds; null: no lifetime. */
  readonly ttlMs: number | null;
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
  /** Whether `Last-Modified` gives a heuristic lifetime if nothing else does (RFC 9111, section 4.2.2). */
  readonly hasHeuristics: boolean;
  /** Whether an answer with `Set-Cookie` is kept. */
  readonly keepsCookies: boolean;
}

/** Durations from the moment when the answer came. */
export interface Freshness {
  /** Whether a shared cache may keep the answer. If not, it may not be shared among waiters either. */
  readonly isStorable: boolean;
  /** How old it was already. */
  readonly ageMs: number;
  /** How long it may be served without asking the origin. Negative: how long it had been stale when it came. */
  readonly freshMs: number;
  /** How long after that it may be served during a refresh, and how long when the origin fails. */
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
  /** Whether the origin itself gave the lifetime, and at least one of the stale times. If not, the group's policy did. */
  readonly hasOwnLifetime: boolean;
  readonly hasOwnStale: boolean;
}

/** Statuses that are cacheable by default (RFC 9110, section 15.1), without 206, as a part is no whole value. */
const HEURISTIC_STATUSES: ReadonlySet<number> = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);
/**
 * Statuses whose caching rules this code knows (`must-understand`, RFC 9111, section 5.2.2.3): the final ones of RFC
 * 9110.
 */
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
/** Parts and "not modified" answer only one request. 1xx is not listed, as it is no answer yet. */
const NEVER_STORED: ReadonlySet<number> = new Set([206, 304, 416]);
const HEURISTIC_SHARE = 0.1;
/** Chosen: an answer without any given lifetime is checked at least once a day. */
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
  // s-maxage implies proxy-revalidate (RFC 9111, section 5.2.2.10).
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
 * Whether the origin itself gives a lifetime (RFC 9111, section 4.2.1). Without one, the answer to a POST is not kept
 * (RFC 9110, section 9.3.3).
 */
export function hasExplicitLifetime(fields: Fields): boolean {
  const targeted = targetedCacheControlOf(fields);
  const directives = targeted ?? cacheControlOf(fields);
  return directives.has("s-maxage") || directives.has("max-age") || targeted === undefined && has(fields, "expires");
}

/** Without a lifetime, a template's value lives until it is evicted; a site's answer is stale at once. */
function defaultMs({ hasHeuristics }: FreshnessPolicy): number {
  return hasHeuristics ? 0 : Infinity;
}

/** Applies RFC 9111, section 3, and the rules for shared caches. */
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
  // Without a lifetime and a validator, an answer would only take room.
  return !policy.hasHeuristics || policy.ttlMs !== null || has(fields, "etag") || has(fields, "last-modified");
}

/** By RFC 9111, section 4.2.3. */
function initialAgeMs({ fields, requestedAtMs, receivedAtMs, clockAheadMs = 0 }: Exchange): number {
  const dateMs = dateOf(fields, receivedAtMs);
  const sinceDateMs = dateMs === undefined ? 0 : receivedAtMs - clockAheadMs - dateMs;
  // A date has whole seconds, so a difference below one second says nothing.
  const apparentMs = sinceDateMs < 1_000 ? 0 : sinceDateMs;
  // The first member of a list counts; anything but a whole number is ignored (section 5.1).
  const told = linesOf(fields, "age")[0]?.split(",")[0]?.trim() ?? "";
  const toldMs = /^\d+$/.test(told) ? Math.min(Number(told), MAX_SECONDS) * 1_000 : 0;
  return Math.max(apparentMs, toldMs + Math.max(0, receivedAtMs - requestedAtMs));
}

function dateOf(fields: Fields, nowMs: number): number | undefined {
  const [date] = linesOf(fields, "date");
  return date === undefined ? undefined : parseHttpDate(date, nowMs);
}

/** By RFC 9111, section 4.2.1. A targeted field also overrides `Expires` (RFC 9213, section 2.2). */
function explicitLifetimeMs(exchange: Exchange, directives: Directives, isTargeted: boolean): number | undefined {
  const seconds = secondsOf(directives, "s-maxage") ?? secondsOf(directives, "max-age");
  if (seconds !== undefined) return seconds * 1_000;
  const { fields, receivedAtMs } = exchange;
  const expires = isTargeted ? undefined : valueOf(fields, "expires");
  if (expires === undefined) return undefined;
  // Two joined lines are no date. An invalid date, such as 0, means "already expired" (section 5.3).
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
