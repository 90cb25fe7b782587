/** The groups of the fleet as tables: what each is, its counts and rates, and how long its answers took. */
import { html } from "hono/html";
import { type HistogramFigures, percentilesOf } from "../../../core/measure/histogram.ts";
import type { Rates } from "../../figures.ts";
import type { FleetGroup } from "./fleet-groups.ts";
import { type Cell, type Html, table } from "./table.ts";
import { mebibytes, percent, rateText } from "./texts.ts";

const HEADS = [
  "group",
  "origin",
  "lifetime",
  "nodes",
  "budget",
  "gets",
  "hits",
  "hot hits",
  "from peers",
  "from origin",
];
const TIME_HEADS = [
  "group",
  "answers p50",
  "answers p99",
  "from peers p50",
  "from peers p99",
  "from origin p50",
  "from origin p99",
];

/** @param nodes how many nodes have sent figures, this one included */
export function groupTables(groups: ReadonlyMap<string, FleetGroup>, nodes: number): Html {
  const rows = [...groups].map(([name, group]) => rowOf(name, group));
  return html`${table("The groups of the fleet", [...HEADS, "errors"], rows, 3)}
<p class="key"><small>Sums over ${
    nodes === 1 ? "this node alone" : `the ${nodes} nodes that answer`
  }, since each started; below them, per second. Gets are those of
clients. Hits count gets of other nodes too; their share is of all gets. Errors count "not found" of the origin too.</small></p>
${timeTable(groups)}`;
}

function rowOf(name: string, { about, isServed, nodes, counts, perSecond, ...group }: FleetGroup): Cell[] {
  const rate = (figure: (rates: Rates) => number) =>
    perSecond === undefined ? "" : html`<br><small>${rateText(Math.max(0, figure(perSecond)))}/s</small>`;
  // A get that goes on to another node is counted at both.
  const ofClients = ({ gets, serverRequests }: Rates) => gets - serverRequests;
  return [
    html`<strong>${name}</strong>${isServed ? "" : html`<br><small>asked of other nodes</small>`}`,
    about?.origin ?? "",
    about?.lifetime ?? "",
    nodes,
    budgetCell(group),
    html`${Math.max(0, ofClients(counts))}${rate(ofClients)}`,
    html`${counts.cacheHits} (${percent(counts.cacheHits, counts.gets)})${rate(({ cacheHits }) => cacheHits)}`,
    html`${counts.hotHits}${rate(({ hotHits }) => hotHits)}`,
    html`${counts.peerLoads}${rate(({ peerLoads }) => peerLoads)}`,
    html`${counts.originLoads}${rate(({ originLoads }) => originLoads)}`,
    counts.errors,
  ];
}

function budgetCell({ usedBytes, budgetBytes }: Pick<FleetGroup, "usedBytes" | "budgetBytes">): Cell {
  const used = mebibytes(usedBytes);
  if (budgetBytes === undefined) return `${used} MiB`;
  return html`
    <meter max="${budgetBytes}" high="${Math.round(budgetBytes * 0.9)}"
      value="${usedBytes}">${percent(usedBytes, budgetBytes)}</meter><br><small>${used} of ${mebibytes(
        budgetBytes,
      )} MiB</small>
  `;
}

function timeTable(groups: ReadonlyMap<string, FleetGroup>): Html {
  const rows = [...groups].flatMap(([name, { latency }]): Cell[][] => {
    if (latency === undefined) return [];
    const { client, hop, origin } = latency;
    return [[html`<strong>${name}</strong>`, ...[client, hop, origin].flatMap(timeCells)]];
  });
  if (rows.length === 0) return html``;
  return html`
    ${table("How long it took", TIME_HEADS, rows, 1)}
    <p
      class="key"><small>In milliseconds, in the last minute: half took at most p50, and 99 of 100 at most p99. An answer
    ends with its head; a load counts its wait at the guard.</small></p>
  `;
}

function timeCells(figures: HistogramFigures): [Cell, Cell] {
  const { p50Ms, p99Ms } = percentilesOf(figures);
  return [p50Ms ?? "-", p99Ms ?? "-"];
}
