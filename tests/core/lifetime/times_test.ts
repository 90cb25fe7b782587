import assert from "node:assert/strict";
import fc from "fast-check";
import { FailedRefreshes } from "../../../lib/core/lifetime/failed-refreshes.ts";
import {
  goneAtMs,
  isDueEarly,
  isUsableOnError,
  isUsableStale,
  jittered,
  timesFrom,
} from "../../../lib/core/lifetime/times.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

test("the rest of a value's lifetime is the same on another clock", () => {
  const span = fc.nat(1e9);
  const spans = fc.record({ ageMs: span, freshMs: span, staleWhileRevalidateMs: span, staleIfErrorMs: span });
  fc.assert(fc.property(spans, fc.nat(1e9), fc.nat(3e9), (given, nowMs, laterMs) => {
    const [here, there] = [timesFrom(0, given), timesFrom(nowMs, given)];
    assert.equal(isUsableStale(there, nowMs + laterMs), isUsableStale(here, laterMs));
    assert.equal(isUsableOnError(there, nowMs + laterMs), isUsableOnError(here, laterMs));
    assert.equal(goneAtMs(there) - nowMs, goneAtMs(here));
    assert.equal(isUsableStale(here, laterMs) || isUsableOnError(here, laterMs), laterMs < goneAtMs(here));
  }));
  assert.equal(
    goneAtMs(timesFrom(5, { ageMs: 0, freshMs: Infinity, staleWhileRevalidateMs: 1, staleIfErrorMs: 1 })),
    Infinity,
  );
});

test("jitter shortens by its share at most", () => {
  assert.deepEqual([0, 0.5, 1].map((random) => jittered(1_000, 0.1, () => random)), [1_000, 950, 900]);
  assert.equal(jittered(Infinity, 0.1, () => 0.5), Infinity);
});

test("the nearer a value's end, the likelier its early refresh, and never long before the end", () => {
  const share = (leftMs: number) => {
    let due = 0;
    for (let i = 0; i < 1_000; i++) if (isDueEarly(0, leftMs, 100, () => (i + 0.5) / 1_000)) due++;
    return due / 1_000;
  };
  assert.equal(share(5_000), 0);
  assert.ok(Math.abs(share(100) - Math.exp(-1)) < 0.01);
  assert.ok(share(10) > 0.9);
  assert.equal(share(0), 1);
});

test("a key whose refresh fails is tried again after 1 s, 2 s, 4 s and at most 30 s", async () => {
  const clock = new ManualClock();
  const failed = new FailedRefreshes(clock);
  const error = new Error("down");
  for (const waitMs of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    assert.equal(failed.errorOf("a"), undefined);
    failed.failed("a", error);
    await clock.advance(waitMs - 1);
    assert.equal(failed.errorOf("a"), error);
    await clock.advance(1);
  }
  assert.equal(failed.errorOf("b"), undefined);
  failed.failed("a", error);
  failed.succeeded("a");
  assert.equal(failed.errorOf("a"), undefined);
});
