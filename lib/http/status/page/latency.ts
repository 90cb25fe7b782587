/** A table of the times of answers, hops and loads, for people. */
import { html } from "hono/html";
import type { Latencies } from "../../../core/group/stats.ts";
import { type HistogramFigures, percentilesOf } from "../../../core/measure/histogram.ts";
import type { NodeReport } from "../../ports.ts";
import { type Cell, type Html, table } from "./table.ts";

const HEADS = [
  "group",
  "answers p50",
  "answers p99",
  "from peers p50",
  "from peers p99",
  "from origin p50",
  "from origin p99",
];

/**
 * Shows two percentiles of each, by group.
 *
 * @param lately the times of the last minute; without it, all times since the start count
 */
export function latencyTable(
  groups: NodeReport["groups"],
  lately: ((group: string) => Latencies | undefined) | undefined,
): Html {
  const rows = Object.entries(groups).flatMap(([name, { latency }]): Cell[][] => {
    const shown = lately === undefined ? latency : lately(name);
    if (shown === undefined) return [];
    return [[
      html`<strong>${name}</strong>`,
      ...cellsOf(shown.client),
      ...cellsOf(shown.hop),
      ...cellsOf(shown.origin),
    ]];
  });
  if (rows.length === 0) return html``;
  const when = lately === undefined ? "since the workers started" : "in the last minute";
  return html`
    ${table("How long it took", HEADS, rows, 1)}
    <p
      class="key"><small>In milliseconds, ${when}: half took at most p50, and 99 of 100 at most p99. An answer ends with its
    head; a load counts its wait at the guard.</small></p>
  `;
}

function cellsOf(figures: HistogramFigures): [Cell, Cell] {
  const { p50Ms, p99Ms } = percentilesOf(figures);
  return [p50Ms ?? "-", p99Ms ?? "-"];
}
