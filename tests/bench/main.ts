/**
 * The bench: every row of the table, one after the other, contestants in turn.
 *
 *   bun run tests/bench/main.ts [--quick] [--only row[,row…]] [--rounds n] [--profile] [--json file] [--report file]
 *     [--readme] [--list]
 *
 * `--readme` writes the tables and the plots of tests/bench/README.md. `--profile` says where a node's time goes instead
 * of running all rows (with `--only` and `--readme`: after those). Exit code 0 when nothing missed its target (a skip is
 * no miss; with `--quick`: when there was no error), 1 otherwise, 2 for a wrong option.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import { buildGo } from "./go.ts";
import { describeMachine, hashingSpeed, memoryLatencyNs } from "./machine.ts";
import { html } from "./page.ts";
import { profileNodes } from "./profile.ts";
import { writeReadme } from "./readme.ts";
import { markdown, profileLines, type Report } from "./report.ts";
import { rows } from "./rows/all.ts";
import { Runner } from "./runner.ts";
import type { Profile, RowResult, Verdict } from "./types.ts";

const fullTurnMs = 500;
const quickTurnMs = 200;
/** Rounds of load in the time of one round of work. */
const loadRoundsPerRound = 3;
const fullWarmUpMs = fullTurnMs * loadRoundsPerRound;

function options() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: "boolean", default: false },
        only: { type: "string" },
        rounds: { type: "string" },
        profile: { type: "boolean", default: false },
        json: { type: "string" },
        report: { type: "string" },
        readme: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
      },
    });
    const only = values.only?.split(",");
    for (const id of only ?? []) {
      if (!rows.some((row) => row.id === id)) throw new Error(`no row is called ${id}: see --list`);
    }
    const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
    if (!Number.isInteger(rounds) || rounds < 1 || rounds > 50) throw new Error("--rounds must be from 1 to 50");
    if (values.readme && (values.quick || only !== undefined)) {
      throw new Error("--readme wants all rows at full size");
    }
    const chosen = rows.filter(({ id }) => only?.includes(id) ?? (values.readme || !values.profile));
    return { ...values, rounds, chosen };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return process.exit(2);
  }
}

const { quick, rounds, chosen, profile, json, report: page, readme, list } = options();
if (list) {
  for (const { id, what } of rows) console.log(`${id.padEnd(12)} ${what}`);
  process.exit(0);
}

const isTerminal = process.stderr.isTTY === true;
const turns = quick
  ? { loadRounds: rounds, turnMs: quickTurnMs, warmUpMs: quickTurnMs }
  : { loadRounds: rounds * loadRoundsPerRound, turnMs: fullTurnMs, warmUpMs: fullWarmUpMs };
const runner = new Runner({ quick, rounds, ...turns, say, isShared: chosen.length > 1 });

function say(text: string): void {
  const at = (runner.tookMs / 1_000).toFixed(0).padStart(4);
  process.stderr.write(isTerminal ? `\r\x1b[K${at} s  ${text}` : `${at} s  ${text}\n`);
}

const hashingSpeeds: number[] = [];
const memoryLatenciesNs: number[] = [];

async function runAll(): Promise<RowResult[]> {
  say("building the Go contestants");
  const go = await buildGo(runner.deferWhole, quick);
  const results: RowResult[] = [];
  for (const [at, row] of chosen.entries()) {
    if (runner.isStopping) break;
    // A quick run does not measure speed: once is enough.
    if (!quick || at === 0) {
      hashingSpeeds.push(hashingSpeed());
      memoryLatenciesNs.push(memoryLatencyNs());
    }
    const result = await runner.run(row, chosen[at + 1], go);
    results.push(result);
    const of = (status: Verdict["status"]) => result.verdicts.filter((verdict) => verdict.status === status).length;
    const counts = `${of("pass")} passed, ${of("miss")} missed, ${of("skip")} skipped, ${result.errors} errors`;
    say(`${row.id}: ${counts}, ${(result.tookMs / 1_000).toFixed(1)} s`);
    if (isTerminal) process.stderr.write("\n");
    for (const note of result.notes) process.stderr.write(`        ${note}\n`);
  }
  return results;
}

const machine = describeMachine();
let results: RowResult[] = [];
let profiles: Profile[] = [];
let isProfiled = true;
try {
  if (chosen.length > 0) results = await runAll();
  if (profile && !runner.isStopping) {
    try {
      profiles = await profileNodes(runner.deferWhole, say, turns.warmUpMs);
    } catch (error) {
      // The rows' results are still reported.
      isProfiled = false;
      say(`no profile: ${(error as Error).message}`);
    }
  }
} finally {
  // The signal's handler ends the process after the clean-up.
  if (runner.isStopping) await new Promise(() => {});
  await runner.end();
}
const command = ["npm run bench", ...(process.argv.length > 2 ? ["--", ...process.argv.slice(2)] : [])].join(" ");
const { tookMs } = runner;
const speeds = { hashingSpeeds, memoryLatenciesNs };
const report: Report = { machine, ...speeds, command, quick, rounds, ...turns, tookMs, rows: results, profiles };
console.log([markdown(report), ...profileLines(profiles)].join("\n"));
if (json !== undefined) writeFileSync(json, JSON.stringify(report, undefined, 2) + "\n");
if (page !== undefined) writeFileSync(page, html(report));
if (readme) writeReadme(report);
// A quick run's figures do not judge targets; its errors count.
const isGood = results.every(({ errors, verdicts }) =>
  errors === 0 && (quick || verdicts.every(({ status }) => status !== "miss"))
);
process.exit(isGood && isProfiled ? 0 : 1);
