import assert from "node:assert/strict";
import fc from "fast-check";
import { BLIND } from "../../../lib/core/invalidation/label.ts";
import { type Invalidation, invalidationOf } from "../../../lib/core/invalidation/message.ts";
import { LogPosition } from "../../../lib/core/invalidation/position.ts";
import type { Tags } from "../../../lib/core/invalidation/tags.ts";
import { Validity } from "../../../lib/core/invalidation/validity.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { at, EPOCH, labelled, makePosition, makeValidity, SilentLog } from "./support.ts";

const KINDS: readonly Partial<Invalidation>[] = [
  { keys: ["x/k"] },
  { keys: ["other", "x/k"] },
  { prefixes: ["x/"] },
  { prefixes: ["y", "x/k"] },
  { tags: ["red"] },
  { all: true },
];

/** A value that each of these messages covers, and one that only "all" does. */
const mine = (sequence: number) => labelled(at(sequence), { tags: ["blue", "red"] });
const unnamed = (sequence: number) => labelled(at(sequence), { tags: ["green"] });

test("a hard message of each kind invalidates the values that it covers with an earlier label, and no others", () => {
  for (const message of KINDS) {
    const { validity, position, tell } = makeValidity();
    tell({ keys: ["elsewhere"] });
    const { sequence } = tell(message);
    for (const before of [0, 1]) {
      assert.equal(validity.check("x/k", mine(before)), undefined, JSON.stringify(message));
      assert.ok(validity.isCovered("x/k", mine(before)));
    }
    const after = mine(sequence);
    assert.equal(validity.check("x/k", after), after);
    assert.equal(validity.isCovered("x/k", after), false);
    const other = unnamed(0);
    assert.equal(validity.check("z", other), message.all ? undefined : other);
    if (!message.all) assert.equal(other.label, position.label);
    assert.equal(validity.stats.applied, 2);
    assert.equal(validity.stats.dropped, message.all ? 3 : 2);
  }
});

test("a soft message of each kind makes the values that it covers stale, from the moment it is applied", async () => {
  for (const message of KINDS) {
    const { validity, position, clock, tell } = makeValidity();
    await clock.advance(1_000);
    const { sequence } = tell({ ...message, soft: true });
    const appliedMs = clock.nowMs();
    await clock.advance(500);
    const value = mine(0);
    assert.ok(validity.isCovered("x/k", value));
    const stale = validity.check("x/k", value)!;
    assert.equal(stale.freshUntilMs, appliedMs, JSON.stringify(message));
    assert.equal(stale.body, value.body);
    assert.equal(stale.label, position.label);
    assert.equal(validity.isCovered("x/k", stale), false, "it is stale already");
    const after = mine(sequence);
    assert.equal(validity.check("x/k", after), after);
    assert.equal(validity.stats.softened, 1);
    const other = unnamed(0);
    assert.equal(validity.check("z", other) === other, !message.all);
  }
});

test("a soft message prolongs no value, expired or already stale", async () => {
  const { validity, clock, tell } = makeValidity();
  const expired = labelled(at(0), { freshUntilMs: clock.nowMs() - 5 });
  const value = mine(0);
  const firstMs = clock.nowMs();
  tell({ keys: ["x/k"], soft: true });
  assert.equal(validity.check("x/k", expired), expired);
  await clock.advance(100);
  tell({ tags: ["red"], soft: true });
  tell({ all: true, soft: true });
  const stale = validity.check("x/k", value)!;
  assert.equal(stale.freshUntilMs, firstMs);
  await clock.advance(100);
  tell({ prefixes: ["x"], soft: true });
  assert.equal(validity.check("x/k", stale)!.freshUntilMs, firstMs);
});

test("a soft message after a hard one brings no value back", () => {
  for (const hard of KINDS) {
    for (const soft of KINDS) {
      const { validity, tell } = makeValidity();
      tell(hard);
      tell({ ...soft, soft: true });
      assert.equal(validity.check("x/k", mine(0)), undefined);
      assert.ok(validity.check("x/k", mine(1)), "it was loaded between the two");
      assert.ok(validity.check("x/k", mine(1))!.freshUntilMs < Infinity);
    }
  }
});

test("every tag covers a value with too many tags to keep, and a soft message drops it", () => {
  const any = (sequence: number) => labelled(at(sequence), { tags: "any" });
  const { validity, tell } = makeValidity();
  const { sequence } = tell({ tags: ["whatever"], soft: true });
  assert.equal(validity.check("k", any(0)), undefined);
  assert.ok(validity.isCovered("k", any(0)));
  const after = any(sequence);
  assert.equal(validity.check("k", after), after);
  const untold = makeValidity();
  untold.tell({ keys: ["other"] });
  const value = any(0);
  assert.equal(untold.validity.check("k", value), value, "no tag was named");
});

test("a prefix covers all keys that begin with it, and itself, whatever their length", () => {
  const { validity, tell } = makeValidity();
  for (const prefix of ["a", "a/b/c", "日本", "aa/"]) tell({ prefixes: [prefix] });
  for (const key of ["a", "ab", "a/b/c", "a/b/c/d", "日本", "日本語", "aa/1"]) {
    assert.equal(validity.check(key, labelled(at(0))), undefined, key);
  }
  for (const key of ["", "b", "b/a", "日", "A"]) assert.ok(validity.check(key, labelled(at(0))), key);
  assert.ok(validity.check("a", labelled(at(1))));
  assert.equal(validity.check("a/b/c", labelled(at(1))), undefined);
});

test("with too many prefixes the oldest ones count for all keys", () => {
  const { validity, tell } = makeValidity();
  for (let i = 0; i < 1_024; i++) tell({ prefixes: [`p${"x".repeat(i % 7)}${i}/`] });
  const other = (sequence: number) => labelled(at(sequence));
  assert.ok(validity.check("other", other(0)), "all are told apart");
  tell({ prefixes: ["q"] });
  assert.equal(validity.check("other", other(0)), undefined, "older than the prefix that was forgotten");
  assert.ok(validity.check("other", other(1)));
  for (let i = 1; i < 1_024; i++) {
    const key = `p${"x".repeat(i % 7)}${i}/k`;
    assert.equal(validity.check(key, other(i)), undefined, "the others are remembered");
    assert.ok(validity.check(key, other(i + 1)));
  }
  // Named again: it counts once more for its own keys only.
  tell({ prefixes: ["q"] });
  assert.equal(validity.check("q1", other(1_025)), undefined);
  assert.ok(validity.check("other", other(1)));
});

test("a prefix is found by its length for as long as it is remembered", () => {
  const { validity, tell } = makeValidity();
  tell({ prefixes: ["odd-length"] });
  for (let i = 0; i < 1_023; i++) tell({ prefixes: [`${i}`.padStart(4, "0")] });
  assert.equal(validity.check("odd-length/k", labelled(at(0))), undefined);
  // The first of its length is forgotten, and the second of that length comes.
  tell({ prefixes: ["abcd"] });
  const { sequence } = tell({ prefixes: ["next-of-10"] });
  assert.equal(validity.check("next-of-10/k", labelled(at(sequence - 1))), undefined);
});

test("a checked value gets the node's label, so the next check is one comparison", () => {
  const { validity, position, tell } = makeValidity();
  const value = labelled(at(0));
  assert.equal(validity.check("k", value), value);
  assert.ok(value.label === validity.label && value.label === position.label);
  tell({ keys: ["other"] });
  assert.notEqual(value.label, validity.label, "it must be checked again");
  assert.equal(validity.check("k", value), value);
  assert.equal(value.label, validity.label);
  tell({ keys: ["k"] }, "another group");
  assert.equal(validity.check("k", value), value);
  assert.equal(value.label, position.label);
});

test("the label of a value that is ahead of the node is never lowered, and soft ones leave it where it is", () => {
  const { validity, position, tell } = makeValidity();
  const ahead = labelled(at(5));
  const { label } = ahead;
  tell({ keys: ["k"] });
  assert.equal(validity.check("k", ahead), ahead);
  assert.equal(ahead.label, label);
  for (let i = 2; i <= 5; i++) tell({ keys: ["k"], soft: true });
  assert.equal(validity.check("k", ahead)!.freshUntilMs, Infinity, "it was good at 5");
  assert.equal(ahead.label, position.label, "the node has come there");
  tell({ keys: ["k"] });
  assert.equal(validity.check("k", ahead), undefined);
});

test("labels are compared by their numbers, and a label of an earlier life of the log comes before all of this life", () => {
  const { validity } = makeValidity();
  assert.ok(validity.compare(at(2), at(1)) > 0);
  assert.ok(validity.compare(at(1), at(2)) < 0);
  assert.equal(validity.compare(at(1), at(1)), 0);
  assert.ok(validity.compare(at(0), at(99, EPOCH - 1)) > 0);
  assert.ok(validity.compare(at(99, EPOCH + 1), at(0)) < 0);
  assert.equal(validity.compare(BLIND, at(0)), 0, "there was no message before the first contact");
});

test("after a gap no earlier label counts", () => {
  const { validity, position, tell } = makeValidity();
  tell({ keys: ["k"] });
  const held = labelled(position.label);
  position.restart(at(50));
  for (const sequence of [1, 49]) assert.equal(validity.check("other", labelled(at(sequence))), undefined);
  assert.equal(validity.check("other", held), undefined);
  const after = labelled(at(50));
  assert.equal(validity.check("k", after), after, "the marks from before the gap are gone");
});

test("in a new life of the log no value of the earlier life counts, not even one loaded blind", () => {
  const { validity, position, tell } = makeValidity();
  const blind = labelled(BLIND);
  assert.equal(validity.check("k", blind), blind, "the first contact was at the start of the log");
  tell({ tags: ["red"] });
  position.restart(at(0, EPOCH + 1));
  for (const label of [at(0), at(1), at(99), BLIND]) assert.equal(validity.check("k", labelled(label)), undefined);
  const after = labelled(at(0, EPOCH + 1), { tags: ["red"] });
  assert.equal(validity.check("k", after), after);
});

test("a value loaded before the first contact is checked as if loaded at the start of the log", () => {
  const { clock, position } = makePosition();
  const validity = new Validity({ position, clock });
  position.add("dict", validity);
  const blind = labelled(BLIND);
  assert.equal(validity.check("k", blind), blind);
  assert.equal(blind.label, validity.label, "nothing to compare with");
  position.restart(at(0));
  assert.notEqual(blind.label, validity.label);
  assert.equal(validity.check("k", blind), blind);
  position.take(1, "dict", new TextEncoder().encode('{"keys":["k"]}'));
  assert.equal(validity.check("k", blind), undefined);
  assert.equal(validity.check("k", labelled(BLIND)), undefined);
  assert.ok(validity.check("other", labelled(BLIND)));

  const late = makePosition();
  const lateValidity = new Validity({ position: late.position, clock: late.clock });
  late.position.add("dict", lateValidity);
  late.position.restart(at(1));
  assert.equal(lateValidity.check("other", labelled(BLIND)), undefined, "messages were missed");
});

test("a group that begins later holds no value older than its beginning", () => {
  const { clock, position, tell } = makeValidity();
  tell({ all: true });
  tell({ keys: ["k"] });
  const late = new Validity({ position, clock });
  position.add("late", late);
  assert.equal(late.check("k", labelled(at(1))), undefined);
  assert.ok(late.check("k", labelled(at(2))));
  assert.equal(late.after, position.label);
});

test("each group has its own position in the log", () => {
  const { validity, position, tell } = makeValidity();
  const { after } = validity;
  tell({ keys: ["k"] }, "another group");
  assert.equal(validity.after, after, "no peer needs to have applied that");
  const label = tell({ keys: ["k"] });
  assert.equal(validity.after, label);
  assert.equal(validity.applied, position.label);
});

test("a message that cannot be read covers nothing, and is counted and shown", () => {
  const { validity, position, clock, tell } = makeValidity();
  position.take(1, "dict", new TextEncoder().encode("flush"));
  assert.ok(validity.check("k", labelled(at(0))));
  assert.equal(validity.after.sequence, 0);
  for (let i = 0; i < 12; i++) tell({ keys: [`k${i}`.padEnd(500, ".")] });
  assert.deepEqual([validity.stats.refused, validity.stats.applied], [1, 12]);
  assert.equal(validity.latest.length, 10);
  const [last] = validity.latest;
  assert.deepEqual([last!.sequence, last!.atMs], [13, clock.nowMs()]);
  assert.equal(last!.message, `{"keys":["${"k11".padEnd(500, ".")}"]}`.slice(0, 200));
});

test("it names the loads that must not be joined any more", () => {
  const told: string[] = [];
  const keys = ["k", "x/1", "y"];
  const { position, tell } = makeValidity({
    onCovered: (isCovered, named) => told.push(`${keys.filter(isCovered).join()} by ${named.join()}`),
  });
  assert.deepEqual(told.splice(0), ["k,x/1,y by "], "at the start of the log");
  tell({ keys: ["k", "z"] });
  tell({ prefixes: ["x/", "zz"], soft: true });
  tell({ keys: ["y"], prefixes: ["x"], tags: ["t"] });
  tell({ tags: ["t"] });
  tell({ all: true });
  tell({ keys: ["k"] }, "another group");
  position.restart(at(9));
  assert.deepEqual(told, ["k by k,z", "x/1 by ", "x/1,y by y", "k,x/1,y by ", "k,x/1,y by "]);
});

test("a pending change makes its values bad until it is settled, and no others", () => {
  const changes: readonly Partial<Invalidation>[] = [...KINDS, { keys: ["x/k"], soft: true }];
  for (const change of changes) {
    const { validity, position, tell } = makeValidity();
    const message = invalidationOf(change);
    validity.addPending(message);
    assert.deepEqual(validity.pending, [message]);
    const now = mine(0);
    now.label = position.label;
    assert.notEqual(validity.label, now.label, "everything must be checked");
    assert.equal(validity.check("x/k", now), undefined, JSON.stringify(change));
    assert.ok(validity.isCovered("x/k", now), "even what was loaded just now");
    assert.ok(validity.isCovered("x/k", mine(99)));
    assert.equal(validity.check("z", unnamed(0)) === undefined, change.all === true);
    assert.equal(validity.isCovered("q", labelled(at(0), { tags: "any" })), message.all || message.tags.length > 0);
    tell(change);
    assert.equal(validity.check("x/k", mine(1)), undefined, "the log has it, but who asks must be told first");
    validity.settlePending(message);
    assert.equal(validity.label, position.label);
    assert.ok(validity.check("x/k", mine(1)));
    if (change.soft !== true) assert.equal(validity.check("x/k", mine(0)), undefined);
    assert.deepEqual(validity.pending, []);
  }
});

test("with too many pending changes everything is pending", () => {
  const { validity } = makeValidity();
  for (let i = 0; i < 1_000; i++) validity.addPending(invalidationOf({ keys: [`k${i}`] }));
  assert.ok(validity.check("other", labelled(at(0))));
  for (let i = 0; i < 50; i++) validity.addPending(invalidationOf({ keys: [`more-${i}`] }));
  assert.equal(validity.check("other", labelled(at(0))), undefined);
  assert.ok(validity.pending.length <= 1_001);
  for (const message of validity.pending) validity.settlePending(message);
  assert.ok(validity.check("other", labelled(at(0))));
});

test("after maxBlindMs without contact no value counts, and it does again once the log is read", async () => {
  const { clock, position } = makePosition();
  const validity = new Validity({ position, clock, maxBlindMs: 1_000 });
  position.add("dict", validity);
  position.restart(at(0));
  position.settled(0, clock.nowMs());
  await clock.advance(600);
  position.settled(0, clock.nowMs() - 100);
  await clock.advance(900);
  assert.equal(validity.isBlind, false, "at 1,000 ms it still counts");
  assert.equal(validity.label, position.label);
  await clock.advance(1);
  assert.ok(validity.isBlind);
  const value = labelled(position.label);
  assert.notEqual(validity.label, value.label, "no look at a value goes without this");
  position.take(1, "dict", new TextEncoder().encode('{"keys":["k"]}'));
  assert.ok(validity.isBlind && validity.label !== position.label, "a message alone is no contact");
  position.settled(1, clock.nowMs());
  assert.equal(validity.isBlind, false);
  assert.equal(validity.label, position.label);
  assert.equal(validity.check("other", value), value);
  validity.close();
  assert.equal(clock.pending, 0);
});

test("maxBlindMs counts from the start of a node that finds no log", async () => {
  const { clock, position } = makePosition();
  await clock.advance(400);
  const validity = new Validity({ position, clock, maxBlindMs: 1_000 });
  position.add("dict", validity);
  position.away();
  await clock.advance(600);
  assert.equal(validity.isBlind, false);
  await clock.advance(1);
  assert.ok(validity.isBlind);
  const late = new Validity({ position, clock, maxBlindMs: 1_000 });
  assert.ok(late.isBlind, "and at once for a group that begins then");
  position.settled(0, clock.nowMs() - 1_001);
  assert.ok(validity.isBlind, "an answer to a question of long ago");
});

test("a group with maxBlindMs 0 uses its caches only in the moment of a contact; one without it always", async () => {
  const { clock, position } = makePosition();
  const never = new Validity({ position, clock });
  const zero = new Validity({ position, clock, maxBlindMs: 0 });
  await clock.advance(10_000_000);
  assert.deepEqual([never.isBlind, zero.isBlind], [false, true]);
});

test("a node with its own log, or with none, is never blind, and sets no timer for it", async () => {
  const clock = new ManualClock();
  for (const log of [new SilentLog(true), undefined]) {
    const position = new LogPosition({ clock, ...(log && { log }) });
    const validity = new Validity({ position, clock, maxBlindMs: 1_000 });
    assert.equal(clock.pending, 0);
    await clock.advance(5_000);
    assert.equal(validity.isBlind, false);
    assert.equal(validity.label, position.label);
  }
});

const anyMessage: fc.Arbitrary<Invalidation> = fc.record({
  keys: fc.subarray(["a", "ab", "b"], { maxLength: 1 }),
  prefixes: fc.subarray(["a", "ab", "b"], { maxLength: 1 }),
  tags: fc.subarray(["s", "t"], { maxLength: 1 }),
  all: fc.boolean(),
  soft: fc.boolean(),
}, { noNullPrototype: true }).filter(({ keys, prefixes, tags, all }) => {
  // One kind at a time, so that no kind hides another.
  return keys.length + prefixes.length + tags.length + (all ? 1 : 0) === 1;
});

function covers({ keys, prefixes, tags, all }: Invalidation, key: string, own: Tags): boolean {
  return all || keys.includes(key) || prefixes.some((prefix) => key.startsWith(prefix)) ||
    (own === "any" ? tags.length > 0 : own.some((tag) => tags.includes(tag)));
}

test("validity follows the plain rules, for any messages and any value", () => {
  fc.assert(
    fc.property(fc.array(anyMessage, { maxLength: 8 }), fc.gen(), (messages, random) => {
      const { clock, position, validity, tell } = makeValidity();
      const toldAtMs: number[] = [];
      for (const message of messages) {
        clock.standStill(random(fc.integer, { min: 0, max: 10 }));
        tell(message);
        toldAtMs.push(clock.nowMs());
      }
      for (const key of ["a", "ab", "abc", "b", "c"]) {
        for (const tags of [[], ["s"], ["s", "t"], "any"] as const) {
          for (let number = 0; number <= messages.length + 1; number++) {
            const freshUntilMs = random(fc.constantFrom, Infinity, clock.nowMs(), clock.nowMs() - 20);
            const value = labelled(at(number), { tags, freshUntilMs });
            const covering = messages.map((message, i) => ({ ...message, sequence: i + 1, atMs: toldAtMs[i]! }))
              .filter((message) => message.sequence > number && covers(message, key, tags));
            // Of a value with any tags it is not known which it has: a soft tag counts as hard.
            const isBad = covering.some(({ soft, tags: named }) => !soft || (tags === "any" && named.length > 0));
            const untilMs = Math.min(freshUntilMs, ...covering.map(({ atMs }) => atMs));
            const isCovered = validity.isCovered(key, value);
            assert.equal(value.label.sequence, number, "isCovered leaves no trace");
            const checked = validity.check(key, value);
            assert.equal(isCovered, isBad || untilMs < freshUntilMs);
            assert.equal(checked === undefined, isBad);
            if (checked === undefined) continue;
            assert.equal(checked.freshUntilMs, untilMs);
            assert.equal(checked === value, untilMs === freshUntilMs);
            if (number <= messages.length) assert.equal(checked.label, position.label);
            else assert.equal(checked.label.sequence, number);
          }
        }
      }
    }),
    { numRuns: 150 },
  );
});
