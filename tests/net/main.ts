/**
 * The net program: runs real nodes on separate hosts (network namespaces), and makes the network fail.
 *
 * `bun run tests/net/main.ts [name]… [--only name]… [--scale share] [--json] [--readme]`
 *
 * It needs root, iproute2, nftables and util-linux; it starts itself again in its own network namespace, and does not
 * touch the machine's network. The exit code is 0 when every target is met, 1 when one is missed, 2 when it cannot run.
 */
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { circumstances, versionOf } from "../chaos/report.ts";
import { Undos } from "../chaos/runner.ts";
import { exchanged } from "../readme/markers.ts";
import { root } from "../support/node.ts";
import { isPermitted } from "./permitted.ts";
import { type Row, table } from "./report.ts";
import { scenarios } from "./scenarios.ts";
import { fullSettings, type Run, type Scenario } from "./world.ts";

const INSIDE = "MUSTER_NET_INSIDE";
const SCENARIO_TIMEOUT_MS = 3 * 60_000;
/** No scenario begins after this time, so that a run ends within 20 minutes. */
const RUN_MS = 17.5 * 60_000;
/** The time for one clean-up: a process that does not end must not delay the next scenario. */
const UNDO_MS = 15_000;
const page = join(root, "tests/net/README.md");

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}

const { values, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    only: { type: "string", multiple: true },
    scale: { type: "string", default: "1" },
    json: { type: "boolean", default: false },
    readme: { type: "boolean", default: false },
  },
});
const reason = isPermitted();
if (reason !== undefined) fail(reason);
const wanted = [...values.only ?? [], ...positionals];
const chosen = scenarios.filter(({ name }) => wanted.length === 0 || wanted.includes(name));
if (chosen.length === 0) {
  fail(
    `--only names a scenario: ${scenarios.map(({ name }) => name).join(" ")}`,
  );
}
const scale = Number(values.scale);
if (!(scale > 0 && scale <= 1)) fail("--scale is a share from 0 to 1");

if (process.env[INSIDE] === undefined) {
  const [program, ...args] = process.argv;
  const again = spawn("unshare", [
    "--net",
    program!,
    ...(process.versions.deno ? ["run", "-A"] : []),
    ...args,
  ], {
    stdio: "inherit",
    env: { ...process.env, [INSIDE]: "1" },
  });
  const code = await new Promise<number>((done) => again.on("exit", (code) => done(code ?? 1)));
  process.exit(code);
}

let undos = new Undos();
/** Breaks off the running scenario. */
let breakOff: (error: unknown) => void = () => {};
// An unhandled error ends the scenario, not the run.
for (const event of ["uncaughtException", "unhandledRejection"] as const) {
  process.on(event, (error: unknown) => breakOff(error));
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, async () => {
    await undos.undo();
    process.exit(130);
  });
}

async function runOne(scenario: Scenario): Promise<Row> {
  console.error(`== ${scenario.name}: ${scenario.title}`);
  undos = new Undos();
  const run: Run = {
    settings: { ...fullSettings, scale },
    defer: (undo) => undos.defer(() => within(UNDO_MS, undo)),
    say: (text) => console.error(`   ${text}`),
  };
  const { promise: late, reject } = Promise.withResolvers<never>();
  breakOff = reject;
  const sinceMs = performance.now();
  const timer = setTimeout(
    () => reject(new Error(`did not end within ${SCENARIO_TIMEOUT_MS} ms`)),
    SCENARIO_TIMEOUT_MS,
  );
  try {
    const outcome = await Promise.race([scenario.run(run), late]);
    for (const { what, target, measured, isMet } of outcome.checks) {
      console.error(
        `   ${isMet ? "met   " : "MISSED"} ${what}: ${measured} (${target})`,
      );
    }
    return { scenario, outcome };
  } catch (error) {
    console.error(
      `   MISSED: ${error instanceof Error ? error.stack : String(error)}`,
    );
    return {
      scenario,
      // The other lines are of nodes and were printed above.
      brokeOff: (error instanceof Error ? error.message : String(error)).split("\n")[0]!.slice(0, 200),
    };
  } finally {
    clearTimeout(timer);
    await undos.undo();
    console.error(`   took ${Math.round((performance.now() - sinceMs) / 1_000)} s`);
  }
}

async function within(ms: number, work: () => unknown): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`it takes longer than ${ms} ms`)), ms);
  try {
    await Promise.race([Promise.resolve().then(work), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

const rows: Row[] = [];
const startedMs = performance.now();
for (const scenario of chosen) {
  const isLate = performance.now() - startedMs > RUN_MS;
  rows.push(isLate ? { scenario, brokeOff: `not run: ${RUN_MS / 60_000} minutes were over` } : await runOne(scenario));
}
const tookMinutes = Math.round((performance.now() - startedMs) / 6_000) / 10;
const isAllMet = rows.every(({ outcome }) => outcome?.checks.every(({ isMet }) => isMet) === true);
const command = `npm run net${process.argv.length > 2 ? ` -- ${process.argv.slice(2).join(" ")}` : ""}`;
const title = circumstances(command, [
  `muster ${versionOf("git", ["-C", root, "rev-parse", "--short", "HEAD"])}`,
  `bun ${versionOf(`${root}/node_modules/.bin/bun`, ["--version"])}`,
  versionOf(`${root}/node_modules/.bin/deno`, ["--version"])?.replace(
    / \(.*/,
    "",
  ) ?? "no deno",
]);
if (values.json) console.log(JSON.stringify({ title, isAllMet, rows }));
else console.log(`${title}\n\n${table(rows)}`);
if (values.readme) {
  writeFileSync(
    page,
    exchanged(
      readFileSync(page, "utf8"),
      "net",
      `${title}; it took ${tookMinutes} minutes. Targets stand in brackets.\n\n${table(rows)}\n`,
    ),
  );
}
process.exit(isAllMet ? 0 : 1);
