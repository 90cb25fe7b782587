import assert from "node:assert/strict";
import { SayOnce } from "../../../../lib/core/base/logs/say-once.ts";
import { ManualClock } from "../../../support/clock.ts";
import { test } from "../../../support/test.ts";

test("a text is new once, and again after it was forgotten", () => {
  const said = new SayOnce({ clock: new ManualClock(), maxSaid: 10 });
  assert.deepEqual([said.isNews("a"), said.isNews("a"), said.isNews("b")], [true, false, true]);
  said.forget("a");
  assert.deepEqual([said.isNews("a"), said.isNews("b")], [true, false]);
  said.forget();
  assert.deepEqual([said.isNews("a"), said.isNews("b")], [true, true]);
});

test("a text is news again when its time is over", async () => {
  const clock = new ManualClock();
  const said = new SayOnce({ clock, maxSaid: 10, forMs: 1_000 });
  assert.equal(said.isNews("a"), true);
  await clock.advance(999);
  assert.equal(said.isNews("a"), false);
  await clock.advance(1);
  assert.equal(said.isNews("a"), true);
});

test("after the bound new texts are no news, and known texts stay known", async () => {
  const clock = new ManualClock();
  const said = new SayOnce({ clock, maxSaid: 3, forMs: 1_000 });
  const news = (count: number) => Array.from({ length: count }, (_, i) => said.isNews(`${i}`)).filter(Boolean).length;
  assert.equal(news(1_000), 3);
  assert.equal(news(1_000), 0);
  await clock.advance(1_000);
  assert.equal(news(1_000), 3);
});

test("texts that found no room are counted, and the number is logged once in ten minutes", async () => {
  const clock = new ManualClock();
  const told: number[] = [];
  const said = new SayOnce({ clock, maxSaid: 2, onMore: (count) => told.push(count) });
  for (let i = 0; i < 1_000; i++) said.isNews(`${i}`);
  // A text that was said is not one of them.
  said.isNews("0");
  assert.equal(clock.pending, 1);
  await clock.advance(599_999);
  assert.deepEqual(told, []);
  await clock.advance(1);
  assert.deepEqual(told, [998]);
  said.isNews("new");
  await clock.advance(600_000);
  assert.deepEqual([told, clock.pending], [[998, 1], 0]);
});
