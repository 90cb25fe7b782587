/** Scenarios in which values change, and calls invalidate them, while things fail. */
import { connect, type NatsConnection } from "nats";
import { startNats, startNatsCluster } from "../support/nats-server.ts";
import { until } from "../support/until.ts";
import { CountedOrigin, Keyspace } from "./counted-values.ts";
import { ownersAt } from "./fleet.ts";
import { Invalidator } from "./invalidator.ts";
import { seeded, Zipf } from "./keys.ts";
import { Ledger } from "./ledger.ts";
import { pause, quantile } from "./load.ts";
import { atMost, type Check, holds, type Outcome, type Run, type Scenario } from "./result.ts";
import { HoldingProxy } from "./tcp-proxy.ts";
import { nameOf, World, type WorldOptions } from "./world.ts";

const callsPerSecond = 200;
const logStream = "peers-invalidations";
/** For the values that expire. */
const policy = { staleIfErrorMs: 60_000 };
/** Chosen: far below the usual hit share of the load, far above its share if too much were dropped. */
const leastHitShare = 0.2;
const leastAcknowledgedShare = 0.5;

/** A world whose values count up, with the tools to change them. */
interface Changing {
  readonly world: World;
  readonly origin: CountedOrigin;
  readonly ledger: Ledger;
  readonly invalidator: Invalidator;
  /** Nodes that were killed or told to exit, until they are back. */
  readonly ending: Set<string>;
  loadsUnderCalls: number;
}

async function changingWorld(run: Run, options: Omit<WorldOptions, "values">): Promise<Changing> {
  const { keys, seed } = run.settings;
  const keyspace = new Keyspace(keys);
  const origin = new CountedOrigin(keyspace, seeded(seed + 1));
  const ledger = new Ledger(keyspace);
  const values = { origin, keyOf: keyspace.keyOf, judge: ledger.judge };
  const world = await World.make(run, { policy, ...options, values });
  const random = seeded(seed + 2);
  const ending = new Set<string>();
  const node = () => {
    const name = world.load.readyNode(random);
    const url = name === undefined ? undefined : world.fleet.members.get(name)?.url;
    return url === undefined ? undefined : { name: name!, url };
  };
  const isEnding = (name: string) => ending.has(name);
  const invalidator = new Invalidator({ origin, ledger, random, zipf: new Zipf(keys, random), node, isEnding });
  run.defer(() => invalidator.stop());
  return { world, origin, ledger, invalidator, ending, loadsUnderCalls: 0 };
}

/** The targets of every scenario here, with its figures. */
function outcomeOf(changing: Changing, checks: readonly Check[], notes: readonly string[] = []): Outcome {
  const { world, origin, ledger, invalidator } = changing;
  const { calls, acknowledged, withBehind, refused, unknown, lost, notSent, failed } = invalidator;
  const hitShare = 1 - changing.loadsUnderCalls / Math.max(1, ledger.counted);
  const ownShare = ledger.hits / Math.max(1, ledger.counted);
  const outcome = world.outcome(undefined, [
    atMost("violations", ledger.violated, 0),
    atMost("failed calls", failed, 0),
    {
      what: "answers without a load",
      target: `>= ${leastHitShare * 100} %`,
      measured: `${(hitShare * 100).toFixed(1)} %`,
      isMet: hitShare >= leastHitShare,
    },
    ...checks,
  ], [
    `${calls} calls: ${acknowledged} acknowledged, ${withBehind} of them with a node behind; ` +
    `503: ${refused} refused, ${unknown} unknown${lost > 0 ? `; ${lost} lost with a node that ended` : ""}` +
    `${notSent > 0 ? `; ${notSent} not sent` : ""}`,
    `${ledger.answers} answers, ${ledger.checked} checked against an acknowledged call`,
    `a call with wait took ${shown(invalidator.tookMs(0.5))} (median), ${shown(invalidator.tookMs(0.99))} (p99)`,
    `${(ownShare * 100).toFixed(1)} % of the answers from the node's own memory`,
    `${origin.loads} loads, ${origin.validated} of them 304`,
    ...notes,
  ]);
  const { violations } = ledger;
  const bySecond = [...invalidator.bySecond].map(([second, { tookMs, ...counts }]) => ({
    second,
    ...counts,
    medianMs: Math.round(quantile(tookMs, 0.5)),
  }));
  const { failures } = invalidator;
  return { ...outcome, details: { violations, callFailures: failures, callsBySecond: bySecond, ...outcome.details } };
}

function shown(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

function timesOf(count: number): string {
  return count === 1 ? "once" : `${count} times`;
}

function enoughAcknowledged({ invalidator: { calls, acknowledged } }: Changing): Check {
  const share = acknowledged / Math.max(1, calls);
  return {
    what: "calls acknowledged",
    target: `>= ${leastAcknowledgedShare * 100} %`,
    measured: `${(share * 100).toFixed(1)} %`,
    isMet: share >= leastAcknowledgedShare,
  };
}

/** The scenario's own time: that of an outage. */
function lasting(run: Run): Run {
  const { seconds, outageSeconds } = run.settings;
  return { ...run, settings: { ...run.settings, seconds: Math.max(seconds, outageSeconds) } };
}

async function restart(changing: Changing, name: string): Promise<void> {
  changing.ending.add(name);
  await changing.world.terminate(name);
  await startAgain(changing, name);
}

async function startAgain({ world, ledger, ending }: Changing, name: string): Promise<void> {
  ledger.starts(name);
  await world.start(name);
  await world.load.ready([name], 30_000);
  ending.delete(name);
}

const deadForMs = 3_000;

async function killAndStart(changing: Changing, name: string, forMs: number): Promise<void> {
  changing.ending.add(name);
  await changing.world.kill(name);
  await pause(forMs);
  await startAgain(changing, name);
}

const natsAwayMs = 4_000;

/**
 * Nodes restart one after another until the time is over. Now and then a node or NATS is killed.
 *
 * @param killNats kills the server, and starts it again with its store
 */
async function faults(changing: Changing, seconds: number, killNats: () => Promise<void>): Promise<void> {
  const { world } = changing;
  const endsAtMs = performance.now() + seconds * 1_000;
  const left = () => endsAtMs - performance.now();
  let inBackground: Promise<void> = Promise.resolve();
  for (let step = 0; left() > 0; step++) {
    const name = world.names[step % world.names.length]!;
    // 5, 7 and 8 have no common factor, so each fault meets different nodes.
    if (step % 7 === 1) await killAndStart(changing, name, Math.min(deadForMs, seconds * 100));
    else await restart(changing, name);
    if (step % 8 === 1) {
      await inBackground;
      inBackground = killNats();
      inBackground.catch(() => {});
    }
  }
  await inBackground;
}

async function invalidations(given: Run): Promise<Outcome> {
  const run = lasting(given);
  const { servers, settled } = await startNatsCluster(run.defer, 3);
  const urls = servers.map(({ url }) => url);
  const changing = await changingWorld(run, { nodes: 5, natsOf: () => urls.join(), bucketReplicas: 3 });
  const { world } = changing;
  let killed = 0;
  const kill = async () => {
    const leader = await leaderOf(urls);
    const server = servers[Number(leader?.slice(1))];
    if (server === undefined) return;
    world.say(`SIGKILL to NATS' leader of the log, ${leader}`);
    await server.stop("SIGKILL");
    killed++;
    await pause(natsAwayMs);
    await server.restart();
    await settled();
    world.say("all NATS servers are back");
  };
  const ended = await underCalls(changing, (seconds) => faults(changing, seconds, kill));
  return outcomeOf(changing, [
    enoughAcknowledged(changing),
    holds("NATS' leader was killed", killed > 0, timesOf(killed)),
    holds("all nodes apply calls at the end", ended),
  ]);
}

async function invalidationsOnOne(given: Run): Promise<Outcome> {
  const run = lasting(given);
  const changing = await changingWorld(run, { nodes: 5 });
  const { world } = changing;
  const nats = world.nats!;
  let killed = 0;
  const kill = async () => {
    world.say("SIGKILL to NATS");
    await nats.stop("SIGKILL");
    killed++;
    await pause(Math.min(natsAwayMs, run.settings.seconds * 100));
    await nats.restart();
    world.say("NATS is back");
  };
  const ended = await underCalls(changing, (seconds) => faults(changing, seconds, kill));
  return outcomeOf(changing, [
    enoughAcknowledged(changing),
    holds("NATS was killed", killed > 0, timesOf(killed)),
    holds("all nodes apply calls at the end", ended),
  ]);
}

/** Load and calls, the fault, and at last a call that all nodes apply. */
async function underCalls(changing: Changing, fault: (seconds: number) => Promise<void>): Promise<boolean> {
  const { world, origin, invalidator, ledger } = changing;
  const { seconds } = world.run.settings;
  let ended = false;
  await world.measure(async () => {
    invalidator.start(callsPerSecond);
    ledger.isCounting = true;
    const before = origin.loads;
    await fault(seconds - Math.min(3, seconds / 4));
    changing.loadsUnderCalls = origin.loads - before;
    ledger.isCounting = false;
    await invalidator.stop();
    ended = await allApply(changing, 20_000);
  });
  for (const violation of ledger.violations.slice(0, 5)) world.say(`VIOLATION ${JSON.stringify(violation)}`);
  return ended;
}

/** Calls until one names all nodes as having applied it, and none as behind. */
async function allApply({ world, invalidator, origin }: Changing, timeoutMs: number): Promise<boolean> {
  const sinceMs = performance.now();
  const wanted = [...world.fleet.members.keys()].sort().join();
  let isApplied = false;
  invalidator.onEnd = ({ said }) => {
    isApplied ||= said !== undefined && said.behind.length === 0 && [...said.applied].sort().join() === wanted;
  };
  while (!isApplied && performance.now() - sinceMs < timeoutMs) {
    await invalidator.call({ keys: [origin.keyspace.keyOf(0)] });
    await pause(50);
  }
  world.say(`all nodes apply a call: ${isApplied}, after ${Math.round(performance.now() - sinceMs)} ms`);
  return isApplied;
}

async function withNats<Result>(
  urls: readonly string[],
  use: (nats: NatsConnection) => Promise<Result>,
): Promise<Result> {
  const connection = await connect({ servers: [...urls], timeout: 2_000 });
  try {
    return await use(connection);
  } finally {
    await connection.close();
  }
}

/** The server that leads the log's stream. */
function leaderOf(urls: readonly string[]): Promise<string | undefined> {
  return withNats(urls, async (nats) => {
    const info = await (await nats.jetstreamManager()).streams.info(logStream);
    return info.cluster?.leader;
  });
}

/** How long a node may take to see that its connection is dead, and to open another. */
const blindSaidWithinMs = 6_000;
const backWithinMs = 5_000;
const leastGetsByWayOfBlind = 100;

/** One node is cut off from NATS, and back. */
function blindNode(isSilent: boolean): (run: Run) => Promise<Outcome> {
  return async (run) => {
    const blindMs = Math.max(5_000, run.settings.outageSeconds * 500);
    const nats = await startNats(run.defer);
    const proxy = new HoldingProxy(nats.port);
    await proxy.start(run.defer);
    const blind = nameOf(0);
    const natsOf = (name: string) => name === blind ? `nats://127.0.0.1:${proxy.port}` : nats.url;
    const changing = await changingWorld(run, { nodes: 5, natsOf });
    const { world, ledger, invalidator, origin } = changing;
    const ownerOf = ownersAt((await world.fleet.roster(nameOf(1)))!);
    let [named, unnamed, byWayOfBlind] = [0, 0, 0];
    let [cutAtMs, mendedAtMs, backMs] = [Infinity, Infinity, Infinity];
    let saidBehindMs = Infinity;
    invalidator.onEnd = ({ sentAtMs, endedAtMs, said }) => {
      if (said === undefined) return;
      if (sentAtMs > cutAtMs && endedAtMs < mendedAtMs) {
        if (said.behind.includes(blind)) named++;
        else unnamed++;
      }
      if (sentAtMs > mendedAtMs && said.applied.includes(blind)) backMs = Math.min(backMs, endedAtMs - mendedAtMs);
    };
    const counted = origin.onLoad;
    origin.onLoad = (key, by) => {
      counted(key, by);
      const isCut = performance.now() > cutAtMs && performance.now() < mendedAtMs;
      if (isCut && by !== blind && ownerOf(key) === blind) byWayOfBlind++;
    };
    const ended = await underCalls(changing, async () => {
      await pause(1_000);
      world.say(`${blind} ${isSilent ? "hears nothing from NATS" : "is cut off from NATS"} for ${blindMs} ms`);
      if (isSilent) proxy.hold();
      else proxy.cut();
      cutAtMs = performance.now();
      const behindBefore = ledger.behind;
      const watching = (async () => {
        while (ledger.behind === behindBefore && performance.now() < cutAtMs + blindMs) await pause(10);
        if (ledger.behind > behindBefore) saidBehindMs = performance.now() - cutAtMs;
      })();
      await pause(blindMs);
      await watching;
      if (isSilent) proxy.release();
      else proxy.mend();
      mendedAtMs = performance.now();
      world.say(`${blind} reaches NATS again`);
      await until(() => backMs < Infinity, 4 * backWithinMs, () => `${blind} never applied a call again`);
      world.say(`${blind} applies calls again after ${Math.round(backMs)} ms`);
      await pause(2_000);
    });
    const older = ledger.olderWhileBehind;
    const elsewhere = [...older].filter(([name]) => name !== blind).reduce((sum, [, count]) => sum + count, 0);
    return outcomeOf(changing, [
      atMost("calls that did not name it", unnamed, 0),
      holds("calls named it", named > 0, String(named)),
      atMost("said detail=behind after", Math.round(saidBehindMs), blindSaidWithinMs, " ms"),
      atMost("back after", Math.round(backMs), backWithinMs, " ms"),
      atMost("older answers after that", Math.max(0, Math.round(ledger.lastOlderAtMs - mendedAtMs - backMs)), 0, " ms"),
      holds("all nodes apply calls at the end", ended),
      {
        what: "loads of others in its place",
        target: `>= ${leastGetsByWayOfBlind}`,
        measured: String(byWayOfBlind),
        isMet: byWayOfBlind >= leastGetsByWayOfBlind,
      },
    ], [
      `while it was blind, it gave ${older.get(blind) ?? 0} older values itself, the others ${elsewhere}`,
      `${ledger.behind} answers said detail=behind`,
    ]);
  };
}

const newLifeWithinMs = 5_000;
const lives = 3;

/** The stream is deleted under load, again and again. */
async function logLost(run: Run): Promise<Outcome> {
  const changing = await changingWorld(run, { nodes: 5 });
  const { world, invalidator } = changing;
  const epochs = new Set<number>();
  let sinceMs = Infinity;
  let [takenAfterMs, firstByAllMs] = [Infinity, Infinity];
  let oldEpochs = new Set<number>();
  invalidator.onEnd = ({ sentAtMs, endedAtMs, said }) => {
    if (said === undefined) return;
    epochs.add(said.epoch);
    if (sentAtMs < sinceMs || oldEpochs.has(said.epoch)) return;
    takenAfterMs = Math.min(takenAfterMs, sentAtMs - sinceMs);
    if (said.behind.length === 0) firstByAllMs = Math.min(firstByAllMs, endedAtMs - sinceMs);
  };
  const refusedMs: number[] = [];
  const byAllMs: number[] = [];
  const ended = await underCalls(changing, async (seconds) => {
    for (let life = 0; life < lives; life++) {
      await pause(seconds * 1_000 / (lives + 1));
      oldEpochs = new Set(epochs);
      [takenAfterMs, firstByAllMs] = [Infinity, Infinity];
      await withNats([world.nats!.url], async (nats) => {
        await (await nats.jetstreamManager()).streams.delete(logStream);
      });
      sinceMs = performance.now();
      world.say(`the stream ${logStream} is deleted`);
      await until(() => firstByAllMs < Infinity, 20_000, () => "no call was applied by all again");
      refusedMs.push(takenAfterMs);
      byAllMs.push(firstByAllMs);
      world.say(`calls were taken again after ${shown(takenAfterMs)}, and applied by all after ${shown(firstByAllMs)}`);
    }
  });
  return outcomeOf(changing, [
    atMost("no call was taken for", Math.round(Math.max(...refusedMs)), newLifeWithinMs, " ms"),
    atMost("applied by all again after", Math.round(Math.max(...byAllMs)), newLifeWithinMs, " ms"),
    holds("each deletion began a new life", epochs.size >= lives + 1, `${epochs.size - 1}`),
    holds("all nodes apply calls at the end", ended),
  ]);
}

const idleCalls = 200;
const idleMedianMs = 10;

/** Calls one after another, with nothing else to do. */
async function idleWait(run: Run): Promise<Outcome> {
  const changing = await changingWorld({ ...run, settings: { ...run.settings, keys: 1_000 } }, { nodes: 5 });
  const { world, invalidator, origin } = changing;
  let complete = 0;
  invalidator.onEnd = ({ said }) => {
    if (said?.applied.length === world.names.length && said.behind.length === 0) complete++;
  };
  const took: number[] = [];
  await pause(2_000);
  for (let i = 0; i < idleCalls; i++) {
    const sinceMs = performance.now();
    await invalidator.call({ keys: [origin.keyspace.keyOf(i)] });
    took.push(performance.now() - sinceMs);
  }
  const median = quantile(took, 0.5);
  return {
    failed: invalidator.failed,
    checks: [
      atMost("median of a call with wait", median, idleMedianMs, " ms"),
      holds("all five nodes had applied each", complete === idleCalls, String(complete)),
    ],
    notes: [`${idleCalls} calls; p99 ${shown(quantile(took, 0.99))}, slowest ${shown(quantile(took, 1))}`],
    details: { took: took.map((ms) => Number(ms.toFixed(1))) },
  };
}

const noInvalidation = "invalidates nothing";

export const invalidationScenarios: readonly Scenario[] = [
  {
    name: "invalidations",
    title: "200 invalidations a second for 60 s; nodes restart, one is killed, a NATS cluster's leader dies",
    notOnGo: noInvalidation,
    run: invalidations,
  },
  {
    name: "invalidations-one-nats",
    title: "the same with one NATS server, killed and started again",
    notOnGo: noInvalidation,
    run: invalidationsOnOne,
  },
  {
    name: "blind-node",
    title: "200 invalidations a second while one node is cut off from NATS for 30 s",
    notOnGo: noInvalidation,
    run: blindNode(false),
  },
  {
    name: "blind-node-silent",
    title: "the same, but what NATS sends it is held back",
    notOnGo: noInvalidation,
    run: blindNode(true),
  },
  {
    name: "log-lost",
    title: "200 invalidations a second while the log's stream is deleted three times",
    notOnGo: noInvalidation,
    run: logLost,
  },
  {
    name: "idle-wait",
    title: "200 invalidations with `wait` on five idle nodes, one after another",
    notOnGo: noInvalidation,
    run: idleWait,
  },
];
