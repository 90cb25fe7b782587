import assert from "node:assert/strict";
import { OverloadedError } from "../../../lib/core/errors.ts";
import { Slots } from "../../../lib/origins/guard/slots.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

function slotsOf(limit: number, options: { maxQueued?: number; queueTimeoutMs?: number } = {}) {
  const clock = new ManualClock();
  const bound = { limit };
  const { maxQueued = 10, queueTimeoutMs = 1_000 } = options;
  const slots = new Slots({ clock, limit: () => bound.limit, maxQueued, queueTimeoutMs });
  const order: string[] = [];
  const take = (name: string, signal = new AbortController().signal) =>
    slots.take(signal).then(
      () => void order.push(name),
      (error: Error) => void order.push(`${name}: ${error.message}`),
    );
  return { clock, slots, bound, order, take };
}

test("those who wait are served in the order in which they came", async () => {
  const { slots, order, take, clock } = slotsOf(2);
  for (const name of ["a", "b", "c", "d"]) void take(name);
  await settle();
  assert.deepEqual(order, ["a", "b"]);
  assert.deepEqual([slots.taken, slots.queued], [2, 2]);
  slots.release();
  // Who comes now is behind those who wait.
  void take("e");
  slots.release();
  slots.release();
  await settle();
  assert.deepEqual(order, ["a", "b", "c", "d", "e"]);
  assert.deepEqual([slots.taken, slots.queued, clock.pending], [2, 0, 0]);
});

test("a full queue refuses at once, and a long wait ends", async () => {
  const { slots, order, take, clock } = slotsOf(0, { maxQueued: 2 });
  for (const name of ["a", "b", "c"]) void take(name);
  await settle();
  assert.deepEqual(order, ["c: 2 requests wait for the origin already"]);
  await assert.rejects(slots.take(new AbortController().signal), OverloadedError);
  await clock.advance(999);
  assert.equal(order.length, 1);
  await clock.advance(1);
  assert.deepEqual(order.slice(1), ["a", "b"].map((name) => `${name}: the origin was busy for 1000 ms`));
  assert.deepEqual([slots.taken, slots.queued, clock.pending], [0, 0, 0]);
});

test("who leaves the queue gives up its place, and takes no slot", async () => {
  const { slots, order, take, clock } = slotsOf(1);
  const leaving = new AbortController();
  void take("a");
  void take("b", leaving.signal);
  void take("c");
  await settle();
  leaving.abort(new Error("left"));
  slots.release();
  await settle();
  assert.deepEqual(order, ["a", "b: left", "c"]);
  void take("d", leaving.signal);
  await settle();
  assert.equal(order.at(-1), "d: left");
  assert.deepEqual([slots.taken, slots.queued, clock.pending], [1, 0, 0]);
});

test("a limit that shrinks lets the running ones end, and one that grows serves those who wait", async () => {
  const { slots, order, take, bound } = slotsOf(3);
  for (const name of ["a", "b", "c", "d", "e"]) void take(name);
  bound.limit = 1;
  slots.release();
  slots.release();
  await settle();
  assert.deepEqual(order, ["a", "b", "c"]);
  slots.release();
  await settle();
  assert.deepEqual(order, ["a", "b", "c", "d"]);
  bound.limit = 2;
  slots.serve();
  await settle();
  assert.deepEqual(order, ["a", "b", "c", "d", "e"]);
});
