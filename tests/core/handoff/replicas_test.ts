import assert from "node:assert/strict";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { makeCluster, record, text } from "../cluster.ts";
import { askAll, type Cluster, keys } from "./support.ts";

test("when there is no room, a second copy displaces what any value does", async () => {
  const names = ["a", "b", "c", "d"];
  const options = { replicas: 2, budgetBytes: 3_000, hotAfterFetches: 0 };
  const cluster = makeCluster(names, { options });
  const { groups, origin, pickers } = cluster;
  for (let i = 0; i < 400; i++) for (const name of names) await groups.get(name)!.getAsOwner(`old-${i}`);
  const live = keys.slice(0, 60);
  for (const key of live) await groups.get(pickers.get("a")!.pick(key)?.name ?? "a")!.get(key);
  await settle(200);
  const copies = (key: string) => names.filter((name) => groups.get(name)!.lookup(key) !== undefined).length;
  assert.deepEqual(live.filter((key) => copies(key) !== 2), []);
  const before = origin.loads.length;
  cluster.dead.add("d");
  for (const key of live) await groups.get("a")!.get(key);
  assert.equal(origin.loads.length, before);
});

test("a second copy takes the place of the expired one before it", async () => {
  const options = { replicas: 2, lifetime: { ttlMs: 1_000 }, budgetBytes: 2_000 };
  const cluster = makeCluster(["a", "b"], { options });
  const { groups, pickers, origin, clock } = cluster;
  origin.answer = () => text("x".repeat(94));
  // Entries of 100 bytes fill the budget.
  const some = Array.from({ length: 20 }, (_, i) => `key-${i + 10}`);
  for (let lifetime = 0; lifetime < 3; lifetime++) {
    for (const key of some) await groups.get(pickers.get("a")!.pick(key)?.name ?? "a")!.get(key);
    await settle();
    const fresh = (name: string) => some.filter((key) => groups.get(name)!.lookup(key) !== undefined).length;
    assert.deepEqual([fresh("a"), fresh("b")], [20, 20], `lifetime ${lifetime}`);
    await clock.advance(1_001);
  }
});

test("copies that one change of owners cut short are sent after the next", async () => {
  const names = ["a", "b", "c", "d"];
  const cluster = makeCluster(names, { options: { replicas: 2, budgetBytes: 100_000_000 } });
  const { groups, pickers, origin, clock } = cluster;
  // Values so large that they take several messages.
  origin.answer = () => text("x".repeat(50_000));
  cluster.swap(names);
  for (const key of keys) await groups.get(pickers.get("a")!.pick(key)?.name ?? "a")!.get(key);
  await settle();
  const before = origin.loads.length;
  // b is killed. The weights change before all copies are there again.
  cluster.dead.add("b");
  const left = ["a", "c", "d"];
  cluster.swap(left, left);
  cluster.swap(left.map((name) => ({ ...record(name), weight: name === "d" ? 1.01 : 1 })), left);
  for (let i = 0; i < 50; i++) await clock.advance(100);
  const copies = (key: string) => left.filter((name) => groups.get(name)!.lookup(key) !== undefined).length;
  assert.deepEqual(keys.filter((key) => copies(key) < 2), []);
  assert.equal(origin.loads.length, before);
});

/** Keys that only one of their two owners holds. */
function lackingAt({ groups, pickers }: Cluster, some: readonly string[]): string[] {
  return some.filter((key) =>
    pickers.get("a")!.ranked(key, 2).some((peer) => groups.get(peer?.name ?? "a")!.lookup(key) === undefined)
  );
}

test("copies that did not reach a peer follow when it takes one again, though no list has changed", async () => {
  const cluster = makeCluster(["a", "b", "c"], { options: { replicas: 2, hotAfterFetches: 0 } });
  const { groups, pickers, clock, dead } = cluster;
  const ofPair = (name: string) => (key: string) => {
    const [first, second] = pickers.get("a")!.ranked(key, 2);
    return first === undefined && second?.name === name;
  };
  const [last, ...held] = keys.filter(ofPair("b"));
  dead.add("b");
  for (const key of held) await groups.get("a")!.get(key);
  await clock.advance(60_000);
  dead.delete("b");
  assert.deepEqual(lackingAt(cluster, held), held, "nobody tries for ever");
  // A key of another pair of nodes says nothing about b.
  await groups.get("a")!.get(keys.find(ofPair("c"))!);
  await settle();
  assert.deepEqual(lackingAt(cluster, held), held);
  await groups.get("a")!.get(last!);
  await clock.advance(1_000);
  assert.deepEqual(lackingAt(cluster, [last!, ...held]), []);
  await clock.advance(60_000);
  assert.equal(clock.pending, 0);
});

test("copies that a new second owner did not take in time follow later, and are sent once", async () => {
  const cluster = makeCluster(["a", "b"], { rosters: { a: ["a"], b: ["a", "b"] }, options: { replicas: 2 } });
  const { groups, clock, dead } = cluster;
  await askAll(cluster, ["a"]);
  dead.add("b");
  cluster.swap(["a", "b"]);
  await clock.advance(60_000);
  dead.delete("b");
  await groups.get("a")!.getAsOwner("one more");
  await clock.advance(1_000);
  assert.deepEqual(lackingAt(cluster, keys), []);
  const pushed = groups.get("a")!.stats().entriesPushed;
  await groups.get("a")!.getAsOwner("another");
  await clock.advance(1_000);
  assert.equal(groups.get("a")!.stats().entriesPushed, pushed + 1);
});

test("a change of owners sends the missing copies, and no other copies of the same pair", async () => {
  const cluster = makeCluster(["a", "b"], { options: { replicas: 2 } });
  const { groups, clock, dead } = cluster;
  const [taken, missed] = [keys.slice(0, 50), keys.slice(50, 60)];
  for (const key of taken) await groups.get("a")!.getAsOwner(key);
  await settle();
  dead.add("b");
  for (const key of missed) await groups.get("a")!.getAsOwner(key);
  await settle();
  dead.delete("b");
  const before = groups.get("a")!.stats().entriesPushed;
  // The weights change, the pair stays.
  cluster.swap([{ ...record("a"), weight: 1.01 }, "b"]);
  await clock.advance(10_000);
  assert.deepEqual(lackingAt(cluster, [...taken, ...missed]), []);
  assert.equal(groups.get("a")!.stats().entriesPushed - before, missed.length);
});

test("a change of owners that interrupts missing copies makes them wait, and loses none", async () => {
  const cluster = makeCluster(["a", "b"], { options: { replicas: 2, budgetBytes: 100_000_000 } });
  const { groups, clock, dead } = cluster;
  const missed = Array.from({ length: 2_500 }, (_, i) => `many-${i}`);
  dead.add("b");
  for (const key of missed) await groups.get("a")!.getAsOwner(key);
  await settle();
  dead.delete("b");
  await groups.get("a")!.getAsOwner("one more");
  await settle();
  // The weights change, the pair stays.
  cluster.swap([{ ...record("a"), weight: 1.01 }, "b"]);
  await clock.advance(10_000);
  await groups.get("a")!.getAsOwner("another");
  await clock.advance(10_000);
  assert.deepEqual(lackingAt(cluster, missed), []);
});

test("with two replicas a killed node costs no load, and neither does the next one", async () => {
  const cluster = makeCluster(["a", "b", "c", "d"], { options: { replicas: 2 } });
  await askAll(cluster, ["a"]);
  await settle();
  cluster.dead.add("d");
  await askAll(cluster, ["a", "b", "c"]);
  cluster.swap(["a", "b", "c"], ["a", "b", "c"]);
  await settle(200);
  cluster.dead.add("c");
  cluster.swap(["a", "b"], ["a", "b"]);
  await askAll(cluster, ["a", "b"]);
  assert.equal(cluster.origin.loads.length, keys.length);
});

test("the second copy comes from the owner, and each value is kept twice", async () => {
  const cluster = makeCluster(["a", "b", "c", "d"], { options: { replicas: 2 } });
  await askAll(cluster, ["a"]);
  await settle();
  const items = [...cluster.groups.values()].map((group) => group.stats().mainCache.items);
  assert.equal(items.reduce((sum, count) => sum + count, 0), 2 * keys.length);
});

test("with two replicas a restarted node gets its second copies again", async () => {
  const cluster = makeCluster(["a", "b"], { options: { replicas: 2 } });
  await askAll(cluster, ["a", "b"]);
  await settle();
  cluster.restart("b");
  cluster.swap(["a", { ...record("b"), incarnation: "2" }]);
  await settle(200);
  const b = cluster.groups.get("b")!;
  for (const key of keys) if (cluster.pickers.get("b")!.pick(key) === undefined) await b.get(key);
  assert.equal(b.stats().mainCache.items, keys.length);
  cluster.dead.add("a");
  cluster.swap([{ ...record("b"), incarnation: "2" }], ["b"]);
  await askAll(cluster, ["b"]);
  assert.equal(cluster.origin.loads.length, keys.length);
});

test("with two replicas a new owner gets its values from the second owner", async () => {
  const cluster = makeCluster(["a", "b", "c"], { options: { replicas: 2 } });
  const { clock, groups, origin, pickers } = cluster;
  await askAll(cluster, ["a", "b", "c"]);
  await settle(200);
  // c is killed and comes back. No key is asked for until the former rosters are forgotten.
  cluster.swap(["a", "b"], ["a", "b"]);
  await settle(200);
  cluster.restart("c");
  cluster.swap(["a", "b", { ...record("c"), incarnation: "2" }]);
  await settle(200);
  const ofC = keys.filter((key) => pickers.get("c")!.pick(key) === undefined);
  const missing = ofC.filter((key) =>
    groups.get("c")!.peek(key, { signal: new AbortController().signal }) === undefined
  );
  assert.deepEqual(missing, []);
  await clock.advance(310_000);
  await askAll(cluster, ["a", "b", "c"]);
  assert.equal(origin.loads.length, keys.length);
});

/** Counts how often a node looks for the owners of a key. */
function pickersCalls({ pickers }: Cluster, name: string): { calls: number } {
  const picker = pickers.get(name)!;
  const counted = { calls: 0 };
  const { ranked } = picker;
  picker.ranked = (key, count) => {
    counted.calls++;
    return ranked.call(picker, key, count);
  };
  return counted;
}

test("a change of owners does not block a node that holds many keys", async () => {
  const cluster = makeCluster(["a", "b", "c"], { options: { replicas: 2, budgetBytes: 100_000_000 } });
  const { clock, groups } = cluster;
  for (let i = 0; i < 2_500; i++) await groups.get("a")!.getAsOwner(`many-${i}`);
  const ranked = pickersCalls(cluster, "a");
  cluster.swap(["a", "b"], ["a"]);
  assert.ok(ranked.calls <= 1_001, `${ranked.calls} keys at once`);
  await clock.advance(10);
  await settle();
  assert.ok(ranked.calls >= 2_500, `${ranked.calls} keys in all`);
});

test("a second copy that a peer does not take is tried again for a while, from where it failed", async () => {
  const cluster = makeCluster(["a", "b"], { rosters: { a: ["a"], b: [] }, options: { replicas: 2 } });
  await askAll(cluster, ["a"]);
  cluster.dead.add("b");
  cluster.swap(["a", "b"]);
  await cluster.clock.advance(2_500);
  const held = () => cluster.groups.get("b")!.stats().mainCache.items;
  assert.equal(held(), 0);
  cluster.dead.delete("b");
  await cluster.clock.advance(1_000);
  assert.equal(held(), keys.length, "copies of the keys that a owns, and the keys that b owns now");
  cluster.dead.add("b");
  cluster.swap(["a"], ["a"]);
  cluster.swap(["a", { ...record("b"), incarnation: "2" }], ["a"]);
  await cluster.clock.advance(60_000);
  assert.equal(cluster.clock.pending, 0, "not for ever");
});
