/** The figures of a run in Markdown. */
import { boundsOf, type Check, missed, realBoundsOf } from "./bounds.ts";
import type { RealFigures } from "./real/run.ts";
import type { CostFigures } from "./simulation/costs.ts";
import { idleRate, KEYS, type SimulatedFigures, sum } from "./simulation/run.ts";

/** One simulated fleet, and the costs of its links. */
export interface Simulated extends SimulatedFigures {
  readonly costs: CostFigures;
}

export interface Report {
  /** When, where and with what it was measured. */
  readonly title: string;
  readonly simulated: readonly Simulated[];
  readonly real: readonly RealFigures[];
}

type Row<Figures> = readonly [what: string, value: (figures: Figures) => number | string];

const ofSimulated: readonly Row<Simulated>[] = [
  ["links of a node", ({ links }) => links],
  ["connections, whole fleet", ({ nodes, links }) => nodes * links / 2],
  ["messages sent by a node per second, idle", idleRate],
  ["all agree on a start of all at once, ms", ({ agreeMs }) => agreeMs.start],
  ["all agree on a join, ms", ({ agreeMs }) => agreeMs.join],
  ["all agree on a leave, ms", ({ agreeMs }) => agreeMs.leave],
  ["all agree on a crash, ms", ({ agreeMs }) => agreeMs.crash],
  ["an invalidation is applied by all, ms", ({ appliedMs }) => appliedMs],
  ["the caller knows that, ms", ({ confirmedMs }) => confirmedMs],
  ["registry messages for a join, whole fleet", ({ join }) => sum(join, (kind) => kind.startsWith("registry"))],
  ["registry messages for a leave, whole fleet", ({ leave }) => sum(leave, (kind) => kind.startsWith("registry"))],
  ["positions told by a node after an invalidation", ({ invalidation, nodes }) => invalidation.position / nodes],
  ["questions of its publisher, if it waits", ({ confirmed }) => confirmed["catch-up"] / 2],
  ["probes for a crash, whole fleet", ({ crash }) => crash.probe + crash["indirect probe"]],
  [
    `keys of ${KEYS} moved by a join (one of N)`,
    ({ keysMoved, nodes }) => `${keysMoved.join} (${shown(KEYS / nodes)})`,
  ],
  ["extra loads after a join and a leave", ({ extraLoads }) => extraLoads.join + extraLoads.leave],
  ["memory of a node's parts, KiB", ({ heapBytesPerNode }) => heapBytesPerNode / 1_024],
  ["memory of its links, KiB", ({ costs, links }) => costs.heapBytesPerLink * links / 1_024],
  ["CPU of a node, idle, ms per second", ({ idleCpuMs }) => idleCpuMs],
  ["CPU of a node when another joins, ms", ({ joinCpuMs }) => joinCpuMs],
  ["CPU of a node when all say where they are, ms", ({ costs }) => costs.announceMs],
  ["choice of a key's owner, ns", ({ costs }) => costs.pickNs],
  ["this run took, s", ({ tookS }) => tookS],
];

const ofReal: readonly Row<RealFigures>[] = [
  [
    "connections of a node: peers, NATS",
    ({ connections }) => `${shown(connections.peers)}, ${shown(connections.nats)}`,
  ],
  ["open file descriptors, at most", ({ descriptors }) => descriptors],
  ["messages sent by a node per second, idle", ({ framesPerSecond }) => framesPerSecond],
  ["NATS messages per second, whole fleet, idle", ({ natsPerSecond }) => natsPerSecond],
  ["all agree on those that were added, ms", ({ agreeMs }) => agreeMs.start],
  ["all agree on a join, ms", ({ agreeMs }) => agreeMs.join],
  ["all agree on a leave, ms", ({ agreeMs }) => agreeMs.leave],
  ["all agree on a kill -9, ms", ({ agreeMs }) => agreeMs.crash],
  ["NATS messages for a join, whole fleet", ({ nats }) => nats.join],
  ["NATS messages for a leave, whole fleet", ({ nats }) => nats.leave],
  ["NATS messages for an invalidation, whole fleet", ({ nats }) => nats.invalidation],
  ["messages sent by a node for an invalidation", ({ framesPerInvalidation }) => framesPerInvalidation],
  [
    "CPU of a node, idle, ms per second: Bun, Deno",
    ({ cpuMsPerSecond: { bun, deno } }) => `${shown(bun)}, ${shown(deno)}`,
  ],
  [
    "memory of a node, MiB: Bun, Deno",
    ({ memoryBytes: { bun, deno } }) => `${shown(bun / 2 ** 20)}, ${shown(deno / 2 ** 20)}`,
  ],
  ["rolling restart: failed requests", ({ restart: { failed, requests } }) => `${failed} of ${requests}`],
  ["rolling restart: extra loads", ({ restart }) => restart.extraLoads],
  [
    "rolling restart: 99 % and slowest answer, ms",
    ({ restart: { p99Ms, slowestMs } }) => `${shown(p99Ms)}, ${shown(slowestMs)}`,
  ],
];

/** The parts that `--readme` puts between the markers, by their names. */
export function readmeParts({ title, simulated, real }: Report): ReadonlyMap<string, string> {
  return new Map([
    ["real", `${title}.\n\n${table(ofReal, real)}`],
    ["simulated", `The same run.\n\n${table(ofSimulated, simulated)}`],
  ]);
}

/** What a run prints. */
export function text({ title, simulated, real }: Report): string {
  return [title, table(ofReal, real), table(ofSimulated, simulated)].join("\n\n");
}

/** The bounds that were missed, each with the number of nodes. */
export function missedIn({ simulated, real }: Report): string[] {
  const of = <T extends { nodes: number }>(kind: string, all: readonly T[], bounds: (one: T) => Check[]) =>
    all.flatMap((one) => missed(bounds(one)).map((line) => `${one.nodes} ${kind} nodes: ${line}`));
  return [...of("simulated", simulated, boundsOf), ...of("real", real, realBoundsOf)];
}

function table<Figures extends { nodes: number }>(rows: readonly Row<Figures>[], columns: readonly Figures[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(["nodes", ...columns.map(({ nodes }) => nodes.toLocaleString("en"))]),
    line(["---", ...columns.map(() => "---:")]),
    ...rows.map(([what, value]) => line([what, ...columns.map((one) => cell(value(one)))])),
  ].join("\n");
}

function cell(value: number | string): string {
  return typeof value === "string" ? value : shown(value);
}

/** Three significant digits; whole numbers in full. */
function shown(value: number): string {
  const rounded = Number.isInteger(value) || value >= 100 ? Math.round(value) : Number(value.toPrecision(2));
  return rounded.toLocaleString("en", { maximumFractionDigits: 3 });
}
