/** Nodes of one contestant that know each other, behind one interface. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { PrefixHash } from "../../lib/core/base/hash.ts";
import { Rendezvous } from "../../lib/core/placement/rendezvous.ts";
import type { PeerRecord } from "../../lib/core/roster.ts";
import { RUNTIME_SETTINGS } from "../../lib/runtime/start/settings.ts";
import { freePort } from "../support/free-port.ts";
import { startNats } from "../support/nats-server.ts";
import { assembled, bothRuntimes, type NodeProcess, type RuntimeKind, temporaryDirectory } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { firstKeys, groupName, keyFile, keyOf, valueOf } from "./keys.ts";
import type { BenchOrigin } from "./origin.ts";
import { type Cores, type Server, startMuster, startServer } from "./processes.ts";
import { type Bench, type Outcome, Skip } from "./types.ts";
import { fill } from "./wrk.ts";

export const golang = "golang/groupcache";
export const groupcacheV3 = "groupcache-go v3";
export type Contestant = RuntimeKind | typeof golang | typeof groupcacheV3;
export const label = (contestant: Contestant) =>
  contestant === "bun" || contestant === "deno" ? `muster on ${contestant}` : contestant;

export interface Cluster {
  readonly contestant: Contestant;
  readonly nodes: readonly Server[];
  readonly urls: readonly string[];
  /** The keys of a node among the first `count` keys. */
  keysOf(index: number, count: number): Promise<string[]>;
  /** Requests to other nodes, over all nodes, since the start. */
  hops(): Promise<number>;
}

export interface ClusterOptions {
  readonly origin: BenchOrigin;
  /** One node per entry. @default 64 MiB each */
  readonly budgets: readonly number[];
  /** By node. */
  readonly cores?: readonly Cores[];
  /** `--workers` of a single muster node. */
  readonly workers?: "auto";
  /** For a single Go node: one thread for Go code. */
  readonly oneThread?: boolean;
  /** Flags of muster's runtime for the first node. */
  readonly flags?: readonly string[];
}

export const budgetBytes = 64 * 1024 * 1024;

/**
 * The contestants in the order of their turns. The first rival stands between the two runtimes that are compared with it,
 * because a shared machine may be half as fast half a minute later. The notes say why rivals are missing.
 */
export function contestantsOf(bench: Bench, outcome: Outcome, rivals: readonly Contestant[] = [golang]): Contestant[] {
  if (bench.go.folder !== undefined) return ["bun", rivals[0]!, "deno", ...rivals.slice(1)];
  outcome.notes.push(`without ${rivals.join(" and ")}: ${bench.go.reason}`);
  return [...bothRuntimes];
}

/** Starts nodes that all list each other. */
export function startCluster(bench: Bench, contestant: Contestant, options: ClusterOptions): Promise<Cluster> {
  return contestant === "bun" || contestant === "deno"
    ? musterCluster(bench, contestant, options)
    : goCluster(bench, contestant, options);
}

async function musterCluster(bench: Bench, kind: RuntimeKind, options: ClusterOptions): Promise<Cluster> {
  const { defer } = bench;
  const { origin, budgets, cores, workers } = options;
  const folder = temporaryDirectory(defer);
  const isAlone = budgets.length === 1;
  const nats = isAlone ? "off" : (await startNats(defer)).url;
  const nodes = await Promise.all(budgets.map(async (budget, i) => {
    const file = join(folder, `${i}.json`);
    const group = { origin: origin.template, budgetBytes: budget, hotAfterFetches: budget === 0 ? 0 : 2 };
    writeFileSync(file, JSON.stringify({ groups: { [groupName]: group } }));
    // If the port is in use again by now, the node says so, and the row ends. It has not happened yet.
    const args = ["--nats", nats, "--config", file, "--log", "text", ...(workers ? ["--workers", workers] : [])];
    const flags = i === 0 ? options.flags : [];
    // Under a profiler a node does not start itself again, so its settings are given here.
    return await startMuster(defer, kind, args, {
      cores: cores?.[i],
      flags,
      env: flags?.length ? RUNTIME_SETTINGS[kind] : {},
    });
  }));
  // Workers list each other under their own addresses; the public one is logged when all have joined.
  if (workers === undefined) await assembled(nodes as NodeProcess[], groupName, 20_000);
  return {
    contestant: kind,
    nodes,
    urls: nodes.map(({ url }) => url),
    keysOf: async (index, count) => {
      const owner = ownerOf((await groupStats(nodes[0]!)).roster.peers);
      return firstKeys(count).filter((key) => owner(key) === nodes[index]!.url);
    },
    hops: async () => {
      const all = await Promise.all(nodes.map(groupStats));
      return all.reduce((sum, { peerLoads }) => sum + peerLoads, 0);
    },
  };
}

interface GroupStats {
  readonly peerLoads: number;
  readonly originLoads: number;
  readonly roster: { readonly peers: readonly PeerRecord[] };
}

export async function groupStats(node: Server): Promise<GroupStats> {
  const stats = await (await fetch(`${node.url}/stats`)).json() as { groups: Record<string, GroupStats> };
  return stats.groups[groupName]!;
}

/** The owner's URL, computed as nodes do. */
function ownerOf(peers: readonly PeerRecord[]): (key: string) => string {
  const serving = peers.filter(({ state }) => state === "serving");
  const rendezvous = new Rendezvous(serving);
  const hash = new PrefixHash(`${groupName}\0`);
  return (key) => serving[rendezvous.owner(hash.hash(key))]!.url;
}

async function goCluster(bench: Bench, contestant: Contestant, options: ClusterOptions): Promise<Cluster> {
  const { folder, reason } = bench.go;
  if (folder === undefined) throw new Skip(reason!);
  const program = join(folder, contestant === golang ? "golang-groupcache" : "groupcache-go");
  const { origin, budgets, cores, oneThread } = options;
  const addresses: string[] = [];
  for (const _ of budgets) addresses.push(`127.0.0.1:${await freePort()}`);
  const nodes = await Promise.all(budgets.map((budget, i) => {
    const peers = budgets.length === 1 ? [] : ["--peer-addr", addresses[i]!, "--peers", addresses.join()];
    const command = [program, ...peers, "--origin", origin.template, "--budget-bytes", String(budget)];
    const env: Record<string, string> = oneThread === true ? { GOMAXPROCS: "1" } : {};
    return startServer(bench.defer, contestant, command, { cores: cores?.[i], env });
  }));
  return {
    contestant,
    nodes,
    urls: nodes.map(({ url }) => url),
    keysOf: async (index, count) => {
      const answer = await fetch(`${nodes[index]!.url}/elsewhere?count=${count}`);
      const elsewhere = new Set((await answer.json() as number[]).map(keyOf));
      return firstKeys(count).filter((key) => !elsewhere.has(key));
    },
    hops: async () => {
      const all = await Promise.all(nodes.map(async ({ url }) => await (await fetch(`${url}/figures`)).json()));
      return all.reduce((sum, { hops }) => sum + hops, 0);
    },
  };
}

/** Asks each owner for its keys among the first `count`: asking another node would add a needless hop to every key. */
export async function fillOwners(
  defer: Defer,
  outcome: Outcome,
  { urls, keysOf }: Cluster,
  count: number,
  timeoutMs: number,
): Promise<void> {
  await Promise.all(urls.map(async (url, at) => {
    const own = await keysOf(at, count);
    // groupcache-go's ring gives some nodes no key.
    if (own.length === 0) return;
    await fill(defer, outcome, url, { keyFile: keyFile(defer, own), connections: 16, timeoutMs });
  }));
}

/** Asks a node for keys, some at a time, and compares every body. */
export async function verify(defer: Defer, outcome: Outcome, url: string, keys: readonly string[]): Promise<void> {
  let next = 0;
  let isOver = false;
  defer(() => isOver = true);
  const worker = async () => {
    while (next < keys.length && !isOver) {
      const key = keys[next++]!;
      try {
        const response = await fetch(`${url}/cache/${groupName}/${key}`);
        const body = new Uint8Array(await response.arrayBuffer());
        if (response.status === 200 && valueOf(key).equals(body)) outcome.checked++;
        else throw new Error(`status ${response.status}, ${body.length} bytes`);
      } catch (error) {
        outcome.errors++;
        if (outcome.notes.length < 20) outcome.notes.push(`${url} ${key}: ${(error as Error).message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
}
