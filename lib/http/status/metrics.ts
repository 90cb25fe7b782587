/**
 * The figures of `/stats` for Prometheus, in its text format 0.0.4.
 *
 * The figures are read when Prometheus asks. So serving a request counts each thing once, and knows nothing of this file.
 */
import { Counter, Gauge, Registry } from "@prometheus-io/client";
import type { CacheStats } from "../../core/cache/byte-cache.ts";
import type { GroupFigures, GuardFigures, LinkFigures, LogFigures, NodeReport } from "../ports.ts";
import { OF_OPERATORS } from "../security.ts";

/** A name that ends in `_total` is a counter, by the convention of Prometheus; all others are gauges. */
type Row<Subject> = readonly [name: string, help: string, value: (subject: Subject) => number | undefined];

/** The subject of a sample, with its labels. */
type Labelled<Subject> = readonly [labels: Readonly<Record<string, string>>, subject: Subject];

const ofGroup: readonly Row<GroupFigures>[] = [
  ["muster_gets_total", "Gets by clients and by peers.", (group) => group.gets],
  ["muster_cache_hits_total", "Gets that the main or the hot cache answered.", (group) => group.cacheHits],
  ["muster_peer_loads_total", "Values fetched from peers.", (group) => group.peerLoads],
  ["muster_peer_errors_total", "Failed questions to peers.", (group) => group.peerErrors],
  ["muster_loads_total", "Gets that neither cache answered.", (group) => group.loads],
  [
    "muster_loads_deduped_total",
    "Loads after deduplication: one for all that wait for a key.",
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
  ["muster_hedges_total", "Second questions, sent because the first was slow.", (group) => group.hedges],
  ["muster_peeks_total", "Misses that asked other nodes before the origin.", (group) => group.peeks],
  [
    "muster_peek_hits_total",
    "Misses that got the value from another node before the origin was asked.",
    (group) => group.peekHits,
  ],
  ["muster_entries_pushed_total", "Entries that other nodes took from this one.", (group) => group.entriesPushed],
  ["muster_entries_taken_total", "Entries that this node took from others.", (group) => group.entriesTaken],
  ["muster_stale_hits_total", "Stale values served while they were refreshed.", (group) => group.staleHits],
  ["muster_refreshes_total", "Refreshes begun before anybody had to wait.", (group) => group.refreshes],
  ["muster_stale_on_error_total", "Stale values served since the origin failed.", (group) => group.staleOnError],
  [
    "muster_behind_peers_total",
    "Questions that a peer refused, since it was behind this node.",
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
    "Values that were found to be invalidated, and dropped.",
    (group) => group.invalidation?.dropped,
  ],
  [
    "muster_invalidations_softened_total",
    "Values that were found to be invalidated, and made stale.",
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
    "The share of maxConcurrent by the latest roster; it is the limit a while later.",
    ({ guard }) => guard?.share ?? undefined,
  ],
  [
    "muster_guard_refused_total",
    "Loads refused since the queue was full, or the wait too long.",
    ({ guard }) => guard?.refused,
  ],
  ["muster_guard_broken_total", "Loads refused by the breaker.", ({ guard }) => guard?.broken],
  ["muster_guard_retries_total", "Second and later tries of a load.", ({ guard }) => guard?.retries],
  [
    "muster_guard_breaker_open",
    "1 while the breaker is open, 0.5 while one request tries whether the origin answers again, 0 while it is closed.",
    ({ guard }) => openness(guard?.breaker),
  ],
  ["muster_roster_revision", "Revision of the last change to the roster.", (group) => group.roster?.revision],
  ["muster_roster_peers", "Peers in the roster, this node included.", (group) => group.roster?.peers.length],
];

const ofCache: readonly Row<CacheStats | undefined>[] = [
  ["muster_cache_bytes", "Bytes of keys and values in the cache.", (cache) => cache?.bytes],
  ["muster_cache_memory_bytes", "What counts against the budget.", (cache) => cache?.memoryBytes],
  ["muster_cache_items", "Entries in the cache.", (cache) => cache?.items],
  ["muster_cache_gets_total", "Look-ups in this cache.", (cache) => cache?.gets],
  ["muster_cache_lookup_hits_total", "Look-ups that found a value.", (cache) => cache?.hits],
  ["muster_cache_evictions_total", "Entries evicted for lack of room.", (cache) => cache?.evictions],
];

// A link counts from 0 for each connection; Prometheus expects a counter to restart at 0.
const ofLink: readonly Row<LinkFigures>[] = [
  ["muster_link_up", "1 while the connection to the peer is open.", (link) => Number(link.state === "open")],
  ["muster_link_asks_in_flight", "Questions that wait for the peer's answer.", (link) => link.asksInFlight],
  [
    "muster_link_served_in_flight",
    "Questions of the peer that wait for this node's answer.",
    (link) => link.servedInFlight,
  ],
  ["muster_link_asked_total", "Questions to the peer.", (link) => link.asked],
  ["muster_link_answered_total", "Answers to questions of the peer.", (link) => link.answered],
  ["muster_link_frames_out_total", "Frames sent to the peer.", (link) => link.framesOut],
  ["muster_link_frames_in_total", "Frames received from the peer.", (link) => link.framesIn],
  ["muster_link_bytes_out_total", "Bytes sent to the peer.", (link) => link.bytesOut],
];

const ofNode: readonly Row<NodeReport>[] = [
  ["muster_ready", "1 while this node has joined and serves (see /readyz).", (node) => Number(node.ready === true)],
  [
    "muster_log_applied",
    "The last invalidation that this node has applied, by its sequence.",
    ({ log }) => log?.applied,
  ],
  [
    "muster_log_blind_seconds",
    "For how long this node has not been able to read the log of invalidations.",
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

const ofPeer: readonly Row<LogFigures["peers"][number]>[] = [
  [
    "muster_peer_behind",
    "How many invalidations the peer is behind this node, by what it has last told.",
    (peer) => peer.behindBy,
  ],
];

const ofNodeInfo: readonly Row<NodeReport>[] = [[
  "muster_node_info",
  "The name, life, version and runtime of this node.",
  () => 1,
]];

const ofWorker: readonly Row<MeteredNode>[] = [
  [
    "muster_worker_up",
    "1 while this worker answers the other workers of its machine.",
    (node) => Number(!!node.report),
  ],
];

/** A node, and the labels of its figures. */
export interface MeteredNode {
  /** Added to every sample of the node. */
  readonly labels: Readonly<Record<string, string>>;
  /** `undefined` when the node gave none. */
  readonly report: NodeReport | undefined;
}

/** The figures of one moment, so that those of one answer fit together. */
interface Snapshot {
  readonly workers: readonly Labelled<MeteredNode>[];
  readonly nodes: readonly Labelled<NodeReport>[];
  readonly infos: readonly Labelled<NodeReport>[];
  readonly groups: readonly Labelled<GroupFigures>[];
  readonly caches: readonly Labelled<CacheStats | undefined>[];
  readonly links: readonly Labelled<LinkFigures>[];
  readonly peers: readonly Labelled<LogFigures["peers"][number]>[];
}

/**
 * The metrics of one app. Each app has its own registry, since a process may have several nodes.
 *
 * The figures of several workers are not added up here. Prometheus must see that a restarted worker counts from 0 again;
 * then `sum without (worker)` is right.
 */
export class Metrics {
  readonly #registry = new Registry();
  #snapshot: Snapshot = { workers: [], nodes: [], infos: [], groups: [], caches: [], links: [], peers: [] };

  /** @param common the names of the labels that tell the nodes apart */
  constructor(common: readonly string[] = []) {
    const names = (...own: string[]) => [...common, ...own];
    if (common.length > 0) this.#register(ofWorker, names(), () => this.#snapshot.workers);
    this.#register(ofNodeInfo, names("name", "incarnation", "version", "runtime"), () => this.#snapshot.infos);
    this.#register(ofNode, names(), () => this.#snapshot.nodes);
    this.#register(ofGroup, names("group"), () => this.#snapshot.groups);
    this.#register(ofCache, names("group", "cache"), () => this.#snapshot.caches);
    this.#register(ofLink, names("peer"), () => this.#snapshot.links);
    this.#register(ofPeer, names("peer"), () => this.#snapshot.peers);
  }

  /** Answers with the figures that these nodes reported. */
  async answer(metered: readonly MeteredNode[]): Promise<Response> {
    this.#snapshot = snapshotOf(metered);
    const body = new TextEncoder().encode(await this.#registry.metrics());
    return new Response(body, {
      headers: {
        "content-type": this.#registry.contentType,
        "content-length": String(body.byteLength),
        "cache-control": "no-store",
        ...OF_OPERATORS,
      },
    });
  }

  #register<Subject>(
    rows: readonly Row<Subject>[],
    labelNames: string[],
    subjects: () => readonly Labelled<Subject>[],
  ): void {
    for (const [name, help, value] of rows) {
      const Metric = name.endsWith("_total") ? Counter : Gauge;
      new Metric({
        name,
        help,
        labelNames,
        registers: [this.#registry],
        collect(this: Counter<string> | Gauge<string>) {
          // A counter cannot be set, and a peer that left must disappear.
          this.reset();
          // Without labels it would now stand at 0, which a figure that is missing does not.
          if (labelNames.length === 0) this.remove({});
          for (const [labels, subject] of subjects()) {
            const now = value(subject);
            if (now !== undefined) this.inc(labels, now);
          }
        },
      });
    }
  }
}

function snapshotOf(metered: readonly MeteredNode[]): Snapshot {
  const nodes = metered.flatMap(({ labels, report }) => report === undefined ? [] : [[labels, report] as const]);
  const groups = nodes.flatMap(([labels, { groups }]) =>
    Object.entries(groups).map(([group, figures]) => [{ ...labels, group }, figures] as const)
  );
  return {
    workers: metered.map((node) => [node.labels, node]),
    nodes,
    infos: nodes.map(([labels, report]) => {
      const { name, incarnation, version, runtime } = report;
      return [{ ...labels, name, incarnation, version, runtime }, report];
    }),
    groups,
    caches: groups.flatMap(([labels, { mainCache, hotCache }]) => [
      [{ ...labels, cache: "main" }, mainCache] as const,
      [{ ...labels, cache: "hot" }, hotCache] as const,
    ]),
    links: nodes.flatMap(([labels, { links = [] }]) =>
      links.map((link) => [{ ...labels, peer: link.name }, link] as const)
    ),
    peers: nodes.flatMap(([labels, { log }]) =>
      (log?.peers ?? []).map((peer) => [{ ...labels, peer: peer.name }, peer] as const)
    ),
  };
}

function openness(breaker: GuardFigures["breaker"] | undefined): number | undefined {
  return breaker == null ? undefined : { closed: 0, "half-open": 0.5, open: 1 }[breaker];
}

function inSeconds(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : ms / 1_000;
}
