import assert from "node:assert/strict";
import { InvalidatedKeys } from "../../../lib/core/lifetime/invalidated-keys.ts";
import { test } from "../../support/test.ts";

test("a load that began before the invalidation of its key is covered, and no other", () => {
  const keys = new InvalidatedKeys();
  const before = keys.count;
  assert.equal(keys.hasSince(before, "a"), false);
  keys.add("a", 10);
  assert.deepEqual([keys.hasSince(before, "a"), keys.hasSince(before, "b")], [true, false]);
  const between = keys.count;
  assert.equal(keys.hasSince(between, "a"), false);
  keys.add("b", 10);
  assert.deepEqual([keys.hasSince(between, "a"), keys.hasSince(between, "b")], [false, true]);
});

test("a value is covered that was born before the invalidation of its key", () => {
  const keys = new InvalidatedKeys();
  assert.equal(keys.covers("a", 0), false);
  keys.add("a", 10);
  assert.deepEqual([9, 10, 11].map((atMs) => keys.covers("a", atMs)), [true, false, false]);
  assert.equal(keys.covers("b", 9), false);
});

test("beyond the bound, keys that were forgotten are invalidated too much, never too little", () => {
  const keys = new InvalidatedKeys();
  for (let i = 0; i < 5_000; i++) keys.add(`k${i}`, i);
  // The last that was dropped is k903, the 904th.
  assert.deepEqual([902, 903].map((atMs) => keys.covers("other", atMs)), [true, false]);
  assert.deepEqual([903, 904].map((label) => keys.hasSince(label, "other")), [true, false]);
  assert.equal(keys.covers("k4999", 4_998), true);
  assert.equal(keys.hasSince(4_999, "k4999"), true);
});
