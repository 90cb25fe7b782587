/** The HTTP edge of a node: every route, on the public port. */
import { type Context, Hono } from "hono";
import type { Clock } from "../core/base/clock.ts";
import { boundedLog } from "../core/base/logs/bounded-log.ts";
import type { Log } from "../core/base/log.ts";
import { OverloadedError, PeerError } from "../core/errors.ts";
import type { Tracing } from "../core/base/trace.ts";
import { Changes } from "./admin/changes.ts";
import { Gate } from "./admin/gate.ts";
import { Questions } from "./admin/questions.ts";
import { type AdminTokens, hasToken } from "./admin/tokens.ts";
import { CacheRoutes } from "./cache/routes.ts";
import { type AccessLog, Edge } from "./edge/edge.ts";
import { ClientSignals } from "./fast/client-signal.ts";
import { type AnswerPort, NO_SERVER } from "./fast/long-answers.ts";
import { chained } from "./fast/unchained.ts";
import { RouteAnswers } from "./counted.ts";
import { HostCheck } from "./host.ts";
import { jsonResponse } from "./json.ts";
import { pathStart, rawPathOf } from "./key.ts";
import { machineStats } from "./status/machine.ts";
import { Metrics } from "./status/metrics/metrics.ts";
import type { NodeReport } from "./figures.ts";
import type { MachineFace, NodeFace, ServedGroup, ServedGroups, ServedHosts } from "./ports.ts";
import { answerPeer, healthOf, type PeersOptions } from "./peers.ts";
import { notAllowed, problemResponse } from "./problem.ts";
import { OF_OPERATORS } from "./security.ts";
import { LiveFeed } from "./status/page/live.ts";
import { lockedPage, type PageParts, statusPage } from "./status/page/page.ts";
import { machineParts, nodeParts, othersOf } from "./status/page/parts.ts";
import { PeerReports } from "./status/peer-reports.ts";
import { reportOf, reportWithFindings, unreachableOrigins, unreachablePeers } from "./status/report.ts";
import { Watch } from "./status/watch.ts";

/**
 * Chosen: one kind of fault needs a few lines, and lines that strangers cause must not fill a disk: 100 KB a minute.
 */
const MAX_LOG_LINES_PER_MINUTE = 60;

export interface AppOptions {
  readonly node: NodeFace;
  readonly groups: ServedGroups;
  /** @default none */
  readonly hosts?: ServedHosts;
  /** Takes the WebSockets of other nodes at `GET /_peer`. @default there is no such path */
  readonly peers?: PeersOptions;
  /** The operators' tokens: with one, a client may change cached values. @default none: see `admin/gate.ts` */
  readonly adminTokens?: AdminTokens | undefined;
  /**
   * Whether the app is served at a loopback address only. Without a token, operators are then clients on this machine.
   * @default false
   */
  readonly isLoopbackOnly?: boolean;
  /** Whether anyone may see `/stats`, `/metrics` and the page. @default false */
  readonly isStatsPublic?: boolean;
  /** A token that opens these three only. @default none */
  readonly statsToken?: string | undefined;
  /** The epoch of the log of invalidations, as this node knows it; 0: it has not read the log yet. @default 0 */
  readonly currentEpoch?: () => number;
  /** Watches the node. @default one that looks only when it is asked */
  readonly watch?: Watch | undefined;
  /** Aborted when the node stops: ends streams that would never end by themselves. @default never */
  readonly ended?: AbortSignal;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether the runtime sends text in one chunk faster than bytes of a known length. @default false */
  readonly isChunkedTextFaster?: boolean;
  /** Connects the app with its server, for long answers. @default none: long answers are sent whole */
  readonly answerPort?: AnswerPort;
  /** Gets a line for each answer. @default there is no access log */
  readonly accessLog?: AccessLog | undefined;
  /** Records spans. @default no spans */
  readonly tracing?: Tracing | undefined;
  /** The address that a request came from. @param env the server's second argument @default not known */
  readonly remoteOf?: (request: Request, env: unknown) => string | undefined;
  /** Counts the answers that no group gives. @default counters that are not shown */
  readonly routeAnswers?: RouteAnswers;
  /** Set in a worker at its machine's address. The statistics then cover all workers. */
  readonly machine?: MachineFace;
}

/**
 * Makes the app; a server gets its `fetch`. More GET routes may be added until the first request.
 *
 * Paths are matched as received. Hono's own `getPath` would decode them and keep malformed escapes silently. Its
 * patterns do not match a path with a line feed, so a bad key would be a 404.
 *
 * @throws RangeError the node's name cannot stand in a `Cache-Status` field
 */
export function createApp(options: AppOptions): Hono {
  const { node, groups, hosts = new Map(), peers, clock, isChunkedTextFaster = false } = options;
  const { adminTokens: tokens, isLoopbackOnly = false, isStatsPublic = false, statsToken } = options;
  const { currentEpoch = () => 0, answerPort = NO_SERVER, routeAnswers = new RouteAnswers() } = options;
  // Each line is about one request, so without a bound clients could write as many as they like.
  const log = boundedLog(options.log, {
    clock,
    maxLinesPerMinute: MAX_LOG_LINES_PER_MINUTE,
    about: "requests of clients",
  });
  const gate = new Gate({ tokens, isLoopbackOnly, isStatsPublic, statsToken });
  const signals = new ClientSignals(clock);
  const changes = new Changes({ groups, gate, clock, log });
  const questions = new Questions({ node, groups, gate, clock });
  const admin = (c: Context) => routeAnswers.count("admin", questions.answer(c.req.raw) ?? changes.admin(c.req.raw));
  const { accessLog, tracing, remoteOf } = options;
  const isSibling = statsToken === undefined ? undefined : ({ headers }: Request) => hasToken(headers, statsToken);
  const edge = new Edge({ nodeName: node.name, clock, answerPort, accessLog, tracing, remoteOf, isSibling });
  const common = {
    edge,
    groups,
    signals,
    changes,
    currentEpoch,
    clock,
    log,
    isChunkedTextFaster,
    answerPort,
    routeAnswers,
  };
  const routes = new CacheRoutes({ nodeName: node.name, ...common });
  const byPrefix = new Map([...routes.byPrefix, ["/_admin/", admin] as const]);
  const prefixes = [...byPrefix.keys()];
  const app = new Hono({ getPath: (request) => routeOf(request.url, prefixes) });
  for (const [prefix, handler] of byPrefix) app.on("ALL", [prefix, prefix.slice(0, -1)], handler);
  if (peers !== undefined) {
    app.get("/_peer", (c) => routeAnswers.count("peers", answerPeer(c, peers.door, peers.upgrade)));
  }

  app.get("/healthz", () => routeAnswers.count("health", healthOf(node)));
  app.get("/readyz", () => routeAnswers.count("health", readinessOf(node, groups)));
  addStatistics(app, gate, routeAnswers, options);

  app.notFound((c) => routeAnswers.count("none", notFoundOrNotAllowed(app, c)));
  app.onError((error, c) => {
    const requestId = edge.idOf(c.req.raw);
    log.error(`cannot answer ${c.req.method} ${c.req.path}: ${error.name}: ${error.message}`, { error, requestId });
    const problem = { status: 500, detail: "something went wrong inside this node" };
    return problemResponse(problem, { "x-request-id": requestId });
  });
  const ownRoutes = chained(app);
  const hostCheck = new HostCheck();
  const siteAt = ({ url }: Request) => hosts.size === 0 ? undefined : servedAt(url, hosts);
  // Under a site's host there are no other routes: neither /stats nor /_peer can be reached there.
  const answer: Hono["fetch"] = (request, ...rest) => {
    if (!hostCheck.isSound(request)) return routeAnswers.count("none", badHost());
    const served = siteAt(request);
    return served === undefined ? ownRoutes(request, ...rest) : routes.site(request, served);
  };
  app.fetch = edge.around(answer, (request) => siteAt(request)?.group.name);
  return app;
}

function readinessOf(node: NodeFace, groups: ServedGroups): Response {
  if (!node.isReady()) return problemResponse({ status: 503, detail: "this node has not joined, or is leaving" });
  const { name, incarnation } = node;
  const lost = { ...unreachableOrigins(groups), ...unreachablePeers(node.stats()) };
  return jsonResponse({ status: "ready", name, incarnation, ...lost });
}

function badHost(): Response {
  return problemResponse({ status: 400, detail: "the Host header must be host or host:port" });
}

/** The site whose host the request names: by `host:port`, else by the host alone. */
function servedAt(url: string, hosts: ServedHosts): ServedGroup | undefined {
  const start = pathStart(url);
  if (start < 0) return undefined; // the target of a CONNECT
  const authority = url.slice(url.indexOf("//") + 2, start).toLowerCase();
  return hosts.get(authority) ?? hosts.get(authority.replace(/:\d*$/, ""));
}

/** The answer to every request before the app is made. */
export function starting(): Response {
  return problemResponse({ status: 503, detail: "this node is starting" });
}

/**
 * The path for the router. For a path with a key this is the prefix only, so that the router finds it in a table.
 * Measured: with Hono's pattern `/cache/*` a hit takes 1.06 times the CPU time on Deno, and 0.6 us more on Bun, of
 * about 20.
 */
function routeOf(url: string, prefixes: readonly string[]): string {
  const start = pathStart(url);
  for (const prefix of prefixes) if (url.startsWith(prefix, start)) return prefix;
  return rawPathOf(url);
}

function addStatistics(app: Hono, gate: Gate, routeAnswers: RouteAnswers, options: AppOptions): void {
  const { node, groups, machine, clock, ended, adminTokens } = options;
  const watch = options.watch ?? new Watch({ clock, report: () => reportOf(node, groups) });
  const own = (): NodeReport => reportWithFindings(node, groups, watch);
  const get = (path: string, answer: (request: Request) => Response | Promise<Response>) =>
    app.get(path, (c) => routeAnswers.count("status", gate.stats(c.req.raw) ?? answer(c.req.raw)));
  const addPage = (partsOf: () => Promise<PageParts>) => {
    const feed = new LiveFeed({ clock, ended, render: async () => (await partsOf()).parts });
    get("/events", (request) => feed.answer(request));
    const pageFor = async (request: Request) => {
      const refusal = gate.stats(request);
      if (refusal !== undefined) return isLocked(request, refusal) ? lockedPage(node.name) : refusal;
      return await statusPage(await partsOf(), { isTokenSet: adminTokens !== undefined });
    };
    app.get("/", (c) => routeAnswers.count("status", pageFor(c.req.raw)));
  };
  const peerReports = new PeerReports({ clock, ask: node.reportOfPeer?.bind(node) });
  const context = async () => ({
    peers: await peerReports.of(othersOf(node, groups.keys())),
    nowMs: clock.nowMs(),
    series: (group: string) => watch.series(group),
    lines: node.recent?.(),
  });
  if (machine === undefined) {
    const metrics = new Metrics();
    get("/stats", (request) => reportOfPeer(node, request) ?? jsonResponse(own(), 200, OF_OPERATORS));
    get("/metrics", (request) => metrics.answer(request, [{ labels: {}, report: own() }]));
    addPage(async () => {
      // Ask the peers first, so that this node's own report is as new as the page.
      const shown = await context();
      return await nodeParts(own(), shown);
    });
    return;
  }
  const metrics = new Metrics(["worker"]);
  const gathered = async () => {
    const report = own();
    return { report, workers: await machine.workers(report) };
  };
  get("/stats", async (request) => {
    const ofPeer = reportOfPeer(node, request);
    if (ofPeer !== undefined) return await ofPeer;
    const { report, workers } = await gathered();
    return jsonResponse(
      machineStats(machine, report, workers, new Date(clock.nowMs()).toISOString()),
      200,
      OF_OPERATORS,
    );
  });
  get("/metrics", async (request) => {
    const { workers } = await gathered();
    return await metrics.answer(request, workers.map(({ name, report }) => ({ labels: { worker: name }, report })));
  });
  addPage(async () => {
    const { report, workers } = await gathered();
    return await machineParts(machine, report, workers, await context());
  });
}

/** The answer to `/stats?node=<name>`, which asks that peer over its link; `undefined`: the request names none. */
function reportOfPeer(node: NodeFace, { url }: Request): Promise<Response> | undefined {
  const name = url.includes("?") ? new URL(url).searchParams.get("node") : null;
  if (name === null || name === node.name) return undefined;
  return (async () => {
    try {
      const report = await node.reportOfPeer?.(name);
      if (report !== undefined) return jsonResponse(report, 200, OF_OPERATORS);
      return problemResponse({ status: 404, detail: "this node knows no peer of that name" }, OF_OPERATORS);
    } catch (error) {
      if (!(error instanceof PeerError || error instanceof OverloadedError)) throw error;
      return problemResponse(
        { status: 503, detail: `the peer has not told its figures: ${error.message}` },
        OF_OPERATORS,
      );
    }
  })();
}

/** A browser without the token gets a page that asks for it, because a link cannot carry a token. */
function isLocked({ headers }: Request, refusal: Response): boolean {
  return refusal.status === 401 && headers.get("accept")?.includes("text/html") === true;
}

/**
 * Answers 405 to other methods on a path that GET knows. It is not a second handler on each cache route: with two
 * handlers Hono answers even a hit through a promise.
 */
function notFoundOrNotAllowed(app: Hono, c: Context): Response {
  const { method } = c.req;
  if (method === "GET" || method === "HEAD" || app.router.match("GET", c.req.path)[0].length === 0) {
    return problemResponse({ status: 404, detail: "there is nothing under this path" });
  }
  return notAllowed(method);
}
