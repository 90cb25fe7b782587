/** What the README tells of the bench is written by the bench: a table between two markers, and plots beside it. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/node.ts";
import { bars, targets } from "./plot.ts";
import { limits, markdown, profileLines, type Report } from "./report.ts";

const folder = "tests/bench/report";
/** The rows whose requests/s are drawn. */
const drawn = ["local-hit", "hop-64", "zipf"];

/** The text with what stands between the markers exchanged. @throws where they do not stand once each */
export function exchanged(text: string, name: string, inside: string): string {
  const [from, to] = [`<!-- ${name} -->\n`, `\n<!-- /${name} -->`];
  const [before, rest, ...more] = text.split(from);
  const [, after, ...evenMore] = rest?.split(to) ?? [];
  if (after === undefined || more.length + evenMore.length > 0) {
    throw new Error(`the text must have ${from.trim()} and ${to.trim()} once each, on lines of their own`);
  }
  return before + from + inside + to + after;
}

/** Writes the README's table, its two plots, and where the time of the profiled nodes goes. */
export function writeReadme(report: Report): void {
  const { profiles } = report;
  const panels = report.rows.filter(({ id }) => drawn.includes(id)).map(({ what, series }) => ({
    title: what,
    series: series.filter(({ measure, rounds }) => measure === "requests/s" && rounds.length > 0),
  }));
  mkdirSync(join(root, folder), { recursive: true });
  for (const [name, plot] of [["requests", bars(panels)], ["targets", targets(report.rows)]] as const) {
    // What is drawn is not for a formatter.
    writeFileSync(join(root, folder, `${name}.svg`), `<!-- deno-fmt-ignore-file -->\n${plot}\n`);
  }
  const inside = [
    markdown(report),
    "",
    "The limit (tests/bench/parts/bare.ts): the runtime's server with a constant in place of a cache, and Hono with a Map in place",
    "of a node; in the rows of hops, two processes behind Hono, of which one gets each value from the other over one connection,",
    "in batches, with no cache, deadlines or bounds (of its latency, that of such a Map is taken away); with Zipf's keys,",
    "five that keep all they have answered in a Map, and get the rest so from the keys' owners; for 500 callers, two of these whose",
    "values come from the origin; for the byte cache, quick-lru with a budget in bytes that evicts in the order of arrival. What a",
    "node makes of its limit is the median of the rounds' own quotients, not the quotient of the medians.",
    "",
    limits(report.rows),
    "",
    `![Requests per second of every contestant: medians, a dot for each round](${folder}/requests.svg)`,
    "",
    `![Every figure against its target](${folder}/targets.svg)`,
    ...(profiles.length === 0 ? [] : ["", "```text", ...profileLines(profiles).slice(1), "```"]),
  ].join("\n");
  const path = join(root, "README.md");
  writeFileSync(path, exchanged(readFileSync(path, "utf8"), "bench", inside));
}
