import assert from "node:assert/strict";
import { OriginError } from "../../../lib/core/errors.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { CountingOrigin, makeGroup, read, text } from "../cluster.ts";
import { keys, threeNodes, withFreshness } from "./support.ts";

const POLICY = { ttlMs: 10_000, staleWhileRevalidateMs: 60_000 };

test("a stale value is served at once on all nodes, and one load refreshes it", async () => {
  const { key, a, b, c, clock, origin, asks } = threeNodes(POLICY);
  for (const group of [a, b, c, a, c]) await group.get(key);
  await clock.advance(10_000);
  asks.length = 0;
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  for (let round = 0; round < 50; round++) {
    for (const group of [a, c, b]) assert.equal(read(group.lookup(key)!), "v1");
    await settle();
  }
  assert.equal(origin.loads.length, 2, "the first load, and one refresh");
  assert.deepEqual(asks.sort(), ["a>b", "c>b"], "the other nodes look at the owner, and only now and then");
  gate.resolve();
  await settle();
  assert.equal(read(b.lookup(key)!), "v2");
  assert.equal(read(a.lookup(key)!), "v1", "its copy is not renewed yet");
  await clock.advance(250);
  for (const group of [a, c]) assert.equal(read(group.lookup(key)!), "v1");
  await settle();
  for (const group of [a, b, c]) assert.equal(read(group.lookup(key)!), "v2");
  assert.equal(origin.loads.length, 2);
  assert.ok(b.stats().staleHits >= 50 && b.stats().refreshes === 1);
});

test("a full cache renews the copies that it holds", async () => {
  const { key, a, b, clock, pickers } = threeNodes(POLICY, { budgetBytes: 100 });
  for (let i = 0; i < 2; i++) await a.get(key);
  const own = keys.filter((key) => pickers.get("a")!.pick(key) === undefined);
  for (let i = 0; a.stats().mainCache.bytes + a.stats().hotCache.bytes < 90; i++) await a.get(own[i]!);
  assert.equal(a.lookup(key)!.from, "hot");
  await clock.advance(10_000);
  await b.get(key);
  await settle();
  a.lookup(key);
  await settle();
  const renewed = read(b.lookup(key)!);
  assert.notEqual(renewed, "v1");
  assert.equal(read(a.lookup(key)!), renewed);
});

test("after its time a stale value is not served, and the get waits for the refresh that is in flight", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: { ttlMs: 1_000, staleWhileRevalidateMs: 2_000 } });
  origin.answer = () => text(`v${origin.loads.length}`);
  await group.get("k");
  await clock.advance(2_999);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  assert.equal(read(group.lookup("k")!), "v1");
  await clock.advance(1);
  const asked = group.get("k");
  await settle();
  gate.resolve();
  assert.equal(read(await asked), "v2");
  assert.equal(origin.loads.length, 2);
});

test("when the node that refreshes dies, the next in rank refreshes", async () => {
  const { key, a, b, c, clock, origin, dead, swap } = threeNodes(POLICY);
  for (const group of [a, b, c, a, c]) await group.get(key);
  await clock.advance(10_000);
  // The origin never answers b.
  origin.gate = new Promise(() => {});
  assert.equal(read(a.lookup(key)!), "v1");
  await settle();
  assert.equal(origin.loads.length, 2);
  dead.add("b");
  origin.gate = Promise.resolve();
  for (let i = 0; i < 3; i++) {
    await clock.advance(250);
    assert.ok(a.lookup(key), "served all the time");
    await settle(100);
  }
  assert.equal(read(a.lookup(key)!), "v3");
  assert.equal(c.lookup(key)!.from, "main", "c has refreshed it in the place of b");
  assert.equal(origin.loads.length, 3);
  swap(["a", "c"], ["a", "c"]);
  await clock.advance(10_000);
  assert.equal(read(a.lookup(key)!), "v3");
  await settle(100);
  assert.equal(origin.loads.length, 4, "and goes on to");
});

test("a refresh that fails is not tried again before its pause is over, though no stale value may stand in", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: POLICY });
  await group.get("k");
  await clock.advance(10_000);
  origin.answer = () => {
    throw new OriginError("down");
  };
  const triedAtMs: number[] = [];
  const sinceMs = clock.nowMs();
  for (let ms = 0; ms <= 8_000; ms += 100) {
    const before = origin.loads.length;
    assert.equal(read(group.lookup("k")!), "value of k");
    await settle();
    if (origin.loads.length > before) triedAtMs.push(clock.nowMs() - sinceMs);
    await clock.advance(100);
  }
  assert.deepEqual(triedAtMs, [0, 1_000, 3_000, 7_000]);
});

test("the origin gets the expired value, and may say that it is still good", async () => {
  const { key, a, b, clock, origin } = threeNodes({});
  const fields = [["etag", '"1"']] as const;
  origin.answer = (_key, { stale }) => {
    const answer = stale === undefined ? text("body") : { body: stale.body, contentType: stale.contentType };
    return withFreshness({ ...answer, fields }, { freshMs: 1_000, staleWhileRevalidateMs: 5_000 });
  };
  const first = await b.get(key);
  for (let i = 0; i < 2; i++) await a.get(key);
  await clock.advance(1_000);
  assert.equal(read(a.lookup(key)!), "body");
  await settle();
  assert.deepEqual(origin.contexts.map(({ stale }) => stale), [undefined, first.value]);
  const held = b.lookup(key)!.value;
  assert.equal(held.body, first.value.body, "one body");
  assert.equal(held.freshUntilMs, clock.nowMs() + 1_000);
  assert.equal(held.about.etag, '"1"');
  // Gone, but the origin can still be asked.
  await clock.advance(10_000);
  assert.equal(read(await b.get(key)), "body");
  assert.equal(origin.contexts[2]!.stale, held);
});

test("an answer that no cache may keep ends the stale value before it", async () => {
  const { key, a, b, clock, origin } = threeNodes(POLICY);
  for (let i = 0; i < 2; i++) await a.get(key);
  await clock.advance(10_000);
  origin.answer = () => withFreshness(text("for one"), { isStorable: false });
  assert.equal(read(b.lookup(key)!), "v1");
  await settle();
  assert.equal(b.lookup(key), undefined);
  a.lookup(key);
  await settle();
  assert.equal(a.lookup(key), undefined);
  assert.ok(a.passed.has(key) && b.passed.has(key));
});

test("a new owner that holds a stale value looks for a fresh one at the former owner", async () => {
  const { key, a, b, clock, origin, swap } = threeNodes(POLICY);
  for (let i = 0; i < 2; i++) await a.get(key);
  await clock.advance(10_000);
  b.lookup(key);
  await settle();
  assert.equal(origin.loads.length, 2);
  swap(["a"], ["a"]);
  assert.equal(read(a.lookup(key)!), "v1");
  await settle();
  assert.deepEqual([read(a.lookup(key)!), origin.loads.length], ["v2", 2]);
});
