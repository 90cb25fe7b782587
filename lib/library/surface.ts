/** What a program sees of a node and of its groups. */
import type { Groups, ValueOf } from "./options.ts";

/** The options of a get. */
export interface GetOptions {
  /** Ends the wait; a load that others wait for as well goes on. */
  readonly signal?: AbortSignal | undefined;
  /** The `after` of a change: gives nothing that the change has made bad, at any node. */
  readonly after?: string | undefined;
}

/** One answer of `getMany`: a value, or why there is none. */
export type Arrival<Value> =
  | { readonly key: string; readonly value: Value; readonly error?: undefined }
  | { readonly key: string; readonly error: Error; readonly value?: undefined };

/** What is no longer good. A value is covered when one of the four says so. */
export interface Change {
  /** At most 1,000, with the prefixes and the tags. */
  readonly keys?: readonly string[];
  /** Of keys. */
  readonly prefixes?: readonly string[];
  /** Of values, as their load gave them. */
  readonly tags?: readonly string[];
  /** The whole group. */
  readonly all?: boolean;
  /** Covered values become stale instead of being dropped. Default: `false`. */
  readonly soft?: boolean;
}

/** The options of a change. */
export interface ChangeOptions {
  /** How long to wait for all nodes of the group to apply it, in milliseconds. Default: 0, which is for this node only. */
  readonly waitMs?: number;
}

/** The options of a put. */
export interface PutOptions extends ChangeOptions {
  /** A media type. Default: by the value. */
  readonly contentType?: string;
  /** How long the value may be served, in milliseconds. Default: `ttlMs` of the group; it is that if `honourOrigin` is false. */
  readonly ttlMs?: number;
}

/** What became of a change. */
export interface Changed {
  /** For `get`, at any node: what it gives is not older than this change. */
  readonly after: string;
  /** The nodes that had applied it when the call ended, this one with them. */
  readonly applied: readonly string[];
  /** Those that had not. Without a wait no other node is asked. */
  readonly behind: readonly string[];
}

/** A group of a node: its values, wherever in the cluster they are. It comes from `node.group`. */
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
   * Gets many values, 64 at a time. They come in order of arrival; one that fails does not end it.
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
   * @param keys read as far as there is room for gets; a key twice is got twice
   */
  getMany(keys: Iterable<string>, options?: GetOptions): AsyncGenerator<Arrival<Value>, void, void>;

  /**
   * Makes values bad, on all nodes: the next get loads them anew. Resolves when NATS keeps the change and this node has
   * applied it. Other nodes follow within moments, or when they are back.
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
   * @throws TypeError it covers nothing, or more than a message may; UnavailableError NATS cannot be told
   */
  invalidate(change: Change, options?: ChangeOptions): Promise<Changed>;

  /**
   * Writes a value, for all nodes. Only where the group is `writable`.
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
   * @throws TypeError the group is not writable, or the value is none of its type; RangeError it is too long, or an option is; BadKeyError;
   * OverloadedError no node has room for it; UnavailableError NATS or the key's owner cannot be reached
   */
  put(key: string, value: Value, options?: PutOptions): Promise<Changed>;
}

/** A node inside this program. It comes from `createNode`. */
export interface MusterNode<G extends Groups = Groups> {
  /**
   * Resolves when this node has joined, and is in touch with the peers that it found. It may be asked before: then it loads
   * by itself what others may have. While NATS is away it stays pending. Rejects with UnavailableError when the node closes
   * first.
   */
  readonly ready: Promise<void>;

  /**
   * Resolves to what this node should not run with, should that ever be found: another live node has its name, or its
   * origin refuses the options (ConfigError). It is logged, too; the node goes on, and the program decides.
   */
  readonly failed: Promise<Error>;

  /** Its name in the list of peers. */
  readonly name: string;

  /** The port of `addr`. It answers there as a node of the command does, and other nodes unless there is a `peerAddr`. */
  readonly port: number;

  /** Whether it has joined, and is not closing: what its `/readyz` says. */
  readonly isReady: boolean;

  /**
   * One of its groups, by its name in the options.
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
   * @throws TypeError there is none of this name
   */
  group<Name extends keyof G & string>(name: Name): CacheGroup<ValueOf<G[Name]>>;

  /**
   * Answers a request as the node's own listener does, to be mounted in a server of one's own: `/cache/<group>/<key>`,
   * `/healthz`, `/readyz`, `/stats`, `/metrics`, and its status page at `/`. Which of these paths the public sees is for
   * that server to decide. The node cannot tell who sends a request: so changes over HTTP need the token of `adminTokenFile`
   * here, and `/stats`, `/metrics` and the page need it, too, or `publicStats`.
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
   * Hands over what this node holds, leaves the others, answers what is in flight, and lets go of everything, within
   * `drainTimeout`. Takes `farewell` at least, so that no other node asks a closed one. Never rejects.
   */
  close(): Promise<void>;

  /** As `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
