/**
 * The three routes that answer from a cache. A hit is answered without a promise, an `async` function or a URL object:
 * the handlers are plain functions that return a Response on a hit and a promise only on a miss, and even the request's
 * `signal`, which costs both runtimes an object, is touched on a miss only.
 */
import type { Context } from "hono";
import { BadKeyError } from "../core/errors.ts";
import type { Value } from "../core/value.ts";
import type { Log } from "../core/log.ts";
import { CacheStatus } from "./cache-status.ts";
import { encodeGetResponse, groupcacheContentType } from "./groupcache.ts";
import { decodeGroupcacheKeyPath, decodeKeyPath } from "./key.ts";
import type { CacheGroup } from "./ports.ts";
import { problemOf, problemResponse } from "./problem.ts";

type Handler = (c: Context) => Response | Promise<Response>;

/** The group that `/define/` asks. */
const defineGroup = "dict";

/** The handlers, as values, for a router. */
export class CacheRoutes {
  readonly #status: CacheStatus;
  readonly #groups: ReadonlyMap<string, CacheGroup>;
  readonly #log: Log;

  constructor(nodeName: string, groups: ReadonlyMap<string, CacheGroup>, log: Log) {
    this.#status = new CacheStatus(nodeName);
    this.#groups = groups;
    this.#log = log;
  }

  /** `/define/<word>`, from the group `dict`. */
  readonly define: Handler = (c) => {
    const tail = c.req.path.slice("/define/".length);
    return this.#answer(c, this.#groups.get(defineGroup), defineGroup, tail, "word");
  };

  /** `/cache/<group>/<key>` */
  readonly cache: Handler = (c) => {
    const [groupName, tail] = splitPath(c.req.path, "/cache/".length);
    return this.#answer(c, this.#groups.get(groupName), groupName, tail, "key");
  };

  /** `/_groupcache/<group>/<key>`, the groupcache wire. */
  readonly groupcache: Handler = async (c) => {
    const [groupPath, tail] = splitPath(c.req.path, "/_groupcache/".length);
    let groupName = groupPath;
    let signal: AbortSignal | undefined;
    try {
      const key = decodeGroupcacheKeyPath(tail);
      groupName = decodeGroupcacheKeyPath(groupPath);
      const group = this.#groups.get(groupName);
      if (group === undefined) return this.#noSuchGroup(groupName);
      signal = c.req.raw.signal;
      const { value, source, stored } = await group.getAsOwner(key, { signal });
      return bytesResponse(
        encodeGetResponse({ value: value.body }),
        groupcacheContentType,
        this.#status.loaded(source, stored),
      );
    } catch (error) {
      return this.#failed(error, groupName, "key", signal);
    }
  };

  #answer(
    c: Context,
    group: CacheGroup | undefined,
    groupName: string,
    tail: string,
    thing: string,
  ): Response | Promise<Response> {
    try {
      const key = decodeKeyPath(tail);
      if (group === undefined) return this.#noSuchGroup(groupName);
      const found = group.lookup(key);
      if (found !== undefined) {
        return valueResponse(found.value, found.from === "hot" ? this.#status.hotHit : this.#status.hit);
      }
      return this.#loadAndAnswer(c.req.raw, group, key, thing);
    } catch (error) {
      return this.#failed(error, groupName, thing, undefined);
    }
  }

  async #loadAndAnswer(request: Request, group: CacheGroup, key: string, thing: string): Promise<Response> {
    const { signal } = request;
    try {
      const { value, source, stored } = await group.load(key, { signal });
      return valueResponse(value, this.#status.loaded(source, stored));
    } catch (error) {
      return this.#failed(error, group.name, thing, signal);
    }
  }

  #noSuchGroup(groupName: string): Response {
    const detail = `this node serves no group called ${groupName}`;
    return problemResponse({ status: 404, detail }, { "cache-status": this.#status.refused("no-group") });
  }

  /** @param signal `undefined` when no load was begun */
  #failed(error: unknown, group: string, thing: string, signal: AbortSignal | undefined): Response {
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

/**
 * The one place where a value becomes a response: headers prepared per value would be kept here.
 *
 * `nosniff` because values are foreign content, and a browser must not see a page in what was declared as text.
 */
function valueResponse(value: Value, cacheStatus: string): Response {
  return bytesResponse(value.body, value.contentType, cacheStatus);
}

function bytesResponse(body: Uint8Array<ArrayBuffer>, contentType: string, cacheStatus: string): Response {
  return new Response(body, {
    headers: {
      "content-type": contentType,
      // Both servers would count by themselves, but not for HEAD, which sends the headers of GET without the body.
      "content-length": String(body.byteLength),
      "cache-status": cacheStatus,
      "x-content-type-options": "nosniff",
    },
  });
}

/** `<group>/<key>` behind a prefix: what comes before the first slash and all that comes after it, both still raw. */
function splitPath(path: string, prefixLength: number): [group: string, tail: string] {
  const slash = path.indexOf("/", prefixLength);
  return slash < 0 ? [path.slice(prefixLength), ""] : [path.slice(prefixLength, slash), path.slice(slash + 1)];
}

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}
