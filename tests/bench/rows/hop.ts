/** Two nodes, asked for the other node's keys: the cost of a hop in requests and in time. */
import { budgetBytes, type Contestant, contestantsOf, golang, label, startCluster, verify } from "../clusters.ts";
import { atLeast, atMost, both, Judge } from "../figures.ts";
import { firstKeys, keyFile } from "../keys.ts";
import { bareHopOf, startBareHop, startMap } from "../limit.ts";
import { startOrigin } from "../origin.ts";
import { loadCore, runPart, serverCore } from "../processes.ts";
import type { Bench, Outcome, Row } from "../types.ts";
import { bothRuntimes } from "../../support/node.ts";
import type { Order, Told } from "../parts/generator.ts";
import { load } from "../wrk.ts";

const keyCount = 1_000;
const quickKeyCount = 200;
/** Enough to find 1,000 keys on each of two nodes: Go's ring may give one node only a third of the keys. */
const searched = 6_000;

/**
 * An owner that holds the keys, and an asking node with a budget of 0: it keeps no value, so every get is a hop. Every
 * contestant's hot cache is off in the same way.
 */
async function askerAndOwner(bench: Bench, outcome: Outcome, contestant: Contestant, isPinned: boolean) {
  const origin = await startOrigin(bench.defer);
  const cores = isPinned ? [serverCore, undefined] : undefined;
  const cluster = await startCluster(bench, contestant, { origin, budgets: [0, budgetBytes], cores });
  const keys = (await cluster.keysOf(1, searched)).slice(0, bench.quick ? quickKeyCount : keyCount);
  if (!bench.quick && keys.length < keyCount) {
    outcome.notes.push(`${label(contestant)}: only ${keys.length} keys are the owner's`);
  }
  await verify(bench.defer, outcome, cluster.urls[0]!, keys);
  return { cluster, keys, file: keyFile(bench.defer, keys), origin };
}

interface HopRow {
  readonly id: string;
  readonly what: string;
  readonly how: string;
  readonly connections: number;
  readonly isPinned: boolean;
  readonly limits: readonly [number, number];
}

function hopRow({ id, what, how, connections, isPinned, limits }: HopRow): Row {
  const row: Row = {
    id,
    stage: isPinned ? undefined : "hop",
    what,
    how,
    maxSeconds: [12, 120],
    targets: { "requests/s vs golang/groupcache": both(atLeast(limits[0]), atLeast(limits[1])) },
    async run(bench, outcome) {
      const { defer, loadRounds, step } = bench;
      const judge = new Judge(row, outcome);
      const contestants = contestantsOf(bench, outcome);
      const sides = await Promise.all(
        contestants.map((one) => bench.shared(one, () => askerAndOwner(bench, outcome, one, isPinned))),
      );
      const bareKeys = keyFile(defer, firstKeys(keyCount));
      const limits = await Promise.all((bench.quick ? [] : bothRuntimes).map(async (kind) => {
        return { name: bareHopOf(kind), url: await startBareHop(defer, kind, isPinned ? serverCore : undefined) };
      }));
      const ask = (url: string, keyFile: string, turnMs: number) =>
        load(defer, outcome, { urls: [url], keyFile, connections, turnMs, cores: isPinned ? loadCore : undefined });
      const turn = (at: number, turnMs: number) => ask(sides[at]!.cluster.urls[0]!, sides[at]!.file, turnMs);
      step("warming up");
      for (const at of bench.quick ? [] : sides.keys()) await turn(at, bench.warmUpMs);
      for (const { url } of limits) await ask(url, bareKeys, bench.warmUpMs);
      for (let round = 0; round < loadRounds; round++) {
        for (const [at, { cluster, origin }] of sides.entries()) {
          const name = label(contestants[at]!);
          step(`round ${round + 1} of ${loadRounds}: ${name}`);
          const [hops, loads] = [await cluster.hops(), origin.loads];
          const told = await turn(at, bench.turnMs);
          judge.add(name, "requests/s", "requests/s", told.requestsPerSecond);
          judge.add(name, "p99", "ms", told.p99Ms);
          judge.add(name, "hops per request", "hops", (await cluster.hops() - hops) / told.requests);
          if (origin.loads > loads) {
            outcome.errors++;
            outcome.notes.push(`${name}: ${origin.loads - loads} loads from the origin in a turn of hops`);
          }
        }
        for (const { name, url } of limits) {
          const told = await ask(url, bareKeys, bench.turnMs);
          judge.add(name, "requests/s", "requests/s", told.requestsPerSecond);
          judge.add(name, "p99", "ms", told.p99Ms);
        }
      }
      for (const kind of bothRuntimes) {
        const verdict = "requests/s vs golang/groupcache";
        judge.ratio(kind, verdict, "requests/s", label(kind), golang, bench.go.reason);
      }
    },
  };
  return row;
}

const how = "wrk asks one node for 1,000 keys of the other; the asking node has a budget of 0, so nothing stays hot; " +
  "Go's transport keeps 1,024 idle connections per host (the stock one keeps two)";

export const hop64 = hopRow({
  id: "hop-64",
  what: "peer hop, hot cache off, 64 connections",
  how: `${how}; nothing pinned`,
  connections: 64,
  isPinned: false,
  limits: [4, 2.8],
});
export const hop8 = hopRow({
  id: "hop-8",
  what: "peer hop, hot cache off, 8 connections",
  how: `${how}; nothing pinned`,
  connections: 8,
  isPinned: false,
  limits: [3, 2],
});
export const hopPinned = hopRow({
  id: "hop-pinned",
  what: "peer hop, hot cache off, asking node and load on different cores",
  how:
    `${how}; asking node on the first core (where Go takes GOMAXPROCS=1 from its one core), wrk on the last, the owner free, 64 connections`,
  connections: 64,
  isPinned: true,
  limits: [3, 2],
});

export const hopLatency: Row = {
  id: "hop-latency",
  what: "added latency of a hop at 2,000 requests/s",
  how:
    "open loop on one core, latency from the scheduled moment; hop minus hit, turn by turn, both nodes on another core; warmed up by wrk (not with --quick)",
  maxSeconds: [12, 240],
  targets: {
    "added p50": both(atMost(0.3), atMost(0.5)),
    "added p99": both(atMost(2), atMost(3)),
  },
  async run(bench, outcome) {
    const judge = new Judge(hopLatency, outcome);
    // No target here compares with Go. Its figure is only shown.
    const contestants = bench.quick ? bothRuntimes : contestantsOf(bench, outcome);
    const sides: Paced[] = await Promise.all(contestants.map(async (contestant) => {
      const origin = await startOrigin(bench.defer);
      const options = { origin, budgets: [0, budgetBytes], cores: [serverCore, serverCore] };
      const cluster = await startCluster(bench, contestant, options);
      const keys = (await cluster.keysOf(1, searched)).slice(0, bench.quick ? quickKeyCount : keyCount);
      await verify(bench.defer, outcome, cluster.urls[0]!, keys);
      const [asker, owner] = cluster.urls as [string, string];
      return { name: label(contestant), hit: { url: owner, keys }, hop: { url: asker, keys } };
    }));
    for (const kind of bench.quick ? [] : bothRuntimes) {
      const keys = firstKeys(keyCount);
      const hit = { url: await startMap(bench.defer, kind, { cores: serverCore }), keys };
      const hop = { url: await startBareHop(bench.defer, kind, serverCore, serverCore), keys };
      sides.push({ name: bareHopOf(kind), hit, hop });
    }
    for (const { name, hit, hop } of bench.quick ? [] : sides) {
      bench.step(`warming up ${name}`);
      for (const { url, keys } of [hit, hop]) {
        const options = {
          keyFile: keyFile(bench.defer, keys),
          connections: 64,
          turnMs: bench.warmUpMs,
          cores: loadCore,
        };
        await load(bench.defer, outcome, { urls: [url], ...options });
      }
    }
    for (let round = 0; round < bench.rounds; round++) {
      for (const side of sides) {
        const { name } = side;
        bench.step(`round ${round + 1} of ${bench.rounds}: ${name}`);
        const hit = await paced(bench, outcome, side.hit);
        const hop = await paced(bench, outcome, side.hop);
        for (const [what, told] of [["hit", hit], ["hop", hop]] as const) {
          judge.add(name, `p50 of a ${what}`, "ms", told.p50Ms);
          judge.add(name, `p99 of a ${what}`, "ms", told.p99Ms);
        }
        judge.add(name, "added p50", "ms", hop.p50Ms - hit.p50Ms);
        judge.add(name, "added p99", "ms", hop.p99Ms - hit.p99Ms);
      }
    }
    for (const kind of bothRuntimes) {
      judge.absolute(kind, "added p50", "added p50", label(kind));
      judge.absolute(kind, "added p99", "added p99", label(kind));
    }
  },
};

interface Aim {
  readonly url: string;
  readonly keys: string[];
}

interface Paced {
  readonly name: string;
  /** The base for its hops; for a bare hop, a Map behind Hono. */
  readonly hit: Aim;
  readonly hop: Aim;
}

async function paced(bench: Bench, outcome: Outcome, { url, keys }: Aim): Promise<Told> {
  const seconds = bench.quick ? 0.2 : 1.5;
  const warmUpSeconds = bench.quick ? 0.1 : 0.5;
  const order: Order = { mode: "open", url, keys, perSecond: 2_000, seconds, warmUpSeconds };
  const told = await runPart<Told>(bench.defer, "bun", "generator.ts", [JSON.stringify(order)], { cores: loadCore });
  outcome.errors += told.errors;
  outcome.checked += told.requests - told.errors;
  return told;
}
