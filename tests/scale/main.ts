/**
 * The scale program measures the costs of a growing fleet, with real nodes on this machine and with simulated ones.
 *
 * `bun run tests/scale/main.ts [--real 5,10,20,30] [--simulated 10,30,100,300,1000] [--json] [--readme]`
 *
 * The exit code is 0 when every figure is within its bound, 1 when one is not, 2 when the arguments are wrong.
 */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs, promisify } from "node:util";
import { circumstances, versionOf } from "../chaos/report.ts";
import { Undos } from "../chaos/runner.ts";
import { exchanged } from "../readme/markers.ts";
import { root, runCommand, runtimeProgram } from "../support/node.ts";
import { messagesPlot, timesPlot } from "./plots.ts";
import { measureReal } from "./real/run.ts";
import { missedIn, readmeParts, type Report, type Simulated, text } from "./report.ts";

const folder = join(root, "tests/scale");
const page = join(folder, "README.md");
/** Nodes log only the changes of a longer list of peers, and list at most a thousand peers. */
const MOST_NODES = { real: 60, simulated: 1_000 };
/** A thousand nodes print some kilobytes; chosen. */
const MAX_OUTPUT_BYTES = 1024 * 1024;

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: {
    real: { type: "string", default: "5,10,20,30" },
    simulated: { type: "string", default: "10,30,100,300,1000" },
    json: { type: "boolean", default: false },
    readme: { type: "boolean", default: false },
  },
});

function sizesOf(name: "real" | "simulated"): number[] {
  const sizes = values[name].split(",").filter((size) => size !== "").map(Number);
  const isGood = sizes.every((size, at) =>
    Number.isInteger(size) && size >= 4 && size <= MOST_NODES[name] && size > (sizes[at - 1] ?? 0)
  );
  if (isGood) return sizes;
  console.error(`--${name} takes whole numbers from 4 to ${MOST_NODES[name]}, the smallest first, such as 5,10`);
  process.exit(2);
}

async function simulated(nodes: number): Promise<Simulated> {
  say(`${nodes} simulated nodes`);
  const [program, ...args] = [...runCommand("bun"), join(folder, "simulation/child.ts"), String(nodes)];
  const { stdout } = await promisify(execFile)(program!, args, { maxBuffer: MAX_OUTPUT_BYTES });
  return JSON.parse(stdout) as Simulated;
}

const sinceMs = performance.now();
const seconds = () => Math.round((performance.now() - sinceMs) / 1_000);
const say = (line: string) => console.error(`${seconds()} s: ${line}`);

function writeReadme(report: Report): void {
  mkdirSync(join(folder, "plots"), { recursive: true });
  const plots = [["messages", messagesPlot], ["times", timesPlot]] as const;
  for (const [name, plot] of plots) {
    // `deno fmt` would rewrite the drawing.
    const drawing = `<!-- deno-fmt-ignore-file -->\n${plot(report.simulated, report.real)}\n`;
    writeFileSync(join(folder, "plots", `${name}.svg`), drawing);
  }
  let before = readFileSync(page, "utf8");
  for (const [name, inside] of readmeParts(report)) before = exchanged(before, name, inside);
  writeFileSync(page, before);
}

const sizes = { real: sizesOf("real"), simulated: sizesOf("simulated") };
const undos = new Undos();
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, async () => {
    await undos.undo();
    process.exit(130);
  });
}
let real: Report["real"];
try {
  real = await measureReal(sizes.real, undos.defer, say);
} finally {
  await undos.undo();
}
const ofSimulation: Simulated[] = [];
for (const nodes of sizes.simulated) ofSimulation.push(await simulated(nodes));
const command = `npm run scale${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(" ")}` : ""}`;
const title = circumstances(command, [
  `muster ${versionOf("git", ["-C", root, "rev-parse", "--short", "HEAD"])}`,
  `bun ${versionOf(runtimeProgram("bun"), ["--version"])}`,
  versionOf(runtimeProgram("deno"), ["--version"])?.replace(/ \(.*/, "") ?? "no deno",
]);
const report: Report = { title: `${title}, in ${seconds()} s`, simulated: ofSimulation, real };
console.log(values.json ? JSON.stringify(report) : text(report));
if (values.readme) writeReadme(report);
const faults = missedIn(report);
if (real.length < sizes.real.length) faults.push(`${sizes.real[real.length]} real nodes: it broke off, see above`);
for (const fault of faults) console.error(`MISSED ${fault}`);
process.exit(faults.length === 0 ? 0 : 1);
