/** Which nodes probe which peers. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { ProbePlan, PROBERS } from "../../../lib/core/liveness/probe-plan.ts";
import { test } from "../../support/test.ts";

const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,30}$/);
const names = fc.uniqueArray(name, { minLength: 2, maxLength: 200, size: "max" });

/** The plan for nodes that all serve the same group. */
const planOf = (all: readonly string[]) => new ProbePlan([all]);

function probersOf(plan: ProbePlan, target: string): string[] {
  return plan.names.filter((prober) => plan.targetsOf(prober).has(target));
}

test("each peer has three probers, or all others where there are fewer, and never itself", () => {
  const check = (all: readonly string[]) => {
    const plan = planOf(all);
    const wanted = Math.min(PROBERS, all.length - 1);
    let probes = 0;
    for (const target of all) {
      const probers = probersOf(plan, target);
      assert.equal(probers.length, wanted, `${target} of ${all.length}`);
      assert.ok(!probers.includes(target));
      assert.deepEqual(probers.sort(), plan.probersOf(target, PROBERS).sort());
      probes += plan.targetsOf(target).size;
    }
    assert.equal(probes, wanted * all.length, "on average a node probes three");
  };
  for (let size = 2; size <= 200; size += size < 20 ? 1 : 20) {
    check(Array.from({ length: size }, (_, i) => `10-0-0-${i}-8000`));
  }
  fc.assert(fc.property(names, check), { numRuns: 20 });
});

test("a plan made from the one before is the plan that a node makes which has just started", () => {
  const all = Array.from({ length: 40 }, (_, i) => `10-0-0-${i}-8000`);
  // Some changes are of one node, as usual; some of many, and some lists are too short for three probers.
  const list = fc.subarray(all, { minLength: 1 });
  const step = fc.record({ lists: fc.array(list, { minLength: 1, maxLength: 3 }), toggled: fc.array(fc.nat(39)) });
  const toggle = (names: readonly string[], index: number) =>
    names.includes(all[index]!) ? names.filter((name) => name !== all[index]) : [...names, all[index]!];
  fc.assert(fc.property(fc.array(step, { minLength: 1, maxLength: 4 }), (steps) => {
    let plan: ProbePlan | undefined;
    const check = (lists: readonly (readonly string[])[]) => {
      plan = new ProbePlan(lists, plan);
      const fresh = new ProbePlan(lists);
      for (const name of all) assert.deepEqual([...plan.targetsOf(name)], [...fresh.targetsOf(name)], name);
    };
    for (const { lists, toggled } of steps) {
      let [first, ...others] = lists as [string[], ...string[][]];
      check([first, ...others]);
      for (const index of toggled) check([first = toggle(first, index), ...others]);
    }
  }));
});

test("a change of one node in a thousand costs a look at each, not at each pair", () => {
  const all = Array.from({ length: 1_000 }, (_, i) => `10-0-${i >> 8}-${i & 255}-8000`);
  const timeOf = (make: () => ProbePlan) => {
    const sinceMs = performance.now();
    make();
    return performance.now() - sinceMs;
  };
  let plan = new ProbePlan([all]);
  // The best of each counts: another process may have the core meanwhile.
  const changes = all.slice(0, 20).map((left) =>
    timeOf(() => plan = new ProbePlan([all.filter((name) => name !== left)], plan))
  );
  const fresh = all.slice(0, 20).map((left) => timeOf(() => new ProbePlan([all.filter((name) => name !== left)])));
  const [changeMs, freshMs] = [Math.min(...changes), Math.min(...fresh)];
  assert.ok(changeMs < 0.7 * freshMs, `${changeMs} ms, and ${freshMs} ms for a new one`);
});

test("the work is shared out: of 200 nodes none probes more than a dozen", () => {
  const all = Array.from({ length: 200 }, (_, i) => `10-0-0-${i}-8000`);
  const plan = planOf(all);
  const counts = all.map((prober) => plan.targetsOf(prober).size);
  assert.ok(Math.max(...counts) <= 12, String(Math.max(...counts)));
});

test("every node makes the same plan, in any order of the names", () => {
  fc.assert(
    fc.property(
      names.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
      ([
        all,
        shuffled,
      ]) => {
        const [one, other] = [planOf(all), planOf(shuffled)];
        for (const prober of all) assert.deepEqual(one.targetsOf(prober), other.targetsOf(prober));
      },
    ),
    { numRuns: 20 },
  );
});

test("the plan is the same on every runtime: fixed vectors", () => {
  const plan = planOf([..."abcdefghij"]);
  assert.equal(plan.names.map((target) => plan.probersOf(target, 3).join("")).join(" "), VECTORS);
});

test("when a node leaves, only its own places move", () => {
  const all = Array.from({ length: 50 }, (_, i) => `10-0-0-${i}-8000`);
  const before = planOf(all);
  const after = planOf(all.slice(1));
  for (const target of all.slice(1)) {
    const stayed = before.probersOf(target, PROBERS).filter((prober) => prober !== all[0]);
    assert.deepEqual(after.probersOf(target, PROBERS).slice(0, stayed.length), stayed);
  }
});

test("probers that are left out are replaced by the next in rank", () => {
  const plan = planOf([..."abcdefghij"]);
  const rank = plan.probersOf("a", 9);
  assert.equal(new Set(rank).size, 9);
  assert.deepEqual(plan.probersOf("a", 3, new Set([rank[0]!, rank[2]!])), [rank[1], rank[3], rank[4]]);
  assert.deepEqual(plan.probersOf("a", 5, new Set(rank)), []);
  assert.deepEqual(plan.probersOf("a", 20), rank);
});

test("a name that is not in the plan has no targets, nor has a node alone", () => {
  assert.equal(planOf(["a", "b"]).targetsOf("z").size, 0);
  assert.equal(planOf(["a"]).targetsOf("a").size, 0);
});

/** Nodes in some groups each. The plan of a node is made of the lists that it reads, and of no others. */
const fleets = fc.array(fc.uniqueArray(fc.nat(3), { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 40 })
  .map((all) => {
    const groupsOf = new Map(all.map((groups, i) => [`10-0-0-${i}-8000`, groups]));
    const list = (group: number) => [...groupsOf.keys()].filter((name) => groupsOf.get(name)!.includes(group));
    const viewOf = (name: string) => new ProbePlan(groupsOf.get(name)!.map(list));
    const views = new Map([...groupsOf.keys()].map((name) => [name, viewOf(name)]));
    const shared = (left: string, right: string) =>
      groupsOf.get(left)!.filter((group) => groupsOf.get(right)!.includes(group));
    return { groupsOf, list, views, shared };
  });

test("where groups differ a peer has its probers in each of its groups, and all nodes of a group know them", () => {
  fc.assert(fc.property(fleets, ({ groupsOf, list, views, shared }) => {
    for (const [target, groups] of groupsOf) {
      const probers = new Set(groups.flatMap((group) => planOf(list(group)).probersOf(target, PROBERS)));
      for (const [prober, view] of views) assert.equal(view.targetsOf(prober).has(target), probers.has(prober));
      for (const prober of probers) {
        const common = shared(prober, target);
        assert.ok(common.length > 0, "only a node that lists it probes it");
        const [group] = common.filter((each) => planOf(list(each)).targetsOf(prober).has(target));
        for (const other of list(group!)) assert.ok(views.get(other)!.targetsOf(prober).has(target));
      }
    }
  }));
});

test("only nodes that list a suspect are asked about it: the first of all that share a group with it and with the asking node", () => {
  fc.assert(
    fc.property(fleets, fc.integer({ min: 1, max: 40 }), ({ views, list, shared }, count) => {
      for (const [asker, view] of views) {
        for (const suspect of view.names) {
          if (suspect === asker) continue;
          const known = [...new Set(shared(asker, suspect).flatMap(list))];
          const probers = view.probersOf(suspect, count, new Set([asker]));
          assert.deepEqual(probers, planOf(known).probersOf(suspect, count, new Set([asker])));
          for (const prober of probers) assert.ok(shared(prober, suspect).length > 0);
        }
      }
    }),
    { numRuns: 50 },
  );
});

test("where all serve the same groups the plan is that of one group", () => {
  const all = [..."abcdefghij"];
  const plan = new ProbePlan([all, all.toReversed()]);
  const one = planOf(all);
  for (const name of all) {
    assert.deepEqual(plan.targetsOf(name), one.targetsOf(name));
    assert.deepEqual(plan.probersOf(name, 4), one.probersOf(name, 4));
  }
});

test("a plan that takes over lists of the one before it is the same as a new one", () => {
  fc.assert(
    fc.property(names, names, names, (kept, dropped, added) => {
      const plan = new ProbePlan([kept, added], new ProbePlan([kept, dropped]));
      const fresh = new ProbePlan([kept, added]);
      assert.deepEqual(plan.names, fresh.names);
      for (const name of [...kept, ...dropped, ...added]) {
        assert.deepEqual(plan.targetsOf(name), fresh.targetsOf(name));
        assert.deepEqual(plan.probersOf(name, 4), fresh.probersOf(name, 4));
      }
    }),
    { numRuns: 20 },
  );
});

const VECTORS = "dgi dhc ijf chi dca bah ade caf jeb chb";
