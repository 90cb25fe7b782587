import assert from "node:assert/strict";
import { LineQueue, type LineQueueOptions } from "../../../../lib/core/base/logs/line-queue.ts";
import { ManualClock, settle } from "../../../support/clock.ts";
import { test } from "../../../support/test.ts";

/** A reader that takes a write only when it is told to. */
function queueWith(options: Partial<LineQueueOptions> = {}) {
  const clock = new ManualClock();
  const writes: string[] = [];
  const told: unknown[] = [];
  let take: (() => void)[] = [];
  const queue = new LineQueue({
    write(lines) {
      writes.push(lines);
      return new Promise((resolve) => take.push(resolve));
    },
    clock,
    onDropped: (dropped) => told.push(dropped ?? "dropping"),
    onBroken: (error) => told.push((error as Error).message),
    ...options,
  });
  const taken = async () => {
    const waiting = take;
    take = [];
    for (const resolve of waiting) resolve();
    await settle();
  };
  return { queue, clock, writes, told, taken };
}

test("lines of a moment share a write, and no write is longer than a batch", async () => {
  const { queue, clock, writes, taken } = queueWith({ batchBytes: 12 });
  queue.add("a\n");
  queue.add("b\n");
  assert.deepEqual(writes, [], "others may come within the moment");
  await clock.advance(50);
  assert.deepEqual(writes, ["a\nb\n"]);
  for (const line of ["11111\n", "22222\n", "33333\n"]) queue.add(line);
  await clock.advance(1_000);
  assert.equal(writes.length, 1, "one write at a time");
  await taken();
  assert.deepEqual(writes, ["a\nb\n", "11111\n22222\n"]);
  await taken();
  assert.deepEqual(writes, ["a\nb\n", "11111\n22222\n", "33333\n"]);
  await taken();
  assert.equal(clock.pending, 0, "nothing is left to be looked at");
});

test("a full batch is written at once", async () => {
  const { queue, writes } = queueWith({ batchBytes: 4 });
  queue.add("aaa\n");
  assert.equal(writes.length, 0);
  queue.add("bbb\n");
  await settle();
  assert.deepEqual(writes, ["aaa\n"]);
});

test("lines that a reader does not take in time are dropped, reported once, and counted; the rest keeps its order", async () => {
  const { queue, clock, writes, told, taken } = queueWith({ batchBytes: 4, maxWaitingBytes: 20 });
  for (let i = 0; i < 5; i++) queue.add(`00${i}\n`);
  await clock.advance(50);
  for (let i = 5; i < 1_000; i++) queue.add(`${String(i).padStart(3, "0")}\n`);
  assert.deepEqual(told, ["dropping"], "said once");
  queue.add("x\ny\n");
  for (let i = 0; i < 3; i++) await taken();
  assert.deepEqual(told, ["dropping", 997], "two lines in one text are two");
  queue.add("new\n");
  for (let i = 0; i < 3; i++) await taken();
  assert.deepEqual(writes, ["000\n", "001\n", "002\n", "003\n", "004\n", "new\n"]);
  assert.equal(told.length, 2);
});

test("a reader that has gone ends the queue: it is told once, and holds nothing any more", async () => {
  const { queue, clock, told } = queueWith({ write: () => Promise.reject(new Error("EPIPE")) });
  queue.add("a\n");
  await clock.advance(50);
  for (let i = 0; i < 10; i++) queue.add("b\n");
  await clock.advance(1_000);
  assert.deepEqual(told, ["EPIPE"]);
  assert.equal(clock.pending, 0);
  await queue.flushed();
});

test("a flush waits for all lines, those of the moment as well", async () => {
  const { queue, writes, taken } = queueWith();
  queue.add("a\n");
  let isFlushed = false;
  const flushed = queue.flushed().then(() => isFlushed = true);
  await settle();
  assert.deepEqual([writes.length, isFlushed], [1, false]);
  await taken();
  await flushed;
  await queue.flushed();
});
