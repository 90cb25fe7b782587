import assert from "node:assert/strict";
import { ProbeTimer } from "../../../lib/core/liveness/probe-timer.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

/** A beat every 500 ms, without chance, and when each came, in milliseconds from the start. */
function beating(random = 0): { clock: ManualClock; beat: ProbeTimer; atMs: number[] } {
  const clock = new ManualClock();
  const startedMs = clock.nowMs();
  const atMs: number[] = [];
  const act = () => void atMs.push(clock.nowMs() - startedMs);
  return { clock, atMs, beat: new ProbeTimer({ clock, random: () => random, intervalMs: 500, jitter: 0.1, act }) };
}

test("a beat comes at each interval, less its jitter, and the first within one", async () => {
  const { clock, beat, atMs } = beating(0.5);
  beat.start();
  beat.start();
  await clock.advance(1_300);
  assert.deepEqual(atMs, [250, 725, 1_200]);
  assert.equal(beat.count, 3);
  beat.stop();
  assert.equal(clock.pending, 0);
});

test("a beat that is due within half an interval is taken when the process is awake, and then not again", async () => {
  const { clock, beat, atMs } = beating();
  beat.start();
  await clock.advance(0);
  await clock.advance(249);
  beat.soon();
  assert.deepEqual(atMs, [0], "not yet");
  await clock.advance(1);
  beat.soon();
  beat.soon();
  assert.deepEqual(atMs, [0, 250]);
  await clock.advance(499);
  assert.deepEqual(atMs, [0, 250], "the one it was taken for does not come as well");
  await clock.advance(1);
  assert.deepEqual(atMs, [0, 250, 750]);
  assert.equal(clock.pending, 1);
  beat.stop();
});

test("who does not beat, or no longer, is not made to", async () => {
  const { clock, beat, atMs } = beating();
  beat.soon();
  beat.start();
  beat.stop();
  beat.soon();
  await clock.advance(2_000);
  assert.deepEqual([atMs, clock.pending], [[], 0]);
  beat.start();
  await clock.advance(0);
  assert.deepEqual(atMs, [2_000]);
  beat.stop();
});
