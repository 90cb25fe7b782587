/** The interfaces that the HTTP edge needs from the rest of the node; lib/node passes them in. */
import type { CancelSignal } from "../core/base/cancel.ts";
import type { Trace } from "../core/base/trace.ts";
import type { Description } from "../core/group/description.ts";
import type { Hit, Loaded } from "../core/group/loaded.ts";
import type { GroupStats, Latencies } from "../core/group/stats.ts";
import type { Label } from "../core/invalidation/label.ts";
import type { Invalidation } from "../core/invalidation/message.ts";
import type { AnswerMeter } from "../core/measure/answer-meter.ts";
import type { HistogramFigures } from "../core/measure/histogram.ts";
import type { OriginHealthFigures } from "../core/load/origin-health.ts";
import type { Waiter } from "../core/load/flights.ts";
import type { ForwardedAnswer, ForwardedRequest, RequestHead } from "../core/ports.ts";
import type { Roster } from "../core/roster.ts";
import type { Fields } from "../core/semantics/fields.ts";

/** The counters and caches of a group. A missing figure is not shown. */
export type GroupFigures = Partial<GroupStats> & {
  /** False: this node asks the peers that serve the group. */
  readonly serves?: boolean;
  readonly roster?: Pick<Roster, "revision" | "peers">;
  readonly invalidation?: InvalidationFigures;
  readonly guard?: GuardFigures;
  /** As an ISO date, while this node has no way to the origin. */
  readonly originUnreachableSince?: string;
  readonly about?: GroupAbout;
  /** How the origin has recently answered this node's loads. */
  readonly health?: OriginHealthFigures;
  /** Peers whose origin or policy of this group differs from this node's. */
  readonly differences?: readonly Difference[];
  readonly lately?: LatelyFigures;
};

/** Events of a group per second. */
export interface Rates {
  readonly gets: number;
  /** Gets from other nodes. */
  readonly serverRequests: number;
  readonly cacheHits: number;
  readonly hotHits: number;
  readonly peerLoads: number;
  readonly originLoads: number;
}

/** The last moments of a group at one node. The page adds them up for the fleet. */
export interface LatelyFigures {
  /** Between the last two samples. */
  readonly perSecond: Rates;
  /** The times of the last minute. */
  readonly latency?: Latencies;
}

/** Describes a group, for operators. */
export interface GroupAbout {
  /** Without a login and a query. */
  readonly origin: string;
  /** The lifetime of values whose origin gives none. */
  readonly lifetime: string;
  /** For the main and the hot cache together. */
  readonly budgetBytes: number;
}

/** A line of the node's log. */
export interface RecentLine {
  /** Unix milliseconds of this node's clock. */
  readonly atMs: number;
  readonly level: "info" | "warn" | "error";
  readonly message: string;
}

/** A peer's origin or policy of a group is another than this node's. */
export interface Difference {
  readonly peer: string;
  readonly text: string;
}

/** The guard of a group's origin on one node. */
export interface GuardFigures {
  /** Requests at the origin now, including those that were given up a moment ago. */
  readonly running: number;
  readonly queued: number;
  /** How many requests this node may have at the origin now; null: no limit. */
  readonly limit: number | null;
  /** This node's share by the latest roster, which it may use after the grace period. */
  readonly share: number | null;
  /** Requests that were refused: the queue was full, or the wait too long. */
  readonly refused: number;
  /** Requests that the breaker has refused. */
  readonly broken: number;
  readonly breaker: "closed" | "open" | "half-open" | null;
  readonly retries: number;
}

/** An invalidation that this node has applied. */
export interface AppliedInvalidation {
  readonly sequence: number;
  /** Unix milliseconds of this node's clock. */
  readonly atMs: number;
  /** At most 200 characters of its message. */
  readonly message: string;
}

/** The invalidations of one group, as one node sees them. */
export interface InvalidationFigures {
  /** Applied since the node started. */
  readonly applied: number;
  /** Messages that could not be read. */
  readonly refused: number;
  /** Values that an invalidation covered: dropped, or made stale. */
  readonly dropped: number;
  readonly softened: number;
  /** The latest first, ten at most. */
  readonly last: readonly AppliedInvalidation[];
}

/** The groups that are defined in NATS, as one node follows them. */
export interface DefinitionsFigures {
  /** The revision of the bucket's last change that the node has seen. */
  readonly revision: number;
  readonly groups: readonly string[];
  /** Definitions that the node refuses, each with the reason. */
  readonly refused: readonly { readonly group: string; readonly reason: string }[];
}

/** The node's position in the log of invalidations. */
export interface LogFigures {
  readonly epoch: number;
  /** The node has applied everything up to this sequence. */
  readonly applied: number;
  /** How long the node has been unable to read the log, in milliseconds; 0: it can read it. */
  readonly blindMs: number;
  /** How many messages each connected peer is behind this node, by the peer's last report; below 0: it is ahead. */
  readonly peers: readonly { readonly name: string; readonly behindBy: number }[];
  /** The latest call at this node, in ms: until the message was durable, and with a wait until all nodes had it. */
  readonly lastDurableMs?: number;
  readonly lastAppliedByAllMs?: number;
  /** The age of messages when this node applied them, from their entry in the log. */
  readonly lag?: HistogramFigures;
}

/** Traffic over the link to one peer: counted since the present connection opened, 0 without one. */
export interface LinkFigures {
  /** The name of the peer. */
  readonly name: string;
  /** `open` when it can be asked. */
  readonly state: string;
  readonly asked: number;
  readonly answered: number;
  readonly asksInFlight: number;
  readonly servedInFlight: number;
  readonly framesOut: number;
  readonly framesIn: number;
  readonly bytesOut: number;
}

/** The list of peers in NATS, as this node sees it. */
export interface RegistryFigures {
  /** `none`: this node runs alone, or with the other workers of its machine. */
  readonly kind: "nats" | "none";
  readonly isAway: boolean;
  /** Records that the node ignores, each with the rule that the record breaks. */
  readonly ignored: readonly { readonly key: string; readonly fault: string }[];
  /** The connection to NATS. */
  readonly contact?: ContactFigures;
}

/** A connection that may be lost. */
export interface ContactFigures {
  readonly isConnected: boolean;
  /** When the connection entered this state, in Unix milliseconds. */
  readonly sinceMs: number;
  /** The round trip of the latest ping, in milliseconds; `undefined`: no ping has been answered. */
  readonly roundTripMs: number | undefined;
  /** How many connections have worked so far. */
  readonly connections: number;
}

/** The process in which the node runs. */
export interface ProcessFigures {
  /** When the process began, in Unix milliseconds. */
  readonly startedAtMs: number;
  /** The memory of the process (RSS), and the JavaScript heap in use. */
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** The CPU time of all its threads, in seconds. */
  readonly cpuSeconds: number;
  /** Open files, or a few less; nearly all are connections. */
  readonly openFiles: number;
  /** Above this number, idle connections are ended. */
  readonly maxOpenFiles: number;
}

/** How a running node follows the file of `--config`. */
export interface ConfigFigures {
  readonly path: string;
  /** When the options in force were read, as an ISO date. */
  readonly readAt: string;
  /** The flags of options that have changed in the file since the start and need a restart. */
  readonly needRestart: readonly string[];
  /** Why the file's present content is not in force; `since` is an ISO date. */
  readonly fault?: { readonly since: string; readonly reason: string };
}

/** A node that was evicted because it did not answer. */
export interface LostPeer {
  readonly name: string;
  /** Unix milliseconds, by the clock of the reporting node. */
  readonly atMs: number;
}

/** Other nodes have evicted this node, and some of them have had no connection to it since. */
export interface OutOfReachFigures {
  /** The URL at which they look for this node. */
  readonly url: string;
  /** As an ISO date. */
  readonly since: string;
  /** The names of the first ten of them. */
  readonly peers: readonly string[];
  readonly count: number;
}

/** A fault that one node knows of. */
export interface Finding {
  readonly what: FindingKind;
  /** The group or the peer with the fault. */
  readonly about?: string;
  /** When the fault began, or when this node first saw it; an ISO date. */
  readonly since: string;
  /** One sentence for people. */
  readonly detail: string;
  /** `error`: requests fail or may soon fail; `warning`: an operator should act; `notice`: worth knowing. */
  readonly severity: Severity;
}

/** All kinds of findings. */
export const FINDING_KINDS = [
  "not-ready",
  "registry-away",
  "log-blind",
  "peer-down",
  "peer-silent",
  "out-of-reach",
  "peer-lost",
  "peer-behind",
  "node-behind",
  "origin-failing",
  "origin-unreachable",
  "breaker-open",
  "evicting",
  "policies-differ",
  "bad-record",
  "bad-definition",
  "bad-config",
  "needs-restart",
  "worker-down",
  "more",
] as const;

export type FindingKind = typeof FINDING_KINDS[number];

export type Severity = "error" | "warning" | "notice";

/** The figures of the node itself, not of one group. */
export interface NodeFigures {
  /** The answer of `/readyz`. */
  readonly ready?: boolean;
  readonly links?: readonly LinkFigures[];
  readonly log?: LogFigures;
  /** With `--groups-from-nats`. */
  readonly definitions?: DefinitionsFigures;
  readonly registry?: RegistryFigures;
  /** Absent while all is well. */
  readonly outOfReach?: OutOfReachFigures;
  /** The nodes that were evicted lately, and have not come back. Absent: there are none. */
  readonly lost?: readonly LostPeer[];
  /** Peers that have not answered the last probes of this node, with the number of probes in a row. */
  readonly silent?: readonly { readonly name: string; readonly misses: number }[];
  /** With `--config`. */
  readonly config?: ConfigFigures;
  /** The memory of the process (RSS). */
  readonly memoryBytes?: number;
  readonly usage?: ProcessFigures;
  /** How late this process ran its due timers. */
  readonly loopDelay?: HistogramFigures;
  /** Requests that have no answer yet. */
  readonly requestsInFlight?: number;
  /** The answers that no group has given: by route, then by status. */
  readonly routeAnswers?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** One node at one moment; `/stats` prints this. */
export interface NodeReport extends NodeFigures {
  readonly name: string;
  readonly incarnation: string;
  readonly version: string;
  readonly runtime: string;
  readonly groups: Readonly<Record<string, GroupFigures>>;
  /** The faults, the worst first; empty: none. */
  readonly findings?: readonly Finding[];
}

/** One of the nodes behind a machine's public address: its report, or the reason for having none. */
export interface WorkerReport {
  readonly name: string;
  /** The address at which this worker alone answers. */
  readonly url?: string;
  readonly report?: NodeReport;
  readonly fault?: string;
}

/** The machine of this worker, for routes that answer for all its workers. */
export interface MachineFace {
  readonly name: string;
  readonly url: string;
  /** The report of every worker, within a bounded time; `own` is this node's. Never rejects. */
  workers(own: NodeReport): Promise<readonly WorkerReport[]>;
}

/** A named cache, as HTTP asks it; a core Group is one. */
export interface CacheGroup {
  readonly name: string;
  /**
   * Main cache, then hot cache, without waiting; `undefined` on a miss. Counts the get.
   *
   * @param request for a site only: its header fields may choose between variants of one key
   */
  lookup(key: string, request?: RequestHead): Hit | undefined;
  /**
   * The rest of a get after a {@linkcode lookup} that found nothing. The get is not counted again. Never throws. The
   * value may be a remembered "not found", with status 404 and without fields.
   */
  load(key: string, waiter: Waiter<Loaded>): void;
  /**
   * A get for a groupcache peer: from a cache or by one load from the origin, never from another peer.
   *
   * @param options.signal aborted when the client has gone
   * @throws NotFoundError, OriginError, OriginTimeoutError, OverloadedError
   */
  getAsOwner(key: string, options: { signal: CancelSignal; trace?: Trace | undefined }): Promise<Loaded>;
  /**
   * Whether this node has applied all invalidations up to the label, so that a get gives nothing older. If not, a
   * promise: the node catches up for 250 ms at most, and it resolves to whether the node has got there.
   */
  reach(label: Label): true | Promise<boolean>;
  /** Like {@linkcode load}, but always from the origin, and no cache keeps the value: for a node that is behind. */
  loadUnkept(key: string, waiter: Waiter<Loaded>): void;
  /** Whether this node cannot read the log of invalidations now, so that it may be behind. */
  readonly isBehind: boolean;
  /** When this node lost its way to the origin, in Unix milliseconds; `undefined`: it has one, as far as it knows. */
  readonly originLostAtMs?: number | undefined;
  /** Counts the answers to clients. */
  readonly answers: AnswerMeter;
  /** Describes what a get of the key would find here, for people. Changes nothing and counts nothing. */
  describe(key: string): Description;
  /** The entries of the main cache, in no order, with their encoded bytes. O(n). */
  resident(): readonly { readonly key: string; readonly bytes: number }[];
  /** The counters, ready for JSON and Prometheus. */
  stats(): Partial<GroupStats>;
}

/** The result of an invalidation. */
export interface Invalidated {
  /** Its place in the log. */
  readonly label: Label;
  /** The names of the listed peers that had applied it when the call ended, including this node. */
  readonly applied: readonly string[];
  /** The names of those that had not. Without a wait only this node is asked. */
  readonly behind: readonly string[];
  /** From the call until the message was durable, and until all nodes had applied it; in milliseconds. */
  readonly durableMs: number;
  readonly appliedMs: number;
}

export interface WaitOptions {
  /** How long to wait until the listed peers have applied it, in milliseconds; 0: do not wait. */
  readonly waitMs: number;
}

/** A value as a client writes it. */
export interface WrittenValue {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  /** Its own lifetime, in milliseconds; used only if the group honours such lifetimes. @default the group's */
  readonly ttlMs?: number | undefined;
}

/** Changes that clients may make in a group. */
export interface InvalidationFace {
  /**
   * Resolves when the message is durable and this node has applied it; with `waitMs`, when the listed peers have too.
   *
   * @throws UnavailableError nothing was invalidated, or (`isAmbiguous`) it may still happen
   */
  invalidate(message: Invalidation, options: WaitOptions): Promise<Invalidated>;
  /**
   * Writes a value: takes a place in the log first, then stores the value at the key's owner. Only for a writable
   * group.
   *
   * @throws UnavailableError as `invalidate`; OverloadedError no node has room for it; PeerError the owner cannot be
   * reached
   */
  write(key: string, value: WrittenValue, options: WaitOptions): Promise<Invalidated>;
}

/** The answer to a request that went through. */
export interface SiteAnswer extends ForwardedAnswer {
  /**
   * Set on the answer to a POST if that answer may serve later GETs. Call it once, after `invalidate`. Nothing is kept
   * if the key changes in the meantime, or the body is cut or too long.
   *
   * @param own the result of `invalidate`
   * @returns the body to send to the client in place of the answer's own
   */
  keep?(own: Label | undefined): ReadableStream<Uint8Array>;
}

/** The additional parts of a group whose origin is a site. */
export interface SiteFace {
  /**
   * Any method, streamed both ways, never tried again. A site that stalls ends it, before or in its answer.
   *
   * @throws OriginError, OriginTimeoutError, OverloadedError; RequestBodyError the client's body broke off
   */
  forward(request: ForwardedRequest, signal: AbortSignal): Promise<SiteAnswer>;
  /** Whether requests for this key go straight through for now, because its answers may not be shared. */
  isPassing(key: string): boolean;
  /** Called when an answer for this key could have been kept; the next request may then be a load. */
  passNoMore(key: string): void;
  /**
   * Called when a request has changed the value of this key; the answer's fields may name more keys, and tags.
   * Resolves, within a bounded time, when all reachable nodes have dropped the values. Without NATS only this node
   * drops them. Never rejects.
   *
   * @returns the place of this invalidation in the log, if this node has applied it
   */
  invalidate(key: string, answerFields: Fields): Promise<Label | undefined>;
}

/** A group as the HTTP edge serves it. */
export interface ServedGroup {
  readonly group: CacheGroup;
  /** Whether this node serves the group itself; if not, it asks the peers that do. @default true */
  readonly isServed?: boolean;
  /** For a group whose origin is guarded. */
  readonly guard?: { figures(): GuardFigures } | undefined;
  readonly about?: GroupAbout;
  /** The health of its origin. @default not known */
  readonly health?: { figures(): OriginHealthFigures };
  /** For a group whose origin is a site. */
  readonly site?: SiteFace | undefined;
  readonly invalidation: InvalidationFace;
  /** Whether clients may write and delete its values. */
  readonly isWritable: boolean;
  /** The longest value that it keeps, in bytes. */
  readonly valueBytesMax: number;
}

/**
 * The groups that this node serves now, by name. Every request reads the map again, so an added group is served at
 * once, and a removed group answers 404 at once.
 */
export type ServedGroups = ReadonlyMap<string, ServedGroup>;

/** The group for each host, by host name or `host:port` in lower case. Every request reads the map again. */
export type ServedHosts = ReadonlyMap<string, ServedGroup>;

/** The node, for its probes and its statistics. */
export interface NodeFace {
  readonly name: string;
  readonly incarnation: string;
  readonly version: string;
  readonly runtime: string;
  /** Whether it has joined and serves, and is neither starting nor draining. */
  isReady(): boolean;
  /** The figures of the node, ready for JSON. Fields outside this type are printed too. */
  stats(): NodeFigures;
  /** The peers of a group as this node knows them; `undefined`: none are shown. */
  roster(group: string): GroupFigures["roster"];
  /** The differences between the peers of a group. @default none */
  differences?(group: string): readonly Difference[];
  /** Its recent log lines, the latest first. @default none */
  recent?(): readonly RecentLine[];
  /**
   * The report of a peer, over the link to it; `undefined`: this node knows no peer of that name.
   *
   * @throws PeerError the peer has not sent it
   * @default no peer is known
   */
  reportOfPeer?(name: string): Promise<NodeReport | undefined>;
  /** A peer's `Explanation` of a key (`admin/explain.ts`). As `reportOfPeer`. @throws PeerError */
  explainAtPeer?(name: string, group: string, key: string): Promise<object | undefined>;
}
