/** Where a node's time goes under load, by the CPU profiler of its runtime, and how far it is from the runtime's limit. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { bothRuntimes, root, type RuntimeKind, temporaryDirectory } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { budgetBytes, fillOwners, startCluster, verify } from "./clusters.ts";
import { firstKeys, keyFile } from "./keys.ts";
import { constantKeys, startBareHop, startBareMesh, startConstant } from "./limit.ts";
import { ageMsOf, cpuMsOf } from "./machine.ts";
import { startOrigin } from "./origin.ts";
import { loadCore, type Server, serverCore } from "./processes.ts";
import type { Bench, Outcome, Profile, ProfileEntry } from "./types.ts";
import { draw, load } from "./wrk.ts";

const keyCount = 1_000;
const zipfKeyCount = 20_000;
/** As many requests for each key as in the row. */
const zipfWarmUpRequests = 4 * zipfKeyCount;
const maxTurnMs = 60_000;
const maxEntries = 10;
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

interface Shape {
  /** URLs of the nodes. The first is profiled. With `isZipf` all nodes are asked, else the first, for keys of the last. */
  readonly budgets: readonly number[];
  readonly connections: number;
  readonly isPinned?: boolean;
  readonly isZipf?: boolean;
}

const shapes: Readonly<Record<string, Shape>> = {
  "local-hit": { budgets: [budgetBytes], connections: 64, isPinned: true },
  "hop-64": { budgets: [0, budgetBytes], connections: 64 },
  "hop-8": { budgets: [0, budgetBytes], connections: 8 },
  "zipf": { budgets: Array<number>(5).fill(budgetBytes), connections: 80, isZipf: true },
};

/**
 * Profiles a node of each shape once on each runtime. An error ends the profiling, as the profile would mean nothing.
 */
export async function profileNodes(deferWhole: Defer, say: (text: string) => void, turnMs: number): Promise<Profile[]> {
  const profiles: Profile[] = [];
  for (const row of Object.keys(shapes)) {
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

interface Target {
  readonly node?: Server;
  readonly urls: readonly string[];
  readonly keyFile: string;
}

async function profileOf(row: string, kind: RuntimeKind, defer: Defer, turnMs: number): Promise<Profile> {
  const { budgets, connections, isPinned, isZipf } = shapes[row]!;
  const outcome: Outcome = { series: [], verdicts: [], errors: 0, checked: 0, notes: [] };
  const bench = { defer, go: {} } as Bench;
  const folder = temporaryDirectory(defer);
  const cores = isPinned ? loadCore : undefined;
  const start = async (flags: readonly string[]): Promise<Target> => {
    const options = { origin: await startOrigin(defer), budgets, cores: isPinned ? [serverCore] : undefined, flags };
    const cluster = await startCluster(bench, kind, options);
    const node = cluster.nodes[0]!;
    if (!isZipf) {
      const owner = budgets.length - 1;
      const keys = (await cluster.keysOf(owner, 3 * keyCount)).slice(0, keyCount);
      await verify(defer, outcome, cluster.urls[0]!, keys);
      return { node, urls: cluster.urls.slice(0, 1), keyFile: keyFile(defer, keys) };
    }
    await fillOwners(defer, outcome, cluster, zipfKeyCount, maxTurnMs);
    return { node, urls: cluster.urls, keyFile: keyFile(defer, firstKeys(zipfKeyCount)) };
  };
  const limit = async (): Promise<Target> => {
    if (row.startsWith("hop")) {
      return { urls: [await startBareHop(defer, kind)], keyFile: keyFile(defer, firstKeys(keyCount)) };
    }
    if (isZipf) {
      return {
        urls: await startBareMesh(defer, kind, budgets.length),
        keyFile: keyFile(defer, firstKeys(zipfKeyCount)),
      };
    }
    return { urls: [await startConstant(defer, kind, { cores: serverCore })], keyFile: constantKeys(defer) };
  };
  let seed = 0;
  const turn = async ({ urls, keyFile }: Target, isWarmUp = false) => {
    const aim = { urls, keyFile, connections, cores };
    const requests = isWarmUp ? zipfWarmUpRequests : zipfKeyCount;
    const told = isZipf
      ? await draw(defer, outcome, { ...aim, requests, seed: ++seed, timeoutMs: maxTurnMs })
      : await load(defer, outcome, { ...aim, turnMs: isWarmUp ? warmUpMs : turnMs });
    return told.requestsPerSecond;
  };
  const [plain, bare] = [await start([]), await limit()];
  await turn(plain, true);
  await turn(bare, true);
  const requestsPerSecond = await turn(plain);
  const limitPerSecond = await turn(bare);
  const profiled = await start(["--cpu-prof", `--cpu-prof-dir=${folder}`, `--cpu-prof-name=${fileName}`]);
  const node = profiled.node!;
  await turn(profiled, true);
  const pid = node.child.pid!;
  const [usedMs, fromMs] = [cpuMsOf(pid), ageMsOf(pid)];
  const profiledPerSecond = await turn(profiled);
  const [cpuMs, untilMs] = [cpuMsOf(pid) - usedMs, ageMsOf(pid)];
  const { code } = await node.end("SIGTERM");
  if (code !== 0) throw new Error(node.account("its profile"));
  if (outcome.errors > 0) throw new Error(`${row} on ${kind}: ${outcome.errors} errors: ${outcome.notes[0]}`);
  const written: CpuProfile = JSON.parse(readFileSync(join(folder, fileName), "utf8"));
  const told = summary(written, { fromMs, untilMs, cpuMs });
  return { row, runtime: kind, requestsPerSecond, profiledPerSecond, limitPerSecond, cpuMs, ...told };
}

/**
 * A window of a profile, as shares of the CPU time of the process in that window. It counts samples, one per interval:
 * Bun takes no samples outside JavaScript, and adds that time to the next sample.
 *
 * @param fromMs @param untilMs since the profile began, which is nearly when the process did
 */
export function summary(
  { nodes, samples, timeDeltas }: CpuProfile,
  { fromMs, untilMs, cpuMs }: { fromMs: number; untilMs: number; cpuMs: number },
): { top: ProfileEntry[]; native: number } {
  const names = new Map(nodes.map(({ id, callFrame }) => [id, nameOf(callFrame)]));
  const counts = new Map<string, number>();
  let sampled = 0;
  let atMs = 0;
  for (const [i, sample] of samples.entries()) {
    atMs += timeDeltas[i]! / 1_000;
    const name = names.get(sample);
    if (name === undefined || atMs <= fromMs || atMs > untilMs) continue;
    counts.set(name, (counts.get(name) ?? 0) + 1);
    sampled++;
  }
  const top = [...counts].sort((a, b) => b[1] - a[1]).slice(0, maxEntries)
    .map(([what, count]) => ({ what, share: count * intervalMs / cpuMs }));
  return { top, native: Math.max(0, 1 - sampled * intervalMs / cpuMs) };
}

/** Undefined for entries that are not functions: idle time, code outside JavaScript, the garbage collector. */
function nameOf({ functionName, url, lineNumber }: CpuProfile["nodes"][number]["callFrame"]): string | undefined {
  if (/^\((root|program|idle|garbage collector)\)$/.test(functionName)) return undefined;
  const file = url.replace(/^file:\/\//, "").replace(`${root}/`, "").replace(/^.*\/(node_modules|npm\/[^/]+)\//, "");
  return `${functionName || "anonymous"} ${file === "" ? "(native)" : `${file}:${lineNumber + 1}`}`;
}
