import assert from "node:assert/strict";
import { Memo, WeakMemo } from "../../../../lib/core/base/tables/memo.ts";
import { test } from "../../../support/test.ts";

test("a memo makes a value once, and again after it was forgotten", () => {
  const made: string[] = [];
  const memo = new Memo<string, { of: string }>(2, (of) => (made.push(of), { of }));
  const first = memo.get("a");
  assert.equal(memo.get("a"), first);
  for (const other of ["b", "c", "d", "e"]) memo.get(other);
  assert.notEqual(memo.get("a"), first);
  assert.deepEqual(made, ["a", "b", "c", "d", "e", "a"]);
});

test("a weak memo makes one thing for each object, also for objects that look the same", () => {
  const memo = new WeakMemo<{ name: string }, { of: string }>(({ name }) => ({ of: name }));
  const [one, another] = [{ name: "a" }, { name: "a" }];
  const made = memo.get(one);
  assert.equal(memo.get(one), made);
  assert.notEqual(memo.get(another), made);
  assert.deepEqual([made, memo.get(another)], [{ of: "a" }, { of: "a" }]);
});
