import assert from "node:assert/strict";
import { AnswerMeter } from "../../../lib/core/measure/answer-meter.ts";
import { LoopDelay } from "../../../lib/core/measure/loop-delay.ts";
import { SpanMeter } from "../../../lib/core/measure/span-meter.ts";
import { StatusCounts } from "../../../lib/core/measure/status-counts.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

/** An answer that comes at once, though not in no time. */
function answerNow(meter: AnswerMeter, clock: ManualClock, tookMs: number, status = 200): boolean {
  const begun = meter.begin();
  clock.standStill(tookMs);
  meter.answeredNow(status, begun);
  return begun === begun;
}

test("every answer is counted; one in 64 that come at once is timed, and the others count like it", () => {
  const clock = new ManualClock();
  const meter = new AnswerMeter(clock);
  const timed = Array.from({ length: 130 }, (_, i) => answerNow(meter, clock, i < 64 ? 2 : i === 64 ? 20 : 700));
  assert.deepEqual(timed.flatMap((isTimed, at) => isTimed ? [at] : []), [0, 64, 128]);
  const { count, sumSeconds, buckets } = meter.took.figures();
  assert.equal(count, 130);
  assert.deepEqual(buckets, { "0.0025": 64, "0.025": 64, "1": 2 });
  assert.ok(Math.abs(sumSeconds - (64 * 2 + 64 * 20 + 2 * 700) / 1_000) < 1e-9);
  assert.deepEqual(meter.statuses.figures(), { "200": 130 });
});

test("an answer that comes later and takes long is always timed, and none that comes at once counts like it", () => {
  const clock = new ManualClock();
  const meter = new AnswerMeter(clock);
  answerNow(meter, clock, 1);
  for (let i = 0; i < 3; i++) {
    const [begun, sinceMs] = [meter.beginLater(), meter.nowMs()];
    clock.standStill(80);
    meter.answeredLater(504, begun, sinceMs);
    answerNow(meter, clock, 900);
  }
  assert.deepEqual(meter.took.figures().buckets, { "0.001": 4, "0.1": 3 });
  assert.deepEqual(meter.statuses.figures(), { "200": 4, "504": 3 });
});

test("of short spans one in eight is timed finely, and the others count like it; long ones are all timed", () => {
  let fineMs = 0;
  const meter = new SpanMeter({ nowMs: () => 0, fineMs: () => fineMs, after: () => () => {} });
  const span = (tookMs: number, coarseMs: number) => {
    const begun = meter.begin();
    fineMs += tookMs;
    meter.end(begun, coarseMs);
    return begun === begun;
  };
  const timed = Array.from({ length: 17 }, (_, i) => i === 3 ? span(400, 400) : span(i < 8 ? 0.2 : 3, i < 8 ? 0 : 3));
  assert.deepEqual(timed.flatMap((isTimed, at) => isTimed ? [at] : []), [0, 8, 16]);
  assert.deepEqual(meter.took.figures().buckets, { "0.00025": 7, "0.005": 9, "0.5": 1 });

  const fresh = new SpanMeter({ nowMs: () => 0, fineMs: () => fineMs, after: () => () => {} });
  const [first, second] = [fresh.begin(), fresh.begin()];
  fresh.end(second, 2);
  assert.deepEqual(fresh.took.figures().buckets, { "0.0025": 1 }, "none was timed yet, but the coarse clock knows");
  fineMs += 0.3;
  fresh.end(first, 0);
  assert.equal(fresh.took.figures().buckets["0.0005"], 1);
});

test("statuses have bounded names: those that are not known count by their class", () => {
  const counts = new StatusCounts();
  for (const status of [200, 200, 418, 499, 599, 199, 299, 600, 999, 0, 1_000, -1, NaN]) counts.add(status);
  assert.deepEqual(counts.figures(), {
    "200": 2,
    "499": 1,
    "1xx": 1,
    "2xx": 1,
    "4xx": 1,
    "5xx": 1,
    other: 6,
  });
  for (let status = 0; status < 10_000; status++) counts.add(status);
  assert.ok(Object.keys(counts.figures()).length < 40);
  const zeros = { "200": 0, "404": 0, "500": 0, "502": 0, "503": 0, "504": 0 };
  assert.deepEqual(new StatusCounts().figures(true), zeros);
  assert.deepEqual(new StatusCounts().figures(), {});
});

test("the delay of the loop is by how much a due look came late, until it is stopped", async () => {
  const clock = new ManualClock();
  const delay = new LoopDelay(clock);
  delay.start();
  await clock.advance(1_000);
  assert.deepEqual(delay.histogram.figures().buckets, { "0.0001": 10 });
  clock.standStill(400);
  await clock.advance(0);
  assert.deepEqual(delay.histogram.figures().buckets, { "0.0001": 10, "0.5": 1 }, "300 ms behind its time");
  delay.stop();
  assert.equal(clock.pending, 0);
});
