/** One node on one core, asked for keys that it holds: the server side of every other row. */
import {
  budgetBytes,
  type Contestant,
  contestantsOf,
  golang,
  groupcacheV3,
  label,
  startCluster,
  verify,
} from "../clusters.ts";
import { atLeast, both, Judge } from "../figures.ts";
import { firstKeys, keyFile } from "../keys.ts";
import { constantKeys, constantOf, mapOf, startConstant, startMap } from "../limit.ts";
import { hasProgram } from "../machine.ts";
import { isMemcached, loadMemcached, memcached, startMemcached } from "../memcached.ts";
import { nginx, startNginx } from "../nginx.ts";
import { startOrigin } from "../origin.ts";
import { cores, loadCore, runToEnd, serverCore } from "../processes.ts";
import type { Bench, Outcome, Row, Series } from "../types.ts";
import { freePort } from "../../support/free-port.ts";
import { bothRuntimes, commandOf } from "../../support/node.ts";
import { load } from "../wrk.ts";

const keyCount = 1_000;
const connections = 64;

interface Target {
  readonly name: string;
  readonly url: string;
  /** The keys to ask for. @default all */
  readonly keyFile?: string;
}

/** The measurement behind both rows of the stage: all contestants in turn, round after round. */
function turns(bench: Bench, outcome: Outcome): Promise<Series[]> {
  return bench.shared("turns", async () => {
    const targets = await contestants(bench, outcome);
    const judge = new Judge(localHit, { ...outcome, series: [] });
    const common = { keyFile: keyFile(bench.defer, firstKeys(keyCount)), connections, cores: loadCore };
    const turn = ({ url, keyFile = common.keyFile }: Target, turnMs: number) => {
      const loadOf = isMemcached(url) ? loadMemcached : load;
      return loadOf(bench.defer, outcome, { ...common, keyFile, urls: [url], turnMs });
    };
    bench.step("warming up");
    for (const target of bench.quick ? [] : targets) await turn(target, bench.warmUpMs);
    for (let round = 0; round < bench.loadRounds; round++) {
      bench.step(`round ${round + 1} of ${bench.loadRounds}: ${targets.map(({ name }) => name).join(", ")}`);
      for (const target of targets) {
        const told = await turn(target, bench.turnMs);
        judge.add(target.name, "requests/s", "requests/s", told.requestsPerSecond);
        judge.add(target.name, "p99", "ms", told.p99Ms);
      }
    }
    return targets.flatMap(({ name }) => [judge.series(name, "requests/s"), judge.series(name, "p99")]);
  });
}

async function contestants(bench: Bench, outcome: Outcome): Promise<Target[]> {
  const { defer } = bench;
  const keys = firstKeys(keyCount);
  const targets = await Promise.all(
    contestantsOf(bench, outcome, [golang, groupcacheV3]).map((one) => holding(bench, outcome, one)),
  );
  for (const kind of bothRuntimes) {
    const url = await startConstant(defer, kind, { cores: serverCore });
    const constant = { name: constantOf(kind), url, keyFile: constantKeys(defer) };
    const maps = bench.quick ? [] : [{ name: mapOf(kind), url: await startMap(defer, kind, { cores: serverCore }) }];
    // Each bare server has its turn next to its node: Bun's before, Deno's after, golang/groupcache between the nodes.
    const at = targets.findIndex(({ name }) => name === label(kind));
    if (kind === "bun") targets.splice(at, 0, constant, ...maps);
    else targets.splice(at + 1, 0, ...maps, constant);
  }
  if (hasProgram("nginx")) targets.push({ name: nginx, url: await startNginx(defer, keys, serverCore) });
  else outcome.notes.push(`without ${nginx}: it is not installed`);
  if (hasProgram("memcached")) targets.push({ name: memcached, url: await startMemcached(defer, serverCore) });
  else outcome.notes.push(`without ${memcached}: it is not installed`);
  return targets;
}

async function holding(bench: Bench, outcome: Outcome, contestant: Contestant): Promise<Target> {
  const { urls } = await startCluster(bench, contestant, {
    origin: await startOrigin(bench.defer),
    budgets: [budgetBytes],
    cores: [serverCore],
    oneThread: true,
  });
  await verify(bench.defer, outcome, urls[0]!, firstKeys(keyCount));
  return { name: label(contestant), url: urls[0]! };
}

export const localHit: Row = {
  id: "local-hit",
  stage: "local",
  what: "local hit, server on one core",
  how: "wrk, 64 connections, 1,000 keys of 1 KiB, node and wrk pinned to different cores; GOMAXPROCS=1",
  maxSeconds: [20, 240],
  targets: {
    "requests/s vs golang/groupcache": both(atLeast(1.6), atLeast(1.1)),
    "p99: theirs / ours": both(atLeast(1)),
  },
  async run(bench, outcome) {
    const judge = new Judge(localHit, outcome);
    outcome.series.push(...await turns(bench, outcome));
    for (const kind of bothRuntimes) {
      judge.ratio(kind, "requests/s vs golang/groupcache", "requests/s", label(kind), golang, bench.go.reason);
      judge.ratio(kind, "p99: theirs / ours", "p99", golang, label(kind), bench.go.reason);
    }
  },
};

export const localShare: Row = {
  id: "local-share",
  stage: "local",
  what: "local hit as a share of the runtime's constant answer",
  how: "in the rounds of local-hit, a server of the same runtime that answers a constant 1 KiB with the same headers",
  maxSeconds: [20, 240],
  targets: { "share of the constant": both(atLeast(0.8)) },
  async run(bench, outcome) {
    const judge = new Judge(localShare, outcome);
    const all = await turns(bench, outcome);
    outcome.series.push(...all.filter(({ contestant }) => /bun|deno/.test(contestant)));
    for (const kind of bothRuntimes) {
      judge.ratio(kind, "share of the constant", "requests/s", label(kind), constantOf(kind));
    }
  },
};

export const workers: Row = {
  id: "workers",
  what: "whole machine, local hits",
  how: "`--workers` = cores against one Go process on all cores, nothing pinned",
  maxSeconds: [10, 120],
  targets: { "requests/s vs golang/groupcache": both(atLeast(1.6), atLeast(1.1)) },
  async run(bench, outcome) {
    const judge = new Judge(workers, outcome);
    const help = await runToEnd(bench.defer, [...commandOf("bun"), "--help"]);
    if (!help.includes("--workers")) {
      for (const kind of bothRuntimes) {
        judge.omit(kind, "requests/s vs golang/groupcache", "--help tells of no --workers");
      }
      return;
    }
    await wholeMachine(bench, outcome, judge);
  },
};

async function wholeMachine(bench: Bench, outcome: Outcome, judge: Judge): Promise<void> {
  const { defer, turnMs, warmUpMs, loadRounds } = bench;
  const file = keyFile(defer, firstKeys(keyCount));
  const targets: Target[] = [];
  for (const contestant of contestantsOf(bench, outcome)) {
    const options = { origin: await startOrigin(defer), budgets: [budgetBytes], workers: "auto" as const };
    const { urls } = await startCluster(bench, contestant, options);
    await verify(defer, outcome, urls[0]!, firstKeys(keyCount));
    if (!bench.quick) await load(defer, outcome, { urls: [urls[0]!], keyFile: file, connections, turnMs: warmUpMs });
    targets.push({ name: label(contestant), url: urls[0]! });
  }
  for (const kind of bench.quick ? [] : bothRuntimes) {
    const onAllCores = async (start: typeof startMap) => {
      const port = await freePort();
      return (await Promise.all(Array.from({ length: cores }, () => start(defer, kind, { port }))))[0]!;
    };
    const constant = { name: constantOf(kind), url: await onAllCores(startConstant), keyFile: constantKeys(defer) };
    const map = { name: mapOf(kind), url: await onAllCores(startMap), keyFile: file };
    for (const { url, keyFile } of [constant, map]) {
      await load(defer, outcome, { urls: [url], keyFile, connections, turnMs: warmUpMs });
    }
    targets.push(constant, map);
  }
  for (let round = 0; round < loadRounds; round++) {
    bench.step(`round ${round + 1} of ${loadRounds}`);
    for (const { name, url, keyFile = file } of targets) {
      const told = await load(defer, outcome, { urls: [url], keyFile, connections, turnMs });
      judge.add(name, "requests/s", "requests/s", told.requestsPerSecond);
    }
  }
  for (const kind of bothRuntimes) {
    judge.ratio(kind, "requests/s vs golang/groupcache", "requests/s", label(kind), golang, bench.go.reason);
  }
}
