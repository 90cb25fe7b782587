/** What was found, as a Markdown table and as one HTML page with a plot per measure. */
import { median } from "./figures.ts";
import type { Machine } from "./machine.ts";
import type { RowResult, Series, Verdict } from "./types.ts";

export interface Report {
  readonly machine: Machine;
  readonly quick: boolean;
  readonly rounds: number;
  readonly turnMs: number;
  readonly tookMs: number;
  readonly rows: readonly RowResult[];
}

const shown = (value: number) =>
  !Number.isFinite(value)
    ? "none"
    : Math.abs(value) >= 1_000
    ? Math.round(value).toLocaleString("en-US")
    : Math.abs(value) >= 100
    ? value.toFixed(0)
    : Math.abs(value) >= 10
    ? value.toFixed(1)
    : value.toFixed(Math.abs(value) >= 1 ? 2 : 3);

const wanted = ({ target }: Verdict) => `${target.is === "==" ? "exactly" : target.is} ${target.limit}`;

function found({ value, low, high, unit, status, reason }: Verdict): string {
  if (value === undefined) return `skipped: ${reason}`;
  const span = low === high ? "" : ` (${shown(low!)} to ${shown(high!)})`;
  return `${shown(value)}${unit === "x" ? " x" : ` ${unit}`}${span}${reason ? `; ${reason}` : ""} ${status}`;
}

/** Where the figures come from, in one line. */
export function machineLine({ machine, rounds, turnMs, quick }: Report): string {
  const { cpu, cores, memoryGiB, kernel, date, versions, loadBefore } = machine;
  const programs = Object.entries(versions).map(([name, version]) => `${name}: ${version}`).join("; ");
  return `${date}; ${cpu}, ${cores} cores, ${memoryGiB} GiB, Linux ${kernel}, load before ${loadBefore}; ${programs}; ` +
    `${rounds} rounds, turns of ${turnMs} ms${quick ? " (--quick: too short to judge by)" : ""}`;
}

/** The table of the issue, filled in: medians, with the least and the greatest of a round. */
export function markdown(report: Report): string {
  const lines = [
    machineLine(report),
    "",
    "| what | measure | Bun | target | Deno | target |",
    "| --- | --- | --- | --- | --- | --- |",
  ];
  for (const { what, verdicts } of report.rows) {
    for (const measure of new Set(verdicts.map((verdict) => verdict.measure))) {
      const cells = (["bun", "deno"] as const).flatMap((runtime) => {
        const verdict = verdicts.find((one) => one.measure === measure && one.runtime === runtime);
        return verdict === undefined ? ["", ""] : [found(verdict), wanted(verdict)];
      });
      lines.push(`| ${what} | ${measure} | ${cells.join(" | ")} |`);
    }
  }
  lines.push("", ...report.rows.filter(({ errors }) => errors > 0).map(({ id, errors }) => `${id}: ${errors} errors`));
  return lines.join("\n");
}

const escape = (text: string) => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);
const colourOf = (contestant: string) =>
  /bun/.test(contestant) ? "#c06a2b" : /deno/.test(contestant) ? "#3b6ea5" : "#8a8a8a";

/** Bars of the medians, a whisker from the least to the greatest, a dot per round. */
function plot(measure: string, all: readonly Series[]): string {
  const [left, width, height] = [190, 520, 26];
  const most = Math.max(...all.flatMap(({ rounds }) => rounds), 1e-9);
  const x = (value: number) => left + Math.max(0, value) / most * width;
  const bars = all.map(({ contestant, unit, rounds }, i) => {
    const y = 22 + i * height;
    const middle = y + 8;
    const dots = rounds.slice(0, 40).map((value) => `<circle cx="${x(value)}" cy="${middle}" r="2.2" fill="#222"/>`);
    const [low, high] = [Math.min(...rounds), Math.max(...rounds)];
    return `<text x="${left - 8}" y="${middle + 4}" text-anchor="end">${escape(contestant)}</text>` +
      `<rect x="${left}" y="${y}" width="${x(median(rounds)) - left}" height="16" fill="${colourOf(contestant)}"/>` +
      `<line x1="${x(low)}" x2="${x(high)}" y1="${middle}" y2="${middle}" stroke="#222"/>${dots.join("")}` +
      `<text x="${left + width + 12}" y="${middle + 4}">${escape(`${shown(median(rounds))} ${unit}`)}</text>`;
  });
  const tall = 26 + all.length * height;
  return `<svg viewBox="0 0 900 ${tall}" width="900" height="${tall}" role="img"><title>${escape(measure)}</title>` +
    `<text x="${left}" y="14" font-weight="bold">${escape(measure)}</text>${bars.join("")}</svg>`;
}

function section(row: RowResult): string {
  const verdicts = row.verdicts.map((verdict) =>
    `<tr class="${verdict.status}"><td>${verdict.runtime}</td><td>${escape(verdict.measure)}</td>` +
    `<td>${escape(found(verdict))}</td><td>${escape(wanted(verdict))}</td></tr>`
  );
  const measures = [...new Set(row.series.map(({ measure }) => measure))];
  const plots = measures.map((measure) =>
    plot(measure, row.series.filter((one) => one.measure === measure && one.rounds.length > 0))
  );
  const notes = row.notes.map((note) => `<li>${escape(note)}</li>`);
  return `<h2 id="${row.id}">${escape(row.what)}</h2><p>${escape(row.how)}. ${row.errors} errors, ` +
    `${row.checked.toLocaleString("en-US")} bodies compared byte for byte, ${(row.tookMs / 1_000).toFixed(1)} s.</p>` +
    `<table>${verdicts.join("")}</table>${plots.join("")}<ul>${notes.join("")}</ul>`;
}

/** One page without anything from elsewhere. */
export function html(report: Report): string {
  const style =
    "body{font:15px/1.45 system-ui,sans-serif;max-width:960px;margin:2em auto;padding:0 1em}svg{display:block;" +
    "font:12px system-ui,sans-serif;max-width:100%}td{padding:2px 12px 2px 0}.miss td{color:#a00}.skip td{color:#777}" +
    ".pass td{color:#060}h2{margin-top:2em}";
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>muster: bench</title><style>${style}</style>` +
    `<h1>muster: bench</h1><p>${escape(machineLine(report))}</p>` +
    `<p>Bars are medians, dots are rounds. Contestants take turns within each round.</p>${
      report.rows.map(section).join("")
    }</html>\n`;
}
