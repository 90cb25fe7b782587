/**
 * The three routes that answer from a cache. A hit is answered without a promise, an `async` function or a URL object:
 * the handlers are plain functions that return a Response on a hit and a promise only on a miss.
 *
 * Headers of hits are made once for each media type: a `Headers` object is copied by both runtimes a fifth faster than a
 * plain one is read.
 */
import type { Context } from "hono";
import { BadKeyError } from "../../core/errors.ts";
import type { CancelSignal } from "../../core/base/cancel.ts";
import { Waiter } from "../../core/load/flights.ts";
import type { Value } from "../../core/value.ts";
import type { Log } from "../../core/base/log.ts";
import { Memo } from "../../core/base/memo.ts";
import { CacheStatus } from "./cache-status.ts";
import type { ClientSignals } from "../fast/client-signal.ts";
import { encodeGetResponse, groupcacheContentType } from "./groupcache.ts";
import { decodeGroupcacheKeyPath, decodeKeyPath, pathStart, rawPathOf } from "./key.ts";
import type { CacheGroup, Loaded } from "../ports.ts";
import { problemOf, problemResponse } from "../problem.ts";
import { type Body, TextBodies } from "../fast/text-bodies.ts";
import { unchained } from "../fast/unchained.ts";

export type Handler = (c: Context) => Response | Promise<Response>;

/** Origins name a handful; one that makes up a new type for each value costs what it did without. */
const MAX_TYPES = 128;
/** A node says six different things of a value. */
const MAX_STATUSES = 16;
/**
 * Deno sends head and body by two system calls when they do not fit into its 512 bytes for both, and by one when the body is
 * chunked: a fifth of the CPU time of a hit of 1 KiB, a seventh of one of 8 KiB, nothing of 32. A connection keeps the
 * memory for the largest that it has sent so.
 */
const MIN_CHUNKED_BYTES = 257;
const MAX_CHUNKED_BYTES = 16_384;

export interface CacheRoutesOptions {
  readonly nodeName: string;
  readonly groups: ReadonlyMap<string, CacheGroup>;
  readonly signals: ClientSignals;
  readonly log: Log;
  /** Whether the runtime sends text in one chunk faster than bytes of a known length. */
  readonly isChunkedTextFaster: boolean;
}

/** The handlers, as values, for a router. */
export class CacheRoutes {
  readonly #status: CacheStatus;
  readonly #groups: ReadonlyMap<string, CacheGroup>;
  readonly #signals: ClientSignals;
  readonly #log: Log;
  /** What values are answered with besides the body, by cache status and media type. */
  readonly #inits = new Memo(MAX_STATUSES, (cacheStatus: string) => preparedInits(cacheStatus, {}));
  readonly #chunkedInits = new Memo(
    MAX_STATUSES,
    (cacheStatus: string) => preparedInits(cacheStatus, { "transfer-encoding": "chunked" }),
  );
  readonly #texts: TextBodies | undefined;

  constructor({ nodeName, groups, signals, log, isChunkedTextFaster }: CacheRoutesOptions) {
    this.#status = new CacheStatus(nodeName);
    this.#groups = groups;
    this.#signals = signals;
    this.#log = log;
    this.#texts = isChunkedTextFaster ? new TextBodies() : undefined;
  }

  /**
   * `/cache/<group>/<key>` of one group, or `/define/<word>`, whose group no request needs to look up.
   *
   * No context is handed on, and the key is not cut out here: JavaScriptCore then takes this handler into Hono's code, sees
   * that nobody keeps the context, and makes neither it nor the sixteen functions that Hono gives each one.
   *
   * @param prefix what comes before the key
   * @param thing what a problem calls the key
   */
  keysOf(groupName: string, prefix: string, thing: string): Handler {
    const group = this.#groups.get(groupName);
    return (c) => this.#answer(c.req.raw, group, groupName, prefix.length, thing);
  }

  /** `/cache/<group>/<key>` of a group that has no route of its own: none that this node serves. */
  readonly cache: Handler = (c) => {
    const [groupName] = splitTail(tailOf(c.req.raw.url, "/cache/".length));
    return this.#answer(c.req.raw, undefined, groupName, "/cache/".length + groupName.length + 1, "key");
  };

  /** `/_groupcache/<group>/<key>`, the groupcache wire. */
  readonly groupcache: Handler = async (c) => {
    const [groupPath, tail] = splitTail(tailOf(c.req.raw.url, "/_groupcache/".length));
    let groupName = groupPath;
    let signal: CancelSignal | undefined;
    try {
      const key = decodeGroupcacheKeyPath(tail);
      groupName = decodeGroupcacheKeyPath(groupPath);
      const group = this.#groups.get(groupName);
      if (group === undefined) return this.#noSuchGroup(groupName);
      signal = this.#signals.of(c.req.raw);
      const { value, source, stored } = await group.getAsOwner(key, { signal });
      return bytesResponse(
        encodeGetResponse({ value: value.body }),
        groupcacheContentType,
        this.#status.loaded(source, stored),
      );
    } catch (error) {
      return this.failed(error, groupName, "key", signal);
    }
  };

  #answer(
    request: Request,
    group: CacheGroup | undefined,
    groupName: string,
    prefixLength: number,
    thing: string,
  ): Response | Promise<Response> {
    try {
      const key = decodeKeyPath(tailOf(request.url, prefixLength));
      if (group === undefined) return this.#noSuchGroup(groupName);
      const found = group.lookup(key);
      if (found === undefined) return this.#load(request, group, key, thing);
      const { value, from } = found;
      const cacheStatus = from === "hot" ? this.#status.hotHit : this.#status.hit;
      return this.#valueResponse(request, value, cacheStatus, this.#texts?.of(value));
    } catch (error) {
      return this.failed(error, groupName, thing, undefined);
    }
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

  /** For what waits for a value. */
  loaded(request: Request, { value, source, stored }: Loaded): Response {
    return this.#valueResponse(request, value, this.#status.loaded(source, stored), this.#texts?.once(value));
  }

  /** HEAD sends the headers of GET without the body, which is where the servers would count the bytes. */
  #valueResponse(request: Request, value: Value, cacheStatus: string, text: Body | undefined) {
    const { body, contentType } = value;
    if (request.method === "HEAD") return bytesResponse(body, contentType, cacheStatus);
    const bytes = body.byteLength;
    const isChunked = text !== undefined && bytes >= MIN_CHUNKED_BYTES && bytes <= MAX_CHUNKED_BYTES;
    const inits = isChunked ? this.#chunkedInits : this.#inits;
    return new Response(text ?? body, inits.get(cacheStatus).get(contentType));
  }

  #noSuchGroup(groupName: string): Response {
    const detail = `this node serves no group called ${groupName}`;
    return problemResponse({ status: 404, detail }, { "cache-status": this.#status.refused("no-group") });
  }

  /** @param signal `undefined` when no load was begun */
  failed(error: unknown, group: string, thing: string, signal: CancelSignal | undefined): Response {
    if (signal?.aborted === true) {
      // Nobody reads this: it ends the request, and keeps a departure from being logged as a fault.
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

/** A request that waits for its value. */
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

/** `nosniff` because values are foreign content, and a browser must not see a page in what was declared as text. */
function headersOf(contentType: string, cacheStatus: string): Record<string, string> {
  return { "content-type": contentType, "cache-status": cacheStatus, "x-content-type-options": "nosniff" };
}

function preparedInits(cacheStatus: string, framing: Record<string, string>): Memo<string, ResponseInit> {
  return new Memo(MAX_TYPES, (type) => ({ headers: new Headers({ ...headersOf(type, cacheStatus), ...framing }) }));
}

function bytesResponse(body: Uint8Array<ArrayBuffer>, contentType: string, cacheStatus: string): Response {
  return new Response(body, {
    headers: { ...headersOf(contentType, cacheStatus), "content-length": String(body.byteLength) },
  });
}

/** What follows a prefix of the path, raw and without the query. */
function tailOf(url: string, prefixLength: number): string {
  const query = url.indexOf("?");
  return query < 0 ? url.slice(pathStart(url) + prefixLength) : rawPathOf(url).slice(prefixLength);
}

/** `<group>/<key>`: what comes before the first slash and all that comes after it, both still raw. */
function splitTail(tail: string): [group: string, key: string] {
  const slash = tail.indexOf("/");
  return slash < 0 ? [tail, ""] : [tail.slice(0, slash), tail.slice(slash + 1)];
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
