/**
 * The routes that answer from a cache. A hit makes no promise, calls no `async` function and builds no URL object: a handler
 * returns a Response on a hit, and a promise only on a miss.
 */
import type { Context } from "hono";
import type { CancelSignal } from "../../core/base/cancel.ts";
import type { Log } from "../../core/base/log.ts";
import { BadKeyError } from "../../core/errors.ts";
import type { Hit, Loaded } from "../../core/group.ts";
import { Waiter } from "../../core/load/flights.ts";
import type { Value } from "../../core/value.ts";
import type { ClientSignals } from "../fast/client-signal.ts";
import { PreparedHeaders } from "../fast/prepared-headers.ts";
import { type Body, isOneChunk, TextBodies } from "../fast/text-bodies.ts";
import { unchained } from "../fast/unchained.ts";
import { decodeGroupcacheKeyPath, decodeKeyPath, pathEnd, pathStart } from "../key.ts";
import type { CacheGroup, ServedGroups } from "../ports.ts";
import { problemOf, problemResponse } from "../problem.ts";
import { CacheStatus } from "./cache-status.ts";
import { encodeGetResponse, groupcacheContentType } from "./groupcache.ts";

/** Answers a request; a promise of the response never rejects. */
export type Handler = (c: Context) => Response | Promise<Response>;

/** The group that `/define/` asks. */
const DEFINE_GROUP = "dict";

export interface CacheRoutesOptions {
  readonly nodeName: string;
  readonly groups: ServedGroups;
  readonly signals: ClientSignals;
  readonly log: Log;
  /** Whether the runtime sends text in one chunk faster than bytes of a known length. */
  readonly isChunkedTextFaster: boolean;
}

/** The handlers of gets. */
export class CacheRoutes {
  /**
   * Each handler, by the part of the path in front of the group or the key.
   *
   * The handlers of hits hand on the request, never the context. JavaScriptCore then inlines them into Hono's code, and
   * leaves out the context with its sixteen functions.
   */
  readonly byPrefix: ReadonlyMap<string, Handler> = new Map<string, Handler>([
    ["/cache/", (c) => this.#cache(c.req.raw)],
    ["/define/", (c) => this.#get(c.req.raw, DEFINE_GROUP, tailOf(c.req.raw.url, "/define/".length), "word")],
    ["/_groupcache/", (c) => this.#groupcache(c.req.raw)],
  ]);
  readonly #status: CacheStatus;
  readonly #groups: ServedGroups;
  readonly #signals: ClientSignals;
  readonly #log: Log;
  readonly #texts: TextBodies | undefined;
  readonly #prepared = new PreparedHeaders(headersOf);

  constructor({ nodeName, groups, signals, log, isChunkedTextFaster }: CacheRoutesOptions) {
    this.#status = new CacheStatus(nodeName);
    this.#groups = groups;
    this.#signals = signals;
    this.#log = log;
    this.#texts = isChunkedTextFaster ? new TextBodies() : undefined;
  }

  /** `/cache/<group>/<key>`. */
  #cache(request: Request): Response | Promise<Response> {
    const [groupName, rawKey] = groupAndKey(request.url, "/cache/".length);
    return this.#get(request, groupName, rawKey, "key");
  }

  /** @param thing the name of a key in problems: `key` or `word` */
  #get(request: Request, groupName: string, rawKey: string, thing: string): Response | Promise<Response> {
    try {
      const key = decodeKeyPath(rawKey);
      const group = this.#groups.get(groupName)?.group;
      if (group === undefined) return this.#noSuchGroup(groupName);
      const hit = group.lookup(key);
      return hit === undefined ? this.#load(request, group, key, thing) : this.#hit(request, hit);
    } catch (error) {
      return this.failed(error, groupName, thing, undefined);
    }
  }

  #hit(request: Request, { value, from }: Hit): Response {
    const cacheStatus = from === "hot" ? this.#status.hotHit : this.#status.hit;
    return this.#valueResponse(request, value, cacheStatus, this.#texts?.of(value));
  }

  #load(request: Request, group: CacheGroup, key: string, thing: string): Promise<Response> {
    const signal = this.#signals.of(request);
    return unchained(
      new Promise((answer) => {
        const miss = new Miss(this, request, group.name, thing, signal, answer);
        try {
          group.load(key, miss);
        } catch (error) {
          miss.reject(error);
        }
      }),
    );
  }

  /** For a {@linkcode Miss}: the value has come. */
  loaded(request: Request, { value, source, stored }: Loaded): Response {
    return this.#valueResponse(request, value, this.#status.loaded(source, stored), this.#texts?.once(value));
  }

  /** @param text the body as {@linkcode TextBodies} gives it, on a runtime that sends text faster */
  #valueResponse(request: Request, value: Value, cacheStatus: string, text: Body | undefined): Response {
    const { body, contentType } = value;
    // The servers count the bytes of a body, which HEAD does not send.
    if (request.method === "HEAD") return bytesResponse(body, contentType, cacheStatus);
    if (text === undefined) return new Response(body, this.#prepared.of(contentType, cacheStatus));
    const headers = headersOf(contentType, cacheStatus);
    if (isOneChunk(body.byteLength)) headers["transfer-encoding"] = "chunked";
    return new Response(text, { headers });
  }

  /** `/_groupcache/<group>/<key>`, the groupcache wire. */
  async #groupcache(request: Request): Promise<Response> {
    const [groupPath, rawKey] = groupAndKey(request.url, "/_groupcache/".length);
    let groupName = groupPath;
    let signal: CancelSignal | undefined;
    try {
      const key = decodeGroupcacheKeyPath(rawKey);
      groupName = decodeGroupcacheKeyPath(groupPath);
      const group = this.#groups.get(groupName)?.group;
      if (group === undefined) return this.#noSuchGroup(groupName);
      signal = this.#signals.of(request);
      const { value, source, stored } = await group.getAsOwner(key, { signal });
      return bytesResponse(
        encodeGetResponse({ value: value.body }),
        groupcacheContentType,
        this.#status.loaded(source, stored),
      );
    } catch (error) {
      return this.failed(error, groupName, "key", signal);
    }
  }

  #noSuchGroup(groupName: string): Response {
    const detail = `this node serves no group called ${groupName}`;
    return problemResponse({ status: 404, detail }, { "cache-status": this.#status.refused("no-group") });
  }

  /** @param signal the client's; `undefined` before a load */
  failed(error: unknown, group: string, thing: string, signal: CancelSignal | undefined): Response {
    if (signal?.aborted === true) {
      // Nobody reads this answer. It ends the request without a line in the log.
      return problemResponse({ status: 499, detail: "the client went away" }, {
        "cache-status": this.#status.failed("client-gone"),
      });
    }
    const problem = problemOf(error, group, thing);
    if (problem.unexpected) this.#log.error(`cannot answer from ${group}: ${describe(error)}`, { group, error });
    const cacheStatus = signal === undefined && error instanceof BadKeyError
      ? this.#status.refused(problem.code)
      : this.#status.failed(problem.code);
    return problemResponse(problem, { "cache-status": cacheStatus });
  }
}

/** A client's request that waits for its value; the group replies to it. */
class Miss extends Waiter<Loaded> {
  private readonly routes: CacheRoutes;
  private readonly request: Request;
  private readonly group: string;
  private readonly thing: string;
  private readonly answer: (response: Response) => void;

  constructor(
    routes: CacheRoutes,
    request: Request,
    group: string,
    thing: string,
    signal: CancelSignal,
    answer: (response: Response) => void,
  ) {
    super(signal);
    this.routes = routes;
    this.request = request;
    this.group = group;
    this.thing = thing;
    this.answer = answer;
  }

  resolve(loaded: Loaded): void {
    try {
      this.answer(this.routes.loaded(this.request, loaded));
    } catch (error) {
      this.reject(error);
    }
  }

  reject(error: unknown): void {
    this.answer(this.routes.failed(error, this.group, this.thing, this.signal));
  }
}

/** `nosniff`: values are foreign content, and a browser must not take declared text for a page. */
function headersOf(contentType: string, cacheStatus: string): Record<string, string> {
  return { "content-type": contentType, "cache-status": cacheStatus, "x-content-type-options": "nosniff" };
}

function bytesResponse(body: Uint8Array<ArrayBuffer>, contentType: string, cacheStatus: string): Response {
  return new Response(body, {
    headers: { ...headersOf(contentType, cacheStatus), "content-length": String(body.byteLength) },
  });
}

/** The path behind a prefix of this length, raw and without the query. */
function tailOf(url: string, prefixLength: number): string {
  const start = pathStart(url);
  return url.slice(start + prefixLength, pathEnd(url, start));
}

/** The parts of `<group>/<key>` behind a prefix of this length, both raw. The first slash ends the group. */
function groupAndKey(url: string, prefixLength: number): [group: string, key: string] {
  const start = pathStart(url);
  const end = pathEnd(url, start);
  const slash = url.indexOf("/", start + prefixLength);
  const groupEnd = slash < 0 || slash > end ? end : slash;
  return [url.slice(start + prefixLength, groupEnd), url.slice(groupEnd + 1, end)];
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
