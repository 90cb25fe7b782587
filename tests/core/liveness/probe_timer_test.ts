import assert from "node:assert/strict";
import { ProbeTimer } from "../../../lib/core/liveness/probe-timer.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

/** A tick every 500 ms with fixed randomness, and the time of each, in milliseconds from the start. */
function ticking(random = 0): { clock: ManualClock; timer: ProbeTimer; atMs: number[] } {
  const clock = new ManualClock();
  const startedMs = clock.nowMs();
  const atMs: number[] = [];
  const onTick = () => void atMs.push(clock.nowMs() - startedMs);
  return { clock, atMs, timer: new ProbeTimer({ clock, random: () => random, intervalMs: 500, jitter: 0.1, onTick }) };
}

test("a tick comes at each interval, less its jitter, and the first within one", async () => {
  const { clock, timer, atMs } = ticking(0.5);
  timer.start();
  timer.start();
  await clock.advance(1_300);
  assert.deepEqual(atMs, [250, 725, 1_200]);
  assert.equal(timer.ticks, 3);
  timer.stop();
  assert.equal(clock.pending, 0);
});

test("a tick that is due within half an interval is taken early when the process is awake, and then not again", async () => {
  const { clock, timer, atMs } = ticking();
  timer.start();
  await clock.advance(0);
  await clock.advance(249);
  timer.soon();
  assert.deepEqual(atMs, [0], "not yet");
  await clock.advance(1);
  timer.soon();
  timer.soon();
  assert.deepEqual(atMs, [0, 250]);
  await clock.advance(499);
  assert.deepEqual(atMs, [0, 250], "the tick that was taken early does not come again");
  await clock.advance(1);
  assert.deepEqual(atMs, [0, 250, 750]);
  assert.equal(clock.pending, 1);
  timer.stop();
});

test("a timer that does not run takes no early tick", async () => {
  const { clock, timer, atMs } = ticking();
  timer.soon();
  timer.start();
  timer.stop();
  timer.soon();
  await clock.advance(2_000);
  assert.deepEqual([atMs, clock.pending], [[], 0]);
  timer.start();
  await clock.advance(0);
  assert.deepEqual(atMs, [2_000]);
  timer.stop();
});
