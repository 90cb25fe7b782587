/**
 * The whole check of the project: format, lint, types, then every test on Bun and on Deno. Ends with one line of totals.
 *
 * `bun run tests/run.ts [path ...]` runs only the tests under the given paths.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const SUITE_TIMEOUT_MS = 20 * 60 * 1000;
const required = process.env.CI === "true";
const reports = mkdtempSync(join(tmpdir(), "muster-tests-"));
const paths = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };

/** The pinned development dependency, else what PATH has. */
function program(name: string): string | undefined {
  const pinned = join("node_modules", ".bin", name);
  if (existsSync(pinned)) return pinned;
  return spawnSync("/bin/sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim() || undefined;
}

function run(title: string, command: string[]): boolean {
  console.log(`\n== ${title}: ${command.join(" ")}`);
  const { status, error, signal } = spawnSync(command[0]!, command.slice(1), {
    stdio: "inherit",
    timeout: SUITE_TIMEOUT_MS,
    // Every child, and what it starts, sees the pinned runtimes first.
    env: { ...process.env, PATH: `${join(process.cwd(), "node_modules", ".bin")}:${process.env.PATH}`, NO_COLOR: "1" },
  });
  if (status !== 0) console.log(`== ${title} failed: ${error?.message ?? signal ?? `exit code ${status}`}`);
  return status === 0;
}

function check(title: string, command: string[]): void {
  total[run(title, command) ? "passed" : "failed"]++;
}

/** Counts what a suite's JUnit report tells; a suite that ends badly without a failed test is one failure. */
function suite(title: string, command: string[], report: string): void {
  const ok = run(title, command);
  const xml = existsSync(report) ? readFileSync(report, "utf8") : "";
  const count = (pattern: RegExp) => xml.match(pattern)?.length ?? 0;
  const skipped = count(/<skipped\b/g);
  const failed = count(/<(failure|error)\b/g);
  const passed = count(/<testcase\b/g) - skipped - failed;
  console.log(`== ${title}: ${passed} passed, ${failed} failed, ${skipped} skipped`);
  total.passed += passed;
  total.skipped += skipped;
  total.failed += failed + (failed === 0 && (!ok || passed === 0) ? 1 : 0);
}

function missing(name: string): void {
  console.log(`\n== ${name} is neither installed by npm nor on PATH: its part is ${required ? "FAILED" : "skipped"}`);
  total[required ? "failed" : "skipped"]++;
}

const [bun, deno] = [program("bun"), program("deno")];
const under = paths.length > 0 ? paths : ["tests"];
try {
  if (deno === undefined) missing("deno");
  else if (paths.length === 0) {
    check("format", [deno, "fmt", "--check"]);
    check("lint", [deno, "lint"]);
    check("types", [deno, "check", "main.ts", "lib", "tests"]);
  }
  if (bun === undefined) missing("bun");
  else {
    const report = join(reports, "bun.xml");
    const files = under.map((path) => `./${path}`);
    suite("bun", [bun, "test", ...files, "--reporter=junit", `--reporter-outfile=${report}`], report);
  }
  if (deno !== undefined) {
    const report = join(reports, "deno.xml");
    suite("deno", [deno, "test", "-A", "--no-check", ...under, `--junit-path=${report}`], report);
  }
} finally {
  rmSync(reports, { recursive: true, force: true });
}
if (required && total.skipped > 0) {
  console.log(`\n== ${total.skipped} skipped, and in CI nothing may be`);
  total.failed += total.skipped;
}
console.log(`\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
process.exit(total.failed > 0 ? 1 : 0);
