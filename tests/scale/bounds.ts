/** How each figure may grow with the number of nodes: the formulas of README.md in this folder, as checks. */
import type { RealFigures } from "./real/run.ts";
import type { Counts } from "./simulation/network.ts";
import { idleRate, KEYS, type SimulatedFigures, sum } from "./simulation/run.ts";

/** A figure with its upper bound. */
export interface Check {
  readonly what: string;
  readonly measured: number;
  readonly most: number;
}

/** Three probers of each peer, and one more peer at every second tick, at the shortest interval; some are sent again. */
const PROBES_PER_SECOND = 2 * 3.5 / 0.72;
const SLACK = 1.2;
/** Derived: six misses at half an interval, one round of indirect probes, one write. In a trio and a pair it takes longer. */
const CRASH_MS = 4_000;
const CHANGE_MS = 1_000;
/**
 * The heap of one node: its parts, its keys, and the records, link states and plan entries of its peers. Measured, then
 * rounded up.
 */
const HEAP_BYTES = { ofNode: 400_000, ofKey: 1_500, ofPeer: 3_000 } as const;
/** Five standard deviations of the number of keys that one node of N owns. */
const spread = (expected: number) => 5 * Math.sqrt(expected);

/** Every bound of one simulated fleet. */
export function boundsOf(figures: SimulatedFigures): Check[] {
  const { nodes, links, agreeMs, appliedMs, behind, keysMoved, extraLoads, heapBytesPerNode } = figures;
  const { join, leave, crash, idle, invalidation, confirmed } = figures;
  const ofRegistry = (counts: Counts) => sum(counts, (kind) => kind.startsWith("registry"));
  const ofLog = (counts: Counts) => sum(counts, (kind) => kind.startsWith("log"));
  const share = KEYS / nodes;
  const heapBytes = HEAP_BYTES.ofNode + HEAP_BYTES.ofKey * share + HEAP_BYTES.ofPeer * nodes;
  return [
    { what: "links of one node", measured: links, most: nodes - 1 },
    {
      what: "messages that a node sends in an idle second",
      measured: idleRate(figures),
      most: SLACK * PROBES_PER_SECOND,
    },
    { what: "messages to and from NATS while idle", measured: ofRegistry(idle) + ofLog(idle), most: 0 },
    { what: "registry messages for a join", measured: ofRegistry(join), most: 10 + 2 * nodes },
    { what: "registry messages for a leave", measured: ofRegistry(leave), most: 16 + 3 * nodes },
    { what: "registry messages for a crash", measured: ofRegistry(crash), most: 16 + 2 * nodes },
    { what: "positions told after one invalidation", measured: invalidation.position, most: nodes * (nodes - 1) },
    { what: "log messages for one invalidation", measured: ofLog(invalidation), most: 10 + 2 * nodes },
    { what: "catch-ups for one that waits", measured: confirmed["catch-up"], most: 2 * (nodes - 1) },
    { what: "nodes that had not applied it in time", measured: behind, most: 0 },
    { what: "ms until all agree on a start", measured: agreeMs.start, most: CHANGE_MS },
    { what: "ms until all agree on a join", measured: agreeMs.join, most: CHANGE_MS },
    { what: "ms until all agree on a leave", measured: agreeMs.leave, most: CHANGE_MS },
    { what: "ms until all agree on a crash", measured: agreeMs.crash, most: CRASH_MS },
    { what: "ms until all have applied an invalidation", measured: appliedMs, most: CHANGE_MS },
    { what: "keys moved by a join", measured: keysMoved.join, most: share + spread(share) },
    { what: "keys moved by a leave", measured: keysMoved.leave, most: share + spread(share) },
    { what: "extra loads after a join and a leave", measured: extraLoads.join + extraLoads.leave, most: 0 },
    { what: "live nodes that were evicted", measured: figures.evictedAlive, most: 0 },
    { what: "bytes of heap per node", measured: heapBytesPerNode, most: heapBytes },
  ];
}

/** Every bound of one fleet of real nodes. Times are generous: they are of a machine with more nodes than cores. */
export function realBoundsOf({ nodes, agreeMs, connections, restart }: RealFigures): Check[] {
  return [
    { what: "connections of a node to the others", measured: connections.peers, most: nodes - 1 },
    { what: "connections of a node to NATS", measured: connections.nats, most: 1 },
    { what: "ms until all agree on a join", measured: agreeMs.join, most: 5_000 },
    { what: "ms until all agree on a leave", measured: agreeMs.leave, most: 5_000 },
    { what: "ms until all agree on a crash", measured: agreeMs.crash, most: 10_000 },
    { what: "failed requests in a rolling restart", measured: restart.failed, most: 0 },
    { what: "extra loads in a rolling restart", measured: restart.extraLoads, most: 100 },
  ];
}

/** The checks that are missed, in words. */
export function missed(checks: readonly Check[]): string[] {
  // NaN counts as missed.
  return checks.filter(({ measured, most }) => !(measured <= most))
    .map(({ what, measured, most }) =>
      `${what}: ${Math.round(measured * 10) / 10}, and the bound is ${Math.round(most)}`
    );
}
