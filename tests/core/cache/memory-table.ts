/**
 * Prints resident memory against the budget, for values of several sizes, on both runtimes. Each line is a process of its own
 * that fills a cache and replaces all of it several times.
 *
 * Argument: the budget in MiB. @default 64
 */
import { execFile } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { bothRuntimes, root, runCommand } from "../../support/node.ts";
import type { Churned } from "./churn.ts";

const MIB = 1024 * 1024;
const ROUNDS = "4";
const KEY_LENGTH = "12";
const kinds = [["1"], ["10"], ["100"], ["1024"], ["65536"], ["10", "fields"]];

const budgetMib = Number(process.argv[2] ?? 64);
console.log(`budget ${budgetMib} MiB, keys of ${KEY_LENGTH} bytes, replaced ${ROUNDS} times\n`);
console.log("| body, bytes | runtime | entries | encoded, MiB | resident, MiB | resident / budget |");
console.log("| --- | --- | --- | --- | --- | --- |");
for (const [bodyBytes, ...more] of kinds) {
  for (const kind of bothRuntimes) {
    const [program, ...args] = runCommand(kind);
    const churn = [join(root, "tests/core/cache/churn.ts"), String(budgetMib * MIB), bodyBytes!, KEY_LENGTH, ROUNDS];
    const { stdout } = await promisify(execFile)(program!, [...args, ...churn, ...more]);
    const { budgetBytes, mostBytes, items, bytes } = JSON.parse(stdout) as Churned;
    const figures = [
      items,
      (bytes / MIB).toFixed(1),
      (mostBytes / MIB).toFixed(0),
      (mostBytes / budgetBytes).toFixed(2),
    ];
    console.log(`| ${[[bodyBytes, ...more].join(" with "), kind, ...figures].join(" | ")} |`);
  }
}
