/**
 * The whole check of the project: format, lint, types, then every test on Bun and on Deno. Ends with one line of totals.
 *
 * `bun run tests/run.ts [path ...]` runs only the tests under the given paths.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const SUITE_TIMEOUT_MS = 20 * 60 * 1000;
const PIPE_TIMEOUT_MS = 5_000;
const required = process.env.CI === "true";
const reports = mkdtempSync(join(tmpdir(), "muster-tests-"));
const paths = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };
/** What failed, said again at the end: a log that is cut keeps its end. */
const failures: string[] = [];
const FAILURE_LINES = 60;

/** The pinned development dependency, else what PATH has. */
function program(name: string): string | undefined {
  const pinned = join("node_modules", ".bin", name);
  if (existsSync(pinned)) return pinned;
  return spawnSync("/bin/sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim() || undefined;
}

/** Runs a command to its end, shows what it prints as it comes, and resolves to whether it went well and to its lines. */
async function run(title: string, command: string[]): Promise<{ ok: boolean; lines: string[] }> {
  console.log(`\n== ${title}: ${command.join(" ")}`);
  const child = spawn(command[0]!, command.slice(1), {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: SUITE_TIMEOUT_MS,
    // Every child, and what it starts, sees the pinned runtimes first.
    env: { ...process.env, PATH: `${join(process.cwd(), "node_modules", ".bin")}:${process.env.PATH}`, NO_COLOR: "1" },
  });
  let printed = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => {
      printed += text;
      process.stdout.write(text);
    });
  }
  const outcome = await new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => {
      const outcome = code === 0 ? "" : signal ?? `exit code ${code}`;
      child.once("close", () => resolve(outcome));
      // A process that a test left behind holds the pipes open, and must not hold up the rest.
      setTimeout(() => resolve(outcome), PIPE_TIMEOUT_MS).unref();
    });
  });
  if (outcome !== "") console.log(`== ${title} failed: ${outcome}`);
  return { ok: outcome === "", lines: printed.split("\n") };
}

async function check(title: string, command: string[]): Promise<void> {
  const { ok, lines } = await run(title, command);
  total[ok ? "passed" : "failed"]++;
  if (!ok) failures.push(`${title}:\n${lines.slice(-FAILURE_LINES).join("\n")}`);
}

/** Each failed test's line with what was printed before it, back to the test before: the error and the test's own log. */
function failedTests(title: string, lines: string[]): string[] {
  const found: string[] = [];
  let from = 0;
  lines.forEach((line, at) => {
    if (/^\(fail\)|\.\.\. FAILED/.test(line)) {
      found.push(`${title}:\n${lines.slice(Math.max(from, at - FAILURE_LINES), at + 1).join("\n")}`);
    }
    if (/^\((pass|fail|skip)\)|\.\.\. (ok|FAILED|ignored)/.test(line)) from = at + 1;
  });
  // Deno tells its errors after the last test.
  const errors = lines.findIndex((line) => line.trim() === "ERRORS");
  if (errors >= 0) found.push(`${title}:\n${lines.slice(errors, errors + FAILURE_LINES).join("\n")}`);
  return found;
}

/** Counts what a suite's JUnit report tells; a suite that ends badly without a failed test is one failure. */
async function suite(title: string, command: string[], report: string): Promise<void> {
  const { ok, lines } = await run(title, command);
  if (!ok) failures.push(...failedTests(title, lines));
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
    await check("format", [deno, "fmt", "--check"]);
    await check("lint", [deno, "lint"]);
    await check("types", [deno, "check", "main.ts", "lib", "tests"]);
  }
  if (bun === undefined) missing("bun");
  else {
    const report = join(reports, "bun.xml");
    const files = under.map((path) => `./${path}`);
    await suite("bun", [bun, "test", ...files, "--reporter=junit", `--reporter-outfile=${report}`], report);
  }
  if (deno !== undefined) {
    const report = join(reports, "deno.xml");
    await suite("deno", [deno, "test", "-A", "--no-check", ...under, `--junit-path=${report}`], report);
  }
} finally {
  rmSync(reports, { recursive: true, force: true });
}
if (required && total.skipped > 0) {
  console.log(`\n== ${total.skipped} skipped, and in CI nothing may be`);
  total.failed += total.skipped;
}
for (const failure of failures) console.log(`\n== failed in ${failure}`);
console.log(`\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
process.exit(total.failed > 0 ? 1 : 0);
