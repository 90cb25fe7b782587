import assert from "node:assert/strict";
import { append, emptyList, isLinked, type ListNode, unlink } from "../../../../lib/core/base/tables/intrusive-list.ts";
import { test } from "../../../support/test.ts";

class Thing implements ListNode {
  previous: ListNode = this;
  next: ListNode = this;
}

function members(list: ListNode): ListNode[] {
  const all: ListNode[] = [];
  for (let one = list.next; one !== list; one = one.next) {
    assert.equal(one.next.previous, one);
    all.push(one);
  }
  return all;
}

test("a list keeps its order as elements leave and come back, and an element that left refers to no other", () => {
  const list = emptyList();
  const [a, b, c] = [new Thing(), new Thing(), new Thing()];
  assert.equal(isLinked(list), false);
  for (const one of [a, b, c]) append(list, one);
  assert.deepEqual(members(list).map((one) => [a, b, c].indexOf(one as Thing)), [0, 1, 2]);
  unlink(b);
  assert.ok(b.previous === b && b.next === b && !isLinked(b) && isLinked(a));
  // Taking it out twice is allowed.
  unlink(b);
  assert.deepEqual(members(list).map((one) => [a, b, c].indexOf(one as Thing)), [0, 2]);
  append(list, b);
  assert.deepEqual(members(list).map((one) => [a, b, c].indexOf(one as Thing)), [0, 2, 1]);
  for (const one of [a, b, c]) unlink(one);
  assert.equal(isLinked(list), false);
});
