/** One node, one core, keys that it holds: the server side of every other row. */
import {
  budgetBytes,
  type Contestant,
  goContestants,
  golang,
  groupcacheV3,
  label,
  startCluster,
  verify,
} from "../clusters.ts";
import { atLeast, both, Judge } from "../figures.ts";
import { firstKeys, keyFile } from "../keys.ts";
import { hasProgram } from "../machine.ts";
import { nginx, startNginx } from "../nginx.ts";
import { startOrigin } from "../origin.ts";
import { loadCore, runToEnd, serverCore, startServer } from "../processes.ts";
import type { Bench, Outcome, Row } from "../types.ts";
import { bothRuntimes, commandOf, root, runtimeProgram } from "../../support/node.ts";
import { load } from "../wrk.ts";

const keyCount = 1_000;
const connections = 64;

interface Target {
  readonly name: string;
  readonly url: string;
}

/** All contestants in turn, round after round; each warmed up before, with every body compared, and once more after. */
async function turns(bench: Bench, outcome: Outcome, judge: Judge, targets: readonly Target[]): Promise<void> {
  const { defer, quick, turnMs, rounds, step } = bench;
  const file = keyFile(defer, firstKeys(keyCount));
  const common = { keyFile: file, connections, cores: loadCore };
  const compared = async () => {
    for (const { name, url } of targets) {
      // A constant answer is the value of one key only, which wrk.lua takes for right.
      await load(defer, outcome, { ...common, urls: [url], turnMs: Math.min(turnMs, 400), check: true });
      if (!name.startsWith("constant")) await verify(defer, outcome, url, firstKeys(quick ? 100 : keyCount));
    }
  };
  await compared();
  if (!quick) { for (const { url } of targets) await load(defer, outcome, { ...common, urls: [url], turnMs }); }
  for (let round = 0; round < rounds; round++) {
    for (const { name, url } of targets) {
      step(`round ${round + 1} of ${rounds}: ${name}`);
      const told = await load(defer, outcome, { ...common, urls: [url], turnMs });
      judge.add(name, "requests/s", "requests/s", told.requestsPerSecond);
      judge.add(name, "p99", "ms", told.p99Ms);
    }
  }
  if (!quick) await compared();
}

function holding(bench: Bench, contestant: Contestant): Promise<Target> {
  return bench.shared(contestant, () => filled(bench, contestant));
}

async function filled(bench: Bench, contestant: Contestant): Promise<Target> {
  const { urls } = await startCluster(bench, contestant, {
    origin: await startOrigin(bench.defer),
    budgets: [budgetBytes],
    cores: [serverCore],
    oneThread: true,
  });
  const filling: Outcome = { series: [], verdicts: [], errors: 0, checked: 0, notes: [] };
  await verify(bench.defer, filling, urls[0]!, firstKeys(keyCount));
  if (filling.errors > 0) throw new Error(`could not fill ${contestant}: ${filling.notes[0]}`);
  return { name: label(contestant), url: urls[0]! };
}

export const localHit: Row = {
  id: "local-hit",
  stage: "local",
  what: "local hit, server on one core",
  how: "wrk, 64 connections, 1,000 keys of 1 KiB, node and wrk pinned to different cores; GOMAXPROCS=1",
  maxSeconds: [9, 180],
  targets: {
    "requests/s vs golang/groupcache": both(atLeast(1.6), atLeast(1.1)),
    "p99: theirs / ours": both(atLeast(1)),
  },
  async run(bench, outcome) {
    const judge = new Judge(localHit, outcome);
    const go = goContestants(bench, outcome, bench.quick ? [golang] : [golang, groupcacheV3]);
    const targets = await Promise.all([...bothRuntimes, ...go].map((contestant) => holding(bench, contestant)));
    if (hasProgram("nginx")) {
      targets.push({ name: nginx, url: await startNginx(bench.defer, firstKeys(keyCount), serverCore) });
    } else outcome.notes.push(`without ${nginx}: it is not installed`);
    await turns(bench, outcome, judge, targets);
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
  how: "as local-hit; beside it a server of the same runtime that answers a constant 1 KiB with the same headers",
  maxSeconds: [9, 100],
  targets: { "share of the constant": both(atLeast(0.8)) },
  async run(bench, outcome) {
    const judge = new Judge(localShare, outcome);
    const targets = (await Promise.all(bothRuntimes.map(async (kind): Promise<Target[]> => {
      const command = [runtimeProgram(kind), "run", ...(kind === "deno" ? ["-A"] : [])];
      const file = `${root}/tests/bench/parts/constant.ts`;
      const [node, constant] = await Promise.all([
        holding(bench, kind),
        startServer(bench.defer, kind, [...command, file], { cores: serverCore }),
      ]);
      return [node, { name: `constant on ${kind}`, url: constant.url }];
    }))).flat();
    await turns(bench, outcome, judge, targets);
    for (const kind of bothRuntimes) {
      judge.ratio(kind, "share of the constant", "requests/s", label(kind), `constant on ${kind}`);
    }
  },
};

export const workers: Row = {
  id: "workers",
  what: "whole machine, local hits",
  how: "`--workers` = cores against one Go process on all cores, nothing pinned",
  maxSeconds: [3, 100],
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
  const { defer, turnMs, rounds } = bench;
  const go = goContestants(bench, outcome);
  const file = keyFile(defer, firstKeys(keyCount));
  const targets: Target[] = [];
  for (const contestant of [...bothRuntimes, ...go]) {
    const options = { origin: await startOrigin(defer), budgets: [budgetBytes], workers: "auto" as const };
    const { urls } = await startCluster(bench, contestant, options);
    await verify(defer, outcome, urls[0]!, firstKeys(keyCount));
    await load(defer, outcome, { urls: [urls[0]!], keyFile: file, connections, turnMs, check: true });
    targets.push({ name: label(contestant), url: urls[0]! });
  }
  for (let round = 0; round < rounds; round++) {
    for (const { name, url } of targets) {
      const told = await load(defer, outcome, { urls: [url], keyFile: file, connections, turnMs });
      judge.add(name, "requests/s", "requests/s", told.requestsPerSecond);
    }
  }
  for (const kind of bothRuntimes) {
    judge.ratio(kind, "requests/s vs golang/groupcache", "requests/s", label(kind), golang, bench.go.reason);
  }
}
