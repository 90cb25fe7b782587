import assert from "node:assert/strict";
import fc from "fast-check";
import { NotFoundError } from "../../../lib/core/errors.ts";
import { ByteCache, entryBytes } from "../../../lib/core/cache/byte-cache.ts";
import { SharedBudget } from "../../../lib/core/cache/shared-budget.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { CountingOrigin, makeCluster, makeGroup, read, record, text } from "../cluster.ts";
import { drainOf } from "../handoff/support.ts";
import { allGood, valueOf } from "../support.ts";
import { keys, threeNodes, withFreshness } from "./support.ts";

test("lifetimes are shortened at random by at most the jitter's share", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: { ttlMs: 10_000, ttlJitter: 0.2 } });
  for (const key of keys) await group.get(key);
  const left = keys.map((key) => group.lookup(key)!.value.freshUntilMs - clock.nowMs());
  assert.ok(left.every((ms) => ms >= 8_000 && ms <= 10_000), `${Math.min(...left)} to ${Math.max(...left)}`);
  assert.ok(Math.max(...left) - Math.min(...left) > 1_000, "and not all by the same");
});

test("each value lives as long as its own answer says", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: { ttlMs: 5_000 } });
  const spans: Record<string, number> = { short: 1_000, long: 60_000 };
  origin.answer = (key) => spans[key] === undefined ? text(key) : withFreshness(text(key), { freshMs: spans[key] });
  for (const key of ["short", "policy", "long"]) await group.get(key);
  const alive = () => ["short", "policy", "long"].filter((key) => group.lookup(key) !== undefined).join();
  assert.equal(alive(), "short,policy,long");
  await clock.advance(1_000);
  assert.equal(alive(), "policy,long");
  await clock.advance(4_000);
  assert.equal(alive(), "long");
  await clock.advance(54_999);
  assert.equal(alive(), "long");
  await clock.advance(1);
  assert.equal(alive(), "");
});

test("expired entries are found in any place, whatever their lifetimes", () => {
  const entry = fc.record({ ttlMs: fc.constantFrom(10, 50, 1_000, Infinity), isRead: fc.boolean() });
  fc.assert(fc.property(fc.array(entry, { maxLength: 60 }), fc.constantFrom(5, 20, 100), (entries, nowMs) => {
    const cache = new ByteCache();
    entries.forEach(({ ttlMs }, i) => cache.set(`k${i}`, valueOf(1, { freshUntilMs: ttlMs })));
    entries.forEach(({ isRead }, i) => isRead && cache.get(`k${i}`, () => 0));
    // Moves what was read to the other list.
    for (let i = 0; i < entries.length / 4; i++) cache.evictOne();
    const gone = cache.entries().filter(({ value }) => value.freshUntilMs <= nowMs).length;
    let removed = 0;
    while (cache.removeExpired(nowMs)) removed++;
    assert.equal(removed, gone);
    assert.equal(cache.entries().filter(({ value }) => value.freshUntilMs <= nowMs).length, 0);
  }));
});

test("a search for expired entries misses none that came during it", () => {
  const step = fc.oneof(
    fc.record({ ttlMs: fc.constantFrom(1, 5, 20), isRead: fc.boolean() }),
    fc.constant("look" as const),
    fc.constant("evict" as const),
  );
  fc.assert(fc.property(fc.array(step, { maxLength: 100, size: "max" }), (steps) => {
    const cache = new ByteCache();
    steps.forEach((step, nowMs) => {
      if (step === "look") {
        const hasOne = cache.entries().some(({ value }) => value.freshUntilMs <= nowMs);
        assert.equal(cache.removeExpired(nowMs), hasOne);
      } else if (step === "evict") cache.evictOne();
      else {
        cache.set(`k${nowMs}`, valueOf(1, { freshUntilMs: nowMs + step.ttlMs }));
        if (step.isRead) cache.get(`k${nowMs}`, () => nowMs);
      }
    });
  }));
});

test("expired values with unequal lifetimes make room for handed-over ones; what is stale and usable stays", () => {
  const caches = new SharedBudget(1_000, allGood(), { costOf: entryBytes });
  for (let i = 0; i < 10; i++) {
    const staleIfErrorMs = i === 3 ? 1_000 : 0;
    caches.store(caches.main, `k${i}`, valueOf(98, { freshUntilMs: i % 2 === 0 ? Infinity : 10 * i, staleIfErrorMs }));
  }
  const fits = () => caches.storeWithoutLoss(`new-${caches.main.items}`, valueOf(90), 1_000);
  let taken = 0;
  while (taken < 10 && caches.storeWithoutLoss(`new${taken}`, valueOf(96), 1_000)) taken++;
  assert.equal(taken, 4, "k1, k5, k7 and k9");
  assert.ok(caches.main.peek("k3"));
  assert.equal(fits(), false);
});

test("copies keep what is left of the owner's times, and no more", async () => {
  const { key, a, b, clock } = threeNodes({ ttlMs: 10_000, staleWhileRevalidateMs: 3_000, staleIfErrorMs: 5_000 });
  await b.get(key);
  await clock.advance(6_000);
  await a.get(key);
  await a.get(key);
  const copy = a.lookup(key)!;
  assert.equal(copy.from, "hot");
  const { freshUntilMs, staleWhileRevalidateMs, staleIfErrorMs } = copy.value;
  assert.deepEqual([freshUntilMs - clock.nowMs(), staleWhileRevalidateMs, staleIfErrorMs], [4_000, 3_000, 5_000]);
});

test("second copies and handed-over values keep what is left of the owner's times", async () => {
  for (const replicas of [1, 2]) {
    const { key, b, c, clock, groups, swap, dead, ...cluster } = threeNodes(
      { ttlMs: 10_000, staleWhileRevalidateMs: 3_000 },
      { replicas },
    );
    await b.get(key);
    await clock.advance(6_000);
    if (replicas === 1) {
      swap([record("a"), { ...record("b"), state: "draining" }, record("c")]);
      await drainOf({ ...cluster, clock, groups, swap, dead }, "b");
    }
    const held = c.lookup(key)!;
    assert.deepEqual([held.from, held.value.freshUntilMs - clock.nowMs()], ["main", 4_000], `${replicas} replicas`);
    assert.equal(held.value.staleWhileRevalidateMs, 3_000);
  }
});

test("a value with a lifetime of its own is not cut by another node's policy; any other is", async () => {
  for (const [freshMs, isKept] of [[60_000, true], [undefined, false]] as const) {
    const { key, b, clock, groups, origin, restart, swap } = threeNodes({});
    origin.answer = () => freshMs === undefined ? text("value") : withFreshness(text("value"), { freshMs });
    await b.get(key);
    restart("a", { lifetime: { ttlMs: 1_000 } });
    swap(["a", "b", "c"]);
    for (let i = 0; i < 2; i++) await groups.get("a")!.get(key);
    await clock.advance(2_000);
    assert.equal(groups.get("a")!.lookup(key) !== undefined, isKept);
  }
});

test("'not found' is remembered for a while, at the owner and at the asked node", async () => {
  const { key, a, b, c, clock, origin, asks } = threeNodes({ ttlMs: 10, negativeTtlMs: 1_000 });
  origin.answer = () => {
    throw new NotFoundError("none");
  };
  await assert.rejects(a.get(key), NotFoundError);
  await assert.rejects(a.get(key), NotFoundError);
  assert.deepEqual([origin.loads.length, asks.length], [1, 1], "the second one is a hit on the copy");
  await clock.advance(100);
  assert.equal(a.lookup(key)!.value.about.status, 404, "by the lifetime of its own kind");
  for (const group of [b, c]) await assert.rejects(group.get(key), NotFoundError);
  assert.equal(origin.loads.length, 1);
  await clock.advance(900);
  origin.answer = () => text("now there");
  for (const group of [c, a, b]) assert.equal(read(await group.get(key)), "now there");
  assert.equal(origin.loads.length, 2);
});

test("without a lifetime for it, 'not found' is not remembered", async () => {
  const { key, a, origin } = threeNodes({});
  origin.answer = () => {
    throw new NotFoundError("none");
  };
  for (let i = 0; i < 2; i++) await assert.rejects(a.get(key), NotFoundError);
  assert.equal(origin.loads.length, 2);
});

test("an answer that took long does not take the place of one that was asked for later", async () => {
  const cluster = makeCluster(["a", "b"], { rosters: { a: ["a"], b: ["a", "b"] } });
  const { groups, origin, pickers, clock } = cluster;
  const key = keys.find((key) => pickers.get("b")!.pick(key) === undefined)!;
  const gate = Promise.withResolvers<void>();
  origin.answer = async () => {
    await gate.promise;
    return text("old");
  };
  // b loads; meanwhile a node that was taken for the owner hands over what it has loaded later.
  const slow = groups.get("b")!.get(key);
  await settle();
  await clock.advance(1_000);
  assert.equal(groups.get("b")!.accept([{ key, value: valueOf("new", { bornAtMs: clock.nowMs() }) }], "a"), 1);
  await clock.advance(1_000);
  gate.resolve();
  const loaded = await slow;
  assert.deepEqual([read(loaded), loaded.stored], ["old", false]);
  assert.equal(read(groups.get("b")!.lookup(key)!), "new");
});

test("a value handed over during a load, and older than the load, gives way", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin });
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const load = group.get("k");
  await clock.advance(1_000);
  group.accept([{ key: "k", value: valueOf("older", { bornAtMs: clock.nowMs() - 5_000 }) }], "b");
  gate.resolve();
  assert.equal((await load).stored, true);
  assert.equal(read(group.lookup("k")!), "value of k");
});

test("when the origin has a value no more, the expired one is served no more", async () => {
  const { key, a, b, clock, origin } = threeNodes({ ttlMs: 1_000, staleWhileRevalidateMs: 60_000 });
  for (let i = 0; i < 2; i++) await a.get(key);
  await clock.advance(1_000);
  origin.answer = () => {
    throw new NotFoundError("gone");
  };
  assert.equal(read(b.lookup(key)!), "v1");
  await settle();
  await assert.rejects(b.get(key), NotFoundError);
  assert.equal(read(a.lookup(key)!), "v1", "a has not heard of it yet");
  await settle();
  await assert.rejects(a.get(key), NotFoundError);
});
