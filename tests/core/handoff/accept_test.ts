import assert from "node:assert/strict";
import { test } from "../../support/test.ts";
import { makeCluster, read, record } from "../cluster.ts";
import { valueOf } from "../support.ts";
import { askAll, drainOf, keys } from "./support.ts";

test("a node takes handed-over values that it is to keep, and they displace nothing", async () => {
  const { groups, pickers } = makeCluster(["a", "b", "c"], { options: { budgetBytes: 60 } });
  const a = groups.get("a")!;
  const mine = keys.filter((key) => pickers.get("a")!.pick(key) === undefined);
  const others = keys.filter((key) => pickers.get("a")!.ranked(key, 3)[2] === undefined);
  const entry = (key: string) => ({
    key,
    value: valueOf("0123456789", { bornAtMs: 1 }),
  });
  assert.equal(a.accept(others.slice(0, 3).map(entry), "c"), 0, "another node's keys");
  await a.get(mine[0]!);
  const { bytes } = a.stats().mainCache;
  const room = Math.floor((60 - bytes) / entry(mine[1]!).value.body.length);
  const taken = a.accept(mine.slice(1, 10).map(entry), "b");
  assert.ok(taken >= 1 && taken <= room, `${taken}`);
  assert.ok(a.lookup(mine[0]!), "the value that was here stays");
  assert.equal(a.stats().mainCache.evictions, 0);
  const expired = { key: mine[0]!, value: valueOf("x", { bornAtMs: 1, freshUntilMs: 2 }) };
  assert.equal(a.accept([expired], "b"), 0);
});

test("a value from a node with a longer lifetime is kept for this node's lifetime only", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const { clock, groups, origin } = cluster;
  await askAll(cluster, ["a"]);
  // The nodes restart one after another with a lifetime, as in a deploy.
  for (const name of ["a", "b", "c"]) {
    const others = ["a", "b", "c"].filter((other) => other !== name);
    cluster.swap([...others.map(record), { ...record(name), state: "draining" }]);
    await drainOf(cluster, name);
    cluster.swap(others, others);
    cluster.restart(name, { lifetime: { ttlMs: 60_000 } });
    cluster.swap([...others.map(record), { ...record(name), incarnation: "2" }]);
    await askAll(cluster, others);
    await clock.advance(1_000);
  }
  await askAll(cluster, ["a", "b", "c"]);
  assert.equal(origin.loads.length, keys.length, "a deploy costs no load");
  await clock.advance(57_000);
  for (const name of ["a", "b", "c"]) {
    for (const key of keys) assert.equal(groups.get(name)!.lookup(key), undefined, `${key} at ${name} is 60 s old`);
  }
});

test("expired values make room for handed-over ones", async () => {
  for (const budgetBytes of [2_500, 100_000]) {
    const cluster = makeCluster(["a", "b"], {
      options: { lifetime: { ttlMs: 60_000 }, budgetBytes, hotAfterFetches: 0 },
    });
    const { clock, groups } = cluster;
    // Other keys than those below fill all room.
    for (let i = 0; i < 400; i++) await groups.get(i % 2 === 0 ? "a" : "b")!.getAsOwner(`old-${i}`);
    await clock.advance(60_000);
    const live = keys.slice(0, 20);
    for (const key of live) await groups.get("b")!.getAsOwner(key);
    const before = cluster.origin.loads.length;
    cluster.swap([record("a"), { ...record("b"), state: "draining" }]);
    await drainOf(cluster, "b");
    cluster.dead.add("b");
    cluster.swap(["a"], ["a"]);
    for (const key of live) await groups.get("a")!.get(key);
    assert.equal(cluster.origin.loads.length, before, `${budgetBytes} bytes`);
  }
});

test("an older value does not replace a newer one", async () => {
  const { groups, pickers } = makeCluster(["a", "b"]);
  const a = groups.get("a")!;
  const key = keys.find((key) => pickers.get("a")!.pick(key) === undefined)!;
  await a.get(key);
  a.accept([{ key, value: valueOf("stale", { bornAtMs: 5 }) }], "b");
  assert.equal(read(a.lookup(key)!), `value of ${key}`);
});

test("an older value does not take the place of a newer copy", async () => {
  const { groups, pickers, origin, clock } = makeCluster(["a", "b"]);
  const key = keys.find((key) => pickers.get("b")!.pick(key) === undefined)!;
  const a = groups.get("a")!;
  await clock.advance(1_000);
  for (let i = 0; i < 2; i++) await a.get(key);
  assert.equal(a.lookup(key)!.from, "hot");
  const aged = (body: string, byMs: number) => [{ key, value: valueOf(body, { bornAtMs: clock.nowMs() - byMs }) }];
  assert.equal(a.accept(aged("stale", 1_000), "b"), 0);
  assert.equal(read(a.lookup(key)!), `value of ${key}`);
  assert.equal(a.accept(aged("the same load, a little later", 5), "b"), 1);
  assert.equal(a.lookup(key)!.from, "main");
  assert.equal(origin.loads.length, 1);
});
