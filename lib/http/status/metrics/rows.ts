/** The metrics for Prometheus: the name of each, its help, and where its figure is in a report. */
import type { CacheStats } from "../../../core/cache/byte-cache.ts";
import type { HistogramFigures } from "../../../core/measure/histogram.ts";
import type { GroupFigures, GuardFigures, LinkFigures, LogFigures, NodeReport } from "../../figures.ts";

/**
 * A metric. By the convention of Prometheus, a name that ends in `_total` is a counter. Others are gauges, or
 * histograms if the figure is one. `undefined`: there is no figure now, which is not the same as 0.
 */
export type Row<Subject, Figure = number> = readonly [
  name: string,
  help: string,
  value: (subject: Subject) => Figure | undefined,
];

/** A node, and the labels of its figures. */
export interface MeteredNode {
  /** Added to every sample of the node. */
  readonly labels: Readonly<Record<string, string>>;
  /** `undefined` when the node gave none. */
  readonly report: NodeReport | undefined;
}

export const ofGroup: readonly Row<GroupFigures>[] = [
  ["muster_gets_total", "Gets by clients and by peers.", (group) => group.gets],
  ["muster_cache_hits_total", "Gets that the main or the hot cache answered.", (group) => group.cacheHits],
  ["muster_peer_loads_total", "Values fetched from peers.", (group) => group.peerLoads],
  ["muster_peer_errors_total", "Failed requests to peers.", (group) => group.peerErrors],
  ["muster_loads_total", "Gets that neither cache answered.", (group) => group.loads],
  [
    "muster_loads_deduped_total",
    "Loads after deduplication: one for all gets that wait for a key.",
    (group) => group.loadsDeduped,
  ],
  ["muster_local_loads_total", "Loads from the origin that succeeded.", (group) => group.localLoads],
  [
    "muster_local_load_errs_total",
    "Loads from the origin that failed or found nothing.",
    (group) => group.localLoadErrs,
  ],
  ["muster_server_requests_total", "Gets that came from peers.", (group) => group.serverRequests],
  ["muster_origin_loads_total", "Requests to the origin.", (group) => group.originLoads],
  ["muster_origin_unreachable", "1 while this node has no way to the origin.", (group) => group.originUnreachable],
  ["muster_hedges_total", "Second requests, sent because the first was slow.", (group) => group.hedges],
  ["muster_peeks_total", "Misses that asked other nodes before the origin.", (group) => group.peeks],
  [
    "muster_peek_hits_total",
    "Misses that got the value from another node before the origin was asked.",
    (group) => group.peekHits,
  ],
  ["muster_entries_pushed_total", "Entries that other nodes took from this one.", (group) => group.entriesPushed],
  ["muster_entries_taken_total", "Entries that this node took from others.", (group) => group.entriesTaken],
  ["muster_stale_hits_total", "Stale values served while they were refreshed.", (group) => group.staleHits],
  ["muster_refreshes_total", "Refreshes begun before a client had to wait.", (group) => group.refreshes],
  ["muster_stale_on_error_total", "Stale values served because the origin failed.", (group) => group.staleOnError],
  [
    "muster_behind_peers_total",
    "Requests that a peer refused, because it was behind this node.",
    (group) => group.behindPeers,
  ],
  [
    "muster_invalidations_applied_total",
    "Messages about the group that this node has applied.",
    (group) => group.invalidation?.applied,
  ],
  [
    "muster_invalidations_refused_total",
    "Messages about the group that could not be read.",
    (group) => group.invalidation?.refused,
  ],
  [
    "muster_invalidations_dropped_total",
    "Values dropped when a get found them invalidated.",
    (group) => group.invalidation?.dropped,
  ],
  [
    "muster_invalidations_softened_total",
    "Values made stale when a get found them invalidated.",
    (group) => group.invalidation?.softened,
  ],
  ["muster_guard_running", "Requests at the guarded origin.", ({ guard }) => guard?.running],
  ["muster_guard_queued", "Loads that wait because of maxConcurrent.", ({ guard }) => guard?.queued],
  [
    "muster_guard_limit",
    "Requests that this node may have at the origin now, by its share of maxConcurrent.",
    ({ guard }) => guard?.limit ?? undefined,
  ],
  [
    "muster_guard_share",
    "This node's share of maxConcurrent by the latest roster; after a grace period it becomes the limit.",
    ({ guard }) => guard?.share ?? undefined,
  ],
  [
    "muster_guard_refused_total",
    "Loads refused because the queue was full, or the wait too long.",
    ({ guard }) => guard?.refused,
  ],
  ["muster_guard_broken_total", "Loads refused by the breaker.", ({ guard }) => guard?.broken],
  ["muster_guard_retries_total", "Second and later tries of a load.", ({ guard }) => guard?.retries],
  [
    "muster_guard_breaker_open",
    "The breaker: 1 while it is open, 0.5 while one request tests the origin, 0 while it is closed.",
    ({ guard }) => openness(guard?.breaker),
  ],
  [
    "muster_origin_failing",
    "1 while the origin fails: the last load did, or one in twenty of the last 15 to 30 s.",
    ({ health }) => health && Number(health.failingSinceMs !== undefined),
  ],
  ["muster_group_budget_bytes", "The byte budget of the group's caches.", ({ about }) => about?.budgetBytes],
  ["muster_roster_revision", "Revision of the last change to the roster.", (group) => group.roster?.revision],
  ["muster_roster_peers", "Peers in the roster, this node included.", (group) => group.roster?.peers.length],
];

export const ofCache: readonly Row<CacheStats | undefined>[] = [
  ["muster_cache_bytes", "Bytes of keys and values in the cache.", (cache) => cache?.bytes],
  ["muster_cache_memory_bytes", "Bytes that count against the budget.", (cache) => cache?.memoryBytes],
  ["muster_cache_items", "Entries in the cache.", (cache) => cache?.items],
  ["muster_cache_gets_total", "Look-ups in this cache.", (cache) => cache?.gets],
  ["muster_cache_lookup_hits_total", "Look-ups that found a value.", (cache) => cache?.hits],
  ["muster_cache_evictions_total", "Entries evicted for lack of room.", (cache) => cache?.evictions],
];

/** A link counts from 0 for each connection; Prometheus understands a counter that restarts at 0. */
export const ofLink: readonly Row<LinkFigures>[] = [
  ["muster_link_up", "1 while the connection to the peer is open.", (link) => Number(link.state === "open")],
  ["muster_link_asks_in_flight", "Requests that wait for the peer's answer.", (link) => link.asksInFlight],
  [
    "muster_link_served_in_flight",
    "Requests of the peer that wait for this node's answer.",
    (link) => link.servedInFlight,
  ],
  ["muster_link_asked_total", "Requests to the peer.", (link) => link.asked],
  ["muster_link_answered_total", "Answers to requests of the peer.", (link) => link.answered],
  ["muster_link_frames_out_total", "Frames sent to the peer.", (link) => link.framesOut],
  ["muster_link_frames_in_total", "Frames received from the peer.", (link) => link.framesIn],
  ["muster_link_bytes_out_total", "Bytes sent to the peer.", (link) => link.bytesOut],
];

export const ofNode: readonly Row<NodeReport>[] = [
  ["muster_ready", "1 while this node has joined and serves (see /readyz).", (node) => Number(node.ready === true)],
  ["muster_requests_in_flight", "Requests of clients that have no answer yet.", (node) => node.requestsInFlight],
  [
    "muster_nats_connected",
    "1 while this node is connected to NATS and has read the lists of peers.",
    ({ registry }) => registry?.contact && Number(registry.contact.isConnected),
  ],
  [
    "muster_nats_state_timestamp_seconds",
    "When the connection to NATS entered its present state, in Unix seconds.",
    ({ registry }) => inSeconds(registry?.contact?.sinceMs),
  ],
  [
    "muster_nats_round_trip_seconds",
    "How long the latest ping of NATS took; a ping is sent every 3 s.",
    ({ registry }) => inSeconds(registry?.contact?.roundTripMs),
  ],
  [
    "muster_nats_connections_total",
    "Connections to NATS that worked; all but the first are reconnects.",
    ({ registry }) => registry?.contact?.connections,
  ],
  ["muster_heap_bytes", "The JavaScript heap in use.", (node) => node.usage?.heapBytes],
  [
    "muster_open_files",
    "Files that this process has open, or a few less. Nearly all are connections.",
    (node) => node.usage?.openFiles,
  ],
  [
    "muster_open_files_max",
    "Above this number of open files, idle connections are ended.",
    (node) => node.usage?.maxOpenFiles,
  ],
  ["process_resident_memory_bytes", "The memory of this process (RSS).", (node) => node.usage?.residentBytes],
  ["process_cpu_seconds_total", "The CPU time of all threads of this process.", (node) => node.usage?.cpuSeconds],
  [
    "process_start_time_seconds",
    "When this process began, in Unix seconds.",
    (node) => inSeconds(node.usage?.startedAtMs),
  ],
  [
    "muster_log_applied",
    "The last invalidation that this node has applied, by its sequence.",
    ({ log }) => log?.applied,
  ],
  [
    "muster_log_blind_seconds",
    "How long this node has been unable to read the log of invalidations; 0 while it can.",
    ({ log }) => inSeconds(log?.blindMs),
  ],
  [
    "muster_invalidation_durable_seconds",
    "How long the latest invalidation at this node took until it was durable.",
    ({ log }) => inSeconds(log?.lastDurableMs),
  ],
  [
    "muster_invalidation_applied_by_all_seconds",
    "How long the latest invalidation at this node that waited took until all nodes had applied it.",
    ({ log }) => inSeconds(log?.lastAppliedByAllMs),
  ],
];

export const ofPeer: readonly Row<LogFigures["peers"][number]>[] = [
  [
    "muster_peer_behind",
    "How many invalidations the peer is behind this node, by its last report.",
    (peer) => peer.behindBy,
  ],
];

export const ofNodeInfo: readonly Row<NodeReport>[] = [[
  "muster_node_info",
  "The name, incarnation, version and runtime of this node.",
  () => 1,
]];

export const ofWorker: readonly Row<MeteredNode>[] = [
  [
    "muster_worker_up",
    "1 while this worker answers the other workers of its machine.",
    (node) => Number(!!node.report),
  ],
];

/** Counts of answers, by their status. */
export const ofCode: readonly Row<number>[] = [
  ["muster_responses_total", "Answers to clients, by the group and the status.", (count) => count],
];

/** The same, for answers that no group gave. */
export const ofRouteCode: readonly Row<number>[] = [
  [
    "muster_route_responses_total",
    "Answers that no group gave, by route and status. Route cache: the group does not exist.",
    (count) => count,
  ],
];

/** How many findings of a kind there are now. */
export const ofFinding: readonly Row<number>[] = [
  [
    "muster_findings",
    "Findings of each kind that this node knows, as on its page.",
    (count) => count,
  ],
];

/** How long things take in a group. */
export const timesOfGroup: readonly Row<GroupFigures, HistogramFigures>[] = [
  [
    "muster_response_duration_seconds",
    "From a client's request to the head of its answer.",
    ({ latency }) => latency?.client,
  ],
  [
    "muster_hop_duration_seconds",
    "From sending a request to a peer to its answer, or its failure.",
    ({ latency }) => latency?.hop,
  ],
  [
    "muster_origin_duration_seconds",
    "From a request to the origin to the end of its answer, including the wait at the guard.",
    ({ latency }) => latency?.origin,
  ],
];

/** How long things take at a node. */
export const timesOfNode: readonly Row<NodeReport, HistogramFigures>[] = [
  [
    "muster_invalidation_lag_seconds",
    "The age of messages in the log when this node applied them, by the clock of NATS.",
    ({ log }) => log?.lag,
  ],
  ["muster_event_loop_delay_seconds", "How late this process runs its due timers.", ({ loopDelay }) => loopDelay],
];

function openness(breaker: GuardFigures["breaker"] | undefined): number | undefined {
  return breaker == null ? undefined : { closed: 0, "half-open": 0.5, open: 1 }[breaker];
}

function inSeconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1_000;
}
