/**
 * The figures of `/stats` for Prometheus, in its text format 0.0.4.
 *
 * They are read when Prometheus asks: whatever serves a request counts nothing twice and knows nothing of this file.
 */
import { Counter, Gauge, Registry } from "@prometheus-io/client";
import type { CacheStats } from "../../core/cache/byte-cache.ts";
import type { GroupFigures, LinkFigures, NodeReport } from "../ports.ts";

/** By the convention of Prometheus a name that ends in `_total` is a counter's; the others are gauges. */
type Row<Subject> = readonly [name: string, help: string, value: (subject: Subject) => number | undefined];

/** Whom a sample is about, and with which labels. */
type Labelled<Subject> = readonly [labels: Readonly<Record<string, string>>, subject: Subject];

const ofGroup: readonly Row<GroupFigures>[] = [
  ["muster_gets_total", "Gets, of clients and of peers.", (group) => group.gets],
  ["muster_cache_hits_total", "Gets that the main or the hot cache answered.", (group) => group.cacheHits],
  ["muster_peer_loads_total", "Values that a peer delivered.", (group) => group.peerLoads],
  ["muster_peer_errors_total", "Asks of peers that failed.", (group) => group.peerErrors],
  ["muster_loads_total", "Gets that neither cache answered.", (group) => group.loads],
  [
    "muster_loads_deduped_total",
    "Loads that were made, for all who waited for one key.",
    (group) => group.loadsDeduped,
  ],
  ["muster_local_loads_total", "Loads from the origin that succeeded.", (group) => group.localLoads],
  ["muster_local_load_errs_total", "Loads from the origin that failed or found none.", (group) => group.localLoadErrs],
  ["muster_server_requests_total", "Gets that came from peers.", (group) => group.serverRequests],
  ["muster_origin_loads_total", "What the origin was really asked.", (group) => group.originLoads],
  ["muster_hedges_total", "Second asks, because the first one was slow.", (group) => group.hedges],
  ["muster_peeks_total", "Misses for which other nodes were asked before the origin.", (group) => group.peeks],
  ["muster_peek_hits_total", "Such misses for which another node had the value.", (group) => group.peekHits],
  ["muster_entries_pushed_total", "Entries that other nodes took from this one.", (group) => group.entriesPushed],
  ["muster_entries_taken_total", "Entries that this node took from others.", (group) => group.entriesTaken],
  ["muster_roster_revision", "Revision of the last change to the roster.", (group) => group.roster?.revision],
  ["muster_roster_peers", "Peers that the roster lists, this node among them.", (group) => group.roster?.peers.length],
];

const ofCache: readonly Row<CacheStats | undefined>[] = [
  ["muster_cache_bytes", "Bytes of the keys and values that are held.", (cache) => cache?.bytes],
  ["muster_cache_items", "Entries that are held.", (cache) => cache?.items],
  ["muster_cache_gets_total", "Look-ups in this cache.", (cache) => cache?.gets],
  ["muster_cache_lookup_hits_total", "Look-ups that found a value.", (cache) => cache?.hits],
  ["muster_cache_evictions_total", "Entries let go for want of room.", (cache) => cache?.evictions],
];

// A link counts over the connection that stands; that it then starts at 0 again is what Prometheus expects of a counter.
const ofLink: readonly Row<LinkFigures>[] = [
  ["muster_link_up", "1 while the connection to the peer is open.", (link) => Number(link.state === "open")],
  ["muster_link_asks_in_flight", "Asks that wait for the peer's answer.", (link) => link.asksInFlight],
  ["muster_link_served_in_flight", "Asks of the peer that wait for an answer.", (link) => link.servedInFlight],
  ["muster_link_asked_total", "What the peer was asked.", (link) => link.asked],
  ["muster_link_answered_total", "What the peer asked and was answered.", (link) => link.answered],
  ["muster_link_frames_out_total", "Frames sent to the peer.", (link) => link.framesOut],
  ["muster_link_frames_in_total", "Frames received from the peer.", (link) => link.framesIn],
  ["muster_link_bytes_out_total", "Bytes sent to the peer.", (link) => link.bytesOut],
];

const ofNode: readonly Row<NodeReport>[] = [
  ["muster_ready", "1 while this node has joined and serves, as /readyz tells.", (node) => Number(node.ready === true)],
];

const ofNodeInfo: readonly Row<NodeReport>[] = [["muster_node_info", "Which node this is.", () => 1]];

const ofWorker: readonly Row<MeteredNode>[] = [
  ["muster_worker_up", "1 while this worker answers the others of its machine.", (node) => Number(!!node.report)],
];

/** A node whose figures are shown. */
export interface MeteredNode {
  /** Stand on every sample of it. */
  readonly labels: Readonly<Record<string, string>>;
  /** Absent when it could not be asked. */
  readonly report: NodeReport | undefined;
}

/** Everything of one moment, so that the figures of one answer fit together. */
interface Snapshot {
  readonly workers: readonly Labelled<MeteredNode>[];
  readonly nodes: readonly Labelled<NodeReport>[];
  readonly infos: readonly Labelled<NodeReport>[];
  readonly groups: readonly Labelled<GroupFigures>[];
  readonly caches: readonly Labelled<CacheStats | undefined>[];
  readonly links: readonly Labelled<LinkFigures>[];
}

/**
 * The metrics of one app; their registry is its own, since a process may have several nodes. Those of several nodes are
 * not added up: a counter that starts again at 0, as one worker's does when it is restarted, must be seen to do so, and
 * `sum without (worker)` is right over any time.
 */
export class Metrics {
  readonly #registry = new Registry();
  #snapshot: Snapshot = { workers: [], nodes: [], infos: [], groups: [], caches: [], links: [] };

  /** @param common the names of the labels by which the nodes are told apart */
  constructor(common: readonly string[] = []) {
    const names = (...own: string[]) => [...common, ...own];
    if (common.length > 0) this.#register(ofWorker, names(), () => this.#snapshot.workers);
    this.#register(ofNodeInfo, names("name", "incarnation", "version", "runtime"), () => this.#snapshot.infos);
    this.#register(ofNode, names(), () => this.#snapshot.nodes);
    this.#register(ofGroup, names("group"), () => this.#snapshot.groups);
    this.#register(ofCache, names("group", "cache"), () => this.#snapshot.caches);
    this.#register(ofLink, names("peer"), () => this.#snapshot.links);
  }

  /** All of them, as these nodes have reported. */
  async answer(metered: readonly MeteredNode[]): Promise<Response> {
    this.#snapshot = snapshotOf(metered);
    const body = new TextEncoder().encode(await this.#registry.metrics());
    return new Response(body, {
      headers: {
        "content-type": this.#registry.contentType,
        "content-length": String(body.byteLength),
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
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
          // A counter cannot be set; and who has left must not be shown any more.
          this.reset();
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
  };
}
