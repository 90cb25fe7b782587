/** What other nodes give is bounded by this node's policy: nodes of one group may be given different ones. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { NotFoundError, OriginError, OriginUnreachableError } from "../../../lib/core/errors.ts";
import { boundedTimes, isTooOldHere } from "../../../lib/core/lifetime/bounds.ts";
import { DEFAULT_LIFETIME, type LifetimePolicy } from "../../../lib/core/lifetime/policy.ts";
import { isUsableOnError, type Times, timesFrom } from "../../../lib/core/lifetime/times.ts";
import { freshnessOf } from "../../../lib/core/semantics/freshness.ts";
import { markerOf, within } from "../../../lib/core/value.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { read, record, text } from "../cluster.ts";
import { drainOf } from "../handoff/support.ts";
import { valueOf } from "../support.ts";
import { threeNodes, withFreshness } from "./support.ts";

const policyOf = (policy: Partial<LifetimePolicy>): LifetimePolicy => ({
  ...DEFAULT_LIFETIME,
  ttlJitter: 0,
  ...policy,
});
const NOT_OWN = { hasOwnLifetime: false, hasOwnStale: false };

/** Node a has a policy of its own, from a restart. The others have none, or `theirs`. */
function differing(mine: Partial<LifetimePolicy>, theirs: Partial<LifetimePolicy> = {}, isServed = true) {
  const cluster = threeNodes(theirs);
  const { restart, swap, groups, clock } = cluster;
  restart("a", { lifetime: mine, isServed });
  swap(["a", "b", "c"]);
  const a = groups.get("a")!;
  const ageMs = (value: Times) => clock.nowMs() - value.bornAtMs;
  return { ...cluster, a, ageMs };
}

test("an answer that arrives older than the group's lifetime keeps its times between nodes of one policy", () => {
  const nowMs = 1_000_000;
  const policy = policyOf({ ttlMs: 60_000, staleWhileRevalidateMs: 30_000, staleIfErrorMs: 50_000 });
  for (const age of [0, 10, 59, 61, 89, 95, 3_600]) {
    const exchange = { requestFields: [], status: 200, fields: [["age", `${age}`] as const] };
    const freshness = freshnessOf(
      { ...exchange, requestedAtMs: nowMs, receivedAtMs: nowMs },
      { ...policy, hasHeuristics: false, keepsCookies: false },
    );
    const given = timesFrom(nowMs, freshness);
    assert.equal(boundedTimes(given, freshness, policy, policy.ttlMs), given, `aged ${age} s`);
    assert.equal(isUsableOnError(given, nowMs), age < 110, `aged ${age} s`);
  }
});

test("each end is the sooner one of two policies", () => {
  const times = (freshUntilMs: number, staleWhileRevalidateMs = 0, staleIfErrorMs = 0): Times => ({
    bornAtMs: 1_000,
    freshUntilMs,
    staleWhileRevalidateMs,
    staleIfErrorMs,
  });
  const cases: [Partial<LifetimePolicy>, Times, Times][] = [
    [{ ttlMs: null }, times(9_000), times(9_000)],
    [{ ttlMs: 3_000 }, times(Infinity), times(4_000)],
    [{ ttlMs: 3_000 }, times(2_000), times(2_000)],
    [{ ttlMs: 3_000 }, times(5_000, 500, 60_000), times(4_000)],
    [{ ttlMs: 3_000, staleIfErrorMs: 700 }, times(Infinity), times(4_000, 0, 700)],
    [{ ttlMs: 3_000, staleWhileRevalidateMs: 2_000 }, times(5_000, 500, 500), times(4_000, 1_500)],
    // It is fresh here for longer than there, and not stale for longer than there.
    [{ ttlMs: 3_000 }, times(2_000, 5_000), times(2_000, 2_000)],
    [{ staleIfErrorMs: 100 }, times(2_000, 0, 5_000), times(2_000, 0, 100)],
  ];
  for (const [policy, given, bounded] of cases) {
    const mine = policyOf(policy);
    assert.deepEqual(boundedTimes(given, NOT_OWN, mine, mine.ttlMs), bounded);
  }
});

test("lifetimes from the origin stay, if this node honours them", () => {
  const given = { bornAtMs: 0, freshUntilMs: 60_000, staleWhileRevalidateMs: 5_000, staleIfErrorMs: 5_000 };
  const bound = (own: { hasOwnLifetime: boolean; hasOwnStale: boolean }, honourOrigin: boolean) => {
    const { freshUntilMs, staleIfErrorMs } = boundedTimes(
      given,
      own,
      policyOf({ ttlMs: 3_000, staleIfErrorMs: 100, honourOrigin }),
      3_000,
    );
    return [freshUntilMs, staleIfErrorMs];
  };
  const all = { hasOwnLifetime: true, hasOwnStale: true };
  assert.deepEqual(bound(all, true), [60_000, 5_000]);
  assert.deepEqual(bound(all, false), [3_000, 100]);
  assert.deepEqual(bound({ ...all, hasOwnStale: false }, true), [60_000, 100]);
  assert.deepEqual(bound({ ...all, hasOwnLifetime: false }, true), [3_000, 5_000]);
});

test("nodes of one policy bound nothing, and a bound only shortens", () => {
  const spanMs = fc.constantFrom(0, 1, 1_000, 60_000);
  const policy = fc.record({
    ttlMs: fc.option(spanMs, { nil: null }),
    staleWhileRevalidateMs: spanMs,
    staleIfErrorMs: spanMs,
    honourOrigin: fc.boolean(),
  }).map(policyOf);
  const own = fc.record({ hasOwnLifetime: fc.boolean(), hasOwnStale: fc.boolean() });
  const jitter = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(fc.property(policy, policy, own, jitter, fc.nat(100_000), (theirs, mine, own, jitter, nowMs) => {
    const given: Times = {
      bornAtMs: 0,
      freshUntilMs: theirs.ttlMs === null ? Infinity : theirs.ttlMs * jitter,
      staleWhileRevalidateMs: theirs.staleWhileRevalidateMs,
      staleIfErrorMs: theirs.staleIfErrorMs,
    };
    assert.equal(boundedTimes(given, own, theirs, theirs.ttlMs), given);
    const bounded = boundedTimes(given, own, mine, mine.ttlMs);
    const ends = ({ freshUntilMs, staleWhileRevalidateMs, staleIfErrorMs }: Times) => [
      freshUntilMs,
      freshUntilMs + staleWhileRevalidateMs,
      freshUntilMs + staleIfErrorMs,
    ];
    for (const [i, end] of ends(bounded).entries()) assert.ok(end <= ends(given)[i]!);
    assert.ok(Object.values(bounded).every((ms) => ms >= 0));
    assert.equal(isTooOldHere(given, given, nowMs), false);
  }));
});

test("a marker of variants is no value, and has no end", () => {
  const marker = markerOf(valueOf("x"));
  assert.equal(within(policyOf({ ttlMs: 1, honourOrigin: false }), marker), marker);
});

test("a value that is too old by this node's policy is loaded here, though its owner has it without end", async () => {
  const { key, a, b, clock, origin, ageMs } = differing({ ttlMs: 3_000 });
  await b.get(key);
  await clock.advance(4_000);
  for (let i = 0; i < 100; i++) {
    const { value } = await a.get(key);
    assert.ok(ageMs(value) < 3_000, `${ageMs(value)} ms old after ${i} gets`);
    await clock.advance(100);
  }
  // 10 s of gets: a load each 3 s.
  assert.equal(origin.loads.length, 1 + 4);
  assert.equal(read(b.lookup(key)!), "v1", "the owner goes by its own policy");
});

test("a younger value is served, and kept for what is left of this node's lifetime", async () => {
  const { key, a, b, clock, origin } = differing({ ttlMs: 3_000 });
  await b.get(key);
  await clock.advance(1_000);
  for (let i = 0; i < 2; i++) assert.equal((await a.get(key)).value.freshUntilMs - clock.nowMs(), 2_000);
  assert.equal(a.lookup(key)!.from, "hot");
  await clock.advance(2_000);
  assert.equal(a.lookup(key), undefined);
  assert.equal(origin.loads.length, 1);
});

test("whatever the way to this node, no value is served for longer than its policy allows", async () => {
  const ways = {
    async "an owner's answer"({ key, b }) {
      await b.get(key);
    },
    async "a hot copy"({ key, a, b }) {
      await b.get(key);
      for (let i = 0; i < 3; i++) await a.get(key);
      assert.equal(a.lookup(key)!.from, "hot");
    },
    async "a former owner"({ key, b, swap }) {
      await b.get(key);
      // Node a owns the key from now on.
      swap(["a", { ...record("b"), weight: 0.001 }, { ...record("c"), weight: 0.001 }]);
    },
    async "a handed-over value"({ key, b, swap, ...cluster }) {
      await b.get(key);
      swap(["a", { ...record("b"), state: "draining" }, { ...record("c"), state: "draining" }]);
      await drainOf({ ...cluster, swap }, "b");
      assert.equal(cluster.a.lookup(key)!.from, "main");
      swap(["a"]);
    },
    async "a pushed value, or a second copy"({ key, a, swap, clock }) {
      swap(["a"]);
      assert.equal(a.accept([{ key, value: valueOf("v0", { bornAtMs: clock.nowMs() }) }], "b"), 1);
    },
    async "a written value"({ key, a, swap, clock }) {
      swap(["a"]);
      assert.equal(a.accept([{ key, value: valueOf("v0", { bornAtMs: clock.nowMs() }) }], "b", true), 1);
    },
    async "the next in rank, for a node without a way to the origin"({ key, a, b, c, swap, cutOff, clock }) {
      swap(["a", { ...record("b"), weight: 0.001 }, { ...record("c"), weight: 0.001 }], ["a"]);
      await Promise.all([b.get(key), c.get(key)]);
      cutOff.set("a", 0);
      await a.get(key);
      cutOff.delete("a");
      // The breaker of the origin's way.
      await clock.advance(1_000);
    },
  } satisfies Record<string, (cluster: ReturnType<typeof differing>) => Promise<void>>;
  for (const [way, come] of Object.entries(ways)) {
    const cluster = differing({ ttlMs: 3_000, staleWhileRevalidateMs: 1_000 });
    const { key, a, clock, ageMs } = cluster;
    await come(cluster);
    for (let i = 0; i < 60; i++) {
      const { value } = await a.get(key);
      assert.ok(ageMs(value) < 4_000, `${way}: ${ageMs(value)} ms old`);
      await clock.advance(100);
    }
  }
});

test("with one policy on all nodes, no answer of an owner is loaded again, however old or short-lived it is", async () => {
  for (
    const freshness of [{ ageMs: 20_000, hasOwnLifetime: false }, { freshMs: 0 }, { ageMs: 60_000, freshMs: 60_000 }]
  ) {
    const { key, a, origin } = differing({ ttlMs: 3_000, negativeTtlMs: 0 }, { ttlMs: 3_000, negativeTtlMs: 0 });
    origin.answer = () => withFreshness(text("v"), freshness);
    await a.get(key);
    assert.equal(origin.loads.length, 1, JSON.stringify(freshness));
  }
  const policy = { ttlMs: 1_000, staleIfErrorMs: 60_000 };
  const { key, a, b, clock, origin } = differing(policy, policy);
  await b.get(key);
  await clock.advance(5_000);
  origin.answer = () => {
    throw new OriginError("down");
  };
  assert.equal(read(await a.get(key)), "v1", "the owner's stale value stands in");
  assert.equal(origin.loads.length, 2);
});

test("an answer that was made for this very get is served, however short this node's lifetime is", async () => {
  const { key, a, origin, asks } = differing({ ttlMs: 0, negativeTtlMs: 0 }, { negativeTtlMs: 60_000 });
  assert.equal(read(await a.get(key)), "v1");
  assert.equal(origin.loads.length, 1);
  origin.answer = () => {
    throw new NotFoundError("none");
  };
  await assert.rejects(a.get("other"), NotFoundError);
  const before = [origin.loads.length, asks.length];
  await assert.rejects(a.get("other"), NotFoundError);
  assert.ok(origin.loads.length + asks.length > before[0]! + before[1]!, "it is not remembered here");
});

test("a 'not found' that a peer remembers is asked for again by a node that remembers none", async () => {
  const { key, a, b, clock, origin } = differing({ negativeTtlMs: 1_000 }, { negativeTtlMs: 60_000 });
  origin.answer = () => {
    throw new NotFoundError("none");
  };
  await assert.rejects(b.get(key), NotFoundError);
  await clock.advance(2_000);
  origin.answer = () => text("now there");
  assert.equal(read(await a.get(key)), "now there");
  await assert.rejects(b.get(key), NotFoundError);
});

test("a value that is too old here is validated, and stands in for an origin that fails", async () => {
  const { key, a, b, clock, origin } = differing({ ttlMs: 3_000, staleIfErrorMs: 10_000 });
  await b.get(key);
  await clock.advance(4_000);
  origin.contexts = [];
  origin.answer = () => {
    throw new OriginError("down");
  };
  assert.equal(read(await a.get(key)), "v1");
  assert.deepEqual(origin.contexts.map(({ stale }) => stale && read({ value: stale })), ["v1"]);
  await clock.advance(10_000);
  await assert.rejects(a.get(key), OriginError, "14 s old");
});

test("a value that is stale here and fresh at its owner is served while this node renews it", async () => {
  const { key, a, b, clock, origin } = differing({ ttlMs: 3_000, staleWhileRevalidateMs: 2_000 });
  await b.get(key);
  await clock.advance(4_000);
  assert.equal(read(await a.get(key)), "v1");
  await clock.advance(2_000);
  assert.equal(read(await a.get(key)), "v2", "6 s old: the owner's was not enough");
  await settle();
  assert.equal(origin.loads.length, 2);
});

test("a node that does not serve the group passes on what its owner has, and keeps it no longer than its policy allows", async () => {
  const { key, a, b, clock, origin, swap } = differing({ ttlMs: 3_000 }, {}, false);
  swap(["b", "c"]);
  await b.get(key);
  await clock.advance(4_000);
  for (let i = 0; i < 3; i++) assert.equal(read(await a.get(key)), "v1");
  assert.equal(a.lookup(key), undefined);
  assert.equal(origin.loads.length, 1);
});

test("a node without a way to the origin cannot renew what is too old here: its own policy says whether it stands in", async () => {
  for (const staleIfErrorMs of [0, 60_000]) {
    const { key, a, b, clock, origin, cutOff } = differing({ ttlMs: 3_000, staleIfErrorMs });
    await b.get(key);
    await clock.advance(4_000);
    cutOff.set("a", 0);
    if (staleIfErrorMs > 0) assert.equal(read(await a.get(key)), "v1");
    else await assert.rejects(a.get(key), OriginUnreachableError, "the next in rank has it from the owner");
    cutOff.delete("a");
    await clock.advance(4_000);
    assert.equal(read(await a.get(key)), "v2");
    assert.equal(origin.loads.length, 2);
  }
});
