import assert from "node:assert/strict";
import { PeerError } from "../../../lib/core/errors.ts";
import { Failover } from "../../../lib/core/load/failover.ts";
import { Flights, promised } from "../../../lib/core/load/flights.ts";
import { type Ask, NoPeers, type Peer } from "../../../lib/core/ports.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { makeCluster, read } from "../cluster.ts";

const keys = Array.from({ length: 500 }, (_, i) => `key-${i}`);

/** Keys that `a` asks of `b`, with `c` next in rank. */
function keysOfB(cluster: ReturnType<typeof makeCluster>): string[] {
  const picker = cluster.pickers.get("a")!;
  return keys.filter((key) => picker.ranked(key, 2).map((peer) => peer?.name).join() === "b,c");
}

test("an owner that is slow is not dead: after a while the next in rank is asked as well", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const [key] = keysOfB(cluster);
  cluster.stalled.add("b");
  const asked = cluster.groups.get("a")!.get(key!);
  await cluster.clock.advance(499);
  assert.deepEqual(cluster.asks, ["a>b"]);
  await cluster.clock.advance(1);
  assert.deepEqual(cluster.asks, ["a>b", "a>c"]);
  // c looks whether b has it, in vain, before it asks the origin.
  await cluster.clock.advance(2_000);
  assert.equal(read(await asked), `value of ${key}`);
  assert.equal(cluster.groups.get("a")!.stats().hedges, 1);
});

test("a second ask for what the owner is loading costs the origin nothing", async () => {
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

test("while an owner answers others it is one load that is slow, and nobody else is asked", async () => {
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

test("a stand-in waits for an owner that is still looking among the others", async () => {
  const cluster = makeCluster(["a", "b", "c", "d"]);
  const picker = cluster.pickers.get("a")!;
  const key = keys.find((key) => picker.ranked(key, 2).map((peer) => peer?.name).join() === "b,c")!;
  // b has just come to own the key: d did before, says nothing, and so b looks for two seconds.
  cluster.swap(["a", "d"], ["b"]);
  cluster.swap(["a", "b", "c", "d"], ["b"]);
  cluster.stalled.add("d");
  cluster.stalled.add("a");
  const [early, late] = [cluster.groups.get("b")!.get(key), cluster.groups.get("c")!.getAsOwner(key)];
  await cluster.clock.advance(2_000);
  assert.deepEqual([read(await early), read(await late)], [`value of ${key}`, `value of ${key}`]);
  assert.deepEqual(cluster.origin.loads.length, 1);
});

test("second asks are a few percent of all", async () => {
  const cluster = makeCluster(["a", "b", "c"], { options: { loadTimeoutMs: 60_000 } });
  cluster.stalled.add("b");
  const asked = keysOfB(cluster).slice(0, 60);
  for (const key of asked) void cluster.groups.get("a")!.get(key).catch(() => {});
  await cluster.clock.advance(5_000);
  const { hedges } = cluster.groups.get("a")!.stats();
  assert.ok(hedges >= 1 && hedges <= 1 + 0.03 * asked.length, `${hedges} of ${asked.length}`);
});

test("the delay is taken from the owner's own latencies", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const [last, ...first] = keysOfB(cluster);
  // Answers within a tick: soon 100 ms without one is long.
  for (const key of first.slice(0, 40)) await cluster.groups.get("a")!.get(key);
  cluster.asks.length = 0;
  cluster.stalled.add("b");
  void cluster.groups.get("a")!.get(last!);
  await cluster.clock.advance(100);
  assert.deepEqual(cluster.asks, ["a>b", "a>c"]);
});

test("where this node is the next in rank it looks at the slow owner, then loads by itself", async () => {
  const cluster = makeCluster(["a", "b"]);
  const key = keys.find((key) => cluster.pickers.get("a")!.pick(key)?.name === "b")!;
  cluster.stalled.add("b");
  const asked = cluster.groups.get("a")!.get(key);
  await cluster.clock.advance(500 + 2_000);
  assert.equal(read(await asked), `value of ${key}`);
});

test("what this node loads in the place of a peer is counted once, and not as a peer's", async () => {
  for (const fault of ["stalled", "dead"] as const) {
    const cluster = makeCluster(["a", "b"]);
    const { clock, groups, pickers } = cluster;
    const a = groups.get("a")!;
    const key = keys.find((key) => pickers.get("b")!.pick(key) === undefined)!;
    cluster[fault].add("b");
    const asked = a.get(key);
    await clock.advance(3_000);
    const { source, stored } = await asked;
    assert.deepEqual([source, stored], ["origin", true]);
    const { loads, loadsDeduped, peerLoads, localLoads, originLoads } = a.stats();
    assert.deepEqual([loads, loadsDeduped, peerLoads, localLoads, originLoads], [1, 1, 0, 1, 1], fault);
  }
});

test("an owner that refuses is asked again by the next request; one that let callers wait is passed over for a while", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const [one, two, three, four, five] = keysOfB(cluster);
  const a = cluster.groups.get("a")!;
  cluster.dead.add("b");
  await a.get(one!);
  cluster.dead.delete("b");
  await a.get(two!);
  assert.deepEqual(cluster.asks, ["a>b", "a>c", "a>b"]);

  // From now on b is lost after 200 ms.
  cluster.asks.length = 0;
  cluster.lateDeath("b", 200);
  const waits = a.get(three!);
  await cluster.clock.advance(200);
  await waits;
  assert.deepEqual(cluster.asks, ["a>b", "a>c"]);
  await a.get(four!);
  assert.deepEqual(cluster.asks, ["a>b", "a>c", "a>c"], "passed over");
  await cluster.clock.advance(250);
  const again = a.get(five!);
  await settle();
  assert.deepEqual(cluster.asks, ["a>b", "a>c", "a>c", "a>b"], "asked again");
  await cluster.clock.advance(200);
  await again;
});

test("however many are dead, one load serves all who are left", async () => {
  const names = Array.from({ length: 10 }, (_, i) => `n${i}`);
  const cluster = makeCluster(names);
  const dead = names.slice(0, 7);
  for (const name of dead) cluster.dead.add(name);
  const left = names.slice(7);
  await Promise.all(left.flatMap((name) => keys.map((key) => cluster.groups.get(name)!.get(key))));
  assert.equal(cluster.origin.loads.length, keys.length);
});

test("after three that let it wait a request is answered by this node", async () => {
  const names = ["a", "b", "c", "d", "e", "f"];
  const cluster = makeCluster(names);
  for (const name of names.slice(1)) cluster.lateDeath(name, 200);
  const key = keys.find((key) => {
    return cluster.pickers.get("a")!.ranked(key, 6).findIndex((peer) => peer === undefined) === 5;
  });
  const asked = cluster.groups.get("a")!.get(key!);
  await cluster.clock.advance(600);
  assert.equal(read(await asked), `value of ${key}`);
  assert.equal(cluster.asks.length, 3);
});

test("when an owner's pause is over one asks it again, and the others wait for what that one hears", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const keys = keysOfB(cluster);
  const a = cluster.groups.get("a")!;
  cluster.lateDeath("b", 200);
  const first = a.get(keys[0]!);
  await cluster.clock.advance(200);
  await first;
  await cluster.clock.advance(250);
  cluster.asks.length = 0;
  const three = keys.slice(1, 4).map((key) => a.get(key));
  await settle();
  assert.deepEqual(cluster.asks, ["a>b", "a>c", "a>c"]);
  await cluster.clock.advance(200);
  await Promise.all(three);
  // It has let that one wait, too: twice the pause.
  await cluster.clock.advance(499);
  cluster.asks.length = 0;
  await a.get(keys[4]!);
  assert.deepEqual(cluster.asks, ["a>c"]);
  cluster.late.delete("b");
  await cluster.clock.advance(1);
  await a.get(keys[5]!);
  await a.get(keys[6]!);
  assert.deepEqual(cluster.asks, ["a>c", "a>b", "a>b"]);
});

test("once a second ask was answered, the loss of the first is nobody's trouble", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const [key] = keysOfB(cluster);
  cluster.lateDeath("b", 700);
  const a = cluster.groups.get("a")!;
  const asked = a.get(key!);
  await cluster.clock.advance(500);
  assert.equal(read(await asked), `value of ${key}`);
  await cluster.clock.advance(200);
  assert.deepEqual(cluster.asks, ["a>b", "a>c"], "and nobody is asked in its place");
  const { peerLoads, peerErrors, hedges } = a.stats();
  assert.deepEqual({ peerLoads, peerErrors, hedges }, { peerLoads: 1, peerErrors: 0, hedges: 1 });
});

test("to ask another may find the slow peer's connection dead: what that has ended is not asked for twice", async () => {
  const clock = new ManualClock();
  const value = { body: new Uint8Array(1), contentType: "text/plain", bornAtMs: 0, expiresAtMs: Infinity };
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
  const stats = { peerLoads: 0, peerErrors: 0, hedges: 0 };
  const failover = new Failover<string>({
    group: "g",
    picker: { ...NoPeers, pick: () => b, ranked: (_key, count) => [b, c].slice(0, count) },
    clock,
    timeoutMs: 10_000,
    stats,
    received: (key) => `value of ${key}`,
    loadHere: () => assert.fail("c is there"),
  });
  const flights = new Flights<string>({ clock, timeoutMs: 30_000, maxFlights: 1_000 });
  const get = (key: string) =>
    promised<string>(undefined, (waiter) => flights.fly(key, waiter, (flight) => failover.fetch(b, key, flight)));
  // So that two second asks at once would be allowed.
  for (let i = 0; i < 100; i++) await get(`quick-${i}`);
  bIsQuick = false;
  const asked = ["x", "y", "z"].map(get);
  await clock.advance(100);
  assert.deepEqual(await Promise.all(asked), ["value of x", "value of y", "value of z"]);
  assert.equal(stats.hedges, 1, "y and z had ended by then");
  assert.deepEqual(askedOfC.toSorted(), ["x", "x", "y", "z"]);
  assert.deepEqual([flights.size, clock.pending > 2], [0, false]);
});
