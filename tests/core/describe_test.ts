/** What a group tells of a key: the truth, and without a trace. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { count, type Moved, Owners } from "../../lib/core/placement/simulate.ts";
import type { Group } from "../../lib/core/group/group.ts";
import { selectionOf } from "../../lib/core/semantics/vary.ts";
import { settle } from "../support/clock.ts";
import { test } from "../support/test.ts";
import { makeCluster, record, text } from "./cluster.ts";
import { nodes } from "./invalidation/support.ts";
import { getFor, requestWith, withFreshness } from "./lifetime/support.ts";

const POLICY = { ttlMs: 1_000, staleWhileRevalidateMs: 500, staleIfErrorMs: 3_000 };

test("a description says what the next get finds, whatever has happened before", async () => {
  const names = ["k-1", "k-2", "k-3"];
  const step = fc.oneof(
    fc.record({ what: fc.constant("get"), key: fc.constantFrom(...names), node: fc.nat(2) }),
    fc.record({ what: fc.constant("advance"), ms: fc.constantFrom(1, 400, 700, 1_600, 4_000) }),
    fc.record({
      what: fc.constant("invalidate"),
      message: fc.constantFrom<object>({ keys: ["k-1"] }, { prefixes: ["k-"] }, { tags: ["red"] }, { all: true }),
      soft: fc.boolean(),
    }),
    fc.record({ what: fc.constant("pending"), node: fc.nat(2) }),
  );
  const reasons = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 12 }), async (steps) => {
      const { all, clock, invalidate } = nodes(POLICY);
      for (const one of steps) {
        if ("key" in one) await all[one.node]!.get(one.key);
        else if ("ms" in one) await clock.advance(one.ms);
        else if ("message" in one) invalidate({ ...one.message, soft: one.soft });
        else all[one.node]!.validity.addPending({ keys: ["k-2"], prefixes: [], tags: [], all: false, soft: false });
        await settle();
        for (const group of all) for (const key of names) reasons.add(agrees(group, key));
      }
    }),
    { numRuns: 60, seed: 7 },
  );
  assert.deepEqual([...reasons].sort(), ["expired", "fresh", "invalidated", "not-held", "stale"]);
});

/** @returns the reason that was told */
function agrees(group: Group, key: string): string {
  const before = JSON.stringify(group.stats());
  const told = group.describe(key);
  assert.equal(JSON.stringify(group.stats()), before, "nothing is counted");
  assert.deepEqual(group.describe(key).held.map(({ state }) => state), told.held.map(({ state }) => state));
  const hit = group.lookup(key);
  assert.equal(hit !== undefined, told.isHit, `${told.reason}: ${JSON.stringify(told.held.map(({ state }) => state))}`);
  if (hit !== undefined) assert.equal(hit.from, told.held[0]!.from);
  return told.reason;
}

test("a description does not protect a value from eviction, and raises no label", async () => {
  const { clock, groups, origin, log } = makeCluster(["a"], { options: { budgetBytes: 40 } });
  const group = groups.get("a")!;
  origin.answer = () => text("0123456789");
  await group.get("old");
  await group.get("new");
  log.invalidate({ keys: ["other"] });
  const [{ value, standing }] = group.describe("old").held as [ReturnType<Group["describe"]>["held"][number]];
  assert.deepEqual([value.label.sequence, standing.last], [0, 0]);
  for (let i = 0; i < 5; i++) group.describe("old");
  await clock.advance(1);
  await group.get("newest");
  await group.get("third");
  assert.equal(group.describe("old").reason, "not-held", "the oldest went first, though it was looked at");
  log.invalidate({ prefixes: ["th"] });
  assert.deepEqual(group.describe("third").held.map(({ state, standing }) => [state, standing.last]), [
    ["invalidated", 2],
  ]);
});

test("a description lists all variants of a key, and says that none is for a plain request", async () => {
  const { a, key, origin } = nodes(POLICY);
  const names = ["accept-language"];
  origin.answer = (_key, { request }) => {
    const selection = { names, says: selectionOf(names, request?.fields ?? []) };
    return withFreshness({ ...text("v"), selection }, { freshMs: 60_000 });
  };
  for (const language of ["de", "fr"]) await getFor(a, key, requestWith("accept-language", language));
  const plain = a.describe(key);
  assert.deepEqual([plain.isHit, plain.reason, plain.held.length >= 2], [false, "other-variant", true]);
  assert.equal(a.describe(key, requestWith("accept-language", "de")).reason, "fresh");
  assert.equal(a.describe(`${key}0`).held.length, 0, "another key that begins so has none of them");
});

test("a description lists owners by rank, and loads in flight", async () => {
  const { a, b, key, origin } = nodes(POLICY);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const loading = a.get(key);
  await settle();
  assert.deepEqual(a.describe(key).owners.slice(0, 2), ["b", "c"]);
  assert.deepEqual(b.describe(key).owners.slice(0, 2), [undefined, "c"]);
  assert.deepEqual([a.describe(key).isLoading, b.describe(key).isLoading], [true, true]);
  gate.resolve();
  await loading;
  assert.equal(a.describe(key).isLoading, false);
});

/** The fleet's sum, as each node counts its part. */
function summed(groups: ReadonlyMap<string, Group>, before: readonly string[], after: readonly string[]): Moved {
  const sum = { keys: 0, bytes: 0, movedKeys: 0, movedBytes: 0 };
  const [then, next] = [before, after].map((names) => new Owners("dict", names.map(record))) as [Owners, Owners];
  for (const [self, group] of groups) {
    for (const entry of group.resident()) count(sum, entry, { self, before: then, after: next });
  }
  return sum;
}

for (
  const [what, after, simulated] of [
    ["two that join", ["a", "b", "c", "d", "e", "f"], ["a", "b", "c", "d", "added 1", "added 2"]],
    ["a node that goes", ["a", "b", "c"], ["a", "b", "c"]],
  ] as const
) {
  test(`with ${what}, as many keys and bytes move as was foretold, within 2 %`, async () => {
    const before = ["a", "b", "c", "d"];
    const { groups, pickers, swap, origin } = makeCluster(before);
    origin.answer = (key) => text("x".repeat(1 + Number(key.slice(2)) % 100));
    const keys = Array.from({ length: 4_000 }, (_, i) => `k-${i}`);
    for (const key of keys) await groups.get(before[key.length % 4]!)!.get(key);
    const foretold = summed(groups, before, simulated);
    assert.equal(foretold.keys, keys.length, "each key is counted once, at its owner");
    const ownersOf = () => keys.map((key) => pickers.get("a")!.pick(key)?.name ?? "a");
    const owners = ownersOf();
    const bytes = new Map([...groups.values()].flatMap((group) => group.resident()).map((one) => [one.key, one.bytes]));
    swap(after);
    const now = ownersOf();
    const moved = keys.filter((_, at) => owners[at] !== now[at]);
    assert.ok(
      Math.abs(moved.length - foretold.movedKeys) <= 0.02 * keys.length,
      `${moved.length}, ${foretold.movedKeys}`,
    );
    const movedBytes = moved.reduce((sum, key) => sum + bytes.get(key)!, 0);
    assert.ok(
      Math.abs(movedBytes - foretold.movedBytes) <= 0.02 * foretold.bytes,
      `${movedBytes}, ${foretold.movedBytes}`,
    );
    if (after.length < before.length) assert.equal(moved.length, foretold.movedKeys, "who goes is known by name");
  });
}
