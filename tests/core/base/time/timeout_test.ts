import assert from "node:assert/strict";
import { backoffMs } from "../../../../lib/core/base/time/backoff.ts";
import { withTimeout } from "../../../../lib/core/base/time/timeout.ts";
import { ManualClock } from "../../../support/clock.ts";
import { test } from "../../../support/test.ts";

test("work that ends in time gives its result and leaves no timer", async () => {
  const clock = new ManualClock();
  assert.equal(await withTimeout(clock, 100, () => Promise.resolve(1), "late"), 1);
  await assert.rejects(withTimeout(clock, 100, () => Promise.reject(new Error("broken")), "late"), /broken/);
  const throwing = (): Promise<number> => {
    throw new Error("at once");
  };
  await assert.rejects(withTimeout(clock, 100, throwing, "late"), /at once/);
  assert.equal(clock.pending, 0);
});

test("work that is too slow gives the late value, and its own result is dropped", async () => {
  const clock = new ManualClock();
  const work = Promise.withResolvers<number>();
  const result = withTimeout(clock, 100, () => work.promise, "late");
  await clock.advance(100);
  assert.equal(await result, "late");
  work.reject(new Error("nobody hears this"));
});

test("waits double up to the longest, and jitter takes up to half of each", () => {
  const pace = { firstMs: 50, mostMs: 2_000 };
  assert.deepEqual([0, 1, 2, 5, 6, 1_000].map((attempt) => backoffMs(attempt, pace)), [
    50,
    100,
    200,
    1_600,
    2_000,
    2_000,
  ]);
  assert.equal(backoffMs(3, pace, () => 0), 200);
  assert.equal(backoffMs(3, pace, () => 0.5), 300);
});
