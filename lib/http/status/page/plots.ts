/** Plots over time with their scales, as SVG: they need no script and no library in the browser. */
import { html, raw } from "hono/html";
import type { Html } from "./table.ts";
import { rateText } from "./texts.ts";
import { SAMPLE_MS, type Series } from "../watch.ts";

/** The size in the plot's own units. */
const WIDTH = 340;
const HEIGHT = 112;
const [LEFT, RIGHT, TOP, BOTTOM] = [36, 6, 8, 18] as const;
/** The least number of values that fill the width. Chosen: a minute. */
const LEAST_SLOTS = 30;
/** The most groups drawn, those with the most gets first. Chosen: 100 KB every 2 s for each open page. */
const MAX_GROUPS = 12;

/** One line; `undefined` is a time without a measurement. */
interface Line {
  /** The class of the line and of its name. */
  readonly kind: string;
  readonly label: string;
  readonly values: readonly (number | undefined)[];
}

/** Two plots for each group: events per second, and the times of answers. */
export function plotsOf(groups: readonly string[], seriesOf: (group: string) => Series): Html {
  const all = groups.map((name) => ({ name, series: seriesOf(name) })).filter(({ series }) => series.gets.length > 0);
  if (all.length === 0) return html`<p><small>The plots begin with the second sample, in some seconds.</small></p>`;
  const sumOf = ({ series: { gets } }: typeof all[number]) => gets.reduce((sum, rate) => sum + rate, 0);
  const drawn = all.length <= MAX_GROUPS ? all : [...all].sort((a, b) => sumOf(b) - sumOf(a)).slice(0, MAX_GROUPS);
  const more = all.length - drawn.length;
  return html`<div class="plots">${
    drawn.map(({ name, series }) =>
      html`<div>${figure(`${name}: per second`, "", ratesOf(series))}
${figure(`${name}: answers took`, " ms", latenciesOf(series))}</div>`
    )
  }</div>
${more === 0 ? "" : html`<p><small>${more} groups with fewer gets are not drawn.</small></p>`}`;
}

function ratesOf({ gets, cacheHits, hotHits, peerLoads, originLoads }: Series): Line[] {
  return [
    { kind: "gets", label: "gets", values: gets },
    { kind: "cacheHits", label: "hits", values: cacheHits },
    { kind: "hotHits", label: "hot hits", values: hotHits },
    { kind: "peerLoads", label: "from peers", values: peerLoads },
    { kind: "originLoads", label: "from origin", values: originLoads },
  ];
}

function latenciesOf({ p50Ms, p99Ms }: Series): Line[] {
  return [{ kind: "p50", label: "p50", values: p50Ms }, { kind: "p99", label: "p99", values: p99Ms }];
}

function figure(title: string, unit: string, lines: readonly Line[]): Html {
  const latest = (values: Line["values"]) => values.at(-1) === undefined ? "-" : `${rateText(values.at(-1)!)}${unit}`;
  const told = lines.map(({ label, values }) => `${label} ${latest(values)}`).join(", ");
  return html`
    <figure>
      <figcaption><strong>${title}</strong> ${lines.map(({ kind, label, values }) =>
        html`
          <span class="${kind}">${label} ${latest(values)}</span>
        `
      )}</figcaption>
      ${raw(svgOf(`${title}: ${told}`, unit, lines))}
    </figure>
  `;
}

function svgOf(title: string, unit: string, lines: readonly Line[]): string {
  const slots = Math.max(LEAST_SLOTS, ...lines.map(({ values }) => values.length));
  const most = roundUp(Math.max(0, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0))));
  const [right, bottom] = [WIDTH - RIGHT, HEIGHT - BOTTOM];
  const yOf = (value: number) => bottom - (bottom - TOP) * value / most;
  const grid = [0, most / 2, most].map((value) => {
    const y = yOf(value).toFixed(1);
    return `<line x1="${LEFT}" x2="${right}" y1="${y}" y2="${y}"/>` +
      `<text x="${LEFT - 4}" y="${y}" dy="3.5" text-anchor="end">${scaleText(value)}</text>`;
  });
  const step = (right - LEFT) / (slots - 1);
  const drawn = lines.flatMap(({ kind, values }) =>
    segmentsOf(values).map(({ from, part }) => {
      const points = part.map((value, i) => [right - (values.length - 1 - from - i) * step, yOf(value)] as const);
      // A line of one value would have no length.
      const shown = points.length > 1 ? points : points.flatMap(([x, y]) => [[x - 2, y], [x + 2, y]] as const);
      return `<polyline class="${kind}" points="${
        shown.map(([x, y]) => `${x.toFixed(0)},${y.toFixed(1)}`).join(" ")
      }"/>`;
    })
  );
  const minutes = Math.round(slots * SAMPLE_MS / 60_000);
  const times = `<text x="${LEFT}" y="${HEIGHT - 4}">${minutes} min ago</text>` +
    `<text x="${right}" y="${HEIGHT - 4}" text-anchor="end">now</text>`;
  const label = `${title}; the scale ends at ${scaleText(most)}${unit}`;
  return `<svg class="plot" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img"><title>${escaped(label)}</title>` +
    `${grid.join("")}${times}${drawn.join("")}</svg>`;
}

/** The parts of the line without a gap. */
function segmentsOf(values: Line["values"]): { readonly from: number; readonly part: number[] }[] {
  const segments: { from: number; part: number[] }[] = [];
  values.forEach((value, i) => {
    if (value === undefined) return;
    if (i === 0 || values[i - 1] === undefined) segments.push({ from: i, part: [] });
    segments.at(-1)!.part.push(value);
  });
  return segments;
}

/** The next of 1, 2 and 5 times a power of ten, for a readable scale; 1 if all values are 0. */
function roundUp(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((each) => each * power >= value) ?? 10) * power;
}

function scaleText(value: number): string {
  return value >= 10_000 ? `${value / 1_000}k` : String(Number(value.toPrecision(3)));
}

/** Names of groups are checked where they are read; the title is still text. */
function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
