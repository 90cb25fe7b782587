/** Requests to a site: a shared HTTP cache (RFC 9111) for GET and HEAD. Every other method goes through to the site. */
import { Buffer } from "node:buffer";
import type { Clock } from "../../core/base/clock.ts";
import type { Trace } from "../../core/base/trace.ts";
import type { CancelSignal } from "../../core/base/cancel.ts";
import { MAX_KEY_BYTES } from "../../core/base/limits.ts";
import { BadKeyError, OriginError, PassThroughError, SlowRequestError } from "../../core/errors.ts";
import type { Hit, Loaded } from "../../core/group/loaded.ts";
import { Waiter } from "../../core/load/flights.ts";
import type { RequestHead } from "../../core/ports.ts";
import { cacheControlOf } from "../../core/semantics/cache-control.ts";
import { endToEnd, type Fields, isFieldValue, without } from "../../core/semantics/fields.ts";
import { AFTER } from "../after.ts";
import type { CacheGroup, SiteFace } from "../ports.ts";
import { SANDBOX } from "../security.ts";
import type { HowLoaded } from "./cache-status.ts";
import { type Pace, paced } from "./paced.ts";

/** Methods that change nothing (RFC 9110, section 9.2.1). A success of any other method invalidates. */
const SAFE: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);
/** How long a client may neither send nor take a part of a body that goes through. Chosen: as for other answers. */
const MAX_CLIENT_SILENCE_MS = 30_000;
/** This hop in the field `Via` (RFC 9110, section 7.6.3). */
const VIA = "1.1 muster";
/**
 * With these fields a client could make a site answer for another host or path. No `Vary` names them, so that answer
 * would be stored for all clients.
 */
const OF_OTHER_PROXIES: ReadonlySet<string> = new Set([
  "forwarded",
  "x-forwarded-host",
  "x-forwarded-port",
  "x-forwarded-proto",
  "x-forwarded-scheme",
  "x-forwarded-server",
  "x-host",
  "x-original-url",
  "x-rewrite-url",
]);

/** Why a request goes through (RFC 9211, section 2.2). */
export type ForwardReason = "method" | "bypass" | "uri-miss";

/** What the routes do for a site's requests. */
export interface SiteAnswers {
  /** Whether the answers are served under the node's own host. */
  readonly isSandboxed: boolean;
  hit(request: Request, group: CacheGroup, hit: Hit): Response;
  loaded(request: Request, group: CacheGroup, loaded: Loaded, how: HowLoaded): Response;
  /** Whether this node has applied all invalidations that the client has seen. @throws BadAfterError */
  reached(request: Request, group: CacheGroup): true | Promise<boolean>;
  failed(request: Request, error: unknown, group: string, thing: string, signal?: CancelSignal): Response;
  /** The ids of the request in logs and traces. */
  traceOf(request: Request): Trace | undefined;
  /**
   * The `Cache-Status` of an answer that goes through. @param isCollapsed whether it first joined another load in vain
   */
  forwarded(reason: ForwardReason, status: number, isCollapsed?: boolean): string;
  signalOf(request: Request): CancelSignal;
  clock(): Clock;
  /** Marks an answer that may be silent for long between two pieces. @returns the answer */
  silent(response: Response): Response;
}

/**
 * Answers one request of a client.
 *
 * @param key the rest of the path with its query, as received
 */
export function answerSite(
  request: Request,
  group: CacheGroup,
  site: SiteFace,
  key: string,
  answers: SiteAnswers,
): Response | Promise<Response> {
  const { method } = request;
  const fields = fieldsOf(request.headers);
  const forward = (reason: ForwardReason, isCollapsed = false) =>
    forwarded(request, group.name, site, key, fields, reason, isCollapsed, answers);
  if (method !== "GET" && method !== "HEAD") return forward("method");
  if (hasBody(request)) {
    const error = new BadKeyError(`a ${method} with a body cannot be passed on: the runtime does not give the body`);
    return answers.failed(request, error, group.name, "key");
  }
  const isCacheable = Buffer.byteLength(key) <= MAX_KEY_BYTES && !site.isPassing(key);
  if (!isCacheable) return forward("bypass");
  let isReached: true | Promise<boolean>;
  try {
    isReached = answers.reached(request, group);
  } catch (error) {
    return answers.failed(request, error, group.name, "key");
  }
  const get = (isReached: boolean) => getOf(request, group, key, fields, isReached, forward, answers);
  return isReached === true ? get(true) : isReached.then(get);
}

/**
 * @param isReached whether this node has applied all invalidations that the client has seen; if not, no cache may
 * answer
 */
function getOf(
  request: Request,
  group: CacheGroup,
  key: string,
  fields: Fields,
  isReached: boolean,
  forward: (reason: ForwardReason, isCollapsed?: boolean) => Promise<Response>,
  answers: SiteAnswers,
): Response | Promise<Response> {
  const head: RequestHead = { fields: without(fields, OF_OTHER_PROXIES) };
  const hit = isReached ? group.lookup(key, head) : undefined;
  if (hit !== undefined) return answers.hit(request, group, hit);
  if (cacheControlOf(fields).has("only-if-cached")) return onlyIfCached(answers);
  // The answer to a HEAD has no body to keep.
  if (request.method === "HEAD") return forward("uri-miss");
  if (!canBeSent(fields)) return answers.failed(request, unsendable(), group.name, "key");
  return new Promise((answer) => {
    const waiter: SiteMiss = new SiteMiss(answers.signalOf(request), head, !isReached, answers.traceOf(request), {
      loaded: (loaded) => answer(answers.loaded(request, group, loaded, waiter)),
      failed: (error) =>
        answer(
          error instanceof PassThroughError
            ? forward("bypass", waiter.isCollapsed)
            : answers.failed(request, error, group.name, "key", answers.signalOf(request)),
        ),
    });
    try {
      if (isReached) group.load(key, waiter);
      else group.loadUnkept(key, waiter);
    } catch (error) {
      waiter.reject(error);
    }
  });
}

/** A client's request that waits for its value. */
class SiteMiss extends Waiter<Loaded> implements HowLoaded {
  readonly isUnkept: boolean;
  private readonly on: { loaded(loaded: Loaded): void; failed(error: unknown): void };

  constructor(
    signal: CancelSignal,
    request: RequestHead,
    isUnkept: boolean,
    trace: Trace | undefined,
    on: { loaded(loaded: Loaded): void; failed(error: unknown): void },
  ) {
    super(signal, request, trace);
    this.isUnkept = isUnkept;
    this.on = on;
  }

  resolve(loaded: Loaded): void {
    try {
      this.on.loaded(loaded);
    } catch (error) {
      this.reject(error);
    }
  }

  reject(error: unknown): void {
    this.on.failed(error);
  }
}

/** Sends the request to the site as it is, and streams the answer. */
async function forwarded(
  request: Request,
  groupName: string,
  site: SiteFace,
  key: string,
  fields: Fields,
  reason: ForwardReason,
  isCollapsed: boolean,
  answers: SiteAnswers,
): Promise<Response> {
  const { method, signal } = request;
  try {
    if (!canBeSent(fields)) throw unsendable();
    const body = request.body && paced(request.body, answers.clock(), OF_CLIENT);
    const answer = await site.forward({ method, key, fields, body, trace: answers.traceOf(request) }, signal);
    const { status } = answer;
    // Invalidate before the client has its answer: its next GET must not get the old value.
    const own = !SAFE.has(method) && status < 400 ? await site.invalidate(key, answer.fields) : undefined;
    if (!canBeSent(answer.fields)) {
      await answer.body.cancel();
      throw new OriginError("the site's answer has a header with a control character");
    }
    const content = answer.keep?.(own) ?? answer.body;
    if (reason === "bypass" && method === "GET" && answer.isStorable) site.passNoMore(key);
    const headers = new Headers(answer.fields as [string, string][]);
    headers.append("cache-status", answers.forwarded(reason, status, isCollapsed));
    if (answers.isSandboxed) sandbox(headers);
    const isEmpty = method === "HEAD" || status === 204 || status === 205 || status === 304;
    if (isEmpty) {
      await passedOver(content);
      return new Response(null, { status, headers });
    }
    const toClient = paced(content, answers.clock(), { readerMs: MAX_CLIENT_SILENCE_MS });
    return answers.silent(new Response(toClient, { status, headers }));
  } catch (error) {
    return answers.failed(request, error, groupName, "key", signal.aborted ? signal : undefined);
  }
}

const OF_CLIENT: Pace = {
  sourceMs: MAX_CLIENT_SILENCE_MS,
  sourceError: (silentMs) =>
    new SlowRequestError(`the client has sent nothing of its request's body for ${silentMs} ms`),
};

/** Ends a body that should be empty. An empty one keeps its connection to the site. */
async function passedOver(content: ReadableStream<Uint8Array>): Promise<void> {
  const reader = content.getReader();
  if (!(await reader.read()).done) await reader.cancel();
}

/** Bun accepts a DEL in a client's headers, but servers refuse it. */
function canBeSent(fields: Fields): boolean {
  return fields.every(([, value]) => isFieldValue(value));
}

function unsendable(): BadKeyError {
  return new BadKeyError("a header of the request has a control character");
}

/** See `headersOf` in value-response.ts. */
function sandbox(headers: Headers): void {
  headers.set("x-content-type-options", "nosniff");
  headers.append("content-security-policy", SANDBOX);
}

function onlyIfCached(answers: SiteAnswers): Response {
  const text = "nothing is stored for this request\n";
  return new Response(text, {
    status: 504,
    headers: {
      "content-type": "text/plain; charset=utf-8",
      "content-length": String(text.length),
      "cache-status": answers.forwarded("uri-miss", 504),
    },
  });
}

/** The body of a GET has no defined meaning (RFC 9110, section 9.3.1), and both runtimes hide it. */
function hasBody({ body, headers }: Request): boolean {
  return body !== null || headers.has("transfer-encoding") || (headers.get("content-length") ?? "0") !== "0";
}

/** A client's end-to-end fields, with this hop added to `Via`, and without the fields that are for this hop alone. */
function fieldsOf(headers: Headers): Fields {
  const fields = endToEnd([...headers]);
  const via = headers.get("via");
  return [...without(fields, OF_THIS_HOP), ["via", via === null ? VIA : `${via}, ${VIA}`]];
}

/** Fields that this hop writes itself or that are for it alone. */
const OF_THIS_HOP: ReadonlySet<string> = new Set(["via", AFTER]);
