/** A budget's caches and the invalidations that its node has applied. */
import assert from "node:assert/strict";
import { SharedBudget } from "../../../lib/core/cache/shared-budget.ts";
import { cacheKeyOf, findFor, storeVariant } from "../../../lib/core/cache/variants.ts";
import { ByteCache, entryBytes } from "../../../lib/core/cache/byte-cache.ts";
import { isMarker, markerOf, PLAIN, type Value } from "../../../lib/core/value.ts";
import { test } from "../../support/test.ts";
import { at, labelled, makeValidity } from "../invalidation/support.ts";
import { valueOf } from "../support.ts";

const SIZE = 1_000;

function makeCaches(options: Parameters<typeof makeValidity>[0] = {}) {
  const all = makeValidity(options);
  return { ...all, caches: new SharedBudget(SIZE, all.validity, { costOf: entryBytes }) };
}

test("a value found to be bad is removed from its cache", () => {
  for (const from of ["main", "hot"] as const) {
    const { caches, tell } = makeCaches();
    caches.store(caches[from], "k", labelled(at(0)));
    assert.equal(caches.find("k")!.from, from);
    tell({ keys: ["k"] });
    assert.equal(caches[from].items, 1, "nothing is done before somebody looks");
    assert.equal(caches.find("k"), undefined);
    assert.deepEqual([caches[from].items, caches[from].bytes], [0, 0]);
  }
});

test("a value found to be softly invalidated is stale from then on, in its place", async () => {
  for (const from of ["main", "hot"] as const) {
    const { caches, clock, position, tell } = makeCaches();
    caches.store(caches[from], "k", labelled(at(0), { staleIfErrorMs: 500 }));
    const { bytes } = caches[from];
    tell({ keys: ["k"], soft: true });
    const softMs = clock.nowMs();
    await clock.advance(100);
    const { value } = caches.find("k")!;
    assert.equal(value.freshUntilMs, softMs);
    assert.equal(caches[from].peek("k"), value, "the next look finds it so");
    assert.equal(value.label, position.label);
    assert.deepEqual([caches[from].items, caches[from].bytes], [1, bytes]);
    assert.equal(caches[from].get("k", () => clock.nowMs()), undefined);
    // An earlier end counts for the look for expired entries, too.
    assert.equal(caches[from].removeExpired(softMs + 499), false);
    assert.ok(caches[from].removeExpired(softMs + 500));
  }
});

test("a value that is found good has the node's label, so that the next get needs no check", () => {
  const { caches, validity, clock, tell } = makeCaches();
  const now = () => clock.nowMs();
  caches.store(caches.main, "k", labelled(at(0)));
  tell({ keys: ["other"] });
  assert.equal(caches.main.get("k", now, undefined, validity.label), undefined, "it must be checked first");
  assert.equal(caches.main.stats().hits, 0);
  assert.ok(caches.find("k"));
  assert.ok(caches.main.get("k", now, undefined, validity.label));
  assert.equal(caches.main.stats().hits, 1);
});

test("a get without a label is given any value", () => {
  const cache = new ByteCache();
  cache.set("k", labelled(at(3)));
  assert.ok(cache.get("k", () => 0));
  assert.equal(cache.get("k", () => 0, undefined, at(3)), undefined, "an equal label is another moment's");
});

test("shorten leaves other keys alone, and adds no key", () => {
  const cache = new ByteCache();
  cache.set("k", valueOf("one"));
  cache.shorten("other", valueOf("two", { freshUntilMs: 1 }));
  assert.deepEqual([cache.items, cache.peek("other")], [1, undefined]);
  assert.equal(cache.peek("k")!.freshUntilMs, Infinity);
});

test("a value that an invalidation covers is not stored, and what is there stays", () => {
  const { caches, tell } = makeCaches();
  const { sequence } = tell({ keys: ["k"] });
  const newer = labelled(at(sequence));
  assert.ok(caches.store(caches.main, "k", newer));
  assert.equal(caches.store(caches.main, "k", labelled(at(sequence - 1))), false);
  assert.equal(caches.find("k")!.value, newer);
  assert.equal(caches.store(caches.main, "x", labelled(at(0))), true, "another key");
});

test("a value that was softly invalidated on its way is stored as stale", () => {
  const { caches, clock, tell } = makeCaches();
  tell({ keys: ["k"], soft: true });
  assert.ok(caches.store(caches.main, "k", labelled(at(0))));
  assert.equal(caches.find("k")!.value.freshUntilMs, clock.nowMs());
});

test("a value under a later label is not displaced by one under an earlier label", () => {
  const { caches, position, tell } = makeCaches();
  for (const [first, second] of [["main", "main"], ["main", "hot"], ["hot", "main"], ["hot", "hot"]] as const) {
    const ahead = labelled(at(position.label.sequence + 3));
    assert.ok(caches.store(caches[first], "k", ahead));
    assert.equal(caches.store(caches[second], "k", labelled(at(0))), false);
    assert.equal(caches.store(caches[second], "k", labelled(at(position.label.sequence + 2))), false);
    assert.equal(caches.find("k")!.value, ahead);
    const later = labelled(at(position.label.sequence + 4));
    assert.ok(caches.store(caches[second], "k", later), "one under a still later label comes in its place");
    assert.deepEqual(caches.find("k"), { value: later, from: second });
    assert.equal(caches.main.items + caches.hot.items, 1);
    caches.remove("k");
  }
  // Below where the node is, all that is good is equally good.
  tell({ keys: ["other"] });
  caches.store(caches.main, "k", labelled(at(1)));
  const again = labelled(at(0));
  assert.ok(caches.store(caches.main, "k", again));
  assert.equal(caches.find("k")!.value, again);
});

test("a value under a later label holds its place while the caches may not be used, too", async () => {
  const { caches, clock, position, validity } = makeCaches({ maxBlindMs: 1_000 });
  const ahead = labelled(at(3));
  caches.store(caches.main, "k", ahead);
  await clock.advance(1_001);
  assert.ok(validity.isBlind);
  assert.equal(caches.find("k"), undefined);
  assert.equal(caches.store(caches.main, "k", labelled(at(2))), false);
  position.settled(0, clock.nowMs());
  assert.equal(caches.find("k")!.value, ahead);
});

test("while the caches may not be used nothing is found and nothing is lost", async () => {
  const { caches, clock, position } = makeCaches({ maxBlindMs: 1_000 });
  const value = labelled(at(0));
  caches.store(caches.main, "k", value);
  await clock.advance(1_001);
  assert.equal(caches.find("k"), undefined);
  assert.ok(caches.store(caches.main, "new", labelled(at(0))));
  assert.equal(caches.find("new"), undefined);
  position.settled(0, clock.nowMs());
  assert.equal(caches.find("k")!.value, value);
  assert.ok(caches.find("new"));
});

const NAMES = ["accept-language"];

function variant(language: string, sequence: number): Value {
  const selection = { names: NAMES, says: language };
  return valueOf(language, { about: { ...PLAIN, selection }, label: at(sequence) });
}

test("an invalidation of a key covers its variants one by one; the marker that leads to them stays", () => {
  for (const message of [{ keys: ["k"] }, { prefixes: ["k"] }, { all: true }]) {
    const { caches, tell } = makeCaches();
    const store = (cacheKey: string, value: Value) => caches.store(caches.main, cacheKey, value);
    const [german, french] = [variant("de", 0), variant("fr", 0)];
    for (const value of [german, french]) assert.ok(storeVariant(caches, "k", value, store));
    assert.equal(caches.main.items, 3);
    tell(message);
    assert.equal(caches.find(cacheKeyOf("k", german)), undefined);
    assert.ok(isMarker(caches.find("k")!.value));
    const again = variant("fr", 1);
    assert.ok(storeVariant(caches, "k", again, store));
    assert.equal(caches.find(cacheKeyOf("k", again))!.value, again);
    assert.equal(caches.find(cacheKeyOf("k", german)), undefined);
  }
});

test("a marker is found though a message covers its key, and is no value", () => {
  const { caches, tell } = makeCaches();
  const marker = markerOf(variant("de", 0));
  tell({ keys: ["k"] });
  assert.ok(caches.store(caches.main, "k", marker));
  assert.equal(caches.find("k")!.value, marker);
  assert.equal(findFor(caches, "k", undefined), undefined);
  assert.ok(caches.hasVariants);
  assert.ok(caches.store(caches.main, "k", labelled(at(1))), "a value for all requests comes in its place");
  assert.equal(isMarker(caches.find("k")!.value), false);
});

test("a marker does not displace a value under a later label", () => {
  const { caches } = makeCaches();
  const ahead = labelled(at(3));
  caches.store(caches.main, "k", ahead);
  const store = (cacheKey: string, value: Value) => caches.store(caches.main, cacheKey, value);
  assert.equal(storeVariant(caches, "k", variant("de", 2), store), false);
  assert.equal(caches.find("k")!.value, ahead);
});
