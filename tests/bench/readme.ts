/** Writes the bench's own parts of tests/bench/README.md: tables, profiles, and the plots beside it. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exchanged } from "../readme/markers.ts";
import { root } from "../support/node.ts";
import { bars, targets } from "./plot.ts";
import { limits, markdown, profileLines, type Report } from "./report.ts";

const page = join(root, "tests/bench/README.md");
/** Beside the page. */
const folder = "report";
/** The rows whose requests/s are drawn. */
const drawn = ["local-hit", "hop-64", "zipf"];

/** What `--readme` puts between the markers, by the markers' names; profiles only where the report has some. */
export function readmeParts(report: Report): ReadonlyMap<string, string> {
  const { machine, profiles } = report;
  const bench = [
    markdown(report),
    "",
    limits(report.rows),
    "",
    `![Requests per second of every contestant: medians, a dot for each round](${folder}/requests.svg)`,
    "",
    `![Every figure against its target](${folder}/targets.svg)`,
  ].join("\n");
  const profile = [
    `${machine.date.slice(0, 16)}Z, muster ${machine.versions.muster}:`,
    "",
    "```text",
    ...profileLines(profiles).slice(1),
    "```",
  ].join("\n");
  return new Map([["bench", bench], ...(profiles.length === 0 ? [] : [["profile", profile] as const])]);
}

/** Writes the page's parts and its two plots. */
export function writeReadme(report: Report): void {
  const panels = report.rows.filter(({ id }) => drawn.includes(id)).map(({ what, series }) => ({
    title: what,
    series: series.filter(({ measure, rounds }) => measure === "requests/s" && rounds.length > 0),
  }));
  mkdirSync(join(page, "..", folder), { recursive: true });
  for (const [name, plot] of [["requests", bars(panels)], ["targets", targets(report.rows)]] as const) {
    // `deno fmt` would rewrite the drawing.
    writeFileSync(join(page, "..", folder, `${name}.svg`), `<!-- deno-fmt-ignore-file -->\n${plot}\n`);
  }
  let text = readFileSync(page, "utf8");
  for (const [name, inside] of readmeParts(report)) text = exchanged(text, name, inside);
  writeFileSync(page, text);
}
