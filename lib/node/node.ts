/** The composition root: makes the parts of one node, wires them, starts and stops them in order. */
import { ulid } from "ulid";
import { hostInUrl, type HostPort } from "../config/texts/addresses.ts";
import { advertised, type Config, type GroupConfig, version } from "../config/config.ts";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import type { Tracing } from "../core/base/trace.ts";
import { withTimeout } from "../core/base/time/timeout.ts";
import type { InvalidationLog } from "../core/invalidation/log.ts";
import { LoadingBytes } from "../core/load/loading-bytes.ts";
import { StartGate } from "../core/load/start-gate.ts";
import { LoopDelay } from "../core/measure/loop-delay.ts";
import type { PeerRecord } from "../core/roster.ts";
import type { AppOptions } from "../http/app.ts";
import { RouteAnswers } from "../http/counted.ts";
import type { ConfigFigures } from "../http/figures.ts";
import type { MachineFace, NodeFace } from "../http/ports.ts";
import { explain } from "../http/admin/explain.ts";
import { reportOf, reportWithFindings } from "../http/status/report.ts";
import { Watch } from "../http/status/watch.ts";
import { type CheckedOrigin, parseOrigin } from "../origins/origin.ts";
import { makeIdentity } from "../peer/proof/keys.ts";
import type { DefinitionStore } from "../registry/store/definitions.ts";
import type { PeerStore } from "../registry/store/store.ts";
import { answerPort, remoteOf } from "../runtime/server/serve.ts";
import { isChunkedTextFaster, runtimeName } from "../runtime/start/settings.ts";
import { OpenTelemetry } from "../tracing/open-telemetry.ts";
import { adminTokensOf } from "./doors/admin-tokens.ts";
import { Doors } from "./doors/doors.ts";
import { faceOf } from "./figures.ts";
import { DefinedGroups } from "./groups/defined-groups.ts";
import { GroupLists } from "./groups/group-lists.ts";
import { LiveGroups } from "./groups/live-groups.ts";
import type { Served } from "./groups/served-group.ts";
import { Invalidations } from "./invalidations.ts";
import { type NodeLogs, nodeLogs } from "./log/node-logs.ts";
import { openRegistry, type Registry } from "./open-registry.ts";
import { Cluster } from "./peers/cluster.ts";
import { followGroups } from "./reload/groups.ts";
import type { Reloadable } from "./reload/reloader.ts";

/** A stopping node waits this long for its writes to NATS; after that the other nodes find out by themselves. */
const REGISTRY_TIMEOUT_MS = 500;
/** The same for a distant NATS, in round trips. Derived: a write is two questions. */
const REGISTRY_ROUND_TRIPS = 4;
/** The largest share of the time for a stop, which waits for two writes. Chosen. */
const REGISTRY_SHARE = 1 / 3;
/** The time that a stop keeps for its end, whatever hangs: leave, close connections, end the bundled server. */
const CLOSING_MS = 1_000;
/** Requests in flight may be answered until this long before the end of the stop. */
const CLOSE_SOCKETS_MS = 300;

export interface NodeOptions {
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Origins that are functions of the program, by group. The `origin` in those groups' options is only a placeholder.
   */
  readonly origins?: ReadonlyMap<string, CheckedOrigin>;
  /** Takes the lines of the access log, if the options ask for one. @default there is no access log */
  readonly writeAccess?: (line: string) => void;
  /** For a node that is one of several on its machine. */
  readonly worker?: {
    /** The URL and the name under which it is listed, once its own listener is on `port`. */
    listedAs(port: number): { url: string; name: string };
    /** The registry, if the options name none. */
    readonly store?: PeerStore;
    readonly log?: InvalidationLog;
    /** Opens its statistics to the other workers. */
    readonly statsToken?: string;
  };
}

/** One node: a process has one, a test may have several. */
export class Node implements Reloadable {
  #config: Config;
  readonly #clock: Clock;
  readonly #logs: NodeLogs;
  #origins: NonNullable<NodeOptions["origins"]>;
  readonly #worker: NodeOptions["worker"];
  readonly #writeAccess: NodeOptions["writeAccess"];
  /** Records the spans of its requests, while the process has an OpenTelemetry SDK. */
  readonly tracing: Tracing = new OpenTelemetry(version);
  readonly #incarnation = ulid();
  readonly #lists: GroupLists;
  readonly #served = new Map<string, Served>();
  readonly #doors: Doors;
  /** Removed groups whose earlier requests are still being answered. A group that is added again is not in here. */
  readonly #leaving = new Map<string, Served>();
  /** Groups from the start whose options have not changed since. */
  readonly #first: Set<string>;
  #file: ConfigFigures | undefined;
  readonly #failed = Promise.withResolvers<Error>();
  readonly #ready = Promise.withResolvers<void>();
  /** Ends the streams of the status page. */
  readonly #ended = new AbortController();
  /** Answers that no group has given. */
  readonly #routeAnswers = new RouteAnswers();
  readonly #loopDelay: LoopDelay;
  /** The fields from here on are set by `start`, in this order. */
  #self: PeerRecord | undefined;
  #registry: Registry | undefined;
  #invalidations: Invalidations | undefined;
  #cluster: Cluster | undefined;
  #groups: LiveGroups | undefined;
  #watch: Watch | undefined;
  #defined: DefinedGroups | undefined;
  #isStopping = false;

  constructor(config: Config, { clock, log, origins, writeAccess, worker }: NodeOptions) {
    this.#config = config;
    this.#clock = clock;
    this.#logs = nodeLogs(log, clock);
    this.#loopDelay = new LoopDelay(clock);
    this.#origins = origins ?? new Map();
    this.#worker = worker;
    this.#writeAccess = writeAccess;
    this.#lists = new GroupLists(config.serve);
    this.#first = new Set(config.groups.map(({ name }) => name));
    this.#doors = new Doors({ config, clock, log: this.#logs.log });
  }

  /**
   * Resolves when the started node finds that it cannot run: another live node has its name (NameTakenError), or an
   * origin refuses its configuration (ConfigError).
   */
  get failed(): Promise<Error> {
    return this.#failed.promise;
  }

  /** Resolves when it is ready for the first time. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** The name under which it is listed. Call it after `start`. */
  get name(): string {
    return this.#self!.name;
  }

  /** The port of its own listener. */
  get port(): number {
    return this.#doors.port;
  }

  /** Whether it has joined and serves, and is neither starting nor leaving. */
  isReady(): boolean {
    return this.#cluster?.readiness.isReady ?? false;
  }

  /** A group that it serves now. */
  served(group: string): Served | undefined {
    return this.#served.get(group);
  }

  /** Counts a get or a change of this program as a request without an answer. */
  track<T>(work: Promise<T>): Promise<T> {
    return this.#doors.track(work);
  }

  /**
   * Listens, then joins in the background: a node serves with or without NATS.
   *
   * @throws Error the address cannot be had
   */
  async start(): Promise<void> {
    const { log, registryLog } = this.#logs;
    const identity = await makeIdentity();
    await this.#doors.open();
    const port = this.#doors.peerPort;
    const { url, name } = this.#worker?.listedAs(port) ?? advertised(this.#config, port);
    const self = this.#self = this.#record(name, url, identity.key);
    const registry = this.#registry = openRegistry(this.#config, this.#clock, registryLog, this.#worker);
    const invalidations = this.#invalidations = this.#makeInvalidations(name, registry.log);
    const cluster = this.#cluster = new Cluster({
      config: this.#config,
      self,
      identity,
      served: this.#served,
      lists: this.#lists,
      invalidations,
      ca: () => this.#doors.ca,
      tellers: {
        report: () => reportWithFindings(face, this.#served, this.#watch!),
        explain: (group, key) => {
          const served = this.#served.get(group);
          return served && explain(face, group, served, key, this.#clock.nowMs());
        },
      },
      tracing: this.tracing,
      clock: this.#clock,
      logs: this.#logs,
    });
    void cluster.readiness.first.then(this.#ready.resolve);
    this.#groups = this.#makeGroups(self, cluster, invalidations);
    for (const group of this.#config.groups) {
      this.#groups.add(group);
      cluster.readiness.await(this.#lists.joinedOf(group.name));
    }
    const { nats } = this.#config;
    const face = faceOf({
      config: { nats },
      self,
      cluster,
      invalidations,
      defined: () => this.#defined,
      file: () => this.#file,
      log,
      store: registry.store,
      loopDelay: this.#loopDelay,
      routeAnswers: this.#routeAnswers,
      requestsInFlight: () => this.#doors.requestsInFlight,
    });
    this.#watch = new Watch({ clock: this.#clock, report: () => reportOf(face, this.#served) });
    this.#doors.serve(this.#appOptions(face, this.#groups, invalidations), cluster.hub);
    this.#sayWhere(name, url);
    this.#join(cluster, registry);
    this.#watch.start();
    this.#loopDelay.start();
  }

  #record(name: string, url: string, key: string): PeerRecord {
    return {
      name,
      url,
      incarnation: this.#incarnation,
      key,
      state: "serving",
      weight: this.#config.weight,
      zone: this.#config.zone,
      joined: new Date(this.#clock.nowMs()).toISOString(),
      version,
      runtime: runtimeName(),
    };
  }

  #makeInvalidations(name: string, log: InvalidationLog): Invalidations {
    return new Invalidations({
      selfName: name,
      log,
      peers: {
        peer: (peer) => this.#cluster!.hub.peer(peer),
        applied: () => this.#cluster!.hub.applied(),
        announceApplied: (label) => this.#cluster!.hub.announceApplied(label),
      },
      listed: (group) => this.#lists.bothOf(group).flatMap((list) => this.#cluster!.roster(list).peers),
      clock: this.#clock,
      say: this.#logs.registryLog,
    });
  }

  #makeGroups(self: PeerRecord, cluster: Cluster, invalidations: Invalidations): LiveGroups {
    const clock = this.#clock;
    const { log } = this.#logs;
    const isAlone = this.#config.nats.kind === "off" && this.#worker?.store === undefined;
    return new LiveGroups({
      served: this.#served,
      self,
      lists: this.#lists,
      hub: cluster.hub,
      invalidations,
      watchers: { clock, log, loading: new LoadingBytes({ clock }), tracing: this.tracing },
      inCode: (group) => this.#origins.get(group),
      makeGate: () => isAlone ? undefined : new StartGate({ clock }),
      onShare: (group) => cluster.review(group),
      onForgotten: (group) => cluster.policies.forget(group),
      onFault: (group, fault) => {
        // A group that was added later must not end the others.
        if (this.#first.has(group)) return this.#failed.resolve(fault);
        log.error(`the origin of ${group}: ${fault.message}`, {}, { group, reason: fault.message });
      },
    });
  }

  #appOptions(node: NodeFace, groups: LiveGroups, invalidations: Invalidations): AppOptions {
    const { log } = this.#logs;
    const { accessLog: format } = this.#config;
    const write = this.#writeAccess;
    return {
      node,
      watch: this.#watch,
      ended: this.#ended.signal,
      groups: this.#served,
      hosts: groups.hosts,
      adminTokens: adminTokensOf(this.#config, this.#clock, log),
      isStatsPublic: this.#config.publicStats,
      statsToken: this.#worker?.statsToken,
      clock: this.#clock,
      log,
      isChunkedTextFaster,
      answerPort,
      remoteOf,
      tracing: this.tracing,
      accessLog: format === "off" || write === undefined ? undefined : { format, write },
      routeAnswers: this.#routeAnswers,
      currentEpoch: () => invalidations.position.label.epoch,
    };
  }

  #sayWhere(name: string, url: string): void {
    const fields = { name, incarnation: this.#incarnation };
    const { log } = this.#logs;
    const { hasPeerListener } = this.#doors;
    if (hasPeerListener) {
      const own = `http://${hostInUrl(this.#config.addr.host)}:${this.port}`;
      log.info(`listening on ${own}`, fields, { url: own });
    }
    const isOwn = this.#worker === undefined && !hasPeerListener;
    log.info(`${isOwn ? "listening on" : "other nodes reach me at"} ${url}`, fields, { url });
  }

  #join(cluster: Cluster, { store, embedded, definitions }: Registry): void {
    const membership = cluster.join(store);
    void membership.failed.then((error) => this.#failed.resolve(error));
    if (this.#config.groupsFromNats && definitions !== undefined) this.#followDefinitions(definitions);
    void this.#follow(cluster, embedded);
  }

  #followDefinitions(definitions: DefinitionStore): void {
    const defined = new DefinedGroups({
      keeper: this,
      isOwn: (group) => this.#config.groups.some(({ name }) => name === group),
      serves: (group) => this.#lists.isServed(group),
      checkOrigin: (text) => void parseOrigin(text),
      log: this.#logs.registryLog,
    });
    this.#defined = defined;
    definitions.followDefinitions((view) => {
      if (!this.#isStopping) defined.update(view);
    });
  }

  /** The bundled server first, so that a node that starts it does not report NATS as away. */
  async #follow(cluster: Cluster, embedded: Registry["embedded"]): Promise<void> {
    await embedded?.start();
    if (this.#isStopping) return;
    cluster.start();
    this.#invalidations!.start();
  }

  /**
   * Serves clients at an address that it shares with the other nodes of its machine. There it shows the figures of all
   * of them. Call it after `start`.
   *
   * @throws Error the address cannot be had
   */
  share(addr: HostPort, machine: MachineFace): Promise<void> {
    return this.#doors.share(addr, machine);
  }

  /** Takes no new connections at the shared address; open ones are still served. */
  unshare(): Promise<void> {
    return this.#doors.unshare();
  }

  /**
   * Answers a request that another server of this program has received. It has no endpoint for other nodes. It serves
   * operators only if there is a token, as this node cannot see the sender. Call it after `start`.
   */
  fetch(request: Request): Response | Promise<Response> {
    return this.#doors.fetch(request);
  }

  /** Whether it answers a request for its health, made without a socket. Call it after `start`. */
  async isAlive(): Promise<boolean> {
    return (await this.fetch(new Request("http://127.0.0.1/healthz"))).ok;
  }

  /**
   * Serves one more group, and joins it in the background; `failed` reports its failures. Call it after `start`.
   *
   * @throws TypeError the node serves a group of this name, or with one of its hosts
   * @throws RangeError a greeting could not hold one more group
   */
  addGroup(config: GroupConfig): void {
    this.#groups!.check(config);
    this.#groups!.add(config);
    const cluster = this.#cluster!;
    if (!this.#leaving.delete(config.name)) cluster.addGroup(config.name);
    // The node is still on the group's lists, and has read them.
    else cluster.relist(config.name, REGISTRY_TIMEOUT_MS);
    // While the registry is away, no event comes that would open the new group's gate.
    cluster.readiness.reviewGates();
  }

  /**
   * Serves a group by other options from now on. It keeps its values unless its origin changes. Call it after `start`.
   *
   * @throws RangeError the node does not serve it
   * @throws TypeError another group has one of its hosts
   */
  changeGroup(config: GroupConfig): void {
    const { name } = config;
    this.#groups!.change(config);
    this.#first.delete(name);
    this.#cluster!.relist(name, REGISTRY_TIMEOUT_MS);
  }

  /**
   * Stops serving a group. From the call on, requests for it get a 404, and its values are dropped. Resolves to whether
   * this node is known to be off the group's list; if not, the removal goes on.
   *
   * @throws RangeError the node does not serve it
   */
  async removeGroup(name: string): Promise<boolean> {
    const cluster = this.#cluster!;
    const served = this.#groups!.remove(name);
    this.#first.delete(name);
    this.#leaving.set(name, served);
    cluster.readiness.forget(this.#lists.bothOf(name));
    // Peers keep their links to this node until it leaves the list, and requests in flight need them. `loadTimeoutMs`
    // bounds every load.
    const over = new AbortController();
    const answered = () => Promise.all([this.#doors.allAnswered(), served.group.answered(over.signal)]);
    await withTimeout(this.#clock, served.loadTimeoutMs, answered, undefined);
    over.abort();
    // If the group was added again meanwhile, the node stays on its lists.
    const isLeaving = this.#leaving.get(name) === served;
    if (isLeaving) this.#leaving.delete(name);
    return isLeaving && await cluster.removeGroup(name, REGISTRY_TIMEOUT_MS);
  }

  /** The options in force. */
  get config(): Config {
    return this.#config;
  }

  /**
   * Changes to the groups of these options, all at once or not at all. All other fields must be unchanged. A group that
   * NATS defines goes on, unless one of the new groups has its name.
   *
   * @param origins all origins that are functions of the program @default the present ones
   * @throws TypeError, RangeError the node cannot serve these groups; nothing has changed
   */
  reload(config: Config, origins = this.#origins): void {
    if (this.#isStopping) return;
    const before = this.#origins;
    this.#origins = origins;
    try {
      this.#followConfig(config);
    } catch (error) {
      this.#origins = before;
      throw error;
    }
    this.#config = config;
    this.#defined?.ownChanged();
  }

  #followConfig(config: Config): void {
    const [groups, cluster] = [this.#groups, this.#cluster];
    if (groups !== undefined && cluster !== undefined) {
      followGroups({
        keeper: this,
        running: this.#config.groups,
        read: config.groups,
        served: this.#served,
        hosts: groups.hosts,
        freeHosts: (name) => groups.freeHosts(name),
        checkNames: (names) => cluster.checkGroups(names),
      });
    } else {
      // The node is still opening its ports. It serves no group yet, and will serve these.
      for (const { name } of config.groups) this.#first.add(name);
    }
  }

  /** Takes the state of the file, which operators see. */
  toldOfFile(file: ConfigFigures): void {
    this.#file = file;
  }

  /**
   * Hands over its values, leaves the roster, answers the requests in flight, and releases everything. This ends within
   * the drain timeout, whatever hangs. Never throws.
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    const cluster = this.#cluster;
    cluster?.readiness.leave();
    const deadlineMs = this.#clock.nowMs() + this.#config.drainTimeoutMs;
    const until = (reserveMs: number) => Math.max(0, deadlineMs - reserveMs - this.#clock.nowMs());
    cluster?.stopProbing();
    // /readyz says 503 now, but the node goes on answering: load balancers look only now and then, and must not find
    // the port closed. It stays listed, since only a listed node may ask the others.
    const farewell = new Promise<void>((over) => this.#clock.after(this.#config.farewellMs, over));
    // Peers stop asking a draining node. Without NATS they do not know that it drains, so they still ask and get
    // answers.
    await cluster?.membership?.setState("draining", this.#registryTimeoutMs);
    await this.#drain(until(CLOSING_MS - REGISTRY_TIMEOUT_MS + this.#registryTimeoutMs), farewell);
    this.#watch?.stop();
    this.#loopDelay.stop();
    this.#ended.abort();
    this.#invalidations?.close();
    const isOut = await cluster?.membership?.leave(this.#registryTimeoutMs) ?? true;
    if (!isOut) this.#logs.log.warn("could not tell NATS that this node leaves: the others will have to find out");
    const closed = this.#doors.close();
    // Requests that wait for a peer's answer still need the hub. The hub's sockets would stop the listener from
    // closing.
    const answered = this.#doors.allAnswered().then(() => cluster?.hub.drain());
    await withTimeout(this.#clock, until(CLOSE_SOCKETS_MS), () => answered, undefined);
    cluster?.hub.close();
    await withTimeout(this.#clock, until(CLOSE_SOCKETS_MS / 2), () => closed, undefined).catch(() => {});
    await cluster?.membership?.close();
    await this.#groups?.close();
    await this.#registry?.embedded?.stop();
  }

  get #registryTimeoutMs(): number {
    const farMs = REGISTRY_ROUND_TRIPS * (this.#registry?.store.roundTripMs ?? 0);
    return Math.max(REGISTRY_TIMEOUT_MS, Math.min(farMs, REGISTRY_SHARE * this.#config.drainTimeoutMs));
  }

  async #drain(timeoutMs: number, farewell: Promise<void>): Promise<void> {
    const over = new AbortController();
    const cancel = this.#clock.after(timeoutMs, () => over.abort());
    await Promise.all([...this.#served.values()].map(({ group }) => group.drain(over.signal, farewell)));
    await farewell;
    cancel();
  }
}
