import assert from "node:assert/strict";
import fc from "fast-check";
import { Mark, Marks, MAX_MARKS } from "../../../lib/core/invalidation/marks.ts";
import { test } from "../../support/test.ts";

const MIB = 1024 * 1024;

/** What a value of a name is that was good at a number: bad, stale since a time, or (Infinity) good. */
function stateOf(marks: Marks, name: string, number: number): "bad" | number {
  return marks.hardOf(name) > number ? "bad" : marks.get(name)?.staleSinceMs(number) ?? Infinity;
}

test("after a hard mark older values are bad, and a later soft mark does not change that", () => {
  const marks = new Marks();
  marks.add("k", 5, undefined);
  marks.add("k", 7, 70);
  assert.deepEqual([4, 5, 6, 7].map((number) => stateOf(marks, "k", number)), ["bad", 70, 70, Infinity]);
  assert.equal(stateOf(marks, "other", 0), Infinity);
  marks.add("k", 9, undefined);
  assert.deepEqual([7, 8, 9].map((number) => stateOf(marks, "k", number)), ["bad", "bad", Infinity]);
  assert.equal(marks.get("k")!.isSoft, false);
});

test("of repeated soft marks the first that covers a value counts", () => {
  const mark = new Mark();
  mark.addSoft(3, 30);
  mark.addSoft(5, 50);
  mark.addSoft(8, 80);
  assert.deepEqual([0, 2, 3, 4, 5, 7, 8].map((number) => mark.staleSinceMs(number)), [
    30,
    30,
    50,
    50,
    80,
    80,
    Infinity,
  ]);
});

test("of many soft marks the first is never forgotten, the latest are exact, and between them too much is stale", () => {
  const mark = new Mark();
  const count = 100;
  for (let sequence = 1; sequence <= count; sequence++) mark.addSoft(sequence, 10 * sequence);
  assert.equal(mark.staleSinceMs(0), 10);
  for (let number = 0; number < count; number++) assert.ok(mark.staleSinceMs(number) <= 10 * (number + 1), `${number}`);
  for (let number = count - 7; number < count; number++) assert.equal(mark.staleSinceMs(number), 10 * (number + 1));
  assert.equal(mark.staleSinceMs(count), Infinity);
  assert.equal(mark.last, count);
});

interface Added {
  readonly name: string;
  readonly isSoft: boolean;
}

const anyAdded: fc.Arbitrary<Added> = fc.record({
  name: fc.constantFrom("a", "b", "c", "d", "e", "f", "g"),
  isSoft: fc.boolean(),
});

/** By all messages, however many. */
function trueStateOf(added: readonly Added[], name: string, number: number): "bad" | number {
  const later = added.map((one, i) => ({ ...one, sequence: i + 1 }))
    .filter((one) => one.name === name && one.sequence > number);
  if (later.some(({ isSoft }) => !isSoft)) return "bad";
  return later.length > 0 ? 10 * later[0]!.sequence : Infinity;
}

test("bounded marks never invalidate too little, and are exact while nothing was dropped", () => {
  fc.assert(
    fc.property(
      fc.array(anyAdded, { maxLength: 40, size: "max" }),
      fc.integer({ min: 1, max: 8 }),
      (added, maxMarks) => {
        const marks = new Marks(maxMarks);
        let lastDropped = 0;
        added.forEach(({ name, isSoft }, i) => {
          const gone = marks.add(name, i + 1, isSoft ? 10 * (i + 1) : undefined);
          for (const one of gone) {
            assert.equal(marks.get(one), undefined);
            lastDropped = Math.max(lastDropped, added.slice(0, i).findLastIndex(({ name }) => name === one) + 1);
          }
          assert.ok(!gone.includes(name), "the latest stays");
          assert.ok([...marks.names].length <= maxMarks);
          const told = added.slice(0, i + 1);
          for (const one of ["a", "b", "c", "d", "e", "f", "g", "never"]) {
            const softs = told.filter(({ name }) => name === one).length;
            for (let number = 0; number <= i + 1; number++) {
              const is = stateOf(marks, one, number);
              const should = trueStateOf(told, one, number);
              const isEnough = is === "bad" || (should !== "bad" && is <= should);
              assert.ok(isEnough, `${one} at ${number}: ${is}, not ${should}`);
              if (lastDropped === 0 && softs <= 8) assert.equal(is, should, `${one} at ${number}`);
            }
          }
        });
        assert.equal(marks.lastDropped, lastDropped);
      },
    ),
    { numRuns: 300 },
  );
});

test("with too many names the oldest is dropped, and what it covered stays covered", () => {
  const marks = new Marks();
  const names = Array.from({ length: MAX_MARKS + 4_000 }, (_, i) => `name-${i}`);
  // Half of them soft, which count as hard once they are dropped.
  names.forEach((name, i) => marks.add(name, i + 1, i % 2 === 0 ? undefined : i));
  assert.equal([...marks.names].length, MAX_MARKS);
  names.slice(0, 4_000).forEach((name, i) => assert.equal(stateOf(marks, name, i), "bad", name));
  assert.equal(marks.lastDropped, 4_000);
  const others = Array.from({ length: 10_000 }, (_, i) => `never-${i}`);
  const covered = others.filter((name) => stateOf(marks, name, 0) === "bad").length;
  // 4,000 names in 65,536 slots: 6 % on average.
  assert.ok(covered > 300 && covered < 900, `${covered} of 10,000 that were never named`);
  assert.equal(others.filter((name) => stateOf(marks, name, 4_000) === "bad").length, 0, "only what is older");
});

test("with too many bytes of names the oldest are dropped", () => {
  const marks = new Marks();
  // 1,000 bytes, 500 characters.
  const names = Array.from({ length: 5_000 }, (_, i) => `${i}`.padStart(6, "0") + "ä".repeat(497));
  const dropped = names.flatMap((name, i) => marks.add(name, i + 1, undefined));
  const kept = [...marks.names];
  assert.equal(kept.length, Math.floor(4 * MIB / 1_000));
  assert.deepEqual(dropped, names.slice(0, names.length - kept.length));
  names.forEach((name, i) => assert.equal(stateOf(marks, name, i), "bad"));
});

test("a repeated name counts once, and is dropped last", () => {
  const marks = new Marks(3);
  for (const [i, name] of ["a", "b", "c", "a"].entries()) assert.deepEqual(marks.add(name, i + 1, undefined), []);
  assert.deepEqual(marks.add("d", 5, undefined), ["b"]);
  assert.deepEqual([...marks.names], ["c", "a", "d"]);
  const long = new Marks();
  const name = "x".repeat(1_024);
  for (let i = 0; i < 10_000; i++) assert.deepEqual(long.add(name, i + 1, i % 3 === 0 ? undefined : i), []);
});

test("a dropped name that comes again is still covered by its forgotten marks", () => {
  const marks = new Marks(1);
  marks.add("a", 1, 10);
  marks.add("b", 2, 20);
  marks.add("a", 3, 30);
  assert.deepEqual([0, 1, 2, 3].map((number) => stateOf(marks, "a", number)), ["bad", 30, 30, Infinity]);
});

test("after clear nothing is marked", () => {
  const marks = new Marks(1);
  assert.ok(marks.isEmpty);
  for (const [i, name] of ["a", "b"].entries()) marks.add(name, i + 1, undefined);
  assert.equal(marks.isEmpty, false);
  marks.clear();
  assert.ok(marks.isEmpty);
  assert.equal(marks.lastDropped, 0);
  for (const name of ["a", "b"]) assert.equal(stateOf(marks, name, 0), Infinity);
  const long = new Marks();
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 4_000; i++) assert.deepEqual(long.add(`${i}`.padEnd(1_000), i + 1, undefined), []);
    long.clear();
  }
});
