/**
 * The whole check of the project: format, lint, types, then the tests on Bun and on Deno. Ends with one line of totals.
 *
 * `bun run tests/run.ts [path ...]` runs only the tests under the given paths.
 *
 * A test file runs under both runtimes, and beside another one, unless its first comment says otherwise. `Runs once:` is
 * for a file that tests processes that it starts, on both runtimes: a second runner would only repeat it. `Runs alone:` is
 * for a file that checks times and needs both cores: it runs after the others. `Runs once, alone:` is for both.
 *
 * A file in which a test fails runs once more at the end, alone. What passes then is told as such, and is no failure: on a
 * busy machine some process is now and then starved. So are few files at most; where more fail, something is broken.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** Derived from 6.1 minutes on two cores that others kept busy too (load 7), with 6.2 minutes of CPU time. */
const USUAL_MINUTES = 5;
/** Ends tests that hang. Chosen: the tests took over 20 minutes on a busy machine. */
const SUITE_TIMEOUT_MS = 60 * 60 * 1000;
const PIPE_TIMEOUT_MS = 5_000;
/** Jobs side by side. Most tests wait more than they compute; two leave a core for each on the smallest CI machines. */
const LANES = 2;
const FAILURE_LINES = 60;
/** Chosen. */
const MAX_SECOND_TRIES = 3;
const required = process.env.CI === "true";
const reports = mkdtempSync(join(tmpdir(), "muster-tests-"));
const total = { passed: 0, failed: 0, skipped: 0 };
/** What failed, printed again at the end: a log that is cut keeps its end. */
const failures: string[] = [];

/** A file of a suite in which tests failed. */
interface FailedFile {
  readonly job: Job;
  readonly file: string;
  readonly failed: number;
  /** What of `failures` is about its suite. */
  readonly told: readonly string[];
}
const failedFiles: FailedFile[] = [];

interface Job {
  readonly title: string;
  readonly command: readonly string[];
  /** The test files of a suite; empty for a check of the sources. */
  readonly files: readonly string[];
}

/** The pinned development dependency, else what PATH has. */
function program(name: string): string | undefined {
  const pinned = join("node_modules", ".bin", name);
  if (existsSync(pinned)) return pinned;
  return spawnSync("/bin/sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim() || undefined;
}

/** The test files under these paths, sorted. */
function testFiles(paths: readonly string[]): string[] {
  const found = paths.flatMap((path) =>
    statSync(path).isFile() ? [path] : readdirSync(path, { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith("_test.ts")).map((name) => join(path, name))
  );
  return [...new Set(found)].filter((path) => !path.includes("node_modules")).sort();
}

type Runs = "" | "once" | "alone" | "once, alone";

/** How a file says that it runs. */
function runsOf(file: string): Runs {
  const comment = /^\/\*\*[^]*?\*\//.exec(readFileSync(file, "utf8"))?.[0] ?? "";
  return (/\bRuns (once, alone|once|alone):/.exec(comment)?.[1] ?? "") as Runs;
}

/** Prints one line per file and check, with the time since the start and how many are done. */
class Progress {
  readonly #sinceMs = performance.now();
  readonly #count: number;
  #done = 0;

  constructor(count: number) {
    this.#count = count;
  }

  tell(text: string): void {
    const seconds = Math.floor((performance.now() - this.#sinceMs) / 1_000);
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    console.log(`${clock.padStart(5)} ${`${this.#done}/${this.#count}`.padStart(8)}  ${text}`);
  }

  done(text: string): void {
    this.#done++;
    this.tell(text);
  }
}

/** Follows what a job prints: tells each file when the next one begins, and what it printed where a test failed. */
class Follower {
  readonly lines: string[] = [];
  readonly failed = new Map<string, number>();
  readonly #title: string;
  readonly #progress: Progress;
  #rest = "";
  #file: string | undefined;
  #from = 0;
  #sinceMs = performance.now();

  constructor(title: string, progress: Progress) {
    this.#title = title;
    this.#progress = progress;
  }

  take(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) {
      // Bun: "tests/a_test.ts:"; Deno: "running 3 tests from ./tests/a_test.ts".
      const file = /^(?:running \d+ tests? from \.\/)?(tests\/\S+_test\.ts):?$/.exec(line)?.[1];
      if (file !== undefined) this.#next(file);
      if (line.startsWith("skipped: ")) this.#progress.tell(line);
      // Bun names the failed tests again at its end.
      if (/^\d+ tests? failed:$/.test(line)) this.#next(undefined);
      this.lines.push(line);
    }
  }

  end(): void {
    if (this.#rest !== "") this.take("\n");
    this.#next(undefined);
  }

  #next(file: string | undefined): void {
    if (this.#file !== undefined) {
      const own = this.lines.slice(this.#from);
      const [passed, failed] = [own.filter(hasPassed).length, own.filter(hasFailed).length];
      const seconds = ((performance.now() - this.#sinceMs) / 1_000).toFixed(1);
      const outcome = failed === 0 ? `${passed} passed` : `${passed} passed, ${failed} FAILED`;
      this.#progress.done(`${this.#title}  ${this.#file}  ${outcome}, ${seconds} s`);
      if (failed > 0) {
        console.log(own.join("\n"));
        this.failed.set(this.#file, failed);
      }
    }
    this.#file = file;
    this.#from = this.lines.length;
    this.#sinceMs = performance.now();
  }
}

const hasPassed = (line: string) => /^\(pass\)|\.\.\. ok/.test(line);
const hasFailed = (line: string) => /^\(fail\)|\.\.\. FAILED/.test(line);

/** Runs a job's command to its end; resolves to why it went wrong, `""` when it did not. */
async function run(command: readonly string[], take: (text: string) => void): Promise<string> {
  const child = spawn(command[0]!, command.slice(1), {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: SUITE_TIMEOUT_MS,
    // Every child, and what it starts, sees the pinned runtimes first.
    env: { ...process.env, PATH: `${join(process.cwd(), "node_modules", ".bin")}:${process.env.PATH}`, NO_COLOR: "1" },
  });
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", take);
  return await outcomeOf(child);
}

function outcomeOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("exit", (code, signal) => {
      const outcome = code === 0 ? "" : signal ?? `exit code ${code}`;
      child.once("close", () => resolve(outcome));
      // A process that a test left behind holds the pipes open, and must not hold up the rest.
      setTimeout(() => resolve(outcome), PIPE_TIMEOUT_MS).unref();
    });
  });
}

/** Each failed test's line with what was printed before it, back to the test before: the error and the test's own log. */
function failedTests(title: string, lines: readonly string[]): string[] {
  const found: string[] = [];
  let from = 0;
  lines.forEach((line, at) => {
    if (hasFailed(line)) found.push(`${title}:\n${lines.slice(Math.max(from, at - FAILURE_LINES), at + 1).join("\n")}`);
    if (/^\((pass|fail|skip)\)|\.\.\. (ok|FAILED|ignored)/.test(line)) from = at + 1;
  });
  // Deno prints its errors after the last test.
  const errors = lines.findIndex((line) => line.trim() === "ERRORS");
  if (errors >= 0) found.push(`${title}:\n${lines.slice(errors, errors + FAILURE_LINES).join("\n")}`);
  return found.length > 0 ? found : [`${title}:\n${lines.slice(-FAILURE_LINES).join("\n")}`];
}

async function check(job: Job, progress: Progress): Promise<void> {
  let printed = "";
  const fault = await run(job.command, (text) => printed += text);
  total[fault === "" ? "passed" : "failed"]++;
  progress.done(`${job.title}  ${fault === "" ? "passed" : `FAILED: ${fault}`}`);
  if (fault !== "") failures.push(`${job.title}:\n${printed.split("\n").slice(-FAILURE_LINES).join("\n")}`);
}

/** Counts by the suite's JUnit report; a suite that ends badly without a failed test is one failure. */
async function suite(job: Job, progress: Progress): Promise<void> {
  const report = join(reports, `${job.title.replaceAll(/\W/g, "-")}.xml`);
  const [runtime] = job.title.split(" ");
  const reporting = runtime === "bun"
    ? ["--reporter=junit", `--reporter-outfile=${report}`]
    : [`--junit-path=${report}`];
  const follower = new Follower(job.title, progress);
  const fault = await run(
    [...job.command, ...job.files.map((file) => `./${file}`), ...reporting],
    (text) => follower.take(text),
  );
  follower.end();
  const xml = existsSync(report) ? readFileSync(report, "utf8") : "";
  const count = (pattern: RegExp) => xml.match(pattern)?.length ?? 0;
  const skipped = count(/<skipped\b/g);
  const failed = count(/<(failure|error)\b/g);
  const passed = count(/<testcase\b/g) - skipped - failed;
  const isLost = failed === 0 && (fault !== "" || passed === 0);
  progress.tell(`${job.title}: ${passed} passed, ${failed} failed, ${skipped} skipped${fault && `: ${fault}`}`);
  if (failed > 0 || isLost) {
    const told = failedTests(job.title, follower.lines);
    failures.push(...told);
    // A suite that ended badly besides has more wrong with it than its failed tests.
    const isWhole = [...follower.failed.values()].reduce((sum, count) => sum + count, 0) === failed;
    if (isWhole) { for (const [file, count] of follower.failed) failedFiles.push({ job, file, failed: count, told }); }
  }
  total.passed += passed;
  total.skipped += skipped;
  total.failed += failed + (isLost ? 1 : 0);
}

/** Runs each file again in which a test failed, if they are few. */
async function tryAgain(files: readonly FailedFile[], progress: Progress): Promise<void> {
  if (files.length > MAX_SECOND_TRIES) return;
  const stillWrong = new Set<string>();
  for (const { job, file, failed, told } of files) {
    let printed = "";
    const fault = await run([...job.command, `./${file}`], (text) => printed += text);
    const isWell = fault === "";
    progress.tell(`${job.title}  ${file}  second try, alone: ${isWell ? "passed" : `FAILED: ${fault}`}`);
    if (isWell) {
      total.failed -= failed;
      total.passed += failed;
      continue;
    }
    for (const text of told) stillWrong.add(text);
    failures.push(...failedTests(`${job.title}, second try`, printed.split("\n")));
  }
  const settled = files.flatMap(({ told }) => told).filter((text) => !stillWrong.has(text));
  for (const text of settled) {
    const at = failures.indexOf(text);
    if (at >= 0) failures[at] = text.replace(/^/, "(passed at its second try) ");
  }
}

/** Runs jobs, so many side by side, in their order. */
async function runJobs(jobs: readonly Job[], lanes: number, progress: Progress): Promise<void> {
  const waiting = [...jobs];
  await Promise.all(Array.from({ length: lanes }, async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      await (job.files.length === 0 ? check(job, progress) : suite(job, progress));
    }
  }));
}

/** What to run side by side, and what after that alone. */
function plan(paths: readonly string[]): { together: Job[]; alone: Job[] } {
  const files = Map.groupBy(testFiles(paths.length > 0 ? paths : ["tests"]), runsOf);
  const of = (runs: Runs) => files.get(runs) ?? [];
  const [bun, deno] = [program("bun"), program("deno")];
  for (const [name, found] of [["bun", bun], ["deno", deno]]) {
    if (found === undefined) missing(name!);
  }
  const onBun = bun === undefined ? [] : [bun, "test"];
  const onDeno = deno === undefined ? [] : [deno, "test", "-A", "--no-check", "--node-modules-dir=manual"];
  // In halves, and the longest first: so that both lanes end at about the same time.
  const halves = (title: string, command: string[]): Job[] =>
    [0, 1].map((half) => ({
      title: `${title} ${half + 1}/2`,
      command,
      files: of("").filter((_, at) => at % 2 === half),
    }));
  const suites: Job[] = [...halves("deno", onDeno), ...halves("bun", onBun)];
  const processes: Job = { title: "bun processes", command: onBun, files: of("once") };
  const checks: Job[] = deno === undefined || paths.length > 0 ? [] : [
    { title: "format", command: [deno, "fmt", "--check"], files: [] },
    { title: "lint", command: [deno, "lint"], files: [] },
    { title: "types", command: [deno, "check", "--node-modules-dir=manual", "main.ts", "lib", "tests"], files: [] },
  ];
  const canRun = (job: Job) => checks.includes(job) || (job.command.length > 0 && job.files.length > 0);
  const alone: Job[] = [
    { title: "bun alone", command: onBun, files: [...of("alone"), ...of("once, alone")] },
    { title: "deno alone", command: onDeno, files: of("alone") },
  ];
  return { together: [processes, ...checks, ...suites].filter(canRun), alone: alone.filter(canRun) };
}

function missing(name: string): void {
  console.log(`${name} is neither installed by npm nor on PATH: its part is ${required ? "FAILED" : "skipped"}`);
  total[required ? "failed" : "skipped"]++;
}

const paths = process.argv.slice(2);
const { together, alone } = plan(paths);
const steps = [...together, ...alone].reduce((sum, { files }) => sum + (files.length || 1), 0);
const usual = paths.length > 0 ? "" : `, about ${USUAL_MINUTES} minutes on two idle cores`;
console.log(`${steps} steps (a step is a check, or a test file under one runtime)${usual}`);
const progress = new Progress(steps);
try {
  await runJobs(together, LANES, progress);
  await runJobs(alone, 1, progress);
  await tryAgain(failedFiles, progress);
} finally {
  rmSync(reports, { recursive: true, force: true });
}
if (required && total.skipped > 0) {
  console.log(`\n${total.skipped} skipped, and in CI nothing may be`);
  total.failed += total.skipped;
}
for (const failure of failures) console.log(`\n== failed in ${failure}`);
console.log(`\n${total.passed} passed, ${total.failed} failed${total.skipped > 0 ? `, ${total.skipped} skipped` : ""}`);
process.exit(total.failed > 0 ? 1 : 0);
