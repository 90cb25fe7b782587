/**
 * Each alert of lib/deploy fires when real nodes are broken, and none does while they are well.
 * Runs once, alone: its subject is in processes of their own, and a machine that has no time for them is no fleet that is well.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { connect } from "nats";
import { openSocket } from "../../http/support.ts";
import { startLimited } from "../../runtime/crowd.ts";
import { freePort } from "../../support/free-port.ts";
import { startNats, temporaryFolder } from "../../support/nats-server.ts";
import { assembled, listening, type NodeProcess, type RuntimeKind, spawnNode, startNode } from "../../support/node.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";
import { startMachine, whole, workersOf } from "../../workers/support.ts";
import { ALERTS, assertRules, Capture, fires, quiet } from "./capture.ts";
import { blockingModule, startApi, startStallingProxy } from "./broken.ts";

/** Told of each alert that has fired in one of these tests. */
const seen = new Set<string>();
const expected = (minute: number, ...alerts: string[]) =>
  alerts.map((alert) => {
    seen.add(/^\w+/.exec(alert)![0]);
    return fires(minute, alert);
  });

const needs = (timeoutMs: number) => ({ programs: ["promtool"], timeoutMs });

/** Asks the same of nodes again and again; what becomes of it shows in their figures. */
class Traffic {
  /** Given the number of the round. */
  urls: (round: number) => readonly string[];
  #isOver = false;

  constructor(defer: Defer, urls: (round: number) => readonly string[]) {
    this.urls = urls;
    const running = this.#run();
    defer(async () => {
      this.#isOver = true;
      await running;
    });
  }

  async #run(): Promise<void> {
    const asked = new Set<Promise<unknown>>();
    for (let round = 0; !this.#isOver; round++) {
      for (const url of asked.size < 100 ? this.urls(round) : []) {
        const answer = fetch(url, { signal: AbortSignal.timeout(5_000) }).then((response) => response.text(), () => {});
        asked.add(answer);
        void answer.finally(() => asked.delete(answer)).catch(() => {});
      }
      await new Promise((resolve) => setTimeout(resolve, 80));
    }
    await Promise.allSettled(asked);
  }
}

interface Fleet {
  readonly nodes: Record<"a" | "b" | "c", NodeProcess>;
  /** Kills c and starts it again at its address. @param more fields of the group dict */
  restart(more?: object): Promise<void>;
  /** Puts a fault into the options of a. */
  spoilOptions(): void;
}

/** @param ofA groups that a serves alone */
async function startFleet(
  defer: Defer,
  natsUrl: string,
  urlOfC: string,
  groups: Record<string, object>,
  ofA: Record<string, object>,
): Promise<Fleet> {
  const folder = await temporaryFolder(defer);
  const start = async (name: string, kind: RuntimeKind, url: string, port: number, more: object = {}) => {
    const file = `${folder}/${name}.json`;
    writeFileSync(
      file,
      JSON.stringify({
        groups: { dict: { origin: "wordnet:", ...more }, ...groups, ...(name === "a" ? ofA : {}) },
      }),
    );
    const node = spawnNode(defer, kind, ["--addr", `127.0.0.1:${port}`, "--nats", url, "--config", file]);
    await listening(node);
    return node;
  };
  const port = await freePort();
  const [a, b, c] = await Promise.all([
    start("a", "bun", natsUrl, 0),
    start("b", "deno", natsUrl, 0),
    start("c", "bun", urlOfC, port),
  ]);
  const nodes = { a, b, c };
  await assembled([a, b, c]);
  return {
    nodes,
    spoilOptions() {
      writeFileSync(`${folder}/a.json`, "{");
      a.signal("SIGUSR1");
    },
    async restart(more) {
      await nodes.c.end("SIGKILL");
      nodes.c = await start("c", "bun", urlOfC, port, more);
    },
  };
}

test("a fleet that is well fires no alert, and a broken one all that it should", needs(120_000), async (defer) => {
  const nats = await startNats(defer);
  const [api, far, proxy] = await Promise.all([startApi(defer), startApi(defer), startStallingProxy(defer, nats.port)]);
  const of = (group: string) => ({ origin: `${api.url}/${group}/{key}` });
  const { nodes, restart, spoilOptions } = await startFleet(defer, nats.url, `nats://127.0.0.1:${proxy.port}`, {
    api: of("api"),
    slow: of("slow"),
    guarded: { ...of("guarded"), breakerShare: 0.5, breakerPauseMs: 60_000 },
    narrow: { ...of("narrow"), maxConcurrent: 3, maxQueued: 1 },
    small: { ...of("small"), budgetBytes: 65_536 },
    far: { origin: `${far.url}/far/{key}` },
  }, { busy: { origin: `module:${blockingModule(defer)}` } });
  const { a, b } = nodes;
  const purge = (key: string) => fetch(`${a.url}/cache/dict/${key}`, { method: "PURGE" });
  const well = (round: number) =>
    [a.url, b.url, nodes.c.url].flatMap((url) => [
      `${url}/define/piston`,
      ...["api", "slow", "guarded", "far"].map((group) => `${url}/cache/${group}/k${round % 20}`),
      ...(round % 10 === 0 ? [`${a.url}/cache/narrow/k0`] : []),
    ]);
  const traffic = new Traffic(defer, well);
  const answers = async () => (await a.stats()).groups["api"]!.mainCache.items > 0;
  await until(answers, 10_000, () => "there is no traffic");
  const capture = new Capture(defer, { a: a.url, b: b.url, c: nodes.c.url });
  for (let i = 0; i < 10; i++) await purge(`word${i}`);
  const wellUntil = await capture.minutes(12);
  const expectations = [2, 5, 8, wellUntil].map(quiet);

  // Broken by operators and by origins: a node that comes back thrice, at last with another policy, and a record by hand.
  for (let i = 0; i < 3; i++) {
    await restart(i < 2 ? {} : { ttlMs: 60_000 });
    await capture.minutes(1);
  }
  await until(async () => (await fetch(`${nodes.c.url}/readyz`)).status === 200, 15_000, () => "c is not back");
  const connection = await connect({ servers: nats.url });
  defer(() => connection.close());
  await (await connection.jetstream().views.kv("peers")).put("dict.junk", "no record");
  spoilOptions();
  const restarted = capture.now;
  expectations.push(...expected(restarted, 'MusterRestartLoop{instance="c"}'));
  api.isBroken = true;
  await far.close();
  traffic.urls = (round) => [
    ...well(round),
    ...["api", "slow", "guarded", "narrow", "narrow", "narrow", "small", "far"].map((group, at) =>
      `${at % 2 === 0 ? a.url : b.url}/cache/${group}/n${round}-${at}`
    ),
    ...(round % 8 === 0 ? [`${a.url}/cache/busy/b${round}`] : []),
  ];
  // c cannot hear of what is invalidated now.
  proxy.stall();
  const stalledAtMs = performance.now();
  for (let i = 0; i < 10; i++) assert.equal((await purge(`late${i}`)).status, 200);
  const behind = await capture.minutes(8);
  expectations.push(...expected(behind, 'MusterNodeBehind{instance="c"}'));
  await until(() => performance.now() - stalledAtMs > 6_000, 10_000, () => "");
  proxy.resume();
  const applied = async () => (await (await fetch(`${nodes.c.url}/stats`)).json()).log.lag.count >= 10;
  await until(applied, 15_000, () => "c has not caught up");
  const broken = await capture.minutes(4);
  expectations.push(
    ...expected(
      broken,
      'MusterInvalidationsLate{instance="c"}',
      "MusterPoliciesDiffer",
      'MusterRecordIgnored{what="bad-record"}',
      'MusterConfigIgnored{instance="a"}',
      'MusterOriginFailing{group="api"}',
      'MusterOriginUnreachable{group="far"}',
      'MusterBreakerOpen{group="guarded"}',
      'MusterLoadsRefused{group="narrow"}',
      'MusterErrorsServed{group="api"}',
      'MusterSlow{group="slow"}',
      'MusterBudgetFull{group="small"}',
      'MusterEventLoopBlocked{instance="a"}',
    ),
  );

  // Broken by machines: NATS and a node are gone, and another one has to start without NATS.
  await Promise.all([nats.stop("SIGKILL"), b.end("SIGKILL")]);
  await restart();
  const gone = await capture.minutes(8);
  expectations.push(
    ...expected(
      gone,
      'MusterNodeDown{instance="b"}',
      'MusterNatsAway{instance="a"}',
      'MusterPeerUnreachable{instance="a"}',
      'MusterNodeNotReady{instance="c"}',
      "MusterListsDiffer",
    ),
  );
  assertRules(defer, capture, expectations);
});

test("a worker that hangs fires its alert", needs(60_000), async (defer) => {
  const machine = await startMachine(defer, "bun", ["--nats", "off"]);
  await whole(machine);
  const capture = new Capture(defer, { m: machine.url });
  const before = await capture.minutes(3);
  const [, [name, pid]] = [...workersOf(machine)] as [unknown, [string, number]];
  globalThis.process.kill(pid, "SIGSTOP");
  defer(() => globalThis.process.kill(pid, "SIGCONT"));
  const isSeen = () => capture.saw("muster_worker_up", `worker="${name}"`, 0);
  await until(isSeen, 30_000, () => "no scrape told of the worker");
  const after = await capture.minutes(2);
  globalThis.process.kill(pid, "SIGCONT");
  const down = expected(after, `MusterWorkerDown{worker="${name}"}`);
  assertRules(defer, capture, [quiet(before), ...down]);
});

test("a node with many connections fires its alert before it ends any", needs(60_000), async (defer) => {
  const node = await startLimited(defer, "bun", 256);
  const capture = new Capture(defer, { n: node.url });
  const before = await capture.minutes(3);
  const port = Number(new URL(node.url).port);
  const sockets = Array.from({ length: 200 }, () => openSocket(port, defer));
  await Promise.all(sockets.map((socket) => new Promise((open) => socket.once("connect", open))));
  const after = await capture.minutes(6);
  assertRules(defer, capture, [quiet(before), ...expected(after, "MusterConnectionsNearLimit")]);
  assert.ok(sockets.every((socket) => !socket.destroyed));
});

test("a node that may not read the log of invalidations fires its alert", needs(60_000), async (defer) => {
  const path = `${await temporaryFolder(defer)}/nats.conf`;
  const denied = '"$JS.API.STREAM.*.peers-invalidations"';
  const user = `{ user: u, password: "p", permissions: { publish: { allow: ">", deny: [${denied}] } } }`;
  writeFileSync(path, `authorization { users: [${user}] }`);
  const nats = await startNats(defer, { extraArgs: ["-c", path] });
  const node = await startNode(defer, "deno", ["--nats", nats.url.replace("//", "//u:p@")]);
  await node.line("invalidations are away");
  const capture = new Capture(defer, { n: node.url });
  const after = await capture.minutes(4);
  assertRules(defer, capture, expected(after, "MusterLogBlind"));
});

test("these tests have seen every alert of the rules", () => {
  assert.deepEqual([...seen].sort(), [...ALERTS].sort());
});
