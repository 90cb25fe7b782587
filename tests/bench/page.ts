/** The report as one self-contained HTML page: figures round by round, and a plot per measure. */
import { bars, targets } from "./plot.ts";
import { contestantLines, found, machineLine, profileHead, type Report, shown, wanted } from "./report.ts";
import type { Profile, RowResult, Verdict } from "./types.ts";

const style = `
body { font: 15px/1.45 system-ui, sans-serif; max-width: 920px; margin: 2em auto; padding: 0 1em; color: #222 }
h2 { margin-top: 2.5em; border-top: 1px solid #ddd; padding-top: 1em }
svg { display: block; max-width: 100%; height: auto; margin: 1em 0 }
table { border-collapse: collapse; margin: 1em 0; font-size: 14px }
th, td { padding: 3px 12px 3px 0; text-align: left; vertical-align: top; border-bottom: 1px solid #eee }
td.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.pass { color: #06640a } .miss { color: #b00 } .skip { color: #777 }
.small { color: #555; font-size: 14px }`;

const legend =
  "<p>Contestants take turns within each round. Bars are medians, dots are rounds; the lines of the first plot " +
  "span the rounds. A ratio is one of medians; beside it stand the ratios of the rounds.</p>";

const escape = (text: string) => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);

function table(head: readonly string[], lines: readonly string[]): string {
  if (lines.length === 0) return "";
  return `<table><tr>${head.map((one) => `<th>${escape(one)}</th>`).join("")}</tr>${lines.join("")}</table>`;
}

const cells = (texts: readonly string[]) => texts.map((text) => `<td>${escape(text)}</td>`).join("");
const numbers = (texts: readonly string[]) => texts.map((text) => `<td class="number">${escape(text)}</td>`).join("");

function verdictLine(verdict: Verdict): string {
  const { runtime, measure, status, rounds = [] } = verdict;
  const each = rounds.length > 1 && rounds.length <= 10 ? rounds.map(shown).join(", ") : "";
  const value = `<td class="${status}">${escape(found(verdict).replaceAll("**", ""))}</td>`;
  return `<tr>${cells([runtime, measure])}${value}${cells([wanted(verdict), each])}</tr>`;
}

function section(row: RowResult): string {
  const told = row.series.filter(({ rounds }) => rounds.length > 0);
  const measures = [...new Set(told.map(({ measure }) => measure))];
  const plot = told.length === 0
    ? ""
    : bars(measures.map((measure) => ({ title: measure, series: told.filter((one) => one.measure === measure) })));
  const contestants = contestantLines(row).map(({ contestant, measure, figures }) =>
    `<tr>${cells([measure, contestant])}${numbers(figures)}</tr>`
  );
  const notes = row.notes.map((note) => `<li>${escape(note)}</li>`);
  return `<h2 id="${row.id}">${escape(row.what)}</h2><p>${escape(row.how)}.</p>` +
    `<p class="small">${row.id}: ${row.checked.toLocaleString("en-US")} bodies compared byte for byte, ${row.errors} ` +
    `errors, ${(row.tookMs / 1_000).toFixed(1)} s.</p>` +
    table(["runtime", "measure", "found", "target", "rounds"], row.verdicts.map(verdictLine)) + plot +
    table(["measure", "contestant", "median", "least", "greatest"], contestants) +
    (notes.length > 0 ? `<ul class="small">${notes.join("")}</ul>` : "");
}

function profileSection(profile: Profile): string {
  const lines = profile.top.map(({ share, what }) =>
    `<tr>${numbers([`${(100 * share).toFixed(1)} %`])}${cells([what])}</tr>`
  );
  return `<p>${escape(profileHead(profile))}.</p>${table(["CPU time", "function by itself"], lines)}`;
}

/** The whole page. */
export function html(report: Report): string {
  const { rows, profiles } = report;
  const hasFigures = rows.some(({ verdicts }) => verdicts.some(({ value }) => value !== undefined));
  const links = rows.map(({ id }) => `<a href="#${id}">${id}</a>`).join(" · ");
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>muster: bench</title><style>${style}</style>` +
    `<h1>muster: bench</h1><p class="small">${escape(machineLine(report))}</p><p>${links}</p>` +
    (hasFigures ? targets(rows) : "") +
    (rows.length > 0 ? legend : "") + rows.map(section).join("") +
    (profiles.length > 0 ? `<h2 id="profile">Where the time goes</h2>${profiles.map(profileSection).join("")}` : "") +
    "</html>\n";
}
