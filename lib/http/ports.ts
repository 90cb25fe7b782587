/** What the HTTP edge needs from the rest of the node; lib/node hands it in. */
import type { CancelSignal } from "../core/base/cancel.ts";
import type { Trace } from "../core/base/trace.ts";
import type { Description } from "../core/group/description.ts";
import type { Hit, Loaded } from "../core/group/loaded.ts";
import type { GroupStats } from "../core/group/stats.ts";
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
  /** How the origin has answered this node's loads lately. */
  readonly health?: OriginHealthFigures;
  /** What peers say of this group that this node does not. */
  readonly differences?: readonly Difference[];
};

/** What a group is, for operators. */
export interface GroupAbout {
  /** Without a login and a query. */
  readonly origin: string;
  /** Of values whose origin gives them none. */
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
  /** Requests at the origin now, with those that were given up a moment ago. */
  readonly running: number;
  readonly queued: number;
  /** How many this node may have at the origin now; null: no limit. */
  readonly limit: number | null;
  /** Its share by the latest roster, which it may use after the grace period. */
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
  /** Values found to be no longer good: dropped, or made stale. */
  readonly dropped: number;
  readonly softened: number;
  /** The latest first, ten at most. */
  readonly last: readonly AppliedInvalidation[];
}

/** The groups that are defined in NATS, as one node follows them. */
export interface DefinitionsFigures {
  /** Of the bucket's last change that the node has seen. */
  readonly revision: number;
  readonly groups: readonly string[];
  /** Definitions that it does not follow, each with the reason. */
  readonly refused: readonly { readonly group: string; readonly reason: string }[];
}

/** Where the node is in the log of invalidations. */
export interface LogFigures {
  readonly epoch: number;
  /** The last sequence up to which it has applied everything. */
  readonly applied: number;
  /** For how long it has not been able to read the log, in milliseconds; 0: it can. */
  readonly blindMs: number;
  /** How far each connected peer is behind this node, in messages, by what it has last told; below 0: it is ahead. */
  readonly peers: readonly { readonly name: string; readonly behindBy: number }[];
  /** Of the calls at this node: until the message was durable, and with a wait until all had it. The latest, in ms. */
  readonly lastDurableMs?: number;
  readonly lastAppliedByAllMs?: number;
  /** How long messages had been in the log when this node applied them. */
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

/** The list of peers in NATS, as this node reaches it. */
export interface RegistryFigures {
  /** `none`: this node runs alone, or with the other workers of its machine. */
  readonly kind: "nats" | "none";
  readonly isAway: boolean;
  /** Records that it ignores, each with the rule that they break. */
  readonly ignored: readonly { readonly key: string; readonly fault: string }[];
  /** The connection to NATS. */
  readonly contact?: ContactFigures;
}

/** A connection that may be lost. */
export interface ContactFigures {
  readonly isConnected: boolean;
  /** Since when it has been so, in Unix milliseconds. */
  readonly sinceMs: number;
  /** Of the latest ping, in milliseconds; `undefined`: none has been answered. */
  readonly roundTripMs: number | undefined;
  /** Connections that worked so far. */
  readonly connections: number;
}

/** The process in which the node runs. */
export interface ProcessFigures {
  /** When it began, in Unix milliseconds. */
  readonly startedAtMs: number;
  /** Of the machine's memory (RSS), and of the JavaScript heap that is in use. */
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** The time of its threads, in seconds. */
  readonly cpuSeconds: number;
  /** Files that are open, or a few less; nearly all are connections. */
  readonly openFiles: number;
  /** Above so many, idle connections are ended. */
  readonly maxOpenFiles: number;
}

/** The file of `--config`, as a running node follows it. */
export interface ConfigFigures {
  readonly path: string;
  /** When the options that count now were read, as an ISO date. */
  readonly readAt: string;
  /** The flags of options that have changed in the file since the start, and wait for a restart. */
  readonly needRestart: readonly string[];
  /** Why the file is not followed as it is now, and since when; as an ISO date. */
  readonly fault?: { readonly since: string; readonly reason: string };
}

/** The other nodes took this node off their lists, and some have had no connection to it since. */
export interface OutOfReachFigures {
  /** Where they look for this node. */
  readonly url: string;
  /** As an ISO date. */
  readonly since: string;
  /** The names of the first ten. */
  readonly peers: readonly string[];
  readonly count: number;
}

/** Something that is wrong, as one node knows it. */
export interface Finding {
  readonly what: FindingKind;
  /** The group or the peer. */
  readonly about?: string;
  /** As an ISO date: when it began, or when this node first saw it. */
  readonly since: string;
  /** One sentence for people. */
  readonly detail: string;
  /** `error`: requests fail or may soon; `warning`: something is to be mended; `notice`: worth knowing. */
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
  /** Peers that have not answered the last probes of this node, with the number of probes in a row. */
  readonly silent?: readonly { readonly name: string; readonly misses: number }[];
  /** With `--config`. */
  readonly config?: ConfigFigures;
  /** The memory of the process that is in use (RSS). */
  readonly memoryBytes?: number;
  readonly usage?: ProcessFigures;
  /** How late this process ran what was due. */
  readonly loopDelay?: HistogramFigures;
  /** Requests that have no answer yet. */
  readonly requestsInFlight?: number;
  /** The answers that no group has given: by route, then by status. */
  readonly routeAnswers?: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** One node at one moment: what its `/stats` prints. */
export interface NodeReport extends NodeFigures {
  readonly name: string;
  readonly incarnation: string;
  readonly version: string;
  readonly runtime: string;
  readonly groups: Readonly<Record<string, GroupFigures>>;
  /** What is wrong, the worst first; empty: nothing is. */
  readonly findings?: readonly Finding[];
}

/** One of the nodes behind a machine's public address: its report, or why there is none. */
export interface WorkerReport {
  readonly name: string;
  /** The address at which this worker alone answers. */
  readonly url?: string;
  readonly report?: NodeReport;
  readonly fault?: string;
}

/** The machine that this node is a worker of, for the routes that answer for all its workers. */
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
   * @param request for a site only: it may tell answers to one key apart
   */
  lookup(key: string, request?: RequestHead): Hit | undefined;
  /**
   * The rest of a get after a failed {@linkcode lookup}, which is not counted again. Never throws. The value may be the
   * memory of a "not found": its status is 404, without fields.
   */
  load(key: string, waiter: Waiter<Loaded>): void;
  /**
   * For a groupcache peer: from a cache or by one load from the origin, never from another peer.
   *
   * @param options.signal aborted when the client has gone
   * @throws NotFoundError, OriginError, OriginTimeoutError, OverloadedError
   */
  getAsOwner(key: string, options: { signal: CancelSignal; trace?: Trace | undefined }): Promise<Loaded>;
  /**
   * Whether this node has applied all invalidations up to the label, so that a get gives nothing older. If not, it catches
   * up first, which the promise waits for: 250 ms at most, to whether it has.
   */
  reach(label: Label): true | Promise<boolean>;
  /** As {@linkcode load}, but always from the origin, and no cache keeps the value: for a node that is behind. */
  loadUnkept(key: string, waiter: Waiter<Loaded>): void;
  /** Whether this node cannot read the log of invalidations now, so that it may be behind. */
  readonly isBehind: boolean;
  /** Since when this node has no way to the origin, in Unix milliseconds; `undefined`: it has, as far as it knows. */
  readonly originLostAtMs?: number | undefined;
  /** Counts what clients are answered. */
  readonly answers: AnswerMeter;
  /** What a get of the key would find here, for people. Leaves no trace. */
  describe(key: string): Description;
  /** The entries of the main cache, in no order, with their encoded bytes. O(n). */
  resident(): readonly { readonly key: string; readonly bytes: number }[];
  /** The counters, ready for JSON and Prometheus. */
  stats(): Partial<GroupStats>;
}

/** What became of an invalidation. */
export interface Invalidated {
  /** Its place in the log. */
  readonly label: Label;
  /** The listed peers that had applied it when the call ended, this node with them; each by its name. */
  readonly applied: readonly string[];
  /** Those that had not. Without a wait nobody but this node is asked. */
  readonly behind: readonly string[];
  /** From the call until it was durable, and until all had applied it; in milliseconds. */
  readonly durableMs: number;
  readonly appliedMs: number;
}

export interface WaitOptions {
  /** How long to wait for the listed peers to apply it, in milliseconds; 0: not at all. */
  readonly waitMs: number;
}

/** A value as a client writes it. */
export interface WrittenValue {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly contentType: string;
  /** A lifetime of its own, in milliseconds; it counts where the group honours those. @default the group's */
  readonly ttlMs?: number | undefined;
}

/** What may be changed in a group from outside. */
export interface InvalidationFace {
  /**
   * Resolves when the message is durable and this node has applied it, or as `waitMs` says.
   *
   * @throws UnavailableError nothing was invalidated, or (`isAmbiguous`) it may yet be
   */
  invalidate(message: Invalidation, options: WaitOptions): Promise<Invalidated>;
  /**
   * Writes a value: takes a place in the log first, then stores it at the key's owner. Only where the group is writable.
   *
   * @throws UnavailableError as `invalidate`; OverloadedError no node has room for it; PeerError the owner cannot be reached
   */
  write(key: string, value: WrittenValue, options: WaitOptions): Promise<Invalidated>;
}

/** The answer to a request that went through. */
export interface SiteAnswer extends ForwardedAnswer {
  /**
   * For the answer to a POST that later GETs may be answered with: to be called once, after `invalidate`. Another change of
   * the key meanwhile, or a body that is cut or too long, leaves nothing kept.
   *
   * @param own what `invalidate` has returned
   * @returns the body, to be sent to the client in place of the answer's own
   */
  keep?(own: Label | undefined): ReadableStream<Uint8Array>;
}

/** What a group has besides its cache when its origin is a site. */
export interface SiteFace {
  /** Any method, streamed both ways, never tried again. @throws OriginError, OriginTimeoutError, OverloadedError */
  forward(request: ForwardedRequest, signal: AbortSignal): Promise<SiteAnswer>;
  /** Whether requests for this key go straight through for now, since its answers may not be shared. */
  isPassing(key: string): boolean;
  /** An answer for this key could have been kept: the next request may be a load. */
  passNoMore(key: string): void;
  /**
   * A request has changed the value of this key; the answer's fields may name more keys, and tags. Resolves when all nodes
   * that can be reached have dropped them, within a bounded time. Where NATS is away, only this node does. Never rejects.
   *
   * @returns the place of this in the log, if this node has applied it
   */
  invalidate(key: string, answerFields: Fields): Promise<Label | undefined>;
}

/** A group as the HTTP edge serves it. */
export interface ServedGroup {
  readonly group: CacheGroup;
  /** Whether this node serves it itself; if not, it asks the peers that do. @default true */
  readonly isServed?: boolean;
  /** For a group whose origin is guarded. */
  readonly guard?: { figures(): GuardFigures } | undefined;
  readonly about?: GroupAbout;
  /** How its origin answers. @default not known */
  readonly health?: { figures(): OriginHealthFigures };
  /** For a group whose origin is a site. */
  readonly site?: SiteFace | undefined;
  readonly invalidation: InvalidationFace;
  /** Whether clients may write and delete values of it. */
  readonly isWritable: boolean;
  /** The longest value that it keeps, in bytes. */
  readonly valueBytesMax: number;
}

/**
 * The groups that this node serves now, by name. Every request reads it anew: a group that is added is served at once, and
 * a group that is removed answers 404 at once.
 */
export type ServedGroups = ReadonlyMap<string, ServedGroup>;

/** The groups to which requests for a host go, by host name or `host:port` in lower case; read anew as the groups are. */
export type ServedHosts = ReadonlyMap<string, ServedGroup>;

/** The node, as its probes and its statistics show it. */
export interface NodeFace {
  readonly name: string;
  readonly incarnation: string;
  readonly version: string;
  readonly runtime: string;
  /** Joined and serving, not starting or draining. */
  isReady(): boolean;
  /** The figures of the node, ready for JSON; fields that have no name here are printed too. */
  stats(): NodeFigures;
  /** The peers of a group as this node knows them; `undefined`: none are shown. */
  roster(group: string): GroupFigures["roster"];
  /** What differs between the peers of a group. @default nothing */
  differences?(group: string): readonly Difference[];
  /** Its latest log lines, the latest first. @default none */
  recent?(): readonly RecentLine[];
  /**
   * The report of a peer, over the link to it; `undefined`: this node knows no peer of that name.
   *
   * @throws PeerError it has not told it
   * @default none is known
   */
  reportOfPeer?(name: string): Promise<NodeReport | undefined>;
}
