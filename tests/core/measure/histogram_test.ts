import assert from "node:assert/strict";
import {
  added,
  BOUNDS_SECONDS,
  cumulative,
  Histogram,
  percentilesOf,
  quantileMs,
  since,
} from "../../../lib/core/measure/histogram.ts";
import { test } from "../../support/test.ts";

function histogramOf(...timesMs: number[]) {
  const histogram = new Histogram();
  for (const ms of timesMs) histogram.observe(ms);
  return histogram.figures();
}

test("a time stands in the first bucket that it fits into, its end included", () => {
  assert.deepEqual(histogramOf(0, 0.1, 0.11, 1, 30_000, 30_001), {
    count: 6,
    sumSeconds: 60.00221,
    buckets: { "0.0001": 2, "0.00025": 1, "0.001": 1, "30": 1, "+Inf": 1 },
  });
  assert.deepEqual(histogramOf(), { count: 0, sumSeconds: 0, buckets: {} });
  for (const seconds of BOUNDS_SECONDS) {
    assert.deepEqual(histogramOf(seconds * 1_000).buckets, { [String(seconds)]: 1 });
  }
});

test("a percentile is in proportion between the ends of its bucket, as histogram_quantile has it", () => {
  const hundred = histogramOf(...Array(50).fill(3), ...Array(50).fill(40));
  assert.equal(quantileMs(hundred, 0.5), 5, "the last of fifty between 2.5 and 5 ms");
  assert.equal(quantileMs(hundred, 0.25), 3.75);
  assert.equal(quantileMs(hundred, 0.75), 37.5);
  assert.equal(quantileMs(histogramOf(0.05), 1), 0.1);
  assert.equal(quantileMs(histogramOf(60_000), 0.5), 30_000, "beyond the last end nothing is known");
  assert.equal(quantileMs(histogramOf(), 0.5), undefined);
  assert.deepEqual(percentilesOf(histogramOf()), {});
  assert.deepEqual(percentilesOf(hundred), { p50Ms: 5, p99Ms: 49.5 });
});

test("what was counted between two looks is their difference, and a new count stands for itself", () => {
  const before = histogramOf(1, 20);
  const now = histogramOf(1, 20, 20, 300);
  assert.deepEqual(since(before, now), { count: 2, sumSeconds: 0.32, buckets: { "0.001": 0, "0.025": 1, "0.5": 1 } });
  assert.deepEqual(since(undefined, now), now);
  assert.deepEqual(since(now, before), before, "the node has been restarted");
});

test("histograms are added up bucket by bucket", () => {
  assert.deepEqual(added([histogramOf(1, 20), histogramOf(20, 300)]), histogramOf(1, 20, 20, 300));
  assert.deepEqual(added([]), histogramOf());
  const counts = cumulative(added([histogramOf(1), histogramOf(60_000)]));
  assert.equal(counts.length, BOUNDS_SECONDS.length + 1);
  assert.deepEqual(counts.slice(0, 4).map(([, count]) => count), [0, 0, 0, 1]);
  assert.deepEqual(counts.slice(-2), [["30", 1], ["+Inf", 2]]);
});
