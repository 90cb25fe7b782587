/** The figures of one moment with their labels, so that all figures of one answer agree. */
import type { CacheStats } from "../../../core/cache/byte-cache.ts";
import { FINDING_KINDS, type GroupFigures, type LinkFigures, type LogFigures, type NodeReport } from "../../figures.ts";
import type { MeteredNode } from "./rows.ts";

/** The subject of a sample, with its labels. */
export type Labelled<Subject> = readonly [labels: Readonly<Record<string, string>>, subject: Subject];

/** All subjects, by the labels that they have. */
export interface Snapshot {
  readonly workers: readonly Labelled<MeteredNode>[];
  readonly nodes: readonly Labelled<NodeReport>[];
  readonly infos: readonly Labelled<NodeReport>[];
  readonly groups: readonly Labelled<GroupFigures>[];
  readonly caches: readonly Labelled<CacheStats | undefined>[];
  readonly links: readonly Labelled<LinkFigures>[];
  readonly peers: readonly Labelled<LogFigures["peers"][number]>[];
  readonly codes: readonly Labelled<number>[];
  readonly routeCodes: readonly Labelled<number>[];
  readonly findings: readonly Labelled<number>[];
}

/** A snapshot without subjects. */
export const EMPTY: Snapshot = {
  workers: [],
  nodes: [],
  infos: [],
  groups: [],
  caches: [],
  links: [],
  peers: [],
  codes: [],
  routeCodes: [],
  findings: [],
};

/** Makes a snapshot of these nodes' reports. */
export function snapshotOf(metered: readonly MeteredNode[]): Snapshot {
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
    codes: groups.flatMap(([labels, { answers }]) => byCode(labels, answers)),
    routeCodes: nodes.flatMap(([labels, { routeAnswers = {} }]) =>
      Object.entries(routeAnswers).flatMap(([route, counts]) => byCode({ ...labels, route }, counts))
    ),
    findings: nodes.flatMap(([labels, { findings = [] }]) =>
      FINDING_KINDS.map((what) => [{ ...labels, what }, findings.filter((one) => one.what === what).length] as const)
    ),
  };
}

function byCode(labels: Readonly<Record<string, string>>, counts: Readonly<Record<string, number>> = {}) {
  return Object.entries(counts).map(([code, count]) => [{ ...labels, code }, count] as const);
}
