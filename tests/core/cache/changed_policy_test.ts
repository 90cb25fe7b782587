/** A group goes on with its values by another policy. */
import assert from "node:assert/strict";
import { SharedBudget } from "../../../lib/core/cache/shared-budget.ts";
import { DEFAULT_LIFETIME } from "../../../lib/core/lifetime/policy.ts";
import { markerOf, NOTHING_HERE, PLAIN, within } from "../../../lib/core/value.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { allGood, valueOf } from "../support.ts";

const policy = { ...DEFAULT_LIFETIME, ttlMs: 1_000, staleWhileRevalidateMs: 200, staleIfErrorMs: 300 };
const told = { ...PLAIN, hasOwnLifetime: true, hasOwnStale: true };
const spans = { staleWhileRevalidateMs: 500, staleIfErrorMs: 500 };

test("a policy bounds each of a value's times from its birth, and prolongs none", () => {
  const born = { bornAtMs: 5_000, freshUntilMs: 9_000, ...spans };
  const { bornAtMs, freshUntilMs, staleWhileRevalidateMs, staleIfErrorMs } = within(policy, valueOf("x", born));
  assert.deepEqual([bornAtMs, freshUntilMs, staleWhileRevalidateMs, staleIfErrorMs], [5_000, 6_000, 200, 300]);
  const short = valueOf("x", { bornAtMs: 5_000, freshUntilMs: 5_100 });
  assert.equal(within(policy, short), short, "the same object: nothing is stored anew");
  assert.equal(
    within({ ...policy, ttlMs: null }, valueOf("x", { ...born, freshUntilMs: Infinity })).freshUntilMs,
    Infinity,
  );
});

test("what the origin itself has said counts as long as the group honours it", () => {
  const own = valueOf("x", { about: told, freshUntilMs: 9_000, ...spans });
  assert.equal(within(policy, own), own);
  assert.equal(within({ ...policy, honourOrigin: false }, own).freshUntilMs, 1_000);
  const marker = markerOf(own);
  assert.equal(within({ ...policy, honourOrigin: false }, marker), marker);
});

test("the memory of a not found is bounded by its own lifetime", () => {
  const nothing = valueOf("", { about: NOTHING_HERE, freshUntilMs: 9_000 });
  assert.equal(within(policy, nothing).freshUntilMs, 0);
  assert.equal(within({ ...policy, negativeTtlMs: 700 }, nothing).freshUntilMs, 700);
});

function filled(clock: ManualClock, entries: number) {
  const caches = new SharedBudget(2 ** 30, allGood(), { clock });
  for (let i = 0; i < entries; i++) {
    caches.store(i % 2 === 0 ? caches.main : caches.hot, `k${i}`, valueOf("x", { freshUntilMs: 60_000 }));
  }
  const untilMs = (key: string) => caches.find(key)!.value.freshUntilMs;
  const bounded = () => Array.from({ length: entries }, (_, i) => untilMs(`k${i}`)).filter((ms) => ms < 60_000).length;
  return { caches, bounded, untilMs };
}

test("values are bounded in steps of a thousand, in both caches, until all are", async () => {
  const clock = new ManualClock(0);
  const { caches, bounded } = filled(clock, 2_500);
  caches.follow(policy);
  assert.equal(bounded(), 1_000);
  await clock.advance(0);
  assert.equal(bounded(), 2_500);
  assert.equal(clock.pending, 0);
});

test("a later policy takes the place of one that is under way", async () => {
  const clock = new ManualClock(0);
  const { caches, untilMs } = filled(clock, 2_500);
  caches.follow({ ...policy, ttlMs: 2_000 });
  caches.follow(policy);
  caches.remove("k7");
  await clock.advance(0);
  for (let i = 0; i < 2_500; i++) if (i !== 7) assert.equal(untilMs(`k${i}`), 1_000);
});

test("a load that began by the former policy is bounded when it is stored", () => {
  const { caches, untilMs } = filled(new ManualClock(0), 0);
  caches.follow(policy);
  caches.store(caches.main, "late", valueOf("x", { freshUntilMs: 60_000 }));
  assert.equal(untilMs("late"), 1_000);
});
