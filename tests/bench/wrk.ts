/** Load from wrk: closed loop, as fast as the servers answer. */
import { NodeProcess, root } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { until } from "../support/until.ts";
import { hasProgram } from "./machine.ts";
import { groupName } from "./keys.ts";
import { type Cores, start } from "./processes.ts";
import { type Outcome, Skip } from "./types.ts";

type Wrk = NodeProcess<"wrk">;

interface Aim {
  /** One thread per node. */
  readonly urls: readonly string[];
  readonly keyFile: string;
  readonly connections: number;
  readonly cores?: Cores;
}

export interface Load extends Aim {
  readonly turnMs: number;
}

export interface Draws extends Aim {
  /** All threads together; each makes the same number. */
  readonly requests: number;
  /** The same seed makes the same requests. */
  readonly seed: number;
  readonly timeoutMs: number;
}

export interface LoadFigures {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requests: number;
}

/** Longer than any turn and any fill: SIGINT ends it, and wrk then prints its figures. */
const longestSeconds = 600;
const startTimeoutMs = 15_000;
/** Chosen: far longer than wrk needs to end. */
const SIGNAL_AGAIN_MS = 1_000;
/** The seed of the last turn. With the same seed, a turn would draw the keys that the warm-up made hot. */
let seed = 0;

/** One turn, every body compared. Wrong statuses, broken sockets and wrong bodies count as the outcome's errors. */
export async function load(defer: Defer, outcome: Outcome, options: Load): Promise<LoadFigures> {
  const wrk = await startWrk(defer, options, "uniform");
  await Promise.race([wrk.exited, new Promise((over) => setTimeout(over, options.turnMs))]);
  return await endWrk(wrk, outcome, options.urls[0]!);
}

/** A number of requests of a Zipf mix, not a time, so that all contestants get the same requests. */
export async function draw(defer: Defer, outcome: Outcome, options: Draws): Promise<LoadFigures> {
  const { urls, requests, seed, timeoutMs } = options;
  const each = String(Math.ceil(requests / urls.length));
  const wrk = await startWrk(defer, options, "zipf", { BENCH_SEED: `${seed}`, BENCH_REQUESTS: each });
  await finished(wrk, urls.length, timeoutMs);
  return await endWrk(wrk, outcome, urls[0]!);
}

/** Asks a node once for every key of the file, and compares every body. */
export async function fill(
  defer: Defer,
  outcome: Outcome,
  url: string,
  options: { keyFile: string; connections: number; timeoutMs: number },
): Promise<void> {
  const wrk = await startWrk(defer, { urls: [url], ...options }, "once");
  await finished(wrk, 1, options.timeoutMs);
  await endWrk(wrk, outcome, url);
}

/** Waits until all threads have reached their end. */
async function finished(wrk: Wrk, threads: number, timeoutMs: number): Promise<void> {
  const isOver = () =>
    wrk.lines.filter((line) => line === "BENCH finished").length === threads || wrk.exitCode !== undefined;
  await until(isOver, timeoutMs, () => wrk.account("its end"));
}

/** Starts wrk and waits until all its threads are at work. */
async function startWrk(
  defer: Defer,
  { urls, keyFile, connections, cores }: Aim,
  mix: string,
  more: Record<string, string> = {},
): Promise<Wrk> {
  if (!hasProgram("wrk")) throw new Skip("wrk is not on this machine");
  const threads = urls.length;
  const wrk: Wrk = new NodeProcess(
    "wrk",
    start([
      ...["wrk", "-t", String(threads), "-c", String(Math.max(connections, threads)), "-d", `${longestSeconds}s`],
      ...["--timeout", "5s", "-s", `${root}/tests/bench/wrk.lua`, urls[0]!],
    ], {
      cores,
      env: {
        BENCH_KEYS: keyFile,
        BENCH_MIX: mix,
        BENCH_NODES: urls.map((url) => new URL(url).host).join(),
        BENCH_PATH: `/cache/${groupName}/`,
        BENCH_SEED: String(++seed),
        ...more,
      },
    }),
  );
  defer(() => wrk.end("SIGKILL"));
  // Until then wrk ignores SIGINT, and a turn that ends before it begins would last `longestSeconds`.
  const isRunning = () => wrk.stdout.includes("Running ") || wrk.exitCode !== undefined;
  await until(isRunning, startTimeoutMs, () => wrk.account("that it is running"));
  return wrk;
}

/**
 * wrk says "Running" and only then goes to sleep for its `longestSeconds`. A signal in between stops its threads, but does
 * not wake it; the next one does.
 */
async function interrupt(wrk: Wrk): Promise<number | null> {
  const again = setInterval(() => wrk.signal("SIGINT"), SIGNAL_AGAIN_MS);
  try {
    return (await wrk.end("SIGINT")).code;
  } finally {
    clearInterval(again);
  }
}

async function endWrk(wrk: Wrk, outcome: Outcome, url: string): Promise<LoadFigures> {
  const code = await interrupt(wrk);
  const line = /^BENCH (.*)$/m.exec(wrk.stdout);
  if (line === null) throw new Error(`wrk ended with ${code}: ${wrk.stdout}${wrk.lines.join("\n")}`);
  const told = JSON.parse(line[1]!);
  outcome.errors += told.failed + told.wrong;
  outcome.checked += told.checked - told.wrong;
  if (told.requests === 0 || told.checked !== told.requests || told.failed + told.wrong > 0) {
    outcome.errors ||= 1;
    outcome.notes.push(
      `${url}: ${told.requests} answers, ${told.checked} compared, ${told.wrong} wrong, ${told.failed} failed`,
    );
  }
  return {
    requestsPerSecond: told.requests / (told.micros / 1e6),
    p50Ms: told.p50Micros / 1_000,
    p99Ms: told.p99Micros / 1_000,
    requests: told.requests,
  };
}
