/** The figures of a node that operators see. */
import { type Config, version } from "../config/config.ts";
import type { PeerRecord } from "../core/roster.ts";
import type { LoopDelay } from "../core/measure/loop-delay.ts";
import type { RouteAnswers } from "../http/counted.ts";
import type { ConfigFigures, NodeFigures } from "../http/figures.ts";
import type { NodeFace } from "../http/ports.ts";
import type { PeerStore } from "../registry/store/store.ts";
import { processUse } from "../runtime/process.ts";
import type { DefinedGroups } from "./groups/defined-groups.ts";
import type { Invalidations } from "./invalidations.ts";
import type { RecentLines } from "./log/recent-lines.ts";
import type { Cluster } from "./peers/cluster.ts";
import { explanationOf, figuresOf as figuresOfPeer } from "./peers/peer-figures.ts";

/** The sources of the figures. */
export interface Shown {
  readonly config: Pick<Config, "nats">;
  readonly self: PeerRecord;
  readonly cluster: Cluster;
  readonly invalidations: Invalidations;
  /** `undefined`: the node does not follow the groups that are defined in NATS. */
  readonly defined: () => DefinedGroups | undefined;
  /** The state of the file of `--config`; `undefined`: this node follows no file. */
  readonly file: () => ConfigFigures | undefined;
  readonly log: RecentLines;
  readonly store: Pick<PeerStore, "contact">;
  readonly loopDelay: LoopDelay;
  readonly routeAnswers: RouteAnswers;
  readonly requestsInFlight: () => number;
}

/** The node's name and state, and its figures at the moment of each call. */
export function faceOf(shown: Shown): NodeFace {
  const { self: { name, url, zone, weight, runtime, incarnation }, cluster, log } = shown;
  const { readiness } = cluster;
  return {
    name,
    incarnation,
    version,
    runtime,
    isReady: () => readiness.isReady,
    stats: () => ({ url, zone, weight, ready: readiness.isReady, ...figuresOf(shown) }),
    roster: (group) => cluster.roster(group),
    differences: (group) => cluster.policies.differences(group),
    recent: () => log.latest,
    reportOfPeer: async (peerName) => {
      const peer = cluster.hub.peer(peerName);
      return peer && await figuresOfPeer(peer);
    },
    explainAtPeer: async (peerName, group, key) => {
      const peer = cluster.hub.peer(peerName);
      return peer && await explanationOf(peer, group, key);
    },
  };
}

function figuresOf({ config, cluster, invalidations, defined, file, ...shown }: Shown): NodeFigures {
  const definitions = defined()?.figures();
  const options = file();
  const { outOfReach, lost } = cluster;
  const usage = processUse();
  const { contact } = shown.store;
  return {
    memoryBytes: usage.residentBytes,
    usage,
    loopDelay: shown.loopDelay.histogram.figures(),
    requestsInFlight: shown.requestsInFlight(),
    routeAnswers: shown.routeAnswers.figures(),
    links: cluster.hub.stats(),
    silent: cluster.silent,
    registry: {
      kind: config.nats.kind === "off" ? "none" : "nats",
      isAway: cluster.membership?.isAway ?? true,
      ignored: cluster.membership?.ignored ?? [],
      ...(contact !== undefined && { contact }),
    },
    ...(outOfReach !== undefined && { outOfReach }),
    ...(lost.length > 0 && { lost }),
    log: invalidations.figures(),
    ...(definitions !== undefined && { definitions }),
    ...(options !== undefined && { config: options }),
  };
}
