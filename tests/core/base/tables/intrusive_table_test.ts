import assert from "node:assert/strict";
import fc from "fast-check";
import { IntrusiveTable, type TableNode } from "../../../../lib/core/base/tables/intrusive-table.ts";
import { test } from "../../../support/test.ts";

class Thing implements TableNode<Thing> {
  readonly number: number;
  follower: Thing | undefined = undefined;

  constructor(number: number) {
    this.number = number;
  }
}

function having(table: IntrusiveTable<Thing>, number: number): Set<Thing> {
  const found = new Set<Thing>();
  for (let one = table.first(number); one !== undefined; one = table.after(one)) {
    assert.ok(!found.has(one), "found twice");
    found.add(one);
  }
  return found;
}

test("a table holds what a set would, and finds elements by number, also those that share a number or a bucket", () => {
  // Numbers 1,024 apart share a bucket. Signed and unsigned 32 bits: hashes and ids.
  const number = fc.constantFrom(5, 5 + 1024, 5 - 1024, 5 + 2 ** 31, 6, -(2 ** 31), 2 ** 32 - 1, 0);
  const steps = fc.array(fc.tuple(fc.boolean(), number, fc.nat(20)), { maxLength: 60 });
  fc.assert(
    fc.property(steps, (steps) => {
      const table = new IntrusiveTable<Thing>();
      const model = new Set<Thing>();
      const gone: Thing[] = [];
      for (const [isAdded, number, at] of steps) {
        if (isAdded) {
          const thing = new Thing(number);
          table.add(thing);
          model.add(thing);
        } else if (model.size > 0) {
          const thing = [...model][at % model.size]!;
          assert.equal(table.delete(thing), true);
          model.delete(thing);
          gone.push(thing);
        }
        assert.equal(table.size, model.size);
        assert.deepEqual(having(table, number), new Set([...model].filter((thing) => thing.number === number)));
      }
      assert.deepEqual(new Set(table.all()), model);
      for (const thing of gone) {
        assert.equal(table.delete(thing), false);
        assert.equal(thing.follower, undefined, "it would keep others");
      }
    }),
    { numRuns: 500 },
  );
});
