import assert from "node:assert/strict";
import fc from "fast-check";
import { sharesOf } from "../../../lib/origins/guard/shares.ts";
import { test } from "../../support/test.ts";

const peersOf = (...weights: number[]) => weights.map((weight, at) => ({ name: `n${at}`, weight }));
const given = (slots: number, ...weights: number[]) => [...sharesOf(slots, "g", peersOf(...weights)).values()];

test("eight slots go round five equal nodes, and the remainder to three of them", () => {
  assert.deepEqual(given(8, 1, 1, 1, 1, 1).toSorted(), [1, 1, 2, 2, 2]);
  assert.deepEqual(given(8, 1, 1, 1, 1), [2, 2, 2, 2]);
  assert.deepEqual(given(8, 1), [8]);
  assert.deepEqual(given(8), []);
});

test("the rest goes by weight, after one for each", () => {
  assert.deepEqual(given(14, 3, 1), [1 + 9, 1 + 3]);
  assert.deepEqual(given(8, 100, 0.01), [7, 1]);
});

test("with fewer slots than nodes some get none", () => {
  assert.deepEqual(given(2, 1, 1, 1, 1, 1).toSorted(), [0, 0, 0, 1, 1]);
  assert.deepEqual(given(1, 5, 1, 1), [1, 0, 0]);
});

test("which nodes have the remainder depends on the group", () => {
  const favoured = new Set(
    Array.from(
      { length: 40 },
      (_, at) => [...sharesOf(1, `g${at}`, peersOf(1, 1, 1))].find(([, share]) => share === 1)![0],
    ),
  );
  assert.equal(favoured.size, 3);
});

test("the shares are always as many as there are slots, and each node has one if there are enough", () => {
  const weight = fc.oneof(fc.constant(1), fc.double({ min: 0.01, max: 100, noNaN: true }));
  fc.assert(
    fc.property(
      fc.array(weight, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 10_000 }),
      (weights, slots) => {
        const shares = given(slots, ...weights);
        assert.equal(shares.reduce((sum, share) => sum + share, 0), slots);
        assert.ok(shares.every((share) => Number.isInteger(share) && share >= (slots >= weights.length ? 1 : 0)));
      },
    ),
  );
});
