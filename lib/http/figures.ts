/** The figures of a node and of its groups, as `/stats`, `/metrics` and the page show them. */
import type { GroupStats, Latencies } from "../core/group/stats.ts";
import type { HistogramFigures } from "../core/measure/histogram.ts";
import type { OriginHealthFigures } from "../core/load/origin-health.ts";
import type { Roster } from "../core/roster.ts";

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
