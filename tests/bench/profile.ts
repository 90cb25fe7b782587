/** Where a node's time goes under load, by the CPU profiler of its runtime, and how far it is from the runtime's limit. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bothRuntimes, root, type RuntimeKind, temporaryDirectory } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { budgetBytes, startCluster, verify } from "./clusters.ts";
import { firstKeys, keyFile } from "./keys.ts";
import { constantKeys, startBareHop, startConstant } from "./limit.ts";
import { cpuMsOf } from "./machine.ts";
import { startOrigin } from "./origin.ts";
import { loadCore, serverCore } from "./processes.ts";
import type { Bench, Outcome, Profile, ProfileEntry } from "./types.ts";
import { load } from "./wrk.ts";

const keyCount = 1_000;
const connections = 64;
const maxEntries = 15;
const intervalMs = 1;
const warmUpMs = 700;
const fileName = "node.cpuprofile";

/** The profile that both runtimes write, as Chrome's tools read it. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  /** Ids of nodes. */
  readonly samples: readonly number[];
  /** Since the sample before, in microseconds. */
  readonly timeDeltas: readonly number[];
}

/** Profiles local-hit and hop-64 once on each runtime. Errors end the whole: a profile of errors is none. */
export async function profileNodes(deferWhole: Defer, say: (text: string) => void, turnMs: number): Promise<Profile[]> {
  const profiles: Profile[] = [];
  for (const row of ["local-hit", "hop-64"] as const) {
    for (const kind of bothRuntimes) {
      say(`profile: ${row} on ${kind}`);
      const undos: (() => unknown)[] = [];
      const undo = async () => {
        for (const one of undos.splice(0).reverse()) await one();
      };
      deferWhole(undo);
      profiles.push(await profileOf(row, kind, (one) => undos.push(one), turnMs));
      await undo();
    }
  }
  return profiles;
}

async function profileOf(row: Profile["row"], kind: RuntimeKind, defer: Defer, turnMs: number): Promise<Profile> {
  const isAlone = row === "local-hit";
  const outcome: Outcome = { series: [], verdicts: [], errors: 0, checked: 0, notes: [] };
  const bench = { defer, go: {} } as Bench;
  const folder = temporaryDirectory(defer);
  const start = async (flags: readonly string[]) => {
    const budgets = isAlone ? [budgetBytes] : [0, budgetBytes];
    const cores = isAlone ? [serverCore] : undefined;
    const cluster = await startCluster(bench, kind, { origin: await startOrigin(defer), budgets, cores, flags });
    const keys = isAlone ? firstKeys(keyCount) : (await cluster.keysOf(1, 3 * keyCount)).slice(0, keyCount);
    await verify(defer, outcome, cluster.urls[0]!, keys);
    return { node: cluster.nodes[0]!, url: cluster.urls[0]!, file: keyFile(defer, keys) };
  };
  const turn = async (url: string, file: string, ms = turnMs) => {
    const options = { urls: [url], keyFile: file, connections, turnMs: ms, cores: isAlone ? loadCore : undefined };
    return (await load(defer, outcome, options)).requestsPerSecond;
  };
  const plain = await start([]);
  const bareUrl = await (isAlone ? startConstant(defer, kind, { cores: serverCore }) : startBareHop(defer, kind));
  const bareFile = isAlone ? constantKeys(defer) : keyFile(defer, firstKeys(keyCount));
  await turn(plain.url, plain.file, warmUpMs);
  await turn(bareUrl, bareFile, warmUpMs);
  const requestsPerSecond = await turn(plain.url, plain.file);
  const limitPerSecond = await turn(bareUrl, bareFile);
  const flags = ["--cpu-prof", `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${fileName}`];
  const profiled = await start(flags);
  await turn(profiled.url, profiled.file, warmUpMs);
  const [beforeMs, sinceMs] = [cpuMsOf(profiled.node.child.pid!), performance.now()];
  const profiledPerSecond = await turn(profiled.url, profiled.file);
  const cpuMs = cpuMsOf(profiled.node.child.pid!) - beforeMs;
  const { code } = await profiled.node.end("SIGTERM");
  if (code !== 0) throw new Error(profiled.node.account("its profile"));
  if (outcome.errors > 0) throw new Error(`${row} on ${kind}: ${outcome.errors} errors: ${outcome.notes[0]}`);
  const written: CpuProfile = JSON.parse(readFileSync(join(folder, fileName), "utf8"));
  const told = summary(written, performance.now() - sinceMs, cpuMs);
  return { row, runtime: kind, requestsPerSecond, profiledPerSecond, limitPerSecond, cpuMs, ...told };
}

/**
 * What the last `windowMs` of a profile say, as shares of the time that the process used. Samples are counted, one per
 * interval: Bun takes none outside JavaScript, and adds the time without samples to the one after.
 */
export function summary(
  { nodes, samples, timeDeltas }: CpuProfile,
  windowMs: number,
  cpuMs: number,
): { top: ProfileEntry[]; native: number } {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const counts = new Map<string, number>();
  let sampled = 0;
  let backMs = 0;
  for (let at = samples.length - 1; at >= 0 && backMs <= windowMs; backMs += timeDeltas[at--]! / 1_000) {
    const name = names.get(samples[at]!);
    if (name === undefined) continue;
    counts.set(name, (counts.get(name) ?? 0) + 1);
    sampled++;
  }
  const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, maxEntries)
    .map(([what, count]) => ({ what, share: count * intervalMs / cpuMs }));
  return { top, native: Math.max(0, 1 - sampled * intervalMs / cpuMs) };
}

/** Undefined for what is no function: idle time, the program outside JavaScript, the collector. */
function nameOf({ functionName, url, lineNumber }: CpuProfile["nodes"][number]["callFrame"]): string | undefined {
  if (/^\((root|program|idle|garbage collector)\)$/.test(functionName)) return undefined;
  const file = url.replace(/^file:\/\//, "").replace(`${root}/`, "").replace(/^.*\/(node_modules|npm\/[^/]+)\//, "");
  return `${functionName || "anonymous"} ${file === "" ? "(native)" : `${file}:${lineNumber + 1}`}`;
}
