/** The interface of a node and its groups for a program. */
import type { Groups, ReloadOptions, ValueOf } from "./options.ts";

/** The options of a get. */
export interface GetOptions {
  /** Ends the wait. The load goes on if other callers wait for it. */
  readonly signal?: AbortSignal | undefined;
  /** The `after` of a change. The get gives no value that the change has covered, at any node. */
  readonly after?: string | undefined;
}

/** One answer of `getMany`: a value, or an error. */
export type Arrival<Value> =
  | { readonly key: string; readonly value: Value; readonly error?: undefined }
  | { readonly key: string; readonly error: Error; readonly value?: undefined };

/** Names the values that are no longer good. One of the four fields is enough to cover a value. */
export interface Change {
  /** Keys. At most 1,000 together with the prefixes and the tags. */
  readonly keys?: readonly string[];
  /** Prefixes of keys. */
  readonly prefixes?: readonly string[];
  /** Tags of values, which their load gave them. */
  readonly tags?: readonly string[];
  /** The whole group. */
  readonly all?: boolean;
  /** Covered values become stale instead of being dropped. Default: `false`. */
  readonly soft?: boolean;
}

/** The options of a change. */
export interface ChangeOptions {
  /**
   * How long to wait until all nodes of the group have applied it, in milliseconds. Default: 0, which waits for this
   * node only.
   */
  readonly waitMs?: number;
}

/** The options of a put. */
export interface PutOptions extends ChangeOptions {
  /** A media type. Default: depends on the value. */
  readonly contentType?: string;
  /**
   * How long the value may be served, in milliseconds. Default: `ttlMs` of the group, which always counts if
   * `honourOrigin` is false.
   */
  readonly ttlMs?: number;
}

/** The result of a change. */
export interface Changed {
  /** For `get` at any node: with it, a value is not older than this change. */
  readonly after: string;
  /** The nodes that had applied it when the call ended, including this one. */
  readonly applied: readonly string[];
  /** The nodes that had not. Without a wait no other node is asked. */
  readonly behind: readonly string[];
}

/** A group of a node, with its values in the whole cluster. It comes from `node.group`. */
export interface CacheGroup<Value> {
  /** The name of the group. */
  readonly name: string;

  /**
   * Gets a value: from this node's memory, else from the node that owns the key, which loads it if it has none.
   *
   * @example
   * ```ts
   * import { createNode, NotFoundError } from "muster-cache";
   *
   * await using node = await createNode({
   *   nats: "off",
   *   groups: { squares: { type: "text", load: (key) => String(Number(key) ** 2) } },
   * });
   * const nine = await node.group("squares").get("3", { signal: AbortSignal.timeout(1_000) });
   * if (nine !== "9") throw new Error(nine);
   * ```
   * @throws BadKeyError, NotFoundError, OriginError, OriginTimeoutError, OriginUnreachableError, OverloadedError; the signal's
   * reason; UnavailableError the node is closed
   */
  get(key: string, options?: GetOptions): Promise<Value>;

  /**
   * Gets many values, 64 at a time. They come in order of arrival. A failed key does not end the sequence.
   *
   * @example
   * ```ts
   * import { createNode, NotFoundError } from "muster-cache";
   *
   * await using node = await createNode({
   *   nats: "off",
   *   groups: {
   *     words: {
   *       type: "text",
   *       load(key) {
   *         if (key === "xyzzy") throw new NotFoundError("no such word");
   *         return key.toUpperCase();
   *       },
   *     },
   *   },
   * });
   * const found: string[] = [];
   * for await (const { key, value, error } of node.group("words").getMany(["muster", "xyzzy", "roll"])) {
   *   found.push(error === undefined ? value : `${key}: ${error.name}`);
   * }
   * if (found.sort().join() !== "MUSTER,ROLL,xyzzy: NotFoundError") throw new Error(found.join());
   * ```
   * @param keys read only while there is room for gets; a key that is given twice is fetched twice
   */
  getMany(keys: Iterable<string>, options?: GetOptions): AsyncGenerator<Arrival<Value>, void, void>;

  /**
   * Invalidates values on all nodes, so that the next get loads them again. Resolves when NATS has stored the change
   * and this node has applied it. Other nodes follow within moments, or when they are back.
   *
   * @example
   * ```ts
   * import { createNode } from "muster-cache";
   *
   * let version = 0;
   * await using node = await createNode({
   *   nats: "off",
   *   groups: { page: { type: "text", load: () => `version ${++version}` } },
   * });
   * const page = node.group("page");
   * await page.get("/");
   * const { after } = await page.invalidate({ keys: ["/"] }, { waitMs: 1_000 });
   * if (await page.get("/", { after }) !== "version 2") throw new Error("stale");
   * ```
   * @throws TypeError it covers nothing, or more than a message may; UnavailableError NATS cannot be reached
   */
  invalidate(change: Change, options?: ChangeOptions): Promise<Changed>;

  /**
   * Writes a value for all nodes. Only for a `writable` group.
   *
   * @example
   * ```ts
   * import { createNode } from "muster-cache";
   *
   * await using node = await createNode({
   *   nats: "off",
   *   groups: { sessions: { origin: "none:", writable: true, type: "json", ttlMs: 60_000 } },
   * });
   * const sessions = node.group("sessions");
   * const { after } = await sessions.put("42", { user: "ada" });
   * const session = await sessions.get("42", { after });
   * if (JSON.stringify(session) !== '{"user":"ada"}') throw new Error("not written");
   * ```
   * @throws TypeError the group is not writable, or the value is not of its type; RangeError the value is too long, or
   * an option out of range; BadKeyError; OverloadedError no node has room for it; UnavailableError NATS or the key's
   * owner cannot be reached
   */
  put(key: string, value: Value, options?: PutOptions): Promise<Changed>;
}

/** A node inside this program. It comes from `createNode`. */
export interface MusterNode<G extends Groups = Groups> {
  /**
   * Resolves when this node has joined, and has connected with the peers that it found. A program may ask it before; it
   * then loads values itself that others may have. Stays pending while NATS is away. Rejects with UnavailableError if
   * the node closes first.
   */
  readonly ready: Promise<void>;

  /**
   * Resolves to a fault with which this node should not run, if one is ever found: another live node has its name, or
   * an origin refuses the options (ConfigError). The fault is also logged. The node goes on, and the program decides.
   */
  readonly failed: Promise<Error>;

  /** Its name in the list of peers. */
  readonly name: string;

  /** The port of `addr`. There it answers like a node of the command; other nodes too, unless `peerAddr` is set. */
  readonly port: number;

  /** Whether it has joined and is not closing; the same as `/readyz`. */
  readonly isReady: boolean;

  /**
   * Returns one of its groups, by the name in the options.
   *
   * @example The type of a value follows from the options
   * ```ts
   * import { createNode } from "muster-cache";
   *
   * await using node = await createNode({
   *   nats: "off",
   *   groups: { users: { type: "json", load: async (id) => ({ id, visits: 1 }) } },
   * });
   * const { visits } = await node.group("users").get("7");
   * if (visits + 1 !== 2) throw new Error("not a number");
   * ```
   * @throws TypeError there is no group of this name
   */
  group<Name extends keyof G & string>(name: Name): CacheGroup<ValueOf<G[Name]>>;

  /**
   * Changes the node's groups to these, all at once or not at all. The rules are those for a changed file of `--config`. A
   * group keeps its values unless its origin changes. A new `load` counts from the next load on. Resolves to this node, with
   * the types of its new groups. Reloads run one after the other.
   *
   * Only groups can change. The `type` of a group and all other options stay until the node is closed.
   *
   * @example
   * ```ts
   * import { createNode } from "muster-cache";
   *
   * const page = { type: "text", load: (path: string) => `page ${path}` } as const;
   * await using node = await createNode({ nats: "off", groups: { page } });
   * await node.group("page").get("/");
   *
   * const more = await node.reload({
   *   groups: {
   *     page: { ...page, ttlMs: 60_000 },
   *     users: { type: "json", load: (id) => ({ id, visits: 1 }) },
   *   },
   * });
   * const { visits } = await more.group("users").get("7");
   * if (visits !== 1) throw new Error(String(visits));
   * ```
   * @throws ConfigError an option breaks its rule or cannot change, or an origin can never answer; TypeError, RangeError
   * the node cannot have these groups beside those of NATS; UnavailableError the node is closed. Nothing has changed then
   */
  reload<H extends Groups>(options: ReloadOptions<H>): Promise<MusterNode<H>>;

  /**
   * A handler for a server of yours. It answers as the node's own listener does: `/cache/<group>/<key>`, `/healthz`,
   * `/readyz`, `/stats`, `/metrics`, and the status page at `/`. Your server decides which paths are public. The node cannot
   * see the sender of a request. So changes over HTTP need the token of `adminTokenFile` here. `/stats`, `/metrics` and the
   * page need the token too, or `publicStats`.
   *
   * @example In a Hono app: `app.get("/cache/*", (c) => node.fetch(c.req.raw))`
   * ```ts
   * import { createNode } from "muster-cache";
   *
   * await using node = await createNode({
   *   nats: "off",
   *   groups: { render: { load: (path) => `<h1>${path}</h1>` } },
   * });
   * const answer = await node.fetch(new Request("http://localhost/cache/render/home"));
   * if (await answer.text() !== "<h1>home</h1>") throw new Error(String(answer.status));
   * ```
   */
  readonly fetch: (request: Request) => Response | Promise<Response>;

  /**
   * Hands over the values of this node, leaves the list of peers, answers the requests in flight, and releases
   * everything, within `drainTimeout`. Takes at least `farewell`, so that no other node asks a closed one. Never
   * rejects.
   */
  close(): Promise<void>;

  /** Like `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
