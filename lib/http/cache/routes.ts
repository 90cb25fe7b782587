/**
 * The routes that answer from a cache. A hit makes no promise, calls no `async` function and builds no URL object: a handler
 * returns a Response on a hit, and a promise only on a miss.
 */
import type { Context } from "hono";
import type { CancelSignal } from "../../core/base/cancel.ts";
import type { Log } from "../../core/base/log.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Trace } from "../../core/base/trace.ts";
import { BadKeyError, NotFoundError } from "../../core/errors.ts";
import type { Hit, Loaded } from "../../core/group/loaded.ts";
import { Waiter } from "../../core/load/flights.ts";
import type { Value } from "../../core/value.ts";
import { Bodies } from "../admin/body.ts";
import type { Changes, Target } from "../admin/changes.ts";
import { AFTER, reached } from "../after.ts";
import type { Edge } from "../edge/edge.ts";
import { counted, type RouteAnswers } from "../counted.ts";
import type { ClientSignals } from "../fast/client-signal.ts";
import { type AnswerPort, LongAnswers, MAX_WHOLE_BYTES } from "../fast/long-answers.ts";
import { PreparedHeaders } from "../fast/prepared-headers.ts";
import { type Body, isOneChunk, TextBodies } from "../fast/text-bodies.ts";
import { unchained } from "../fast/unchained.ts";
import { WholeHits } from "../fast/whole-hits.ts";
import { decodeGroupcacheKeyPath, decodeKeyPath, pathEnd, pathStart } from "../key.ts";
import type { CacheGroup, ServedGroup, ServedGroups } from "../ports.ts";
import { notAllowed, problemOf, problemResponse } from "../problem.ts";
import { SANDBOX } from "../security.ts";
import { answerBatch, BATCH_KEY, type BatchAnswers, type KeyFailure } from "./batch.ts";
import { CacheStatus, type HowLoaded } from "./cache-status.ts";
import { encodeGetResponse, groupcacheContentType } from "./groupcache.ts";
import { answerSite, type SiteAnswers } from "./site.ts";
import { headersOf as headersOfValue, httpResponse, isHttpValue, isNothing, isWhole } from "./value-response.ts";

/** Answers a request; a promise of the response never rejects. */
export type Handler = (c: Context) => Response | Promise<Response>;

/** The group that `/define/` asks. */
const DEFINE_GROUP = "dict";

export interface CacheRoutesOptions {
  readonly nodeName: string;
  readonly groups: ServedGroups;
  readonly signals: ClientSignals;
  /** For the methods that change what is cached. */
  readonly changes: Changes;
  /** The epoch of the log of invalidations, as this node knows it; 0: it has not read the log yet. */
  readonly currentEpoch: () => number;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether the runtime sends text in one chunk faster than bytes of a known length. */
  readonly isChunkedTextFaster: boolean;
  readonly answerPort: AnswerPort;
  /** Wraps all routes. */
  readonly edge: Edge;
  /** Counts answers about groups that do not exist. */
  readonly routeAnswers: RouteAnswers;
}

/** The handlers of gets. */
export class CacheRoutes {
  /**
   * Each handler, by the part of the path before the group or the key.
   *
   * The handlers of hits pass the request on, never the context. JavaScriptCore then inlines them into Hono's code, and
   * does not make the context with its sixteen functions.
   */
  readonly byPrefix: ReadonlyMap<string, Handler> = new Map<string, Handler>([
    ["/cache/", (c) => this.#cache(c.req.raw)],
    ["/define/", (c) => this.#define(c.req.raw)],
    ["/_groupcache/", (c) => this.#groupcache(c.req.raw)],
  ]);
  readonly #status: CacheStatus;
  readonly #groups: ServedGroups;
  readonly #signals: ClientSignals;
  readonly #changes: Changes;
  readonly #currentEpoch: () => number;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #answerPort: AnswerPort;
  readonly #edge: Edge;
  readonly #routeAnswers: RouteAnswers;
  readonly #texts: TextBodies | undefined;
  readonly #wholeHits: WholeHits;
  readonly #long: LongAnswers;
  readonly #bodyOf = (body: Value["body"], request: Request) => this.#long.bodyOf(body, request);
  readonly #prepared = new PreparedHeaders(headersOf);
  /**
   * The first is for a site under `/cache/`. The second is for a site under its own host, which shares no web origin
   * with this node's pages.
   */
  readonly #forSites = this.#siteAnswers(true);
  readonly #forHosts = this.#siteAnswers(false);
  readonly #silent = (response: Response) => {
    this.#answerPort.mayBeSilent(response);
    return response;
  };
  readonly #bodies: Bodies;
  readonly #forBatches: BatchAnswers = {
    groupNow: (name) => {
      const served = this.#groups.get(name);
      return served?.site === undefined ? served?.group : undefined;
    },
    reached: (request, group) => this.#reached(request, group),
    hitStatus: ({ isBehind }, { value, from }) =>
      this.#status.found(from, isBehind) + detailsOf(value, false, this.#clock.nowMs()),
    loadedStatus: (group, loaded, how) =>
      this.#statusOf(group, loaded, how) + detailsOf(loaded.value, false, this.#clock.nowMs()),
    traceOf: (request) => this.#edge.traceOf(request),
    keyFailure: (request, error, group, isRefused) => this.#failureOf(request, error, group, "key", isRefused),
    noGroup: (name) => this.#noGroup(name),
    failed: (request, error, group) => this.failed(request, error, group, "key"),
  };

  constructor(options: CacheRoutesOptions) {
    const { nodeName, groups, signals, changes, currentEpoch, clock, log, isChunkedTextFaster } = options;
    this.#answerPort = options.answerPort;
    this.#edge = options.edge;
    this.#routeAnswers = options.routeAnswers;
    this.#long = new LongAnswers(options.answerPort, clock);
    this.#status = new CacheStatus(nodeName);
    this.#groups = groups;
    this.#signals = signals;
    this.#changes = changes;
    this.#currentEpoch = currentEpoch;
    this.#clock = clock;
    this.#log = log;
    this.#bodies = new Bodies(clock);
    this.#texts = isChunkedTextFaster ? new TextBodies() : undefined;
    this.#wholeHits = new WholeHits(this.#texts);
  }

  /** Answers a request for a host that a group serves. The whole path is the key. */
  site(request: Request, { group, site }: ServedGroup): Response | Promise<Response> {
    const { url } = request;
    const begun = group.answers.begin();
    try {
      const answer = answerSite(request, group, site!, url.slice(pathStart(url) + 1), this.#forHosts);
      return counted(group.answers, begun, answer);
    } catch (error) {
      return counted(group.answers, begun, this.failed(request, error, group.name, "key"));
    }
  }

  #siteAnswers(isSandboxed: boolean): SiteAnswers {
    return {
      isSandboxed,
      hit: (request, { isBehind }, { value, from }) =>
        this.#httpResponse(request, value, this.#status.found(from, isBehind), true, true, isSandboxed),
      loaded: (request, group, loaded, how) => {
        const { value, source } = loaded;
        const status = this.#statusOf(group, loaded, how);
        return this.#httpResponse(request, value, status, source !== "origin", true, isSandboxed);
      },
      reached: (request, group) => this.#reached(request, group),
      failed: (request, error, group, thing, signal) => this.failed(request, error, group, thing, signal),
      traceOf: (request) => this.#edge.traceOf(request),
      forwarded: (reason, status, isCollapsed) => this.#status.forwarded(reason, status, isCollapsed),
      signalOf: (request) => this.#signals.of(request),
      clock: () => this.#clock,
      silent: (response) => this.#silent(response),
    };
  }

  /** `/cache/<group>/<key>`. A site takes every method but PURGE itself. */
  #cache(request: Request): Response | Promise<Response> {
    const [name, rawKey, query] = groupAndKey(request.url, "/cache/".length);
    const served = this.#groups.get(name);
    if (served === undefined) {
      return this.#routeAnswers.count("cache", this.#cacheAnswer(request, served, name, rawKey, query));
    }
    const { answers } = served.group;
    const begun = answers.begin();
    return counted(answers, begun, this.#cacheAnswer(request, served, name, rawKey, query));
  }

  #cacheAnswer(
    request: Request,
    served: ServedGroup | undefined,
    groupName: string,
    rawKey: string,
    query: string,
  ): Response | Promise<Response> {
    const { method } = request;
    if (served?.site !== undefined && method !== "PURGE") {
      return answerSite(request, served.group, served.site, rawKey + query, this.#forSites);
    }
    if (method === "GET" || method === "HEAD") {
      return this.#get(request, served?.group, groupName, rawKey, query, "key");
    }
    if (method === "POST" && rawKey === BATCH_KEY) {
      if (served === undefined) return this.#noSuchGroup(groupName);
      const answer = answerBatch(request, served.group, query, this.#bodies, this.#clock, this.#forBatches);
      return answer.then(this.#silent);
    }
    const target: Target = { groupName, served, rawKey, query };
    return this.#changes.cache(request, target);
  }

  /** `/define/<word>`. */
  #define(request: Request): Response | Promise<Response> {
    const [rawKey, query] = tailOf(request.url, "/define/".length);
    const { method } = request;
    if (method !== "GET" && method !== "HEAD") return this.#routeAnswers.count("cache", notAllowed(method));
    const group = this.#groups.get(DEFINE_GROUP)?.group;
    if (group === undefined) return this.#routeAnswers.count("cache", this.#noSuchGroup(DEFINE_GROUP));
    const begun = group.answers.begin();
    return counted(group.answers, begun, this.#get(request, group, DEFINE_GROUP, rawKey, query, "word"));
  }

  /** @param thing the name of a key in problems: `key` or `word` */
  #get(
    request: Request,
    group: CacheGroup | undefined,
    groupName: string,
    rawKey: string,
    query: string,
    thing: string,
  ): Response | Promise<Response> {
    try {
      const key = decodeKeyPath(rawKey);
      if (group === undefined) return this.#noSuchGroup(groupName);
      // The origin never sees the query, so two queries would get the same value.
      if (query.length > 1) throw new BadKeyError(`a ${thing} has no query: a question mark in it is written %3F`);
      const isReached = this.#reached(request, group);
      if (isReached === true) return this.#getNow(request, group, key, thing);
      return this.#getAfter(request, group, key, thing, isReached);
    } catch (error) {
      return this.failed(request, error, groupName, thing);
    }
  }

  /** Whether this node has applied all invalidations that the client has seen. @throws BadAfterError */
  #reached(request: Request, group: CacheGroup): true | Promise<boolean> {
    // On Deno `has` takes half the time of `get`.
    return !request.headers.has(AFTER) || reached(group, request.headers.get(AFTER)!, this.#currentEpoch);
  }

  #getNow(request: Request, group: CacheGroup, key: string, thing: string): Response | Promise<Response> {
    const hit = group.lookup(key);
    return hit === undefined ? this.#load(request, group, key, thing, false) : this.#hit(request, group, hit);
  }

  /** Answers while the node is behind the client. If it stays behind, only the origin can answer. */
  async #getAfter(
    request: Request,
    group: CacheGroup,
    key: string,
    thing: string,
    isReached: Promise<boolean>,
  ): Promise<Response> {
    try {
      if (await isReached) return await this.#getNow(request, group, key, thing);
      return await this.#load(request, group, key, thing, true);
    } catch (error) {
      return this.failed(request, error, group.name, thing);
    }
  }

  #hit(request: Request, group: CacheGroup, { value, from }: Hit): Response {
    const cacheStatus = this.#status.found(from, group.isBehind);
    if (isHttpValue(value)) return this.#httpResponse(request, value, cacheStatus, true, false, true);
    return this.#valueResponse(request, value, cacheStatus, this.#texts?.of(value));
  }

  /** @throws NotFoundError the cache remembers that there is no such value */
  #httpResponse(
    request: Request,
    value: Value,
    cacheStatus: string,
    isFromCache: boolean,
    isSite: boolean,
    isSandboxed: boolean,
  ): Response {
    if (!isSite && isNothing(value)) throw new NotFoundError("the origin has no such value");
    const nowMs = this.#clock.nowMs();
    const told = () => cacheStatus + detailsOf(value, isSite && !isFromCache, nowMs);
    if (isFromCache && value.body.byteLength <= MAX_WHOLE_BYTES && isWhole(value, request)) {
      const answer = this.#wholeHits.response(value, cacheStatus, isSandboxed, nowMs, () => {
        return headersOfValue(value, { cacheStatus: told(), nowMs, isFromCache, isSite, isSandboxed });
      });
      return this.#edge.sized(answer, value.body.byteLength);
    }
    const bodyOf = this.#bodyOf;
    return httpResponse(value, { request, cacheStatus: told(), nowMs, isFromCache, isSite, isSandboxed, bodyOf });
  }

  /** @param isUnkept whether no cache may give or keep the value */
  #load(request: Request, group: CacheGroup, key: string, thing: string, isUnkept: boolean): Promise<Response> {
    const signal = this.#signals.of(request);
    return unchained(
      new Promise((answer) => {
        const miss = new Miss(this, request, group, thing, isUnkept, signal, this.#edge.traceOf(request), answer);
        try {
          if (isUnkept) group.loadUnkept(key, miss);
          else group.load(key, miss);
        } catch (error) {
          miss.reject(error);
        }
      }),
    );
  }

  /** Called by a {@linkcode Miss} when its value has come. */
  loaded(request: Request, group: CacheGroup, loaded: Loaded, how: HowLoaded): Response {
    const { value, source } = loaded;
    const cacheStatus = this.#statusOf(group, loaded, how);
    if (isHttpValue(value)) return this.#httpResponse(request, value, cacheStatus, source !== "origin", false, true);
    return this.#valueResponse(request, value, cacheStatus, this.#texts?.once(value));
  }

  #statusOf({ isBehind }: CacheGroup, { source, stored }: Loaded, { isCollapsed, isUnkept }: HowLoaded): string {
    if (isUnkept) return this.#status.unkept;
    // Another load has put it into a cache in the meantime.
    if (source === "main" || source === "hot") return this.#status.found(source, isBehind);
    return this.#status.loaded(source, stored, isCollapsed);
  }

  /** @param text the body from {@linkcode TextBodies}, on a runtime that sends text faster */
  #valueResponse(request: Request, value: Value, cacheStatus: string, text: Body | undefined): Response {
    const { body, contentType } = value;
    // The servers count the bytes of a body, which HEAD does not send.
    if (body.byteLength > MAX_WHOLE_BYTES || request.method === "HEAD") {
      return this.#bytesResponse(request, body, contentType, cacheStatus);
    }
    const { byteLength } = body;
    if (text === undefined) {
      return this.#edge.sized(new Response(body, this.#prepared.of(contentType, cacheStatus)), byteLength);
    }
    const headers = headersOf(contentType, cacheStatus);
    if (isOneChunk(byteLength)) headers["transfer-encoding"] = "chunked";
    return this.#edge.sized(new Response(text, { headers }), byteLength);
  }

  /**
   * `/_groupcache/<group>/<key>`, the groupcache wire. Names of groups need no escapes, so an escaped name is not
   * counted by group.
   */
  #groupcache(request: Request): Response | Promise<Response> {
    const [groupPath, rawKey] = groupAndKey(request.url, "/_groupcache/".length);
    const answer = () => this.#groupcacheAnswer(request, groupPath, rawKey);
    const group = this.#groups.get(groupPath)?.group;
    if (group === undefined) return this.#routeAnswers.count("cache", answer());
    const begun = group.answers.begin();
    return counted(group.answers, begun, answer());
  }

  async #groupcacheAnswer(request: Request, groupPath: string, rawKey: string): Promise<Response> {
    if (request.method !== "GET" && request.method !== "HEAD") return notAllowed(request.method);
    let groupName = groupPath;
    let signal: CancelSignal | undefined;
    try {
      const key = decodeGroupcacheKeyPath(rawKey);
      groupName = decodeGroupcacheKeyPath(groupPath);
      const group = this.#groups.get(groupName)?.group;
      if (group === undefined) return this.#noSuchGroup(groupName);
      signal = this.#signals.of(request);
      const loaded = await group.getAsOwner(key, { signal, trace: this.#edge.traceOf(request) });
      return this.#bytesResponse(
        request,
        encodeGetResponse({ value: loaded.value.body }),
        groupcacheContentType,
        this.#statusOf(group, loaded, { isCollapsed: false, isUnkept: false }),
      );
    } catch (error) {
      return this.failed(request, error, groupName, "key", signal);
    }
  }

  #bytesResponse(request: Request, body: Value["body"], contentType: string, cacheStatus: string): Response {
    return new Response(this.#bodyOf(body, request), {
      headers: { ...headersOf(contentType, cacheStatus), "content-length": String(body.byteLength) },
    });
  }

  #noSuchGroup(groupName: string): Response {
    const { cacheStatus, ...problem } = this.#noGroup(groupName);
    return problemResponse(problem, { "cache-status": cacheStatus });
  }

  #noGroup(name: string): KeyFailure {
    const detail = `this node serves no group called ${name}`;
    return { status: 404, detail, cacheStatus: this.#status.refused("no-group") };
  }

  /** @param signal the client's; `undefined` before a load */
  failed(request: Request, error: unknown, group: string, thing: string, signal?: CancelSignal): Response {
    if (signal?.aborted === true) {
      // The client has gone, so this answer is not read. It ends the request without a line in the log.
      return problemResponse({ status: 499, detail: "the client went away" }, {
        "cache-status": this.#status.failed("client-gone"),
      });
    }
    const { cacheStatus, requestId, ...problem } = this.#failureOf(request, error, group, thing, signal === undefined);
    const id = requestId === undefined ? undefined : { "x-request-id": requestId };
    return problemResponse(problem, { "cache-status": cacheStatus, ...id });
  }

  /** @param isBeforeLoad whether the cache was not asked yet */
  #failureOf(
    request: Request,
    error: unknown,
    group: string,
    thing: string,
    isBeforeLoad: boolean,
  ): KeyFailure & { readonly requestId?: string } {
    const { status, detail, code, unexpected } = problemOf(error, group, thing);
    const isRefused = isBeforeLoad && error instanceof BadKeyError;
    const cacheStatus = isRefused ? this.#status.refused(code) : this.#status.failed(code);
    if (!unexpected) return { status, detail, cacheStatus };
    const requestId = this.#edge.idOf(request);
    this.#log.error(`cannot answer from ${group}: ${describe(error)}`, { group, error, requestId });
    return { status, detail, cacheStatus, requestId };
  }
}

/** A client's request that waits for its value; the group replies to it. */
class Miss extends Waiter<Loaded> implements HowLoaded {
  readonly isUnkept: boolean;
  private readonly routes: CacheRoutes;
  private readonly client: Request;
  private readonly group: CacheGroup;
  private readonly thing: string;
  private readonly answer: (response: Response) => void;

  constructor(
    routes: CacheRoutes,
    request: Request,
    group: CacheGroup,
    thing: string,
    isUnkept: boolean,
    signal: CancelSignal,
    trace: Trace | undefined,
    answer: (response: Response) => void,
  ) {
    super(signal, undefined, trace);
    this.routes = routes;
    this.client = request;
    this.group = group;
    this.thing = thing;
    this.isUnkept = isUnkept;
    this.answer = answer;
  }

  resolve(loaded: Loaded): void {
    try {
      this.answer(this.routes.loaded(this.client, this.group, loaded, this));
    } catch (error) {
      this.reject(error);
    }
  }

  reject(error: unknown): void {
    this.answer(this.routes.failed(this.client, error, this.group.name, this.thing, this.signal));
  }
}

/** Foreign content: a browser must not treat declared text as a page, or run a page as one of this node's. */
function headersOf(contentType: string, cacheStatus: string): Record<string, string> {
  return {
    "content-type": contentType,
    "cache-status": cacheStatus,
    "x-content-type-options": "nosniff",
    "content-security-policy": SANDBOX,
  };
}

/** The raw path after a prefix of this length, and the query with its `?`; `""`: there is no query. */
function tailOf(url: string, prefixLength: number): [path: string, query: string] {
  const start = pathStart(url);
  const end = pathEnd(url, start);
  return [url.slice(start + prefixLength, end), url.slice(end)];
}

/**
 * The parts of `<group>/<key>` after a prefix of this length, and the query, all raw. The first slash ends the group.
 */
function groupAndKey(url: string, prefixLength: number): [group: string, key: string, query: string] {
  const start = pathStart(url);
  const end = pathEnd(url, start);
  const slash = url.indexOf("/", start + prefixLength);
  const groupEnd = slash < 0 || slash > end ? end : slash;
  return [url.slice(start + prefixLength, groupEnd), url.slice(groupEnd + 1, end), url.slice(end)];
}

/**
 * The remaining fresh time and the origin's status, as parameters (RFC 9211, sections 2.3 and 2.4). An origin that is
 * no site has always said 200.
 */
function detailsOf({ freshUntilMs, about }: Value, isLoadOfSite: boolean, nowMs: number): string {
  const status = isLoadOfSite ? `; fwd-status=${about.status}` : "";
  return freshUntilMs === Infinity ? status : `${status}; ttl=${Math.floor((freshUntilMs - nowMs) / 1_000)}`;
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
