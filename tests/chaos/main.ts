/**
 * The chaos program: runs real nodes, a real nats-server and a real load, and makes things fail.
 *
 * `bun run tests/chaos/main.ts [--only name]… [--seconds n] [--runs n] [--json] [--no-go] [--readme]`
 *
 * `--readme` runs everything once and writes the table of tests/chaos/README.md. The exit code is 0 when every target
 * is met, 1 when one is missed, 2 for a wrong option.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { exchanged } from "../readme/markers.ts";
import { root } from "../support/node.ts";
import { deaths } from "./deaths.ts";
import { deploys } from "./deploys.ts";
import { hundred } from "./hundred.ts";
import { invalidationScenarios } from "./invalidations.ts";
import type { Failure } from "./load.ts";
import { originFaults } from "./origin-faults.ts";
import { registryFaults } from "./registry-faults.ts";
import { upgrades } from "./upgrades.ts";
import { circumstances, isMet, readmePart, type Row, table, versionOf } from "./report.ts";
import { fullSettings, type Outcome, type Scenario, type Settings, type System } from "./result.ts";
import { buildGoNode, runScenario, type Shown, Undos } from "./runner.ts";

const scenarios: readonly Scenario[] = [
  ...[...deploys, ...upgrades, ...deaths, ...registryFaults, ...originFaults],
  ...[...invalidationScenarios, ...hundred],
];
const shortestSeconds = 2;
const maxFailuresShown = 5;
const page = join(root, "tests/chaos/README.md");

interface Options {
  readonly chosen: readonly Scenario[];
  readonly settings: Settings;
  readonly runs: number;
  readonly json: boolean;
  readonly withGo: boolean;
  readonly readme: boolean;
}

function fail(message: string): never {
  console.error(`${message}\nScenarios: ${scenarios.map(({ name }) => name).join(" ")}`);
  process.exit(2);
}

function readOptions(): Options {
  let values;
  try {
    ({ values } = parseArgs({
      args: process.argv.slice(2),
      options: {
        only: { type: "string", multiple: true },
        seconds: { type: "string" },
        runs: { type: "string", default: "1" },
        seed: { type: "string", default: "1" },
        json: { type: "boolean", default: false },
        "no-go": { type: "boolean", default: false },
        readme: { type: "boolean", default: false },
      },
    }));
  } catch (error) {
    return fail(error instanceof Error ? error.message : String(error));
  }
  const only = values.only ?? [];
  // `--only sigkill` means its variants too.
  const isMeant = ({ name }: Scenario) => only.some((text) => name === text || name.startsWith(`${text}-`));
  const chosen = only.length === 0 ? scenarios : scenarios.filter(isMeant);
  if (chosen.length === 0) fail(`--only must name a scenario: ${only.join(", ")}`);
  const seconds = values.seconds === undefined ? undefined : number("--seconds", values.seconds, shortestSeconds);
  const isWhole = only.length === 0 && values.seconds === undefined && values.runs === "1" && !values["no-go"];
  if (values.readme && !isWhole) fail("--readme wants one full run of all scenarios, on both systems");
  const settings = { ...fullSettings, seed: number("--seed", values.seed, 0) };
  return {
    chosen,
    settings: seconds === undefined ? settings : { ...settings, seconds, outageSeconds: seconds },
    runs: number("--runs", values.runs, 1),
    json: values.json,
    withGo: !values["no-go"],
    readme: values.readme,
  };
}

function number(name: string, text: string, least: number): number {
  const value = Number(text);
  return Number.isInteger(value) && value >= least ? value : fail(`${name} must be a whole number from ${least} on`);
}

/** On a terminal, one line that changes every second; elsewhere a line every 5 s, and one per event. */
class Progress implements Shown {
  #status = () => "";
  #title = "";
  readonly #isTerminal = process.stderr.isTTY === true;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor() {
    this.#timer = setInterval(() => this.#show(), this.#isTerminal ? 1_000 : 5_000);
  }

  begin(title: string): void {
    this.#title = title;
    this.#status = () => "starting";
    this.say(title);
  }

  readonly say = (text: string): void => {
    process.stderr.write(`${this.#isTerminal ? "\r\x1b[2K" : ""}${text}\n`);
  };

  readonly watch = (status: () => string): void => {
    this.#status = status;
  };

  end(): void {
    clearInterval(this.#timer);
    if (this.#isTerminal) process.stderr.write("\r\x1b[2K");
  }

  #show(): void {
    const line = `  ${this.#title}: ${this.#status()}`;
    process.stderr.write(this.#isTerminal ? `\r\x1b[2K${line.slice(0, process.stderr.columns)}` : `${line}\n`);
  }
}

const options = readOptions();
const progress = new Progress();
const atTheEnd = new Undos();
let undos = new Undos();
const go = !options.withGo ? { reason: "not asked for" } : buildGoNode(atTheEnd.defer);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, async () => {
    progress.say(`${signal}: ending what was started`);
    await undos.undo();
    await atTheEnd.undo();
    process.exit(130);
  });
}

async function runOn(scenario: Scenario, system: System): Promise<{ outcome?: Outcome; reason?: string }> {
  if (system === "groupcache-go" && scenario.notOnGo !== undefined) return { reason: scenario.notOnGo };
  if (system === "groupcache-go" && "reason" in go) return { reason: go.reason };
  progress.begin(`== ${scenario.name} on ${system}`);
  undos = new Undos();
  const goProgram = "program" in go ? go.program : undefined;
  try {
    const outcome = await runScenario(scenario, system, {
      settings: options.settings,
      shown: progress,
      undos,
      goProgram,
    });
    for (const { what, target, measured, isMet } of system === "muster" ? outcome.checks : []) {
      progress.say(`  ${isMet ? "met   " : "MISSED"} ${what}: ${measured} (${target})`);
    }
    const failures = outcome.details.failures as readonly Failure[] | undefined;
    for (const { node, key, what, atMs } of failures?.slice(0, maxFailuresShown) ?? []) {
      progress.say(`    ${(atMs / 1_000).toFixed(2)} s: ${node} failed ${key}: ${what}`);
    }
    return { outcome };
  } catch (error) {
    const reason = `broke off: ${error instanceof Error ? error.message : String(error)}`;
    progress.say(`  MISSED ${reason}`);
    return { reason };
  }
}

async function runAll(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const scenario of options.chosen) {
    const muster = await runOn(scenario, "muster");
    const other = await runOn(scenario, "groupcache-go");
    rows.push({
      scenario: { name: scenario.name, title: scenario.title },
      outcomes: { muster: muster.outcome, "groupcache-go": other.outcome },
      reasons: { muster: muster.reason, "groupcache-go": other.reason },
    });
  }
  return rows;
}

const command = `npm run chaos${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(" ")}` : ""}`;
const versions = [
  `muster ${versionOf("git", ["-C", root, "rev-parse", "--short", "HEAD"])}`,
  `bun ${versionOf(`${root}/node_modules/.bin/bun`, ["--version"])}`,
  versionOf(`${root}/node_modules/.bin/deno`, ["--version"])?.replace(/ \(.*/, ""),
  "program" in go ? `groupcache-go 3.2.0 (${versionOf("go", ["version"])?.replace("go version ", "")})` : undefined,
].filter((text) => text !== undefined);
let isAllMet = true;
for (let i = 1; i <= options.runs; i++) {
  const rows = await runAll();
  isAllMet &&= rows.every(isMet);
  const title = `${circumstances(command, versions)}${options.runs > 1 ? `, run ${i} of ${options.runs}` : ""}`;
  if (options.json) {
    const shown = rows.map((row) => ({ ...row, isMet: isMet(row) }));
    console.log(JSON.stringify({ title, isMet: rows.every(isMet), rows: shown }));
  } else console.log(`\n${title}\n\n${table(rows)}\n`);
  if (options.readme) writeFileSync(page, exchanged(readFileSync(page, "utf8"), "chaos", readmePart(rows, title)));
}
progress.end();
await atTheEnd.undo();
process.exit(isAllMet ? 0 : 1);
