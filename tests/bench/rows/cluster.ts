/** Several nodes in use: popular keys on five, a herd on a cold key, the article's headline, and an idle cluster. */
import {
  budgetBytes,
  contestantsOf,
  fillOwners,
  golang,
  groupcacheV3,
  groupStats,
  label,
  startCluster,
} from "../clusters.ts";
import { atLeast, atMost, both, exactly, Judge, median } from "../figures.ts";
import { firstKeys, keyFile } from "../keys.ts";
import { bareHerdOf, bareMeshOf, startBareMesh } from "../limit.ts";
import { cpuMsOf, hasProgram } from "../machine.ts";
import { type BenchOrigin, startOrigin } from "../origin.ts";
import { loadCore, runPart, startMuster } from "../processes.ts";
import { type Row, Skip } from "../types.ts";
import { headwords, startDictd } from "../../support/dictd.ts";
import { Connections } from "../../support/http-client.ts";
import { startNats } from "../../support/nats-server.ts";
import { assembled, bothRuntimes, type NodeProcess, type RuntimeKind } from "../../support/node.ts";
import type { Order, Told } from "../parts/generator.ts";
import { draw } from "../wrk.ts";

const maxFillMs = 60_000;
const maxTurnMs = 60_000;
/**
 * Requests, not a time: hot caches fill by requests, and a slow contestant would stay colder. Measured: after this many,
 * the share of hops falls by a few hundredths in five rounds; after 150,000 it still fell by an eighth.
 */
const warmUpRequests = 400_000;
const turnRequests = 20_000;
/**
 * Requests before each turn that are not counted: a cluster that was idle is slower for some thousand requests. Measured:
 * of two equal clusters on Deno, the idle one took up to 1.4 x the CPU time, and V8 itself took all of the difference.
 */
const rousingRequests = 20_000;

export const zipf: Row = {
  id: "zipf",
  what: "Zipf(1.0) over 100,000 keys on 5 nodes, load on all",
  how:
    "wrk, a thread and 16 connections per node, nothing pinned, 64 MiB per node; all values loaded before, then 400,000 requests to warm the hot caches, then in each round 20,000 that are not told and 20,000 that are, the same for all",
  maxSeconds: [25, 600],
  targets: {
    "requests/s vs golang/groupcache": both(atLeast(3), atLeast(2)),
    "hops per request: groupcache-go's / ours": both(atLeast(1)),
  },
  async run(bench, outcome) {
    const { defer, quick, rounds, step } = bench;
    const judge = new Judge(zipf, outcome);
    const count = quick ? 1_000 : 100_000;
    const nodeCount = quick ? 2 : 5;
    if (quick) outcome.notes.push(`--quick: ${count} keys on ${nodeCount} nodes`);
    const file = keyFile(defer, firstKeys(count));
    const contestants = contestantsOf(bench, outcome, [golang, groupcacheV3]);
    const budgets = Array<number>(nodeCount).fill(budgetBytes);
    const clusters = await Promise.all(contestants.map(async (contestant) => {
      return await startCluster(bench, contestant, { origin: await startOrigin(defer), budgets });
    }));
    for (const cluster of clusters) {
      step(`filling ${label(cluster.contestant)}`);
      await fillOwners(defer, outcome, cluster, count, maxFillMs);
    }
    const options = { connections: nodeCount * 16, timeoutMs: maxTurnMs };
    const turn = (urls: readonly string[], seed: number, requests: number) =>
      draw(defer, outcome, { ...options, keyFile: file, urls, seed, requests: quick ? 1_000 : requests });
    for (const { urls, contestant } of clusters) {
      step(`warming up ${label(contestant)}`);
      await turn(urls, 0, warmUpRequests);
    }
    const limits = await Promise.all((quick ? [] : bothRuntimes).map(async (kind) => {
      return { name: bareMeshOf(kind), urls: await startBareMesh(defer, kind, nodeCount) };
    }));
    for (const { name, urls } of limits) {
      step(`warming up ${name}`);
      await turn(urls, 0, warmUpRequests);
    }
    for (let round = 0; round < rounds; round++) {
      const [rousing, seed] = [2 * round + 1, 2 * round + 2];
      for (const cluster of clusters) {
        const name = label(cluster.contestant);
        step(`round ${round + 1} of ${rounds}: ${name}`);
        await turn(cluster.urls, rousing, rousingRequests);
        const hops = await cluster.hops();
        const told = await turn(cluster.urls, seed, turnRequests);
        judge.add(name, "requests/s", "requests/s", told.requestsPerSecond);
        judge.add(name, "p99", "ms", told.p99Ms);
        judge.add(name, "hops per request", "hops", (await cluster.hops() - hops) / told.requests);
      }
      for (const { name, urls } of limits) {
        await turn(urls, rousing, rousingRequests);
        const told = await turn(urls, seed, turnRequests);
        judge.add(name, "requests/s", "requests/s", told.requestsPerSecond);
      }
    }
    for (const kind of bothRuntimes) {
      judge.ratio(kind, "requests/s vs golang/groupcache", "requests/s", label(kind), golang, bench.go.reason);
      const verdict = "hops per request: groupcache-go's / ours";
      judge.ratio(kind, verdict, "hops per request", groupcacheV3, label(kind), bench.go.reason);
    }
  },
};

const originMs = 50;
const callers = 500;

export const coalesce: Row = {
  id: "coalesce",
  what: "500 callers per cold key, origin 50 ms",
  how:
    "500 connections over two nodes ask for one cold key at once, 50 keys a round, one after the other, by a generator that has asked bare servers before; every body compared",
  maxSeconds: [12, 240],
  targets: {
    "loads per key": both(exactly(1)),
    "p99": both(atMost(originMs + 25)),
  },
  async run(bench, outcome) {
    const judge = new Judge(coalesce, outcome);
    const keys = bench.quick ? 5 : 50;
    if (bench.quick) outcome.notes.push(`--quick: ${keys} keys`);
    const sides: { name: string; urls: readonly string[]; origin: BenchOrigin }[] = await Promise.all(
      contestantsOf(bench, outcome).map(async (contestant) => {
        const origin = await startOrigin(bench.defer);
        const { urls } = await startCluster(bench, contestant, { origin, budgets: [budgetBytes, budgetBytes] });
        return { name: label(contestant), urls, origin };
      }),
    );
    const startHerd = async (kind: RuntimeKind) => {
      const origin = await startOrigin(bench.defer);
      origin.delayMs = originMs;
      return { name: bareHerdOf(kind), urls: await startBareMesh(bench.defer, kind, 2, origin.template), origin };
    };
    for (const kind of bench.quick ? [] : bothRuntimes) sides.push(await startHerd(kind));
    const { urls: warmUpUrls } = await startHerd("bun");
    for (let round = bench.quick ? 0 : -1; round < bench.rounds; round++) {
      for (const { name, urls, origin } of sides) {
        bench.step(round < 0 ? `warming up ${name}` : `round ${round + 1} of ${bench.rounds}: ${name}`);
        origin.delayMs = originMs;
        origin.loads = 0;
        // The first round warms the code up with keys of its own, and is not counted.
        const prefix = `cold-${round + 1}-`;
        const order: Order = { mode: "burst", urls: [...urls], warmUpUrls, prefix, keys, callers };
        const told = await runPart<Told>(bench.defer, "bun", "generator.ts", [JSON.stringify(order)], {
          cores: loadCore,
        });
        outcome.errors += told.errors;
        outcome.checked += told.requests - told.errors;
        if (round < 0) continue;
        judge.add(name, "loads per key", "loads", origin.loads / keys);
        judge.add(name, "p50", "ms", told.p50Ms);
        judge.add(name, "p99", "ms", told.p99Ms);
      }
    }
    for (const kind of bothRuntimes) {
      judge.absolute(kind, "loads per key", "loads per key", label(kind));
      judge.absolute(kind, "p99", "p99", label(kind));
    }
  },
};

// Words that gcide has.
const words =
  "piston cache rendezvous roster muster owner anchor bridge candle dragon ember falcon garden harbor island " +
  "jungle kettle lantern meadow needle orchard pepper quarry ribbon saddle timber umbrella valley willow yonder";

/** Measured: compilers still work during the first 200 hops of a node. */
const warmUpWords = 800;
const warmUpLanes = 8;
/** How many words are asked at once before each measured word, so that every connection to dictd was just used. */
const busyWords = 8;
const maxDefineMs = 10_000;

export const headline: Row = {
  id: "headline",
  what: "the article's headline: the same word twice",
  how:
    "first byte of /define/<word>, dictd with gcide as origin (in use: after a pause of 40 ms the kernel acknowledges at once, and dictd takes 2 ms instead of 45), asked on one of two nodes; the second time on any: on the other, and on the same",
  maxSeconds: [10, 60],
  targets: { "first / second": both(atLeast(50)) },
  async run(bench, outcome) {
    if (!hasProgram("dictd")) throw new Skip("dictd is not on this machine");
    const judge = new Judge(headline, outcome);
    const { port } = await startDictd(bench.defer);
    const chosen = words.split(" ").slice(0, bench.quick ? 10 : 30);
    const spare = await wordsBetween(chosen);
    const pairs = await Promise.all(bothRuntimes.map(async (kind) => {
      const nats = await startNats(bench.defer);
      const args = ["--nats", nats.url, "--log", "text", "--group", `dict=dict://127.0.0.1:${port}/gcide`];
      const nodes = await Promise.all([0, 1].map(() => startMuster(bench.defer, kind, args)));
      await assembled(nodes as NodeProcess[], "dict");
      const clients = nodes.map(({ url }) => new Connections(url));
      bench.defer(() => clients.forEach((client) => client.close()));
      const others = [...spare];
      // The first requests of a process compile, connect and read files: not measured.
      await warmUp(clients, others.splice(0, bench.quick ? warmUpWords / 8 : warmUpWords));
      return { kind, clients, others };
    }));
    for (const { kind, clients, others } of pairs) {
      for (const [i, word] of chosen.entries()) {
        const asked = clients[i % 2]!;
        const other = clients[1 - i % 2]!;
        await Promise.all(others.splice(0, busyWords).map((busy, at) => define(clients[at % 2]!, busy)));
        const first = await define(asked, word);
        const second = await define(other, word);
        const same = await define(asked, word);
        const isRight = [first, second, same].every(({ status, body }) => status === 200 && body.equals(first.body)) &&
          first.body.length > 0;
        if (isRight) outcome.checked += 3;
        else {
          outcome.errors++;
          outcome.notes.push(`${word}: ${first.status}, then ${second.status} and ${same.status}`);
        }
        judge.add(label(kind), "first", "ms", first.firstByteMs);
        judge.add(label(kind), "second, on the other node", "ms", second.firstByteMs);
        judge.add(label(kind), "second, on the same node", "ms", same.firstByteMs);
      }
      const msOf = (name: string) => judge.series(label(kind), name).rounds;
      const seconds = [...msOf("second, on the other node"), ...msOf("second, on the same node")];
      const ratio = median(msOf("first")) / median(seconds);
      judge.add(label(kind), "first / second", "x", ratio);
      judge.absolute(kind, "first / second", "first / second", label(kind));
    }
  },
};

/** Words from all parts of gcide, without the `chosen` ones, for the warm-up and to keep dictd busy. */
async function wordsBetween(chosen: readonly string[]): Promise<string[]> {
  const all = (await headwords("gcide")).filter((word) => !chosen.includes(word));
  const wanted = warmUpWords + chosen.length * busyWords;
  // In strides of a prime, because a range would hold words of one letter only.
  return Array.from({ length: wanted }, (_, i) => all[i * 7919 % all.length]!);
}

/** Each word on one node, then on the other, several words at a time. */
async function warmUp(clients: readonly Connections[], words: string[]): Promise<void> {
  await Promise.all(Array.from({ length: warmUpLanes }, async () => {
    for (let word = words.pop(); word !== undefined; word = words.pop()) {
      const first = words.length % 2;
      await define(clients[first]!, word);
      await define(clients[1 - first]!, word);
    }
  }));
}

const define = (client: Connections, word: string) => client.get(`/define/${word}`, maxDefineMs);

export const idle: Row = {
  id: "idle",
  what: "idle cluster of 5: CPU of a node",
  how: "user and system time of each process, 45 s after its start-up; the mean of the five",
  maxSeconds: [12, 80],
  targets: { "CPU of a node": both(atMost(0.5)) },
  async run(bench, outcome) {
    const judge = new Judge(idle, outcome);
    const origin = await startOrigin(bench.defer);
    const count = bench.quick ? 2 : 5;
    if (bench.quick) outcome.notes.push(`--quick: a cluster of ${count}`);
    const budgets = Array<number>(count).fill(budgetBytes);
    const clusters = await Promise.all(bothRuntimes.map((kind) => startCluster(bench, kind, { origin, budgets })));
    const measureMs = bench.quick ? 1_000 : 15_000;
    bench.step("settling");
    // Until then start-up work goes on: compilers and V8's collection. Bun collects once a second until half a minute
    // after the heap last grew.
    await new Promise((settled) => setTimeout(settled, bench.quick ? 500 : 45_000));
    const used = () => clusters.map(({ nodes }) => nodes.map(({ child }) => cpuMsOf(child.pid!)));
    const before = used();
    const sinceMs = performance.now();
    bench.step(`measuring for ${measureMs / 1_000} s`);
    await new Promise((over) => setTimeout(over, measureMs));
    const tookMs = performance.now() - sinceMs;
    const after = used();
    // The figure counts only if the nodes are still a cluster.
    for (const { nodes } of clusters) {
      for (const node of nodes) if ((await groupStats(node)).roster.peers.length !== count) outcome.errors++;
    }
    after.forEach((ofNodes, at) => {
      const kind = bothRuntimes[at]!;
      const shares = ofNodes.map((ms, i) => 100 * (ms - before[at]![i]!) / tookMs);
      judge.add(
        label(kind),
        "CPU of a node",
        "% of a core",
        shares.reduce((sum, share) => sum + share, 0) / shares.length,
      );
      for (const share of shares) judge.add(label(kind), "CPU of each node", "% of a core", share);
      judge.absolute(kind, "CPU of a node", "CPU of a node", label(kind));
    });
  },
};
