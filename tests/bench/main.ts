/**
 * The bench: every row of the table, one after the other, contestants in turn.
 *
 *   bun run tests/bench/main.ts [--quick] [--only row[,row…]] [--rounds n] [--json file] [--report file] [--list]
 *
 * Exit code 0 when nothing missed its target (a skip is none), 1 otherwise, 2 for a wrong option.
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { parseArgs } from "node:util";
import type { Defer } from "../support/test.ts";
import { buildGo } from "./go.ts";
import { describeMachine } from "./machine.ts";
import { html, markdown, type Report } from "./report.ts";
import { rows } from "./rows/all.ts";
import { type Bench, type Go, type Outcome, type Row, type RowResult, Skip, type Verdict } from "./types.ts";

/** What is under load is told for this long per turn: the middle of a minute of load is what a median of five needs. */
const fullTurnMs = 4_000;
const quickTurnMs = 350;
const maxQuickMs = 58_000;

function options() {
  try {
    const { values } = parseArgs({
      options: {
        quick: { type: "boolean", default: false },
        only: { type: "string" },
        rounds: { type: "string" },
        json: { type: "string" },
        report: { type: "string" },
        list: { type: "boolean", default: false },
      },
    });
    const only = values.only?.split(",");
    for (const id of only ?? []) {
      if (!rows.some((row) => row.id === id)) throw new Error(`no row is called ${id}: see --list`);
    }
    const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
    if (!Number.isInteger(rounds) || rounds < 1 || rounds > 50) throw new Error("--rounds must be from 1 to 50");
    return { ...values, rounds, chosen: rows.filter(({ id }) => only?.includes(id) ?? true) };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    return process.exit(2);
  }
}

const { quick, rounds, chosen, json, report: page, list } = options();
if (list) {
  for (const { id, what } of rows) console.log(`${id.padEnd(12)} ${what}`);
  process.exit(0);
}

const sinceMs = performance.now();
const isTerminal = process.stderr.isTTY === true;
/** What is to be undone when the row, or the whole, is over or cut short; the last first. */
const shared = new Map<string, Promise<unknown>>();
const undos: { row: (() => unknown)[]; whole: (() => unknown)[] } = { row: [], whole: [] };

async function undo(all: (() => unknown)[]): Promise<void> {
  for (const one of all.splice(0).reverse()) {
    try {
      await one();
    } catch (error) {
      process.stderr.write(`could not clean up: ${(error as Error).message}\n`);
    }
  }
}

let isStopping = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    isStopping = true;
    await undo(undos.row);
    await undo(undos.whole);
    process.exit(130);
  });
}

function say(text: string): void {
  const at = ((performance.now() - sinceMs) / 1_000).toFixed(0).padStart(4);
  process.stderr.write(isTerminal ? `\r\x1b[K${at} s  ${text}` : `${at} s  ${text}\n`);
}

function skipped(row: Row, reason: string): Verdict[] {
  return Object.entries(row.targets).flatMap(([measure, byRuntime]) =>
    Object.entries(byRuntime).map(([runtime, target]) => ({
      runtime: runtime as Verdict["runtime"],
      measure,
      unit: "",
      target,
      status: "skip" as const,
      reason,
    }))
  );
}

/** Runs a row within its time. What fails in it is told, and the others go on. */
async function run(row: Row, next: Row | undefined, go: Go): Promise<RowResult> {
  const beganMs = performance.now();
  const outcome: Outcome = { series: [], verdicts: [], errors: 0, checked: 0, notes: [] };
  // A row that was given up may still be at work: what it starts from then on is ended at once, and its next step ends it.
  let isOver = false;
  const defer: Defer = (one) => isOver || isStopping ? void one() : undos.row.push(one);
  const step = (text: string) => {
    if (isOver || isStopping) throw new Skip("given up");
    say(`${row.id}: ${text}`);
  };
  const share: Bench["shared"] = <T>(name: string, make: () => Promise<T>) => {
    if (!shared.has(name)) shared.set(name, make());
    return shared.get(name) as Promise<T>;
  };
  const bench: Bench = { quick, rounds, turnMs: quick ? quickTurnMs : fullTurnMs, go, defer, shared: share, step };
  const leftMs = quick && chosen.length > 1 ? maxQuickMs - (beganMs - sinceMs) : Infinity;
  const limitMs = Math.min(leftMs, 1_000 * row.maxSeconds[quick ? 0 : 1] * Math.max(1, rounds / (quick ? 2 : 5)));
  let timer: ReturnType<typeof setTimeout> | undefined;
  let isCut = false;
  step("starting");
  try {
    if (leftMs < 500) throw new Skip("--quick had no time left");
    await Promise.race([
      row.run(bench, outcome),
      new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Skip(`not done within ${(limitMs / 1_000).toFixed(0)} s`)), limitMs);
      }),
    ]);
  } catch (error) {
    isCut = true;
    const reason = error instanceof Skip ? error.message : `failed: ${(error as Error).message}`;
    if (!(error instanceof Skip)) outcome.errors++;
    const told = new Set(outcome.verdicts.map(({ measure, runtime }) => `${measure} ${runtime}`));
    const first = reason.split("\n")[0]!;
    outcome.verdicts.push(...skipped(row, first).filter(({ measure, runtime }) => !told.has(`${measure} ${runtime}`)));
    if (first !== reason) outcome.notes.push(reason);
  }
  clearTimeout(timer);
  isOver = true;
  if (isCut || row.stage === undefined || row.stage !== next?.stage) {
    await undo(undos.row);
    shared.clear();
  }
  const { id, what, how } = row;
  return { ...outcome, id, what, how, tookMs: performance.now() - beganMs };
}

const machine = describeMachine();
say("building the Go contestants");
const go = await buildGo((one) => undos.whole.push(one));
// In a hurry the short rows come first, so that a machine that is too slow for all of them skips the fewest.
const order = quick ? [...chosen].sort((a, b) => a.maxSeconds[0] - b.maxSeconds[0]) : chosen;
const results: RowResult[] = [];
for (const [at, row] of order.entries()) {
  if (isStopping) break;
  const result = await run(row, order[at + 1], go);
  results.push(result);
  const of = (status: Verdict["status"]) => result.verdicts.filter((verdict) => verdict.status === status).length;
  say(`${row.id}: ${of("pass")} passed, ${of("miss")} missed, ${of("skip")} skipped, ${result.errors} errors`);
  if (isTerminal) process.stderr.write("\n");
  for (const note of result.notes) process.stderr.write(`        ${note}\n`);
}
// The signal's handler ends the process when all is cleaned up.
if (isStopping) await new Promise(() => {});
await undo(undos.whole);
results.sort((a, b) => chosen.findIndex(({ id }) => id === a.id) - chosen.findIndex(({ id }) => id === b.id));
const turnMs = quick ? quickTurnMs : fullTurnMs;
const report: Report = { machine, quick, rounds, turnMs, tookMs: performance.now() - sinceMs, rows: results };
console.log(markdown(report));
if (json !== undefined) writeFileSync(json, JSON.stringify(report, undefined, 2) + "\n");
if (page !== undefined) writeFileSync(page, html(report));
const isGood = results.every(({ errors, verdicts }) =>
  errors === 0 && verdicts.every(({ status }) => status !== "miss")
);
process.exit(isGood ? 0 : 1);
