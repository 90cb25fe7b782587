import assert from "node:assert/strict";
import { NotFoundError, OriginError, OriginTimeoutError, OverloadedError } from "../../../lib/core/errors.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { CountingOrigin, makeGroup, read, text } from "../cluster.ts";
import { valueOf } from "../support.ts";
import { threeNodes, withFreshness } from "./support.ts";

const POLICY = { ttlMs: 10_000, staleIfErrorMs: 600_000 };

test("while the origin fails, the stale value is served on all nodes, and each try waits twice as long", async () => {
  const { key, a, b, c, clock, origin } = threeNodes(POLICY);
  for (const group of [a, b, c, a, c]) await group.get(key);
  await clock.advance(10_000);
  origin.answer = () => {
    throw new OriginError("down");
  };
  const triedAtMs: number[] = [];
  const sinceMs = clock.nowMs();
  origin.loads = [];
  while (clock.nowMs() - sinceMs <= 100_000) {
    const before = origin.loads.length;
    for (const group of [a, b, c]) assert.equal(read(await group.get(key)), "v1");
    assert.ok(origin.loads.length - before <= 1);
    if (origin.loads.length > before) triedAtMs.push(clock.nowMs() - sinceMs);
    await clock.advance(250);
  }
  assert.deepEqual(triedAtMs, [0, 1_000, 3_000, 7_000, 15_000, 31_000, 61_000, 91_000]);
  origin.answer = () => text("back");
  await clock.advance(30_000);
  for (const group of [b, a, c]) assert.equal(read(await group.get(key)), "back");
  // A later failure begins anew.
  await clock.advance(10_000);
  origin.answer = () => Promise.reject(new OriginError("down"));
  origin.loads = [];
  for (const waitMs of [1_000, 2_000]) {
    await b.get(key);
    await clock.advance(waitMs);
  }
  await b.get(key);
  assert.equal(origin.loads.length, 3);
});

test("the stale value is served no longer than its time", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: { ttlMs: 1_000, staleIfErrorMs: 5_000 } });
  await group.get("k");
  origin.answer = () => {
    throw new OriginError("down");
  };
  await clock.advance(5_999);
  const served = await group.get("k");
  assert.deepEqual([read(served), served.source, served.stored], ["value of k", "main", true]);
  await clock.advance(1);
  await assert.rejects(group.get("k"), OriginError);
});

test("a guard that refuses, a slow origin and a site's 503 count as failures; 'not found' does not", async () => {
  for (
    const fail of [
      () => Promise.reject(new OverloadedError("full")),
      () => Promise.reject(new OriginTimeoutError("slow")),
      () => withFreshness({ ...text("busy"), status: 503 }, { isStorable: false }),
    ]
  ) {
    const origin = new CountingOrigin();
    const { group, clock } = makeGroup({ origin, lifetime: POLICY });
    await group.get("k");
    await clock.advance(10_000);
    origin.answer = fail;
    for (let i = 0; i < 5; i++) assert.equal(read(await group.get("k")), "value of k");
    assert.equal(origin.loads.length, 2);
    assert.equal(group.stats().staleOnError, 5);
  }
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: POLICY });
  await group.get("k");
  await clock.advance(10_000);
  origin.answer = () => Promise.reject(new NotFoundError("none"));
  await assert.rejects(group.get("k"), NotFoundError);
});

test("without a stale value the caller gets the failure, and each get tries again", async () => {
  const origin = new CountingOrigin();
  const { group } = makeGroup({ origin, lifetime: POLICY });
  origin.answer = () => Promise.reject(new OriginError("down"));
  for (let i = 0; i < 3; i++) await assert.rejects(group.get("k"), OriginError);
  assert.equal(origin.loads.length, 3);
});

test("a load that never ends is answered with the stale value at its deadline, and backs off once", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: POLICY, loadTimeoutMs: 2_000 });
  await group.get("k");
  await clock.advance(10_000);
  const load = Promise.withResolvers<never>();
  origin.answer = () => load.promise;
  const asked = [group.get("k"), group.get("k")];
  await clock.advance(2_000);
  for (const one of asked) assert.equal(read(await one), "value of k");
  // The origin's own error after the abort does not count a second time.
  load.reject(new OriginError("aborted"));
  await settle();
  await clock.advance(999);
  await group.get("k");
  assert.equal(origin.loads.length, 2);
  await clock.advance(1);
  origin.answer = () => text("back");
  assert.equal(read(await group.get("k")), "back");
});

test("one load too many is answered with a stale value, where there is one", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: POLICY, maxFlights: 1 });
  await group.get("k");
  await clock.advance(10_000);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const other = group.get("other");
  await settle();
  assert.equal(read(await group.get("k")), "value of k");
  await assert.rejects(group.get("third"), OverloadedError);
  gate.resolve();
  await other;
});

test("when the owner has lost its value, a node's own copy stands in, and that node backs off too", async () => {
  const { key, a, clock, origin, groups, restart, swap } = threeNodes(POLICY);
  for (let i = 0; i < 2; i++) await a.get(key);
  await clock.advance(10_000);
  restart("b");
  swap(["a", "b", "c"]);
  origin.loads = [];
  origin.answer = () => Promise.reject(new OriginError("down"));
  for (let i = 0; i < 20; i++) assert.equal(read(await a.get(key)), "v1");
  assert.equal(origin.loads.length, 1);
  await clock.advance(1_000);
  assert.equal(read(await a.get(key)), "v1");
  assert.equal(origin.loads.length, 2);
  await assert.rejects(groups.get("b")!.get(key), OriginError);
  origin.answer = () => text("back");
  await clock.advance(2_000);
  for (let i = 0; i < 2; i++) assert.equal(read(await a.get(key)), "back");
  await clock.advance(10_000);
  restart("b");
  swap(["a", "b", "c"]);
  origin.loads = [];
  origin.answer = () => Promise.reject(new OriginError("down"));
  await a.get(key);
  await clock.advance(1_000);
  await a.get(key);
  assert.equal(origin.loads.length, 2, "a later failure begins anew");
});

test("a stale value that is replaced during a load that fails does not come back", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: POLICY });
  await group.get("k");
  await clock.advance(10_000);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  origin.answer = () => Promise.reject(new OriginError("down"));
  const asked = group.get("k");
  await settle();
  const value = valueOf("newer", { bornAtMs: clock.nowMs(), freshUntilMs: clock.nowMs() + 10_000 });
  assert.equal(group.accept([{ key: "k", value }], "b"), 1);
  gate.resolve();
  assert.equal(read(await asked), "newer");
});

test("a load that takes too long for its caller is answered with the stale value, and goes on", async () => {
  const { key, a, b, clock, origin } = threeNodes({ ...POLICY, softTimeoutMs: 300 });
  for (let i = 0; i < 2; i++) await a.get(key);
  await clock.advance(10_000);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  for (const group of [a, b]) {
    let told: string | undefined;
    void group.get(key).then((loaded) => told = read(loaded));
    await clock.advance(299);
    assert.equal(told, undefined);
    await clock.advance(1);
    assert.equal(told, "v1");
  }
  assert.equal(origin.loads.length, 2);
  gate.resolve();
  await settle();
  assert.equal(read(b.lookup(key)!), "v2");
  await clock.advance(60_000);
  assert.equal(clock.pending, 0, "no timer is left");
});

test("a caller that leaves during its soft time-out gets its own reason, and a caller without a stale answer waits on", async () => {
  const origin = new CountingOrigin();
  const lifetime = { ttlMs: 1_000, staleIfErrorMs: 1_000, softTimeoutMs: 300 };
  const { group, clock } = makeGroup({ origin, lifetime });
  origin.answer = () => text(`v${origin.loads.length}`);
  await group.get("k");
  await clock.advance(1_000);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const caller = new AbortController();
  const left = assert.rejects(group.get("k", { signal: caller.signal }), /left/);
  await clock.advance(100);
  caller.abort(new Error("left"));
  await left;
  // 850 ms later: nothing may be served softly when this caller's time is over.
  await clock.advance(750);
  const waits = group.get("k");
  await clock.advance(300);
  gate.resolve();
  assert.equal(read(await waits), "v2");
  const gone = new AbortController();
  gone.abort(new Error("gone"));
  await clock.advance(1_000);
  origin.loads = [];
  await assert.rejects(group.get("k", { signal: gone.signal }), /gone/);
  assert.deepEqual(origin.loads, []);
});

test("refresh ahead: a popular value never expires, at one load for each lifetime", async () => {
  const origin = new CountingOrigin();
  let seed = 1;
  // xorshift32 (Marsaglia, 2003): the same run each time.
  const random = () => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) / 2 ** 32;
  };
  const { group, clock } = makeGroup({ origin, random, lifetime: { ttlMs: 10_000, refreshAhead: true } });
  origin.answer = () => new Promise((told) => clock.after(200, () => told(text("value"))));
  const first = group.get("k");
  await clock.advance(200);
  await first;
  const rounds = 20;
  // Every 10 ms for 20 lifetimes.
  for (let i = 0; i < rounds * 1_000; i++) {
    assert.ok(group.lookup("k"), `lost after ${i * 10} ms`);
    await clock.advance(10);
  }
  assert.ok(origin.loads.length <= 1 + rounds * 1.2, `${origin.loads.length} loads`);
  assert.equal(group.stats().loads, 1, "nobody has waited");
});

test("refresh ahead: a failed refresh changes nothing while the value is fresh, and backs off", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({
    origin,
    random: () => 1 - 1e-9,
    lifetime: { ttlMs: 10_000, refreshAhead: true },
  });
  origin.answer = () => new Promise((told) => clock.after(500, () => told(text("value"))));
  const first = group.get("k");
  await clock.advance(500);
  await first;
  origin.answer = () => Promise.reject(new OriginError("down"));
  for (let i = 0; i < 9; i++) {
    assert.equal(read(group.lookup("k")!), "value");
    await clock.advance(100);
  }
  assert.equal(origin.loads.length, 2);
});
