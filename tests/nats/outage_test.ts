/** NATS fails in real ways, and nodes use their real delays. */
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { connect } from "nats";
import { pause } from "../../lib/core/base/time/timeout.ts";
import { freePort } from "../support/free-port.ts";
import { type NatsServer, startNats, startNatsCluster } from "../support/nats-server.ts";
import { type Defer, test } from "../support/test.ts";
import { countsOf, Fleet, timed } from "../registry/fleet.ts";
import { realClock } from "../registry/support.ts";

const needs = { timeoutMs: 60_000 };
const never = new AbortController().signal;
/** Longest time between the return of NATS and equal rosters. Chosen. */
const recoveryMs = 5_000;

async function fleetOn(defer: Defer, server: NatsServer, count: number): Promise<Fleet> {
  const fleet = new Fleet(defer, [server.url], count);
  fleet.start();
  await timed(() => fleet.isEqual, 10_000, () => fleet.account());
  fleet.forget();
  return fleet;
}

async function mustRecover(fleet: Fleet): Promise<void> {
  await timed(() => fleet.isEqual, recoveryMs, () => fleet.account());
  const count = fleet.nodes.length;
  assert.ok(fleet.fewestPeers >= count, `a roster had only ${fleet.fewestPeers} of ${count} peers`);
}

test("NATS is killed for a while and comes back: the rosters stand, and nothing is written", needs, async (defer) => {
  const server = await startNats(defer);
  const fleet = await fleetOn(defer, server, 20);
  const before = fleet.nodes[0]!.membership.roster("dict");
  await server.stop("SIGKILL");
  await timed(() => fleet.isAway, 1_000, () => fleet.account());
  // Long enough for the waits between two tries to have grown to their most.
  await pause(realClock, 3_000, never);
  await server.restart();
  await mustRecover(fleet);
  assert.deepEqual(fleet.nodes[7]!.membership.roster("dict"), before);
  assert.equal(fleet.lines(/^warn NATS is away/).length, 20);
});

test(
  "NATS comes back with an empty store: all nodes put themselves back, and no list loses one",
  needs,
  async (defer) => {
    const server = await startNats(defer);
    const fleet = await fleetOn(defer, server, 20);
    await server.stop("SIGKILL");
    await timed(() => fleet.isAway, 1_000, () => fleet.account());
    await rm(server.storeDir, { recursive: true });
    await pause(realClock, 1_000, never);
    await server.restart();
    // Lists are equal, too, while the last record is written and not yet read: its peer is still kept from before.
    const isWritten = () => fleet.nodes[0]!.membership.roster("dict").revision === 20;
    await timed(() => isWritten() && fleet.isEqual, recoveryMs, () => fleet.account());
    await mustRecover(fleet);
    assert.equal(fleet.lines(/my record in the peer list of dict is gone: putting it back/).length, 20);
  },
);

test("NATS is paused until all have noticed, and goes on: the rosters stand", needs, async (defer) => {
  const server = await startNats(defer);
  const fleet = await fleetOn(defer, server, 10);
  server.signal("SIGSTOP");
  await timed(() => fleet.isAway, 12_000, () => fleet.account());
  const { membership } = fleet.nodes[1]!;
  const suspect = membership.roster("dict").peers[2]!;
  assert.equal(await membership.evict(suspect), false, "nobody is evicted while NATS is away");
  const told = fleet.lines(/^warn NATS is away \(TIMEOUT; .*look whether it stands still/);
  assert.equal(told.length, 10, fleet.lines(/NATS/).join("\n"));
  server.signal("SIGCONT");
  await mustRecover(fleet);
  assert.equal(fleet.lines(/evicted|putting it back/).length, 0);
});

test("NATS is paused for less than it takes to notice: nothing changes", needs, async (defer) => {
  const server = await startNats(defer);
  const fleet = await fleetOn(defer, server, 5);
  server.signal("SIGSTOP");
  const joiner = new Fleet(defer, [server.url], 1, {}, 5);
  joiner.start();
  await pause(realClock, 1_500, never);
  server.signal("SIGCONT");
  fleet.nodes.push(...joiner.nodes);
  await timed(() => fleet.isEqual, recoveryMs, () => fleet.account());
  assert.ok(fleet.fewestPeers >= 5);
});

test(
  "a hundred nodes start at once: equal rosters within 10 s, and each change costs O(N) messages",
  needs,
  async (defer) => {
    const monitorPort = await freePort();
    const server = await startNats(defer, { extraArgs: ["-m", String(monitorPort)] });
    const fleet = new Fleet(defer, [server.url], 100);
    const startMs = performance.now();
    fleet.start();
    await timed(() => fleet.isEqual, 10_000, () => fleet.account());
    const tookMs = performance.now() - startMs;
    assert.ok(tookMs < 10_000, `${tookMs} ms`);
    const { in_msgs: asked, out_msgs: told } = await countsOf(monitorPort);
    // 100 changes: each is told to at most 100 nodes, once; and each node asks a few questions of its own.
    assert.ok(asked < 100 * 50, `${asked} messages to NATS`);
    assert.ok(told < 100 * 100 * 1.5, `${told} messages from NATS`);

    const before = await countsOf(monitorPort);
    const [leaver] = fleet.nodes.splice(50, 1);
    assert.equal(await leaver!.membership.leave(5_000), true);
    await leaver!.membership.close();
    await timed(() => fleet.isEqual, 5_000, () => fleet.account());
    const after = await countsOf(monitorPort);
    const spent = after.in_msgs - before.in_msgs + after.out_msgs - before.out_msgs;
    assert.ok(spent >= 99 && spent < 100 * 10, `${spent} messages for one change`);
  },
);

test("a hundred nodes come back with NATS without a stampede", needs, async (defer) => {
  const monitorPort = await freePort();
  const server = await startNats(defer, { extraArgs: ["-m", String(monitorPort)] });
  const fleet = new Fleet(defer, [server.url], 100);
  fleet.start();
  await timed(() => fleet.isEqual, 10_000, () => fleet.account());
  fleet.forget();
  await server.stop("SIGKILL");
  await timed(() => fleet.isAway, 2_000, () => fleet.account());
  await pause(realClock, 2_000, never);
  await server.restart();
  await mustRecover(fleet);
  const counts = await countsOf(monitorPort);
  // Each looks for a greeting, connects, and asks a handful of questions; then it is told the 100 records.
  assert.ok(counts.total_connections <= 100 * 3, `${counts.total_connections} connections`);
  assert.ok(counts.in_msgs < 100 * 30, `${counts.in_msgs} messages to NATS`);
  assert.ok(counts.out_msgs < 100 * (100 + 40), `${counts.out_msgs} messages from NATS`);
  assert.equal(fleet.lines(/putting it back/).length, 0, "nobody had to write anything");
});

test(
  "a cluster loses the leader of the bucket during 20 joins: nobody is lost or twice",
  { timeoutMs: 90_000 },
  async (defer) => {
    const { servers } = await startNatsCluster(defer, 3);
    const urls = servers.map(({ url }) => url);
    const fleet = new Fleet(defer, urls, 2, { replicas: 3 });
    fleet.start();
    await timed(() => fleet.isEqual, 20_000, () => fleet.account());
    fleet.forget();
    const joiners = new Fleet(defer, urls, 20, { replicas: 3 }, 2);
    fleet.nodes.push(...joiners.nodes);
    const leader = servers[Number((await streamInfo(urls)).cluster!.leader!.slice(1))]!;
    for (const [index, { membership }] of joiners.nodes.entries()) {
      membership.start();
      if (index === 10) void leader.stop("SIGKILL");
      await pause(realClock, 10, never);
    }
    // NATS takes four to nine seconds to choose another leader, or that twice; until then no record can be written.
    const survivors = urls.filter((url) => url !== leader.url);
    while (!await streamInfo(survivors).then(({ cluster }) => cluster?.leader, () => undefined)) {
      await pause(realClock, 50, never);
    }
    await timed(() => fleet.isEqual, recoveryMs, () => fleet.account());
    assert.ok(fleet.fewestPeers >= 2, `a roster had only ${fleet.fewestPeers} peers`);
    const names = fleet.nodes[0]!.membership.roster("dict").peers.map(({ name }) => name);
    assert.deepEqual(names.toSorted(), fleet.nodes.map(({ name }) => name).toSorted());
    const info = await streamInfo(survivors);
    assert.deepEqual([info.state.messages, info.state.last_seq], [22, 22], "each was written once");
  },
);

/** As the leader tells it; rejects while there is none. */
async function streamInfo(urls: string[]) {
  const connection = await connect({ servers: urls, reconnect: false, timeout: 1_000 });
  try {
    return await (await connection.jetstreamManager({ timeout: 500, checkAPI: false })).streams.info("KV_peers");
  } finally {
    await connection.close();
  }
}
