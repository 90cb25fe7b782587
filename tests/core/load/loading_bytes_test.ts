import assert from "node:assert/strict";
import { Cancel } from "../../../lib/core/base/cancel.ts";
import { OverloadedError } from "../../../lib/core/errors.ts";
import { LoadingBytes } from "../../../lib/core/load/loading-bytes.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

const never = new Cancel();

function make(maxBytes = 100) {
  const clock = new ManualClock();
  return { clock, all: new LoadingBytes({ clock, maxBytes, maxWaitMs: 1_000 }) };
}

/** What has become of a wait. */
function watch(turn: Promise<void> | undefined): { is: unknown } {
  const now: { is: unknown } = { is: turn === undefined ? "taken" : "waits" };
  turn?.then(() => now.is = "taken", (error) => now.is = error);
  return now;
}

test("loads wait for their first bytes in turn, and get them when others end", async () => {
  const { all } = make();
  const [one, two, three] = [all.begin(), all.begin(), all.begin()];
  assert.equal(one.hold(80, never), undefined);
  const [large, small] = [watch(two.hold(60, never)), watch(three.hold(10, never))];
  await settle();
  assert.deepEqual(
    [large.is, small.is],
    ["waits", "waits"],
    "a small one does not overtake, or a large one waits for ever",
  );
  one.end();
  await settle();
  assert.deepEqual([large.is, small.is, all.bytes], ["taken", "taken", 70]);
  two.end();
  two.end();
  three.end();
  assert.equal(all.bytes, 0);
});

test("a load that holds bytes does not wait for more: it has them at once, or fails", () => {
  const { all } = make();
  const [one, two] = [all.begin(), all.begin()];
  one.hold(40, never);
  two.hold(40, never);
  assert.equal(one.hold(60, never), undefined);
  assert.equal(one.hold(50, never), undefined, "it holds more already");
  assert.equal(all.bytes, 100);
  assert.throws(() => two.hold(41, never), OverloadedError);
  one.end();
  assert.equal(two.hold(41, never), undefined);
});

test("a wait ends after a while, and lets those behind it in", async () => {
  const { all, clock } = make();
  const [one, two, three] = [all.begin(), all.begin(), all.begin()];
  one.hold(80, never);
  const large = watch(two.hold(60, never));
  await clock.advance(500);
  const small = watch(three.hold(20, never));
  await clock.advance(500);
  assert.ok(large.is instanceof OverloadedError);
  assert.equal(small.is, "taken");
  assert.equal(clock.pending, 0);
  two.end();
  assert.equal(all.bytes, 100);
});

test("a wait ends with its load", async () => {
  const { all, clock } = make();
  const [one, two, three] = [all.begin(), all.begin(), all.begin()];
  one.hold(80, never);
  const signal = new Cancel();
  const [large, small] = [watch(two.hold(60, signal)), watch(three.hold(20, never))];
  signal.abort("gone");
  await settle();
  assert.deepEqual([large.is, small.is, clock.pending], ["gone", "taken", 0]);
  const late = watch(two.hold(1, signal));
  await settle();
  assert.equal(late.is, "gone");
});

test("bytes given to a load as it ends are returned", async () => {
  const { all } = make();
  const [one, two] = [all.begin(), all.begin()];
  one.hold(100, never);
  const turn = watch(two.hold(50, never));
  one.end();
  two.end();
  await settle();
  assert.deepEqual([turn.is, all.bytes], ["taken", 0]);
});

test("a body over the bound is loaded when no other is", () => {
  const { all } = make();
  const one = all.begin();
  assert.equal(one.hold(1_000, never), undefined);
  const two = watch(all.begin().hold(1, never));
  assert.equal(two.is, "waits");
});
