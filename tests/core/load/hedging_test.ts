import assert from "node:assert/strict";
import { BLIND } from "../../../lib/core/invalidation/label.ts";
import { PeerError } from "../../../lib/core/errors.ts";
import { Failover } from "../../../lib/core/load/failover.ts";
import { Flights, promised } from "../../../lib/core/load/flights.ts";
import { type Ask, NoPeers, type Peer } from "../../../lib/core/ports.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { makeCluster, read } from "../cluster.ts";
import { valueOf } from "../support.ts";
import { keys, keysOfB } from "./support.ts";

test("when an owner is silent for a while, the next in rank is asked as well", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const [key] = keysOfB(cluster);
  cluster.stalled.add("b");
  const asked = cluster.groups.get("a")!.get(key!);
  await cluster.clock.advance(499);
  assert.deepEqual(cluster.asks, ["a>b"]);
  await cluster.clock.advance(1);
  assert.deepEqual(cluster.asks, ["a>b", "a>c"]);
  // c peeks at b in vain before it asks the origin.
  await cluster.clock.advance(2_000);
  assert.equal(read(await asked), `value of ${key}`);
  assert.equal(cluster.groups.get("a")!.stats().hedges, 1);
});

test("a hedge for a key that the owner is loading costs no second load", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const [key] = keysOfB(cluster);
  const gate = Promise.withResolvers<void>();
  cluster.origin.gate = gate.promise;
  const asked = cluster.groups.get("a")!.get(key!);
  await cluster.clock.advance(600);
  assert.deepEqual(cluster.asks, ["a>b", "a>c"]);
  gate.resolve();
  assert.equal(read(await asked), `value of ${key}`);
  assert.deepEqual(cluster.origin.loads, [key]);
  assert.equal(cluster.groups.get("c")!.lookup(key!), undefined, "it stays with its owner");
});

test("while an owner answers other asks, one load is slow, and no other node is asked", async () => {
  const cluster = makeCluster(["a", "b", "c"], { options: { loadTimeoutMs: 10_000 } });
  const [slow, ...quick] = keysOfB(cluster);
  const gate = Promise.withResolvers<void>();
  cluster.origin.gate = gate.promise;
  const asked = cluster.groups.get("a")!.get(slow!);
  await settle();
  cluster.origin.gate = Promise.resolve();
  for (const key of quick.slice(0, 10)) {
    await cluster.clock.advance(200);
    await cluster.groups.get("a")!.get(key);
  }
  assert.ok(!cluster.asks.includes("a>c"), "2 s, and b is known to be there");
  await cluster.clock.advance(600);
  assert.ok(cluster.asks.includes("a>c"), "then b is silent");
  gate.resolve();
  assert.equal(read(await asked), `value of ${slow}`);
});

test("a stand-in waits for an owner that still asks former owners", async () => {
  const cluster = makeCluster(["a", "b", "c", "d"]);
  const picker = cluster.pickers.get("a")!;
  const key = keys.find((key) => picker.ranked(key, 2).map((peer) => peer?.name).join() === "b,c")!;
  // b has just become the owner. d was the owner before and never answers, so b peeks for two seconds.
  cluster.swap(["a", "d"], ["b"]);
  cluster.swap(["a", "b", "c", "d"], ["b"]);
  cluster.stalled.add("d");
  cluster.stalled.add("a");
  const [early, late] = [cluster.groups.get("b")!.get(key), cluster.groups.get("c")!.getAsOwner(key)];
  await cluster.clock.advance(2_000);
  assert.deepEqual([read(await early), read(await late)], [`value of ${key}`, `value of ${key}`]);
  assert.deepEqual(cluster.origin.loads.length, 1);
});

test("hedges are at most 3 % of the asks", async () => {
  const cluster = makeCluster(["a", "b", "c"], { options: { loadTimeoutMs: 60_000 } });
  cluster.stalled.add("b");
  const asked = keysOfB(cluster).slice(0, 60);
  for (const key of asked) void cluster.groups.get("a")!.get(key).catch(() => {});
  await cluster.clock.advance(5_000);
  const { hedges } = cluster.groups.get("a")!.stats();
  assert.ok(hedges >= 1 && hedges <= 1 + 0.03 * asked.length, `${hedges} of ${asked.length}`);
});

test("the delay before a hedge follows the owner's own latencies", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const [last, ...first] = keysOfB(cluster);
  // The owner answers within a tick, so the delay falls to its minimum of 100 ms.
  for (const key of first.slice(0, 40)) await cluster.groups.get("a")!.get(key);
  cluster.asks.length = 0;
  cluster.stalled.add("b");
  void cluster.groups.get("a")!.get(last!);
  await cluster.clock.advance(100);
  assert.deepEqual(cluster.asks, ["a>b", "a>c"]);
});

test("when this node is next in rank, it peeks at the slow owner, then loads by itself", async () => {
  const cluster = makeCluster(["a", "b"]);
  const key = keys.find((key) => cluster.pickers.get("a")!.pick(key)?.name === "b")!;
  cluster.stalled.add("b");
  const asked = cluster.groups.get("a")!.get(key);
  await cluster.clock.advance(500 + 2_000);
  assert.equal(read(await asked), `value of ${key}`);
});

test("after a hedge was answered, the loss of the first ask changes nothing", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const [key] = keysOfB(cluster);
  cluster.lateDeath("b", 700);
  const a = cluster.groups.get("a")!;
  const asked = a.get(key!);
  await cluster.clock.advance(500);
  assert.equal(read(await asked), `value of ${key}`);
  await cluster.clock.advance(200);
  assert.deepEqual(cluster.asks, ["a>b", "a>c"], "and no other node is asked in its place");
  const { peerLoads, peerErrors, hedges } = a.stats();
  assert.deepEqual({ peerLoads, peerErrors, hedges }, { peerLoads: 1, peerErrors: 0, hedges: 1 });
});

test("a hedge may find the slow peer's connection dead: asks that this has ended are not hedged", async () => {
  const clock = new ManualClock();
  const value = valueOf(1);
  const atB: Ask[] = [];
  let bIsQuick = true;
  const askedOfC: string[] = [];
  const peer = (name: string, ask: Peer["ask"]) => ({ name, ask }) as Peer;
  const b = peer("b", (_group, _key, question) => bIsQuick ? question.resolve(value) : void atB.push(question));
  const c = peer("c", (_group, key, question) => {
    askedOfC.push(key);
    for (const lost of atB.splice(0)) lost.reject(new PeerError("b was lost"));
    question.resolve(value);
  });
  const stats = { peerLoads: 0, peerErrors: 0, hedges: 0, behindPeers: 0 };
  const failover = new Failover<string>({
    after: () => BLIND,
    group: "g",
    picker: { ...NoPeers, pick: () => b, ranked: (_key, count) => [b, c].slice(0, count) },
    clock,
    timeoutMs: 10_000,
    stats,
    received: (key) => `value of ${key}`,
    standIn: () => undefined,
    loadUnkept: () => assert.fail("nobody is behind"),
    loadHere: () => assert.fail("c is there"),
  });
  const flights = new Flights<string>({ clock, timeoutMs: 30_000, maxFlights: 1_000 });
  const get = (key: string) =>
    promised<string>(undefined, (waiter) => flights.fly(key, waiter, (flight) => failover.fetch(b, key, flight)));
  // Enough asks that two hedges at once are allowed.
  for (let i = 0; i < 100; i++) await get(`quick-${i}`);
  bIsQuick = false;
  const asked = ["x", "y", "z"].map(get);
  await clock.advance(100);
  assert.deepEqual(await Promise.all(asked), ["value of x", "value of y", "value of z"]);
  assert.equal(stats.hedges, 1, "y and z had ended by then");
  assert.deepEqual(askedOfC.toSorted(), ["x", "x", "y", "z"]);
  assert.deepEqual([flights.size, clock.pending > 2], [0, false]);
});

/** A node whose owner for all keys is `b`; what reaches it is answered by the test. Nobody else may be asked. */
function askedOfB(loadHere: () => Promise<string>) {
  const clock = new ManualClock();
  const atB: Ask[] = [];
  const b = { name: "b", ask: (_group, _key, question) => void atB.push(question) } as Peer;
  const stats = { peerLoads: 0, peerErrors: 0, hedges: 0, behindPeers: 0 };
  const failover = new Failover<string>({
    after: () => BLIND,
    group: "g",
    picker: { ...NoPeers, pick: () => b, ranked: (_key, count) => [b, undefined].slice(0, count) },
    clock,
    timeoutMs: 10_000,
    stats,
    received: (key) => `value of ${key}`,
    standIn: () => undefined,
    loadUnkept: () => assert.fail("nobody is behind"),
    loadHere,
  });
  const flights = new Flights<string>({ clock, timeoutMs: 20_500, maxFlights: 10 });
  const asked = promised<string>(undefined, (waiter) => {
    flights.fly("x", waiter, (flight) => failover.fetch(b, "x", flight));
  });
  return { clock, asked, ask: atB[0]!, stats };
}

test("a value that arrives in parts is waited for, beyond the time of a flight, and its peer is not hedged", async () => {
  const { clock, asked, ask, stats } = askedOfB(() => assert.fail("b is sending"));
  for (let i = 0; i < 45; i++) {
    ask.arriving!(clock.nowMs() + 5_000);
    await clock.advance(1_000);
  }
  ask.resolve(valueOf(1));
  assert.equal(await asked, "value of x");
  assert.deepEqual([stats.hedges, stats.peerLoads], [0, 1]);
});

test("when a value stops arriving, there is still time for one load in its place, and no more", async () => {
  const loaded = Promise.withResolvers<string>();
  const { clock, asked, ask } = askedOfB(() => loaded.promise);
  await clock.advance(400);
  for (let i = 0; i < 30; i++) {
    ask.arriving!(clock.nowMs() + 5_000);
    await clock.advance(1_000);
  }
  await clock.advance(4_000);
  ask.reject(new PeerError("b did not answer in time"));
  await clock.advance(9_999);
  loaded.resolve("loaded here");
  assert.equal(await asked, "loaded here");
  const late = askedOfB(() => new Promise(() => {}));
  late.ask.arriving!(late.clock.nowMs() + 25_000);
  const over = assert.rejects(late.asked, { name: "OriginTimeoutError" });
  await late.clock.advance(25_000);
  late.ask.reject(new PeerError("b did not answer in time"));
  await late.clock.advance(10_000);
  await over;
});
