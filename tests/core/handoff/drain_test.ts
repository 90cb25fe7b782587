import assert from "node:assert/strict";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { makeCluster, record } from "../cluster.ts";
import { askAll, drainOf, keys } from "./support.ts";

test("a node that leaves hands over its entries, and its keys cost no load", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  await askAll(cluster, ["a"]);
  const held = cluster.groups.get("c")!.stats().mainCache.items;
  cluster.swap([record("a"), record("b"), { ...record("c"), state: "draining" }]);
  await drainOf(cluster, "c");
  cluster.dead.add("c");
  cluster.swap(["a", "b"], ["a", "b"]);
  await askAll(cluster, ["a", "b"]);
  assert.equal(cluster.origin.loads.length, keys.length);
  assert.equal(cluster.groups.get("c")!.stats().entriesPushed, held);
});

test("nodes take a draining node's entries though their roster does not show yet that it drains", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  await askAll(cluster, ["a"]);
  cluster.swap([record("a"), record("b"), { ...record("c"), state: "draining" }], ["c"]);
  await drainOf(cluster, "c");
  const { entriesPushed, mainCache } = cluster.groups.get("c")!.stats();
  assert.equal(entriesPushed, mainCache.items);
});

test("entries that a draining node could not hand over are offered once more, to their owners at that time", async () => {
  for (const isBack of [true, false]) {
    const cluster = makeCluster(["a", "b", "c"]);
    await askAll(cluster, ["c"]);
    cluster.swap([record("a"), record("b"), { ...record("c"), state: "draining" }]);
    cluster.dead.add("b");
    const drained = drainOf(cluster, "c");
    await settle();
    if (isBack) cluster.dead.delete("b");
    else cluster.swap([record("a"), { ...record("c"), state: "draining" }], ["a", "c"]);
    await cluster.clock.advance(500);
    await drained;
    const { entriesPushed, mainCache } = cluster.groups.get("c")!.stats();
    assert.ok(entriesPushed >= mainCache.items, `b is back: ${isBack}; ${entriesPushed} of ${mainCache.items}`);
  }
});

test("values loaded while a node drains are handed over too, and the drain waits for them", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const { origin, groups, pickers, swap } = cluster;
  const ofC = keys.filter((key) => pickers.get("c")!.pick(key) === undefined);
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  origin.gate = gates[0]!.promise;
  const first = groups.get("c")!.get(ofC[0]!);
  await settle();
  swap([record("a"), record("b"), { ...record("c"), state: "draining" }], ["c"]);
  let isOver = false;
  const farewell = Promise.withResolvers<void>();
  const drained = drainOf(cluster, "c", farewell.promise).then(() => isOver = true);
  gates[0]!.resolve();
  await first;
  await settle();
  // The others do not know yet that c drains.
  origin.gate = gates[1]!.promise;
  const second = groups.get("a")!.get(ofC[1]!);
  await settle();
  assert.equal(isOver, false);
  farewell.resolve();
  await settle();
  assert.equal(isOver, false);
  gates[1]!.resolve();
  await second;
  await drained;
  cluster.dead.add("c");
  swap(["a", "b"], ["a", "b"]);
  for (const name of ["a", "b"]) for (const key of ofC.slice(0, 2)) await groups.get(name)!.get(key);
  assert.deepEqual(origin.loads, ofC.slice(0, 2));
});

test("a load that does not end delays a drain until its time is over", async () => {
  const cluster = makeCluster(["a", "b"]);
  const { origin, groups, pickers } = cluster;
  origin.gate = new Promise(() => {});
  const key = keys.find((key) => pickers.get("a")!.pick(key) === undefined)!;
  const left = assert.rejects(groups.get("a")!.get(key), /No answer within/);
  await settle();
  cluster.swap([{ ...record("a"), state: "draining" }, record("b")]);
  const over = new AbortController();
  let isOver = false;
  void groups.get("a")!.drain(over.signal, Promise.resolve()).then(() => isOver = true);
  await settle();
  assert.equal(isOver, false);
  over.abort();
  await settle();
  assert.equal(isOver, true);
  await cluster.clock.advance(10_000);
  await left;
});

test("a draining node does not wait long for a node that cannot be reached", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  await askAll(cluster, ["a"]);
  cluster.dead.add("b");
  let isOver = false;
  void drainOf(cluster, "c").then(() => isOver = true);
  await cluster.clock.advance(499);
  assert.equal(isOver, false);
  await cluster.clock.advance(1);
  assert.equal(isOver, true);
});

test("the new owner of a killed node's keys hands over the hot copies of them that it holds", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  await askAll(cluster, ["b"]);
  cluster.dead.add("c");
  cluster.swap(["a", "b"], ["a", "b"]);
  cluster.swap([record("a"), { ...record("b"), state: "draining" }], ["a", "b"]);
  await drainOf(cluster, "b");
  cluster.dead.add("b");
  cluster.swap(["a"], ["a"]);
  const isOf = (name: string) => (key: string) => cluster.pickers.get("c")!.pick(key)?.name === name;
  // Keys that b owned at the beginning. Keys that a took over from c belong to another test.
  const ofB = keys.filter((key) => isOf("b")(key));
  for (const key of ofB) await cluster.groups.get("a")!.get(key);
  const inherited = cluster.groups.get("b")!.stats().entriesPushed - ofB.length;
  assert.ok(inherited > 10, `b has handed over ${inherited} of c's keys`);
  assert.equal(cluster.origin.loads.length, keys.length);
});

test("a draining node still answers, though it owns nothing", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  await askAll(cluster, ["a"]);
  cluster.swap([record("a"), record("b"), { ...record("c"), state: "draining" }]);
  // Nothing is pushed here: the new owners peek at the old one.
  await askAll(cluster, ["a", "b", "c"]);
  assert.equal(cluster.origin.loads.length, keys.length);
});

test("handed-over values keep their age and the rest of their lifetime", async () => {
  const cluster = makeCluster(["a", "b", "c"], { options: { lifetime: { ttlMs: 10_000 } } });
  await askAll(cluster, ["a"]);
  await cluster.clock.advance(4_000);
  cluster.swap([record("a"), record("b"), { ...record("c"), state: "draining" }]);
  await drainOf(cluster, "c");
  await cluster.clock.advance(5_999);
  await askAll(cluster, ["a", "b"]);
  assert.equal(cluster.origin.loads.length, keys.length);
  await cluster.clock.advance(1);
  await askAll(cluster, ["a", "b"]);
  assert.equal(cluster.origin.loads.length, 2 * keys.length, "all have expired at their first hour, wherever they are");
});
