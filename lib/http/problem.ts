/**
 * Errors as clients see them: `application/problem+json` (RFC 9457), with a status, a title and one sentence. A client
 * sees neither a stack nor the message of an unexpected error.
 */
import {
  BadKeyError,
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OriginUnreachableError,
  OverloadedError,
  PassThroughError,
  RequestBodyError,
  SlowRequestError,
  UnservedError,
} from "../core/errors.ts";
import { BadAfterError } from "./after.ts";
import { jsonResponse } from "./json.ts";

const titles: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  426: "Upgrade Required",
  499: "Client Closed Request",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** How long a client waits before it asks an overloaded or unready node again. Chosen. */
const retryAfterSeconds = "1";

/** Describes a failed request, before the response is made. */
export interface Problem {
  readonly status: number;
  /** Tells people what was wrong with this request. */
  readonly detail: string;
  /** For machines: an sf-token in `Cache-Status`. */
  readonly code: string;
  /** A fault of this node, which is logged with its stack. */
  readonly unexpected?: true;
}

/** The answer to a request that failed; never shows a stack. */
export function problemResponse(
  problem: Pick<Problem, "status" | "detail">,
  headers?: Readonly<Record<string, string>>,
): Response {
  const { status, detail } = problem;
  return jsonResponse({ type: "about:blank", title: titles[status], status, detail }, status, {
    "content-type": "application/problem+json",
    ...(status === 503 ? { "retry-after": retryAfterSeconds } : undefined),
    // The rest of the request may still come (RFC 9110, section 15.5.9).
    ...(status === 408 ? { connection: "close" } : undefined),
    ...headers,
  });
}

/**
 * The problem for an error that a cache threw.
 *
 * @param thing this route's name for a key: `word` or `key`
 */
export function problemOf(error: unknown, group: string, thing: string): Problem {
  if (error instanceof NotFoundError) return { status: 404, detail: `no such ${thing} in ${group}`, code: "not-found" };
  if (error instanceof BadAfterError) return { status: 400, detail: error.message, code: "bad-after" };
  if (error instanceof BadKeyError) return { status: 400, detail: error.message, code: "bad-key" };
  // These two extend OriginError, so test them first.
  if (error instanceof OriginTimeoutError) {
    return { status: 504, detail: `the origin of ${group} took too long`, code: "origin-timeout" };
  }
  if (error instanceof OriginUnreachableError) {
    return { status: 502, detail: `the origin of ${group} cannot be reached`, code: "origin-unreachable" };
  }
  if (error instanceof OriginError) {
    return { status: 502, detail: `the origin of ${group} failed`, code: "origin-failed" };
  }
  if (error instanceof PassThroughError) {
    return { status: 502, detail: `the origin of ${group} gave an answer that no node can keep`, code: "not-storable" };
  }
  // It extends RequestBodyError.
  if (error instanceof SlowRequestError) return { status: 408, detail: error.message, code: "slow-request" };
  if (error instanceof RequestBodyError) {
    return { status: 400, detail: "the body of the request broke off", code: "bad-body" };
  }
  // It extends OverloadedError.
  if (error instanceof UnservedError) return { status: 503, detail: error.message, code: "not-served" };
  if (error instanceof OverloadedError) {
    return { status: 503, detail: "too many requests are waiting: try again later", code: "overloaded" };
  }
  return { status: 500, detail: "something went wrong inside this node", code: "internal", unexpected: true };
}

/** The answer to a method that a route does not take. @param allow the methods that it takes */
export function notAllowed(method: string, allow = "GET, HEAD"): Response {
  return problemResponse({ status: 405, detail: `${method} is not allowed here` }, { allow });
}
