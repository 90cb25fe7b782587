/** The HTTP edge of a node: every route, on the public port. */
import { type Context, Hono, type MiddlewareHandler } from "hono";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { CacheRoutes, type Handler } from "./cache/routes.ts";
import { ClientSignals } from "./fast/client-signal.ts";
import { jsonResponse } from "./json.ts";
import { pathStart, rawPathOf } from "./cache/key.ts";
import { machineStats } from "./status/machine.ts";
import { Metrics } from "./status/metrics.ts";
import type { CacheGroup, MachineFace, NodeFace, NodeReport } from "./ports.ts";
import { problemResponse } from "./problem.ts";
import { machinePage, statusPage } from "./status/page.ts";
import { chained } from "./fast/unchained.ts";

export interface AppOptions {
  readonly node: NodeFace;
  /** The groups that this node serves, by name. */
  readonly groups: ReadonlyMap<string, CacheGroup>;
  /** Takes the WebSockets of other nodes at `GET /_peer`; calls `next` when the request is none. */
  readonly peerEndpoint?: MiddlewareHandler;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether the runtime sends text in one chunk faster than bytes of a known length. @default false */
  readonly isChunkedTextFaster?: boolean;
  /** Given, the statistics are those of all workers of the machine. */
  readonly machine?: MachineFace;
}

/** The group that `/define/` asks. */
const defineGroup = "dict";

/**
 * The app whose `fetch` a server is given. More GET routes may be added until its first request.
 *
 * Paths are matched as received: Hono's own `getPath` decodes them, keeps malformed escapes silently, and its patterns
 * then miss a path with a line feed in it, so a bad key would be a 404.
 *
 * @throws RangeError the node's name cannot stand in a `Cache-Status` field
 */
export function createApp(options: AppOptions): Hono {
  const { node, groups, peerEndpoint, clock, log, isChunkedTextFaster = false } = options;
  const signals = new ClientSignals(clock);
  const routes = new CacheRoutes({ nodeName: node.name, groups, signals, log, isChunkedTextFaster });
  // Paths that go on with a key: the router sees the prefix only, which it finds in a table, without a pattern.
  const keyRoutes = new Map<string, Handler>();
  const addKeys = (prefix: string, group: string, thing: string) =>
    keyRoutes.set(prefix, routes.keysOf(group, prefix, thing));
  for (const name of groups.keys()) addKeys(`/cache/${name}/`, name, "key");
  addKeys("/define/", defineGroup, "word");
  keyRoutes.set("/cache/", routes.cache).set("/_groupcache/", routes.groupcache);
  const prefixes = [...keyRoutes.keys()];
  const app = new Hono({ getPath: (request) => routeOf(request.url, prefixes) });
  for (const [prefix, handler] of keyRoutes) app.on("GET", [prefix, prefix.slice(0, -1)], handler);
  if (peerEndpoint !== undefined) app.get("/_peer", upgradable(peerEndpoint), upgradeRequired);

  app.get("/healthz", () => jsonResponse({ status: "alive", name: node.name, incarnation: node.incarnation }));
  app.get("/readyz", () => {
    if (!node.isReady()) return problemResponse({ status: 503, detail: "this node has not joined, or is leaving" });
    return jsonResponse({ status: "ready", name: node.name, incarnation: node.incarnation });
  });
  addStatistics(app, options);

  app.notFound((c) => notFoundOrNotAllowed(app, c));
  app.onError((error, c) => {
    log.error(`cannot answer ${c.req.method} ${c.req.path}: ${error.name}: ${error.message}`, { error });
    return problemResponse({ status: 500, detail: "something went wrong inside this node" });
  });
  app.fetch = chained(app);
  return app;
}

/** What is answered before there is an app. */
export function starting(): Response {
  return problemResponse({ status: 503, detail: "this node is starting" });
}

function routeOf(url: string, prefixes: readonly string[]): string {
  const start = pathStart(url);
  for (const prefix of prefixes) if (url.startsWith(prefix, start)) return prefix;
  return rawPathOf(url);
}

function addStatistics(app: Hono, { node, groups, machine }: AppOptions): void {
  const own = () => statsOf(node, groups);
  if (machine === undefined) {
    const metrics = new Metrics();
    app.get("/stats", () => jsonResponse(own()));
    app.get("/metrics", () => metrics.answer([{ labels: {}, report: { ...own(), ready: node.isReady() } }]));
    app.get("/", () => statusPage(own(), node.isReady()));
    return;
  }
  const metrics = new Metrics(["worker"]);
  const gathered = async () => {
    const report = own();
    return { report, workers: await machine.workers(report) };
  };
  app.get("/stats", async () => {
    const { report, workers } = await gathered();
    return jsonResponse(machineStats(machine, report, workers));
  });
  app.get("/metrics", async () => {
    const { workers } = await gathered();
    return await metrics.answer(workers.map(({ name, report }) => ({ labels: { worker: name }, report })));
  });
  app.get("/", async () => {
    const { report, workers } = await gathered();
    return machinePage(machine, report, workers);
  });
}

function statsOf(node: NodeFace, groups: ReadonlyMap<string, CacheGroup>): NodeReport {
  const { name, incarnation, version, runtime } = node;
  const byGroup = Object.fromEntries([...groups].map(([group, cache]) => [group, cache.stats()]));
  return { ...node.stats(), name, incarnation, version, runtime, groups: byGroup };
}

/**
 * The runtimes' upgrades throw at what is no handshake (RFC 6455, 4.2.1): Deno's at a request without a key, or without
 * `Connection: Upgrade`, and it takes HEAD for GET; Bun's at a Host that no URL can have. What they throw at then is a fault
 * of this node.
 */
function upgradable(upgrade: MiddlewareHandler): MiddlewareHandler {
  return (c, next) => {
    const { req } = c;
    const isHandshake = req.method === "GET" && req.header("sec-websocket-key") !== undefined &&
      /(?:^|[\s,])upgrade(?:[\s,]|$)/i.test(req.header("connection") ?? "");
    if (!isHandshake) return next();
    if (URL.canParse(req.url)) return upgrade(c, next);
    return Promise.resolve(problemResponse({ status: 400, detail: "the Host header names no host" }));
  };
}

function upgradeRequired(): Response {
  return problemResponse({ status: 426, detail: "this path takes WebSockets of other nodes only" }, {
    upgrade: "websocket",
    connection: "Upgrade",
  });
}

/**
 * A path that GET knows refuses other methods. A handler of its own for them, under the same path, would put two on
 * each cache route, and Hono then answers even a hit through a promise.
 */
function notFoundOrNotAllowed(app: Hono, c: Context): Response {
  const { method } = c.req;
  if (method === "GET" || method === "HEAD" || app.router.match("GET", c.req.path)[0].length === 0) {
    return problemResponse({ status: 404, detail: "there is nothing under this path" });
  }
  return problemResponse({ status: 405, detail: `${method} is not allowed here` }, { allow: "GET, HEAD" });
}
