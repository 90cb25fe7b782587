/** One node at one moment, as `/stats` prints it. */
import type { GroupFigures, NodeFigures, NodeReport } from "../figures.ts";
import type { NodeFace, ServedGroups } from "../ports.ts";
import type { Watch } from "./watch.ts";

/** The figures of a node and of its groups, without findings. */
export function reportOf(node: NodeFace, groups: ServedGroups): NodeReport {
  const { name, incarnation, version, runtime } = node;
  const byGroup = Object.fromEntries(
    [...groups].map(([name, { group, guard, about, health, isServed = true }]): [string, GroupFigures] => {
      const differences = node.differences?.(name) ?? [];
      return [name, {
        ...(!isServed && { serves: false }),
        ...group.stats(),
        ...(group.originLostAtMs !== undefined && { originUnreachableSince: isoOf(group.originLostAtMs) }),
        ...(health && isServed && { health: health.figures() }),
        ...(guard && { guard: guard.figures() }),
        ...(differences.length > 0 && { differences }),
        ...(about && { about }),
        roster: node.roster(name),
      }];
    }),
  );
  return { ready: node.isReady(), ...node.stats(), name, incarnation, version, runtime, groups: byGroup };
}

/** The same, with the findings, and with the last moments of each group. */
export function reportWithFindings(node: NodeFace, groups: ServedGroups, watch: Watch): NodeReport {
  const report = reportOf(node, groups);
  const withLately = Object.entries(report.groups).map(([name, figures]): [string, GroupFigures] => {
    const lately = watch.lately(name);
    return [name, lately === undefined ? figures : { ...figures, lately }];
  });
  return { ...report, groups: Object.fromEntries(withLately), findings: watch.findings(report) };
}

/**
 * The groups whose origin this node cannot reach. The node is still ready: other nodes load for it, and it has its
 * caches.
 */
export function unreachableOrigins(groups: ServedGroups): { origins?: Record<string, string> } {
  const lost = [...groups].flatMap(([name, { group: { originLostAtMs } }]) =>
    originLostAtMs === undefined ? [] : [[name, `unreachable since ${isoOf(originLostAtMs)}`]]
  );
  return lost.length === 0 ? {} : { origins: Object.fromEntries(lost) };
}

/**
 * Counts the lost connections to and from peers. It gives numbers only, as anyone may ask `/readyz`. The node is still
 * ready: the next in rank answers for an unreachable peer.
 */
export function unreachablePeers({ links = [], outOfReach }: NodeFigures): { peers?: string; reach?: string } {
  const down = links.filter(({ state }) => state === "down").length;
  return {
    ...(down > 0 && { peers: `${down} of ${links.length} cannot be reached` }),
    ...(outOfReach !== undefined && {
      reach: `${outOfReach.count} peers have no connection to this node since ${outOfReach.since}`,
    }),
  };
}

function isoOf(unixMs: number): string {
  return new Date(unixMs).toISOString();
}
