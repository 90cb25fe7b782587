/** Who polls whom. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { POLLERS, ProbePlan } from "../../../lib/core/liveness/probe-plan.ts";
import { ProbePlans } from "../../../lib/core/liveness/probe-plans.ts";
import { test } from "../../support/test.ts";

const name = fc.stringMatching(/^[A-Za-z0-9_-]{1,30}$/);
const names = fc.uniqueArray(name, { minLength: 2, maxLength: 200, size: "max" });

function pollersOf(plan: ProbePlan, ward: string): string[] {
  return plan.names.filter((poller) => plan.wardsOf(poller).includes(ward));
}

test("each peer has three pollers, or all others where there are fewer, and never itself", () => {
  const check = (all: readonly string[]) => {
    const plan = new ProbePlan(all);
    const wanted = Math.min(POLLERS, all.length - 1);
    let polls = 0;
    for (const ward of all) {
      const pollers = pollersOf(plan, ward);
      assert.equal(pollers.length, wanted, `${ward} of ${all.length}`);
      assert.ok(!pollers.includes(ward));
      assert.deepEqual(pollers.sort(), plan.others(ward, POLLERS).sort());
      polls += plan.wardsOf(ward).length;
    }
    assert.equal(polls, wanted * all.length, "on average a node polls three");
  };
  for (let size = 2; size <= 200; size += size < 20 ? 1 : 20) {
    check(Array.from({ length: size }, (_, i) => `10-0-0-${i}-8000`));
  }
  fc.assert(fc.property(names, check), { numRuns: 20 });
});

test("the work is shared out: of 200 nodes none polls more than a dozen", () => {
  const all = Array.from({ length: 200 }, (_, i) => `10-0-0-${i}-8000`);
  const plan = new ProbePlan(all);
  const counts = all.map((poller) => plan.wardsOf(poller).length);
  assert.ok(Math.max(...counts) <= 12, String(Math.max(...counts)));
});

test("every node makes the same plan, in whatever order it knows the names", () => {
  fc.assert(
    fc.property(
      names.chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
      ([
        all,
        shuffled,
      ]) => {
        const [one, other] = [new ProbePlan(all), new ProbePlan(shuffled)];
        for (const poller of all) assert.deepEqual(one.wardsOf(poller), other.wardsOf(poller));
      },
    ),
    { numRuns: 20 },
  );
});

test("the plan is the same on every runtime: fixed vectors", () => {
  const plan = new ProbePlan([..."abcdefghij"]);
  assert.equal(plan.names.map((ward) => plan.others(ward, 3).join("")).join(" "), VECTORS);
});

test("a node that goes moves only its own places", () => {
  const all = Array.from({ length: 50 }, (_, i) => `10-0-0-${i}-8000`);
  const before = new ProbePlan(all);
  const after = new ProbePlan(all.slice(1));
  for (const ward of all.slice(1)) {
    const stayed = before.others(ward, POLLERS).filter((poller) => poller !== all[0]);
    assert.deepEqual(after.others(ward, POLLERS).slice(0, stayed.length), stayed);
  }
});

test("those who are left out are replaced by the next in rank", () => {
  const plan = new ProbePlan([..."abcdefghij"]);
  const rank = plan.others("a", 9);
  assert.equal(new Set(rank).size, 9);
  assert.deepEqual(plan.others("a", 3, new Set([rank[0]!, rank[2]!])), [rank[1], rank[3], rank[4]]);
  assert.deepEqual(plan.others("a", 5, new Set(rank)), []);
  assert.deepEqual(plan.others("a", 20), rank);
});

test("a name that is not in the plan polls nobody, and a node alone has nobody to poll", () => {
  assert.deepEqual(new ProbePlan(["a", "b"]).wardsOf("z"), []);
  assert.deepEqual(new ProbePlan(["a"]).wardsOf("a"), []);
});

/** Who is in which of some groups; the plans of each node are made of the lists that it reads, and of no others. */
const fleets = fc.array(fc.uniqueArray(fc.nat(3), { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 40 })
  .map((all) => {
    const groupsOf = new Map(all.map((groups, i) => [`10-0-0-${i}-8000`, groups]));
    const list = (group: number) => [...groupsOf.keys()].filter((name) => groupsOf.get(name)!.includes(group));
    const plansOf = (name: string) => new ProbePlans(groupsOf.get(name)!.map(list));
    const views = new Map([...groupsOf.keys()].map((name) => [name, plansOf(name)]));
    const shared = (left: string, right: string) =>
      groupsOf.get(left)!.filter((group) => groupsOf.get(right)!.includes(group));
    return { groupsOf, list, views, shared };
  });

test("where groups differ a peer has its pollers in each of its groups, and all nodes of a group know of them", () => {
  fc.assert(fc.property(fleets, ({ groupsOf, list, views, shared }) => {
    for (const [ward, groups] of groupsOf) {
      const pollers = new Set(groups.flatMap((group) => new ProbePlan(list(group)).others(ward, POLLERS)));
      for (const [poller, view] of views) assert.equal(view.wardsOf(poller).has(ward), pollers.has(poller));
      for (const poller of pollers) {
        const common = shared(poller, ward);
        assert.ok(common.length > 0, "only who lists it polls it");
        const [group] = common.filter((each) => new ProbePlan(list(each)).wardsOf(poller).includes(ward));
        for (const witness of list(group!)) assert.ok(views.get(witness)!.wardsOf(poller).has(ward));
      }
    }
  }));
});

test("only who lists a suspect is asked about it: the first of all whom the asker shares a group with, too", () => {
  fc.assert(
    fc.property(fleets, fc.integer({ min: 1, max: 40 }), ({ views, list, shared }, count) => {
      for (const [asker, view] of views) {
        for (const suspect of view.names) {
          if (suspect === asker) continue;
          const known = [...new Set(shared(asker, suspect).flatMap(list))];
          const voters = view.others(suspect, count, new Set([asker]));
          assert.deepEqual(voters, new ProbePlan(known).others(suspect, count, new Set([asker])));
          for (const voter of voters) assert.ok(shared(voter, suspect).length > 0);
        }
      }
    }),
    { numRuns: 50 },
  );
});

test("where all serve the same groups there is one plan, and it is made once", () => {
  const all = [..."abcdefghij"];
  const plans = new ProbePlans([all, all.toReversed()]);
  const one = new ProbePlan(all);
  for (const name of all) {
    assert.deepEqual([...plans.wardsOf(name)], one.wardsOf(name));
    assert.deepEqual(plans.others(name, 4), one.others(name, 4));
  }
});

const VECTORS = "dgi dhc ijf chi dca bah ade caf jeb chb";
