/** Parts of a node on their own, each in a process of its own on both runtimes. */
import { join } from "node:path";
import { label } from "../clusters.ts";
import { atLeast, atMost, both, Judge } from "../figures.ts";
import { bareArrivalOf, lruCacheOf } from "../limit.ts";
import { runPart, runToEnd, serverCore } from "../processes.ts";
import type { Row } from "../types.ts";
import { bothRuntimes, type RuntimeKind } from "../../support/node.ts";
import type { Evicting } from "../parts/byte-cache.ts";
import type { HitRatios } from "../parts/hit-ratio.ts";
import type { Ranks } from "../parts/ranks.ts";

const ring = "Go's ring";
const sizes = [10, 100, 1_000] as const;

export const rank: Row = {
  id: "rank",
  what: "rank lookup, hash of a short key included",
  how: "4,096 keys over and over, one core; Go: consistenthash of golang/groupcache with 50 replicas",
  maxSeconds: [8, 60],
  targets: {
    "10 peers": both(atMost(0.1), atMost(0.12)),
    "100 peers": both(atMost(0.35), atMost(0.45)),
    "1000 peers": both(atMost(2.2), atMost(3.5)),
  },
  async run(bench, outcome) {
    const judge = new Judge(rank, outcome);
    const lookups = bench.quick ? 20_000 : 1_000_000;
    if (bench.go.folder === undefined) outcome.notes.push(`without ${ring}: ${bench.go.reason}`);
    for (let round = 0; round < bench.rounds; round++) {
      for (const kind of bothRuntimes) {
        const cores = serverCore;
        const told = await runPart<Ranks>(bench.defer, kind, "ranks.ts", [String(lookups), "0"], { cores });
        for (const peers of sizes) judge.add(label(kind), `${peers} peers`, "us", told.micros[peers]!);
      }
      if (bench.go.folder === undefined) continue;
      const command = [join(bench.go.folder, "ring"), "--lookups", String(lookups), "--keys", "1"];
      const told: Ranks = JSON.parse(await runToEnd(bench.defer, command, { cores: serverCore }));
      for (const peers of sizes) judge.add(ring, `${peers} peers`, "us", told.micros[peers]!);
    }
    for (const kind of bothRuntimes) {
      for (const peers of sizes) judge.absolute(kind, `${peers} peers`, `${peers} peers`, label(kind));
    }
  },
};

export const spread: Row = {
  id: "spread",
  what: "fullest peer / mean, 1 million keys",
  how: "counted once: it is the same at each run; Go: its ring with 50 replicas",
  maxSeconds: [8, 30],
  targets: { "10 peers": both(atMost(1.01)), "100 peers": both(atMost(1.04)) },
  async run(bench, outcome) {
    const judge = new Judge(spread, outcome);
    const keys = "1000000";
    const tell = (name: string, { fullest }: Ranks) => {
      for (const peers of [10, 100]) judge.add(name, `${peers} peers`, "x the mean", fullest[peers]!);
    };
    for (const kind of bothRuntimes) {
      tell(label(kind), await runPart<Ranks>(bench.defer, kind, "ranks.ts", ["1000", keys]));
      for (const peers of [10, 100]) judge.absolute(kind, `${peers} peers`, `${peers} peers`, label(kind));
    }
    if (bench.quick || bench.go.folder === undefined) return;
    const command = [join(bench.go.folder, "ring"), "--lookups", "1000", "--keys", keys];
    tell(ring, JSON.parse(await runToEnd(bench.defer, command)));
  },
};

export const byteCache: Row = {
  id: "byte-cache",
  what: "byte cache at 1 million entries in steady eviction",
  how:
    "inserts of new keys and reads of recent ones, half and half, bodies of 512 to 1,536 bytes; longest pause of 64 operations",
  maxSeconds: [12, 300],
  targets: {
    "ops/s vs lru-cache": both(atLeast(1.2), atLeast(1)),
    "longest pause": { bun: atMost(10) },
    "longest pause: lru-cache's / ours": { deno: atLeast(1) },
    "mean occupancy": both(atLeast(0.9)),
  },
  async run(bench, outcome) {
    const judge = new Judge(byteCache, outcome);
    const entries = bench.quick ? 50_000 : 1_000_000;
    if (bench.quick) outcome.notes.push(`--quick: ${entries} entries`);
    const args = [String(entries), String(bench.quick ? 40_000 : 500_000)];
    const contestants = (kind: RuntimeKind) => [
      ["muster", label(kind)] as const,
      ["lru-cache", lruCacheOf(kind)] as const,
      // No limit on Deno: string keys cost more there than all work that the bare cache leaves out.
      ...(bench.quick || kind === "deno" ? [] : [["arrival", bareArrivalOf(kind)] as const]),
    ];
    let missing: string | undefined;
    for (let round = 0; round < bench.rounds; round++) {
      for (const kind of bothRuntimes) {
        for (const [contestant, name] of contestants(kind)) {
          if (contestant === "lru-cache" && missing !== undefined) continue;
          bench.step(`round ${round + 1} of ${bench.rounds}: ${contestant} on ${kind}`);
          try {
            const told = await runPart<Evicting>(bench.defer, kind, "byte-cache.ts", [contestant, ...args], {
              cores: serverCore,
            });
            judge.add(name, "ops/s", "ops/s", told.opsPerSecond);
            judge.add(name, "longest pause", "ms", told.longestPauseMs);
            judge.add(name, "mean occupancy", "of the budget", told.occupancy);
          } catch (error) {
            if (contestant !== "lru-cache" || !/cannot find|could not (find|resolve)/i.test((error as Error).message)) {
              throw error;
            }
            missing = "lru-cache is not installed";
            outcome.notes.push(missing);
          }
        }
      }
    }
    for (const kind of bothRuntimes) {
      judge.ratio(kind, "ops/s vs lru-cache", "ops/s", label(kind), lruCacheOf(kind), missing);
      if (kind === "bun") judge.absolute(kind, "longest pause", "longest pause", label(kind));
      else {
        const verdict = "longest pause: lru-cache's / ours";
        judge.ratio(kind, verdict, "longest pause", lruCacheOf(kind), label(kind), missing);
      }
      judge.absolute(kind, "mean occupancy", "mean occupancy", label(kind));
    }
  },
};

const traces = ["Zipf 0.8", "Zipf 1.0", "scan through Zipf 1.0", "shifting hot set"] as const;

export const hitRatio: Row = {
  id: "hit-ratio",
  what: "hit ratio under the byte budget against exact LRU of the same bytes",
  how:
    "100,000 keys of 256 to 1,792 bytes, a tenth of them fits; 1 million requests per trace, the first tenth not counted",
  maxSeconds: [8, 120],
  targets: Object.fromEntries(traces.map((trace) => [`${trace}: ours / LRU`, both(atLeast(1))])),
  async run(bench, outcome) {
    const judge = new Judge(hitRatio, outcome);
    const args = bench.quick ? ["50000", "5000"] : ["1000000", "100000"];
    if (bench.quick) outcome.notes.push("--quick: 5,000 keys, 50,000 requests");
    for (const kind of bothRuntimes) {
      const told = await runPart<HitRatios>(bench.defer, kind, "hit-ratio.ts", args);
      for (const trace of traces) {
        judge.add(label(kind), trace, "hits per request", told[trace]!.muster);
        judge.add(`exact LRU on ${kind}`, trace, "hits per request", told[trace]!.lru);
        judge.add(`FIFO on ${kind}`, trace, "hits per request", told[trace]!.fifo);
        judge.ratio(kind, `${trace}: ours / LRU`, trace, label(kind), `exact LRU on ${kind}`);
      }
    }
  },
};
