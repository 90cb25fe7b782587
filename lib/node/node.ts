/** The composition root: makes the parts of one node, wires them, starts and stops them in order. */
import { ulid } from "ulid";
import { advertised, type Config, type GroupConfig, version } from "../config/config.ts";
import { hostInUrl, type HostPort, isLoopback } from "../config/addresses.ts";
import { PeerNetworks } from "../config/networks.ts";
import { boundedLog } from "../core/base/bounded-log.ts";
import type { Clock } from "../core/base/clock.ts";
import { OriginError } from "../core/errors.ts";
import { InFlight } from "./in-flight.ts";
import { Liveness } from "../core/liveness/liveness.ts";
import { LoadingBytes } from "../core/load/loading-bytes.ts";
import { StartGate } from "../core/load/start-gate.ts";
import type { Log } from "../core/base/log.ts";
import { withTimeout } from "../core/base/timeout.ts";
import { type PeerRecord, type Roster, rosterOf } from "../core/roster.ts";
import { adminTokensOf } from "./admin-tokens.ts";
import { type AppOptions, createApp, starting } from "../http/app.ts";
import { rawPathOf } from "../http/key.ts";
import { createPeerApp, type PeerDoor, type PeersOptions } from "../http/peers.ts";
import type { MachineFace, NodeFace, NodeFigures } from "../http/ports.ts";
import { reportOf } from "../http/status/report.ts";
import { Watch } from "../http/status/watch.ts";
import { type CheckedOrigin, parseOrigin } from "../origins/origin.ts";
import { PEER_PATH } from "../peer/dialer.ts";
import { PeerHub } from "../peer/hub.ts";
import { isAlive } from "../peer/proof/is-alive.ts";
import { type Identity, makeIdentity, verify } from "../peer/proof/keys.ts";
import { dialTcp } from "../peer/socket/tcp.ts";
import { PeerListener, PeerTls } from "./peer-listener.ts";
import type { Fetch } from "../runtime/globals.ts";
import { Invalidations } from "./invalidations.ts";
import { OutOfReach } from "./out-of-reach.ts";
import { RecentLines } from "./recent-lines.ts";
import { type Served, serveGroup, serviceOf } from "./served-group.ts";
import { openRegistry, type Registry, serviceFault } from "./open-registry.ts";
import { DefinedGroups } from "./defined-groups.ts";
import type { DefinitionStore } from "../registry/definitions.ts";
import { PolicyCheck } from "./policy-check.ts";
import { originDigest, policyDigest } from "./policy-digest.ts";
import type { EmbeddedNats } from "../nats/embedded.ts";
import { type GroupFacts, Membership } from "../registry/membership.ts";
import { askersOf, groupOfList } from "../registry/store.ts";
import type { InvalidationLog } from "../core/invalidation/log.ts";
import type { PeerStore } from "../registry/store.ts";
import { memoryBytes } from "../runtime/process.ts";
import { answerPort, listen, type Listener, webSocketUpgrade } from "../runtime/serve.ts";
import { isChunkedTextFaster, runtimeName } from "../runtime/settings.ts";

/** Writes of a stopping node wait so long for NATS; then the other nodes find out by themselves. */
const REGISTRY_TIMEOUT_MS = 500;
/** The same where NATS is far away: a write is two questions. */
const REGISTRY_ROUND_TRIPS = 4;
/** Of the time for a stop, which waits for two writes. Chosen. */
const REGISTRY_SHARE = 1 / 3;
/**
 * A node that stops says so on /readyz, and goes on answering for so long: load balancers look only now and then, and
 * must not find the port closed. It stays listed meanwhile, as draining, since only a listed node may ask the others.
 */
const FAREWELL_MS = 400;
/** What a stop needs at its end, whatever hangs: to leave, to close connections, to end the bundled server. */
const CLOSING_MS = 1_000;
/** Requests in flight may be answered until then, counted from the end of the time for the stop. */
const CLOSE_SOCKETS_MS = 300;

/**
 * The most lines that other nodes can cause in a minute, and that writers to NATS can. Chosen: a hundred nodes may come and go
 * at once, and nobody fills a disk.
 */
const MAX_PEER_LINES_PER_MINUTE = 240;
const MAX_REGISTRY_LINES_PER_MINUTE = 240;
/** A line of a new list of peers holds their URLs. Chosen: room for those of two hundred. */
const MAX_REGISTRY_TEXT_CHARS = 8_000;

export interface NodeOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Origins that are functions of the program, by group; what their groups' options say of an origin only stands for them. */
  readonly origins?: ReadonlyMap<string, CheckedOrigin>;
  /** For a node that is one of several on its machine. */
  readonly worker?: {
    /** Under which URL and name it is listed, once its own listener is on `port`. */
    listedAs(port: number): { url: string; name: string };
    /** The registry, where the options say that there is none. */
    readonly store?: PeerStore;
    readonly log?: InvalidationLog;
    /** Opens its statistics to the other workers. */
    readonly statsToken?: string;
  };
}

/** One node: a process has one, a test may have several. */
export class Node {
  readonly #config: Config;
  readonly #clock: Clock;
  readonly #log: RecentLines;
  readonly #networks: PeerNetworks;
  /** For lines that other nodes cause, and for those that writers to NATS do. */
  readonly #peerLog: Log;
  readonly #registryLog: Log;
  readonly #watchers: { readonly clock: Clock; readonly log: Log; readonly loading: LoadingBytes };
  readonly #origins: NodeOptions["origins"];
  readonly #worker: NodeOptions["worker"];
  readonly #incarnation = ulid();
  readonly #served = new Map<string, Served>();
  /** The sites by the hosts whose requests they answer. */
  readonly #hosts = new Map<string, Served>();
  /** The lists that it must have joined to be ready. That of a group added later counts from when it was joined first. */
  readonly #awaited = new Set<string>();
  /** What its record says of each group, to be compared with what its peers' say. */
  readonly #facts = new Map<string, GroupFacts>();
  #policyCheck: PolicyCheck | undefined;
  #outOfReach: OutOfReach | undefined;
  #defined: DefinedGroups | undefined;
  readonly #failed = Promise.withResolvers<Error>();
  readonly #ready = Promise.withResolvers<void>();
  #self: PeerRecord | undefined;
  #listener: Listener | undefined;
  #shared: Listener | undefined;
  #peerListener: PeerListener | undefined;
  #tls: PeerTls | undefined;
  /** The app without the endpoint for other nodes. */
  #mounted: ReturnType<typeof createApp> | undefined;
  #unshared: Promise<void> | undefined;
  #appOptions: AppOptions | undefined;
  #hub: PeerHub | undefined;
  #invalidations: Invalidations | undefined;
  #membership: Membership | undefined;
  #embedded: EmbeddedNats | undefined;
  #store: PeerStore | undefined;
  #liveness: Liveness | undefined;
  #watch: Watch | undefined;
  /** Ends the streams of the status page. */
  readonly #ended = new AbortController();
  /** Requests that have no answer yet. */
  readonly #requests = new InFlight();
  #isStopping = false;
  /**
   * It has joined, and has connected with all peers that it found or given them up. Stays true: a peer that comes later is
   * no reason to take this node out of service.
   */
  #isInTouch = false;
  /** Before everything is wired, the port is open, but nobody knows it yet. */
  #answer: Fetch = starting;
  /** At the listener for the peers alone. */
  #answerPeer: Fetch = starting;

  constructor(config: Config, { clock, log: writtenLog, origins, worker }: NodeOptions) {
    const log = new RecentLines(writtenLog, clock);
    this.#config = config;
    this.#networks = new PeerNetworks(config.peerNetworks);
    this.#clock = clock;
    this.#log = log;
    this.#peerLog = boundedLog(log, { clock, maxLinesPerMinute: MAX_PEER_LINES_PER_MINUTE, about: "other nodes" });
    this.#registryLog = boundedLog(log, {
      clock,
      maxLinesPerMinute: MAX_REGISTRY_LINES_PER_MINUTE,
      maxTextChars: MAX_REGISTRY_TEXT_CHARS,
      about: "what stands in NATS",
    });
    this.#watchers = { clock, log, loading: new LoadingBytes({ clock }) };
    this.#origins = origins;
    this.#worker = worker;
  }

  /**
   * Resolves when something was found that this node cannot run with, though it has started: another live node has its
   * name (NameTakenError), or its origin refuses what was configured (ConfigError).
   */
  get failed(): Promise<Error> {
    return this.#failed.promise;
  }

  /**
   * Listens, then joins in the background: a node serves whether NATS is there or not.
   *
   * @throws Error the address cannot be had
   */
  async start(): Promise<void> {
    const { addr } = this.#config;
    const identity = await makeIdentity();
    const upgrade = await webSocketUpgrade();
    this.#tls = new PeerTls({ files: this.#config, ...this.#watchers });
    const fetch: Fetch = (request, server) => this.#tracked(this.#answer(request, server), request);
    this.#listener = await listen(addr, fetch, this.#log);
    this.#peerListener = await this.#listenForPeers(this.#tls);
    const { port } = this.#peerListener ?? this.#listener;
    const { url, name } = this.#worker?.listedAs(port) ?? advertised(this.#config, port);
    const self = this.#record(name, url, identity.key);
    this.#self = self;
    const registry = openRegistry(this.#config, this.#clock, this.#registryLog, this.#worker);
    const invalidations = this.#makeInvalidations(name, registry.log);
    this.#invalidations = invalidations;
    this.#policyCheck = new PolicyCheck({
      selfName: name,
      factsOf: (group) => this.#facts.get(group),
      clock: this.#clock,
      log: this.#registryLog,
    });
    const hub = this.#makeHub(name, identity, invalidations);
    this.#hub = hub;
    this.#outOfReach = new OutOfReach({ url, links: () => hub.stats(), clock: this.#clock, log: this.#peerLog });
    for (const group of this.#config.groups) {
      this.#serve(group, hub);
      for (const list of this.#joinedLists(group.name)) this.#awaited.add(list);
    }
    const face = this.#faceOf(self, hub, invalidations);
    this.#watch = new Watch({ clock: this.#clock, report: () => reportOf(face, this.#served) });
    this.#appOptions = this.#optionsOf(face, invalidations);
    this.#serveApps({ door: doorOf(hub), upgrade });
    this.#sayWhere(name, url);
    this.#join(self, identity, registry);
    this.#watch.start();
  }

  /** With a listener for the peers alone, the public one has no path for them. */
  #serveApps(peers: PeersOptions): void {
    const isLoopbackOnly = isLoopback(this.#config.addr.host);
    const isShared = this.#peerListener === undefined;
    const app = createApp({ ...this.#appOptions!, isLoopbackOnly, ...(isShared && { peers }) });
    this.#answer = (request, server) => app.fetch(request, server as object);
    const peerApp = createPeerApp(peers, this.#appOptions!.node);
    this.#answerPeer = (request, server) => peerApp.fetch(request, server as object);
  }

  async #listenForPeers(tls: PeerTls): Promise<PeerListener | undefined> {
    const { peerAddr: address } = this.#config;
    if (address === undefined) return undefined;
    const fetch: Fetch = (request, server) => this.#answerPeer(request, server);
    try {
      return await PeerListener.open({ address, fetch, tls, ...this.#watchers });
    } catch (error) {
      tls.close();
      await this.#listener!.stop();
      throw error;
    }
  }

  #sayWhere(name: string, url: string): void {
    const fields = { name, incarnation: this.#incarnation };
    if (this.#peerListener !== undefined) {
      const own = `http://${hostInUrl(this.#config.addr.host)}:${this.port}`;
      this.#log.info(`listening on ${own}`, fields, { url: own });
    }
    const isOwn = this.#worker === undefined && this.#peerListener === undefined;
    this.#log.info(`${isOwn ? "listening on" : "other nodes reach me at"} ${url}`, fields, { url });
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
        peer: (peer) => this.#hub!.peer(peer),
        applied: () => this.#hub!.applied(),
        announceApplied: (label) => this.#hub!.announceApplied(label),
      },
      listed: (group) => [...this.#roster(group).peers, ...this.#roster(askersOf(group)).peers],
      clock: this.#clock,
      say: this.#registryLog,
    });
  }

  /** The node as it shows itself. */
  #faceOf({ name, url, zone, weight, runtime }: PeerRecord, hub: PeerHub, invalidations: Invalidations): NodeFace {
    return {
      name,
      incarnation: this.#incarnation,
      version,
      runtime,
      isReady: () => this.isReady(),
      stats: () => ({ url, zone, weight, ready: this.isReady(), ...this.#figures(hub, invalidations) }),
      roster: (group) => this.#roster(group),
      differences: (group) => this.#policyCheck!.differences(group),
      recent: () => this.#log.latest,
    };
  }

  #figures(hub: PeerHub, invalidations: Invalidations): NodeFigures {
    const probed = this.#liveness?.stats().probed ?? [];
    return {
      memoryBytes: memoryBytes(),
      links: hub.stats(),
      silent: probed.flatMap(({ name, misses }) => misses === 0 ? [] : [{ name, misses }]),
      registry: {
        kind: this.#config.nats.kind === "off" ? "none" : "nats",
        isAway: this.#membership?.isAway ?? true,
        ignored: this.#membership?.ignored ?? [],
      },
      log: invalidations.figures(),
      ...(this.#defined !== undefined && { definitions: this.#defined.figures() }),
    };
  }

  #optionsOf(node: NodeFace, invalidations: Invalidations): AppOptions {
    return {
      node,
      watch: this.#watch,
      ended: this.#ended.signal,
      groups: this.#served,
      hosts: this.#hosts,
      adminTokens: adminTokensOf(this.#config, this.#clock, this.#log),
      isStatsPublic: this.#config.publicStats,
      statsToken: this.#worker?.statsToken,
      clock: this.#clock,
      log: this.#log,
      isChunkedTextFaster,
      answerPort,
      currentEpoch: () => invalidations.position.label.epoch,
    };
  }

  /**
   * Serves clients at an address that it shares with other nodes of its machine, whose figures it shows there.
   * To be called after `start`.
   *
   * @throws Error the address cannot be had
   */
  async share(addr: HostPort, machine: MachineFace): Promise<void> {
    const app = createApp({ ...this.#appOptions!, isLoopbackOnly: isLoopback(addr.host), machine });
    const fetch: Fetch = (request) => this.#tracked(app.fetch(request), request);
    this.#shared = await listen({ ...addr, isShared: true }, fetch, this.#log);
  }

  /** Takes no more connections at the shared address; those that stand are served. */
  unshare(): Promise<void> {
    return this.#unshared ??= this.#shared?.stop() ?? Promise.resolve();
  }

  /**
   * Answers a request that another server of this program has received: without the endpoint for other nodes, and for
   * operators only if there is a token, as this node cannot tell who sends it. To be called after `start`.
   */
  fetch(request: Request): Response | Promise<Response> {
    const app = this.#mounted ??= createApp(this.#appOptions!);
    return this.#tracked(app.fetch(request), request);
  }

  /** A group that it serves now. */
  served(group: string): Served | undefined {
    return this.#served.get(group);
  }

  /** Counts a get or a change of this program among the requests that have no answer yet. */
  track<T>(work: Promise<T>): Promise<T> {
    return this.#requests.track(work);
  }

  /** Resolves when it is ready for the first time. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** As it is listed. To be called after `start`. */
  get name(): string {
    return this.#self!.name;
  }

  /** Joined and serving, not starting or leaving. */
  isReady(): boolean {
    return !this.#isStopping && this.#isInTouch && this.#isJoined();
  }

  /**
   * Serves one more group, and joins it in the background; its failures are told by `failed`. To be called after `start`.
   *
   * @throws TypeError the node serves a group of this name, or with one of its hosts
   * @throws RangeError the node has so many groups that no greeting could hold one more
   */
  addGroup(config: GroupConfig): void {
    const { name } = config;
    if (this.#served.has(name)) throw new TypeError(`Cannot add the group ${name}: this node serves it already`);
    const taken = config.hosts.find((host) => this.#hosts.has(host));
    if (taken !== undefined) throw new TypeError(`Cannot add the group ${name}: another group has the host ${taken}`);
    this.#serve(config, this.#hub!);
    this.#membership!.addGroup(this.#listOf(name));
    this.#membership!.watchList(this.#isServed(name) ? askersOf(name) : name);
    this.#swap(this.#roster(name));
  }

  /**
   * Serves a group by other options from now on. It keeps its values, unless they come from another origin. To be called
   * after `start`.
   *
   * @throws RangeError the node does not serve it
   * @throws TypeError another group has one of its hosts
   */
  changeGroup(config: GroupConfig): void {
    const { name } = config;
    const served = this.#served.get(name);
    if (served === undefined) throw new RangeError(`Cannot change the group ${name}: this node does not serve it`);
    const taken = config.hosts.find((host) => (this.#hosts.get(host) ?? served) !== served);
    if (taken !== undefined) throw new TypeError(`Cannot change the group ${name}: another group has ${taken}`);
    const keepsValues = originDigest(config) === this.#facts.get(name)!.origin;
    const onShare = () => this.#swap(this.#roster(name));
    const options = { isServed: served.isServed, gate: served.gate, before: { served, keepsValues } };
    const next = serveGroup(
      config,
      this.#self!,
      onShare,
      this.#hub!,
      this.#invalidations!,
      this.#watchers,
      options,
    );
    this.#served.set(name, next);
    for (const host of served.hosts) this.#hosts.delete(host);
    for (const host of next.hosts) this.#hosts.set(host, next);
    this.#facts.set(name, { policy: policyDigest(config), origin: originDigest(config) });
    this.#swap(this.#roster(name));
    void this.#membership!.relist(this.#listOf(name), REGISTRY_TIMEOUT_MS);
    void this.#checkOrigin(name, next.origin);
    // What it has begun with the former one goes on for as long as a load may take.
    this.#clock.after(served.loadTimeoutMs, () => void served.origin.close());
  }

  /**
   * Serves a group no longer: requests for it are answered with 404 from the call on, and its values are dropped. Resolves
   * to whether this node is known to be off the group's list; if not, the removal goes on.
   *
   * @throws RangeError the node does not serve it
   */
  async removeGroup(name: string): Promise<boolean> {
    const served = this.#served.get(name);
    if (served === undefined) throw new RangeError(`Cannot remove the group ${name}: this node does not serve it`);
    this.#hub!.removeGroup(name);
    this.#served.delete(name);
    for (const host of served.hosts) this.#hosts.delete(host);
    for (const list of [name, askersOf(name)]) this.#awaited.delete(list);
    this.#forget(served);
    // Until it is off the list the peers keep their links to it, on which requests in flight wait. No load takes longer.
    await withTimeout(this.#clock, served.loadTimeoutMs, () => this.#requests.none(), undefined);
    const lists = [name, askersOf(name)];
    const areOut = await Promise.all(lists.map((list) => this.#membership!.removeGroup(list, REGISTRY_TIMEOUT_MS)));
    await served.origin.close();
    return areOut.every((isOut) => isOut);
  }

  /** The log has nobody to tell of it any more. */
  #forget({ group, gate }: Served): void {
    gate?.open();
    this.#invalidations!.remove(group.name);
    this.#facts.delete(group.name);
    this.#policyCheck!.forget(group.name);
    group.close();
  }

  /** The hub asks a group as soon as it has its name, so the group is there first. */
  #serve(config: GroupConfig, hub: PeerHub): void {
    const inCode = this.#origins?.get(config.name);
    const onShare = () => this.#swap(this.#roster(config.name));
    const isServed = this.#isServed(config.name);
    const options = { isServed, gate: this.#closedGate(), inCode };
    const served = serveGroup(config, this.#self!, onShare, hub, this.#invalidations!, this.#watchers, options);
    this.#served.set(config.name, served);
    this.#facts.set(config.name, { policy: policyDigest(config), origin: originDigest(config) });
    try {
      hub.addGroup(config.name);
    } catch (error) {
      this.#served.delete(config.name);
      this.#forget(served);
      throw error;
    }
    for (const host of served.hosts) this.#hosts.set(host, served);
    if (!isServed) {
      const { name } = config;
      this.#log.info(`not serving ${name}: asking the nodes that do`, {}, { group: name });
    }
    void this.#checkOrigin(config.name, served.origin);
  }

  #isServed(group: string): boolean {
    return this.#config.serve?.includes(group) ?? true;
  }

  /** The one of a group's two lists that has this node's record. */
  #listOf(group: string): string {
    return this.#isServed(group) ? group : askersOf(group);
  }

  /** What of a group it must have joined to be ready: with its record in one list, and as a reader of the other's peers. */
  #joinedLists(group: string): string[] {
    return this.#isServed(group) ? [group] : [group, askersOf(group)];
  }

  /** The lists that it follows: of each group its peers, and the nodes that ask for it. */
  get #lists(): string[] {
    return [...this.#served.keys()].flatMap((group) => [group, askersOf(group)]);
  }

  /** No link is connecting any more. Peers to which this node could not connect may have passed it over meanwhile. */
  #settled(isWhole: boolean): void {
    if (!this.#isInTouch && !isWhole) { for (const { picker } of this.#served.values()) picker.standAside(); }
    this.#reviewTouch();
  }

  /** None where there are no peers to wait for. */
  #closedGate(): StartGate | undefined {
    const isAlone = this.#config.nats.kind === "off" && this.#worker?.store === undefined;
    return isAlone ? undefined : new StartGate({ clock: this.#clock });
  }

  /** A group's misses go on when its peers are known and their links have settled, or when NATS cannot tell of any. */
  #reviewGates(): void {
    const membership = this.#membership;
    for (const [name, { gate }] of this.#served) {
      if (gate === undefined || gate.isOpen || membership?.has(name) !== true) continue;
      if (membership.isKnownAway || membership.isRead(name) && this.#hub!.isSettled) gate.open();
    }
  }

  #reviewTouch(): void {
    this.#reviewGates();
    this.#isInTouch ||= this.#isJoined() && this.#hub!.isSettled;
    if (this.isReady()) this.#ready.resolve();
  }

  #isJoined(): boolean {
    return [...this.#awaited].every((list) => this.#membership?.joined(list));
  }

  /** Where its own listener is. */
  get port(): number {
    return this.#listener!.port;
  }

  /**
   * Hands over what this node holds, leaves the roster, answers the requests in flight, and lets go of everything; within the
   * drain timeout, whatever hangs. Never throws.
   */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const { gate } of this.#served.values()) gate?.open();
    const deadlineMs = this.#clock.nowMs() + this.#config.drainTimeoutMs;
    const until = (reserveMs: number) => Math.max(0, deadlineMs - reserveMs - this.#clock.nowMs());
    this.#liveness?.stop();
    this.#outOfReach?.stop();
    const farewell = new Promise<void>((over) => this.#clock.after(FAREWELL_MS, over));
    // Nobody asks a draining node for anything new; where NATS is away they still do, and are answered.
    await this.#membership?.setState("draining", this.#registryTimeoutMs);
    await this.#drain(until(CLOSING_MS - REGISTRY_TIMEOUT_MS + this.#registryTimeoutMs), farewell);
    this.#watch?.stop();
    this.#ended.abort();
    this.#invalidations?.close();
    const isOut = await this.#membership?.leave(this.#registryTimeoutMs) ?? true;
    if (!isOut) this.#log.warn("could not tell NATS that this node leaves: the others will have to find out");
    this.#tls?.close();
    const closed = Promise.all([this.unshare(), this.#listener?.stop(), this.#peerListener?.stop()]);
    // Who waits for a peer's answer still needs the hub; the sockets of the hub keep the listener from its end.
    const answered = this.#requests.none().then(() => this.#hub?.drain());
    await withTimeout(this.#clock, until(CLOSE_SOCKETS_MS), () => answered, undefined);
    this.#hub?.close();
    await withTimeout(this.#clock, until(CLOSE_SOCKETS_MS / 2), () => closed, undefined).catch(() => {});
    await this.#membership?.close();
    await Promise.all([...this.#served.values()].map(({ origin }) => origin.close()));
    await this.#embedded?.stop();
  }

  get #registryTimeoutMs(): number {
    const farMs = REGISTRY_ROUND_TRIPS * (this.#store?.roundTripMs ?? 0);
    return Math.max(REGISTRY_TIMEOUT_MS, Math.min(farMs, REGISTRY_SHARE * this.#config.drainTimeoutMs));
  }

  async #drain(timeoutMs: number, farewell: Promise<void>): Promise<void> {
    const over = new AbortController();
    const cancel = this.#clock.after(timeoutMs, () => over.abort());
    await Promise.all([...this.#served.values()].map(({ group }) => group.drain(over.signal, farewell)));
    await farewell;
    cancel();
  }

  #makeHub(name: string, identity: Identity, invalidations: Invalidations): PeerHub {
    return new PeerHub({
      self: { name, incarnation: this.#incarnation },
      identity,
      groups: [],
      revisions: () =>
        Object.fromEntries([...this.#served.keys()].map((group) => [group, this.#roster(group).revision])),
      isEmpty: (group) => this.#served.get(group)!.group.isEmpty,
      service: {
        ...serviceOf(this.#served, invalidations, () => this.#isInTouch),
        probeIndirectly: (suspect, options) => this.#liveness!.probeIndirectly(suspect, options),
      },
      onUnlisted: () => this.#membership?.hurry(),
      onReached: (record) => {
        this.#liveness?.reached(record);
        this.#membership?.reachedPeer();
      },
      onProbed: () => this.#liveness?.probed(),
      onSettled: (isWhole) => this.#settled(isWhole),
      openSocket: (url, introduction) => dialTcp(url, introduction, this.#networks, this.#tls?.ca),
      clock: this.#clock,
      log: this.#peerLog,
    });
  }

  #join(self: PeerRecord, identity: Identity, { store, embedded, definitions }: Registry): void {
    const all = [...this.#served.keys()];
    const groups = all.map((group) => this.#listOf(group));
    this.#embedded = embedded;
    this.#store = store;
    this.#membership = new Membership({
      store,
      groups,
      watched: all.map((group) => this.#isServed(group) ? askersOf(group) : group),
      self,
      factsOf: (list) => this.#facts.get(groupOfList(list)),
      clock: this.#clock,
      log: this.#registryLog,
      isAlive: (record, timeoutMs) =>
        isAlive({ self, identity, verify }, record, { timeoutMs, networks: this.#networks, ca: this.#tls?.ca }),
      faultOf: (url) => serviceFault(url, this.#config.nats) ?? this.#networks.faultOf(url),
      onRoster: (roster) => this.#swap(roster),
      onKnown: () => this.#reviewGates(),
      onWroteAgain: (record) => this.#liveness?.wroteAgain(record),
      onPutBack: () => {
        this.#liveness?.putBack();
        this.#outOfReach?.putBack();
      },
      onListed: (list, isListed) => {
        const group = groupOfList(list);
        if (isListed && this.#served.has(group) && this.#joinedLists(group).includes(list)) this.#awaited.add(list);
        this.#reviewTouch();
      },
    });
    this.#liveness = this.#makeLiveness(self, this.#membership);
    void this.#membership.failed.then((error) => this.#failed.resolve(error));
    for (const group of all) this.#swap(this.#roster(group));
    if (this.#config.groupsFromNats && definitions !== undefined) this.#followDefinitions(definitions);
    void this.#follow(this.#membership);
  }

  #followDefinitions(definitions: DefinitionStore): void {
    const defined = new DefinedGroups({
      keeper: this,
      own: new Set(this.#config.groups.map(({ name }) => name)),
      serves: (group) => this.#isServed(group),
      checkOrigin: (text) => void parseOrigin(text),
      log: this.#registryLog,
    });
    this.#defined = defined;
    definitions.followDefinitions((view) => {
      if (!this.#isStopping) defined.update(view);
    });
  }

  /** The bundled server first, so that a node that starts it does not report NATS as away. */
  async #follow(membership: Membership): Promise<void> {
    await this.#embedded?.start();
    if (this.#isStopping) return;
    membership.start();
    this.#invalidations!.start();
    this.#liveness?.start();
  }

  #makeLiveness(self: PeerRecord, membership: Membership): Liveness {
    const lists = () => this.#lists.map((list) => this.#roster(list).peers);
    const joining = () => [...this.#served.keys()].map((group) => this.#listOf(group));
    const isIn = (list: string) => this.#roster(list).peers.some(({ incarnation }) => incarnation === self.incarnation);
    return new Liveness({
      self,
      clock: this.#clock,
      random: Math.random,
      log: this.#peerLog,
      peers: () => this.#hub!.probed(),
      lists,
      isListed: () => joining().every(isIn),
      isRegistryAway: () => membership.isAway,
      evict: (record) => membership.evict(record),
      onAnswer: (record) => void membership.evictEarlierLives(record),
      options: this.#config.polling,
    });
  }

  /** Connects to new peers before any key is asked of them, then lets the group pick by the new roster. */
  #swap(roster: Roster): void {
    const served = this.#served.get(groupOfList(roster.group));
    if (served === undefined) return; // it is being removed
    this.#hub!.setPeers(
      this.#lists.flatMap((list) => list === roster.group ? roster.peers : this.#roster(list).peers),
    );
    // The nodes that ask for a group own no key of it.
    if (roster.group !== served.group.name) return this.#liveness?.rosterChanged();
    this.#policyCheck!.check(roster);
    const { picker, group, guard } = served;
    const alike = this.#policyCheck!.alike(roster);
    if (picker.swap(guard?.ownersIn(alike, roster.isStandIn) ?? alike)) void group.ownersChanged();
    this.#liveness?.rosterChanged();
  }

  /** Nobody, until the membership knows the list. */
  #roster(list: string): Roster {
    return this.#membership?.has(list) ? this.#membership.roster(list) : rosterOf(list, 0, []);
  }

  async #checkOrigin(group: string, origin: CheckedOrigin): Promise<void> {
    try {
      const warning = await origin.check();
      if (warning !== undefined) this.#log.warn(`the origin of ${group}: ${warning}`, {}, { group, reason: warning });
    } catch (error) {
      const fault = error instanceof Error ? error : new OriginError(String(error));
      // A group that came later is no reason to end the others.
      if (this.#config.groups.some(({ name }) => name === group)) return this.#failed.resolve(fault);
      this.#log.error(`the origin of ${group}: ${fault.message}`, {}, { group, reason: fault.message });
    }
  }

  /** Strangers at the peers' path must not keep this node from its end. */
  #tracked = (answer: Response | Promise<Response>, { url }: Request): Response | Promise<Response> =>
    answer instanceof Response || rawPathOf(url) === PEER_PATH ? answer : this.#requests.track(answer);
}

/** The peers' path, as the hub decides about it. */
function doorOf(hub: PeerHub): PeerDoor {
  return {
    challenge: (fields) => hub.challenge(fields),
    admit: async (fields, gone) => {
      const admitted = await hub.admit(fields, gone);
      return admitted && hub.endpoint(admitted);
    },
  };
}
