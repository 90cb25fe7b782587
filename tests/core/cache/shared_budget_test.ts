import assert from "node:assert/strict";
import fc from "fast-check";
import { entryBytes } from "../../../lib/core/cache/byte-cache.ts";
import { SharedBudget } from "../../../lib/core/cache/shared-budget.ts";
import type { Value } from "../../../lib/core/value.ts";
import { test } from "../../support/test.ts";
import { allGood, valueOf } from "../support.ts";

const value = (bytes: number) => valueOf(bytes);
const now = () => 1_000;

type Operation =
  | { kind: "store"; key: string; bytes: number; hot: boolean }
  | { kind: "get"; key: string; hot: boolean }
  | { kind: "remove"; key: string };

const anyKey = fc.constantFrom("a", "b", "c", "dd", "ä", "日本", "🙂", "key with spaces", "x".repeat(40));
const anyOperation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ kind: fc.constant("store" as const), key: anyKey, bytes: fc.nat(120), hot: fc.boolean() }),
  fc.record({ kind: fc.constant("get" as const), key: anyKey, hot: fc.boolean() }),
  fc.record({ kind: fc.constant("remove" as const), key: anyKey }),
);

test("bytes are exact, and never above the budget, after any mix of operations", () => {
  fc.assert(
    fc.property(
      fc.array(anyOperation, { maxLength: 300, size: "max" }),
      fc.integer({ min: 20, max: 400 }),
      (operations, budget) => {
        const caches = new SharedBudget(budget, allGood(), { costOf: entryBytes });
        // The model knows all stored values. The cache may only forget some, and must count its bytes right.
        const stored = new Map<string, Value>();
        let evictedBefore = 0;
        for (const operation of operations) {
          const { key } = operation;
          if (operation.kind === "store") {
            const next = value(operation.bytes);
            const kept = caches.store(operation.hot ? caches.hot : caches.main, key, next);
            assert.equal(kept, entryBytes(key, next) <= budget);
            if (kept) stored.set(key, next);
            else stored.delete(key);
          } else if (operation.kind === "get") {
            const found = (operation.hot ? caches.hot : caches.main).get(key, now);
            if (found !== undefined) assert.equal(found, stored.get(key));
          } else {
            const there = caches.main.peek(key) ?? caches.hot.peek(key);
            assert.equal(caches.main.remove(key) || caches.hot.remove(key), there !== undefined);
            stored.delete(key);
          }
          let bytes = 0;
          let items = 0;
          for (const [key, expected] of stored) {
            const held = [caches.main.peek(key), caches.hot.peek(key)].filter((found) => found !== undefined);
            assert.ok(held.length <= 1, "a key is in one cache at most");
            for (const found of held) {
              assert.equal(found, expected);
              bytes += entryBytes(key, found);
              items++;
            }
            if (held.length === 0) stored.delete(key), evictedBefore++;
          }
          assert.equal(caches.main.bytes + caches.hot.bytes, bytes);
          assert.equal(caches.main.items + caches.hot.items, items);
          assert.ok(bytes <= budget);
          assert.equal(caches.main.stats().evictions + caches.hot.stats().evictions, evictedBefore);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("a key that is read between writes survives any byte pressure", () => {
  const caches = new SharedBudget(1_000, allGood(), { costOf: entryBytes });
  caches.store(caches.main, "hot", value(97));
  for (let i = 0; i < 10_000; i++) {
    assert.ok(caches.main.get("hot", now), `lost after ${i} writes`);
    caches.store(caches.main, `k${i}`, value(10 + (i % 200)));
  }
});

test("keys that are read often outlive a scan of keys read once", () => {
  const caches = new SharedBudget(100 * 1_000, allGood(), { costOf: entryBytes });
  const often = Array.from({ length: 40 }, (_, i) => `often-${i}`);
  for (const key of often) caches.store(caches.main, key, value(990));
  for (let i = 0; i < 5_000; i++) {
    caches.main.get(often[i % often.length]!, now);
    caches.store(caches.main, `scan-${i}`, value(990));
  }
  for (const key of often) assert.ok(caches.main.peek(key), key);
});

test("the budget is used: after steady eviction it is full but for less than one entry", () => {
  const caches = new SharedBudget(1_000_000, allGood(), { costOf: entryBytes });
  for (let i = 0; i < 20_000; i++) {
    caches.store(caches.main, String(i).padStart(6, "0"), value(994));
    if (i > 2_000) assert.ok(caches.main.bytes > 999_000);
  }
});

test("the hot cache is the victim while it holds more than an eighth of the main cache", () => {
  const caches = new SharedBudget(1_000, allGood(), { costOf: entryBytes });
  for (let i = 0; i < 8; i++) caches.store(caches.main, `m${i}`, value(98));
  for (let i = 0; i < 2; i++) caches.store(caches.hot, `h${i}`, value(98));
  caches.store(caches.main, "m8", value(98));
  assert.equal(caches.hot.items, 1, "two hot entries of 100 bytes are more than an eighth of 800");
  caches.store(caches.main, "m9", value(98));
  assert.equal(caches.hot.items, 1, "one is not more than an eighth of 900");
  assert.equal(caches.main.items, 9);
  assert.equal(caches.hot.stats().evictions, 1);
});

test("a value over the budget is not stored and displaces nothing but the old value of its key", () => {
  const caches = new SharedBudget(100, allGood(), { costOf: entryBytes });
  caches.store(caches.main, "a", value(10));
  caches.store(caches.main, "b", value(10));
  assert.equal(caches.store(caches.main, "b", value(100)), false);
  assert.ok(caches.main.peek("a"));
  assert.equal(caches.main.peek("b"), undefined);
});

test("a budget of 0 keeps nothing", () => {
  const caches = new SharedBudget(0, allGood(), { costOf: entryBytes });
  assert.equal(caches.store(caches.main, "k", value(0)), false);
  assert.equal(caches.main.items, 0);
});

test("a budget that is not a whole number is refused", () => {
  for (const budget of [-1, 1.5, NaN, Infinity]) {
    assert.throws(() => new SharedBudget(budget, allGood(), { costOf: entryBytes }), RangeError);
  }
});
