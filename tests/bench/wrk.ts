/** Load from wrk: closed loop, as fast as the servers answer. */
import process from "node:process";
import { NodeProcess, root } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { hasProgram } from "./machine.ts";
import { groupName } from "./keys.ts";
import { type Cores, start } from "./processes.ts";
import { type Outcome, Skip } from "./types.ts";

export interface Load {
  /** One thread per node. */
  readonly urls: readonly string[];
  readonly keyFile: string;
  readonly connections: number;
  readonly turnMs: number;
  readonly mix?: "uniform" | "zipf";
  readonly cores?: Cores;
}

export interface LoadFigures {
  readonly requestsPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requests: number;
}

/** Longer than any turn: it ends by SIGINT, after which wrk tells what it has seen. */
const longestSeconds = 120;

/** One turn, every body compared. What fails is added to the outcome's errors: statuses, sockets, bodies that are no value. */
export async function load(defer: Defer, outcome: Outcome, options: Load): Promise<LoadFigures> {
  if (!hasProgram("wrk")) throw new Skip("wrk is not on this machine");
  const { urls, connections, turnMs } = options;
  const threads = urls.length;
  const child = new NodeProcess<string>(
    "wrk",
    start([
      ...["wrk", "-t", String(threads), "-c", String(Math.max(connections, threads)), "-d", `${longestSeconds}s`],
      ...["--timeout", "5s", "-s", `${root}/tests/bench/wrk.lua`, urls[0]!],
    ], {
      cores: options.cores,
      env: {
        BENCH_KEYS: options.keyFile,
        BENCH_MIX: options.mix ?? "uniform",
        BENCH_NODES: urls.map((url) => new URL(url).host).join(),
        BENCH_PATH: `/cache/${groupName}/`,
      },
    }),
  );
  defer(() => child.end("SIGKILL"));
  const timer = setTimeout(() => process.kill(child.child.pid!, "SIGINT"), turnMs);
  const code = await child.exited;
  clearTimeout(timer);
  const line = /^BENCH (.*)$/m.exec(child.stdout);
  if (line === null) throw new Error(`wrk ended with ${code}: ${child.stdout}${child.lines.join("\n")}`);
  const told = JSON.parse(line[1]!);
  outcome.errors += told.failed + told.wrong;
  outcome.checked += told.checked - told.wrong;
  if (told.requests === 0 || told.checked !== told.requests || told.failed + told.wrong > 0) {
    outcome.errors ||= 1;
    outcome.notes.push(
      `${urls[0]}: ${told.requests} answers, ${told.checked} compared, ${told.wrong} wrong, ${told.failed} failed`,
    );
  }
  return {
    requestsPerSecond: told.requests / (told.micros / 1e6),
    p50Ms: told.p50Micros / 1_000,
    p99Ms: told.p99Micros / 1_000,
    requests: told.requests,
  };
}
