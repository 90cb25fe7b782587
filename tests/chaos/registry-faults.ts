/** Scenarios in which NATS fails, or a node gets changes late. */
import { rm } from "node:fs/promises";
import { connect } from "nats";
import { startNats, startNatsCluster } from "../support/nats-server.ts";

import { pause } from "./load.ts";
import { atMost, holds, type Outcome, type Run, type Scenario } from "./result.ts";
import { HoldingProxy } from "./tcp-proxy.ts";
import { nameOf, World } from "./world.ts";

const rostersEqualWithinMs = 5_000;
/** The second outage, without the store, is short: it tests the empty store. */
const secondOutageMs = 3_000;
/** The limit for loads per value. Chosen: some values are loaded twice while the nodes learn of the new log. */
const MOST_RELOADED = 1.25;
const backAgain = "NATS is here";

/** SIGKILL; back with its store; SIGKILL; back with nothing. */
async function natsOutage(run: Run): Promise<Outcome> {
  const world = await World.make(run, { nodes: 5 });
  const nats = world.nats!;
  const nodes = [...world.fleet.members.values()];
  const equalMs: number[] = [];
  const outage = async (lengthMs: number, doMeanwhile: () => Promise<void>) => {
    world.say(`SIGKILL to NATS`);
    await nats.stop("SIGKILL");
    await doMeanwhile();
    await pause(lengthMs);
    const heard = nodes.map(({ lines }) => countOf(lines, backAgain));
    await nats.restart();
    world.say("NATS is back");
    const isHeard = () => nodes.every(({ lines }, i) => countOf(lines, backAgain) > heard[i]!);
    equalMs.push(await world.rostersEqual(4 * rostersEqualWithinMs, isHeard));
    world.say(`all nodes follow it again, with equal rosters, after ${Math.round(equalMs.at(-1)!)} ms`);
  };
  let extraBefore = Infinity;
  await world.measure(async () => {
    await outage(run.settings.outageSeconds * 1_000, async () => {});
    await pause(1_000);
    extraBefore = world.origin.extra.length;
    await outage(secondOutageMs, () => rm(nats.storeDir, { recursive: true, force: true }));
  });
  const [kept, empty] = equalMs.map(Math.round);
  // The log of invalidations is lost with the store, so no value is known to be good. Each is loaded once more, and
  // some also by another node, if the owner has not seen the new log yet.
  const { extra, keysLoaded } = world.origin;
  return world.outcome(undefined, [
    atMost("extra origin loads while its store was kept", extraBefore, 0),
    atMost(
      "extra origin loads after the empty store",
      extra.length - extraBefore,
      Math.floor(keysLoaded * MOST_RELOADED),
    ),
    atMost("rosters equal after its return", kept!, rostersEqualWithinMs, " ms"),
    atMost("and with an empty store", empty!, rostersEqualWithinMs, " ms"),
  ]);
}

function countOf(lines: readonly string[], text: string): number {
  return lines.filter((line) => line.includes(text)).length;
}

const joins = 20;
const joinsAtOnce = 2;

/** The server that leads the bucket's stream. */
async function leaderOf(urls: string[], bucket: string): Promise<string | undefined> {
  const connection = await connect({ servers: urls });
  try {
    const info = await (await connection.jetstreamManager()).streams.info(`KV_${bucket}`);
    return info.cluster?.leader;
  } finally {
    await connection.close();
  }
}

async function natsCluster(run: Run): Promise<Outcome> {
  const { servers } = await startNatsCluster(run.defer, 3);
  const urls = servers.map(({ url }) => url);
  const world = await World.make(run, { nodes: 5, natsOf: () => urls.join(), bucketReplicas: 3 });
  let killed = false;
  let equalMs = Infinity;
  await world.measure(async () => {
    const newcomers = Array.from({ length: joins }, (_, i) => nameOf(world.names.length + i));
    for (let at = 0; at < joins; at += joinsAtOnce) {
      const some = newcomers.slice(at, at + joinsAtOnce);
      const started = Promise.all(some.map((name) => world.start(name)));
      if (at === 6) {
        const leader = await leaderOf(urls, "peers");
        const server = servers[Number(leader?.slice(1))];
        world.say(`SIGKILL to the leader of the bucket, ${leader}`);
        await server?.stop("SIGKILL");
        killed = server !== undefined;
      }
      await started;
    }
    await world.load.ready(newcomers, 60_000);
    equalMs = await world.rostersEqual(60_000);
    world.say(`${world.fleet.members.size} nodes have equal rosters`);
  });
  const peers = (await world.fleet.roster(nameOf(0)))?.peers.map(({ name }) => name) ?? [];
  const lost = [...world.fleet.members.keys()].filter((name) => !peers.includes(name));
  return world.outcome(0, [
    holds("the leader was killed", killed),
    holds("rosters equal", equalMs < Infinity),
    atMost("peers lost", lost.length, 0),
    atMost("peers listed twice", peers.length - new Set(peers).size, 0),
  ]);
}

const heldMs = 5_000;

/** Two nodes join and one leaves while one node gets no changes. */
async function heldWatcher(run: Run): Promise<Outcome> {
  const nats = await startNats(run.defer);
  const proxy = new HoldingProxy(nats.port);
  await proxy.start(run.defer);
  const held = nameOf(0);
  const world = await World.make(run, {
    nodes: 5,
    natsOf: (name) => name === held ? `nats://127.0.0.1:${proxy.port}` : nats.url,
  });
  const before = await world.fleet.roster(nameOf(1));
  const stays = [nameOf(0), nameOf(1), nameOf(2), nameOf(3)];
  const fetchedBefore = await fetchesOf(world, stays);
  let revisions = 0;
  await world.measure(async () => {
    world.say(`${held} hears nothing from NATS from now on`);
    proxy.hold();
    const released = pause(heldMs).then(() => {
      proxy.release();
      world.say(`${held} hears all of it`);
    });
    await world.start(nameOf(5));
    await world.terminate(nameOf(4));
    await world.start(nameOf(6));
    await released;
    await world.fleet.settled();
    revisions = (await world.fleet.roster(nameOf(1)))!.revision - before!.revision;
  });
  const perKey = new Map<string, number>();
  for (const { key } of world.origin.extra) perKey.set(key, (perKey.get(key) ?? 0) + 1);
  const worst = Math.max(0, ...perKey.values());
  const fetched = await fetchesOf(world, stays) - fetchedBefore;
  const answered = stays.reduce((sum, name) => sum + (world.load.tally.viaPeer.get(name) ?? 0), 0);
  // One duplicate per key and revision also bounds the sum: only keys of nodes that came or went can be loaded twice.
  return world.outcome(run.settings.keys * revisions, [
    atMost("most extra loads of one key", worst, revisions),
    // A second hop would be a fetch that answered no client of the fetching node.
    atMost("fetches beyond the first hop", Math.max(0, fetched - answered), 0),
  ], [`${revisions} revisions`]);
}

async function fetchesOf(world: World, names: readonly string[]): Promise<number> {
  const counts = await Promise.all(names.map(async (name) => {
    const { url } = world.fleet.members.get(name)!;
    return (await (await fetch(`${url}/stats`)).json()).groups.chaos.peerLoads as number;
  }));
  return counts.reduce((sum, count) => sum + count, 0);
}

const noRegistry = "has no registry";

export const registryFaults: readonly Scenario[] = [
  {
    name: "nats-outage",
    title: "NATS SIGKILLed for 60 s, then back; then back with an empty store",
    notOnGo: noRegistry,
    run: natsOutage,
  },
  {
    name: "nats-cluster",
    title: "NATS cluster of 3, leader killed during 20 joins",
    notOnGo: noRegistry,
    run: natsCluster,
  },
  {
    name: "held-watcher",
    title: "one watcher held back for 5 s during changes",
    notOnGo: noRegistry,
    run: heldWatcher,
  },
];
