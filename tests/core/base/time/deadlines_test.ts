import assert from "node:assert/strict";
import { atDeadline, standstillSince } from "../../../../lib/core/base/time/deadlines.ts";
import { Deadlines } from "../../../../lib/core/base/time/deadlines.ts";
import { ManualClock } from "../../../support/clock.ts";
import { test } from "../../../support/test.ts";

function begin(delayMs: number) {
  const clock = new ManualClock();
  const runs: number[] = [];
  const startMs = clock.nowMs();
  const cancel = atDeadline(clock, delayMs, () => runs.push(clock.nowMs() - startMs));
  return { clock, runs, cancel };
}

test("a deadline runs its action when its time has passed", async () => {
  const { clock, runs } = begin(100);
  await clock.advance(99);
  assert.deepEqual(runs, []);
  await clock.advance(1);
  assert.deepEqual(runs, [100]);
});

test("a process that stood still reads its sockets before a deadline runs its action", async () => {
  const late = begin(100);
  late.clock.standStill(150);
  await late.clock.advance(0);
  assert.deepEqual(late.runs, []);
  await late.clock.advance(20);
  assert.deepEqual(late.runs, [170]);
  const nearlyInTime = begin(100);
  nearlyInTime.clock.standStill(149);
  await nearlyInTime.clock.advance(0);
  assert.deepEqual(nearlyInTime.runs, [149]);
});

test("a cancelled deadline runs nothing, also when it was late and waits once more", async () => {
  for (const standMs of [0, 150]) {
    const { clock, runs, cancel } = begin(100);
    clock.standStill(standMs);
    await clock.advance(0);
    cancel();
    await clock.advance(1_000);
    assert.deepEqual([runs, clock.pending], [[], 0]);
  }
});

test("a late sweep lets the sockets be read first, then ends what is overdue", async () => {
  const clock = new ManualClock();
  const sweeps: number[] = [];
  const startMs = clock.nowMs();
  const sweep = new Deadlines(clock, (nowMs) => {
    sweeps.push(nowMs - startMs);
    return Infinity;
  });
  sweep.cover(startMs + 100);
  clock.standStill(500);
  await clock.advance(0);
  assert.deepEqual(sweeps, []);
  await clock.advance(20);
  assert.deepEqual(sweeps, [520]);
});

test("a wait tells that the process stood still when it ends over 250 ms late, and not before", () => {
  const clock = new ManualClock();
  const stoodStill = standstillSince(clock, 100);
  clock.standStill(350);
  assert.equal(stoodStill(), false);
  clock.standStill(1);
  assert.equal(stoodStill(), true);
});
