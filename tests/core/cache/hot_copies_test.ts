import assert from "node:assert/strict";
import { entryBytes } from "../../../lib/core/cache/byte-cache.ts";
import { HotCopies } from "../../../lib/core/cache/hot-copies.ts";
import { SharedBudget } from "../../../lib/core/cache/shared-budget.ts";
import { DEFAULT_LIFETIME } from "../../../lib/core/lifetime/policy.ts";
import { test } from "../../support/test.ts";
import { allGood, valueOf } from "../support.ts";

/** Born at one time and fresh until another. */
const value = (bornAtMs: number, freshUntilMs: number) => valueOf("body", { bornAtMs, freshUntilMs });

test("of a held copy and an arriving one, the better stays", () => {
  const nowMs = 100;
  for (
    const [held, comes, cache, stays] of [
      [value(50, 200), value(40, 300), "hot", true],
      [value(50, 200), value(60, 300), "hot", false],
      [value(50, 90), value(40, 300), "hot", false],
      [value(50, 90), value(60, 95), "hot", false],
      [value(50, 90), value(50, 90), "hot", true],
      [value(50, 200), value(60, 300), "main", true],
      [value(50, 90), value(60, 300), "main", false],
      [value(50, 90), value(40, 80), "main", true],
    ] as const
  ) {
    const caches = new SharedBudget(1_000, allGood(), { costOf: entryBytes });
    caches.store(caches[cache], "k", held);
    new HotCopies(caches, DEFAULT_LIFETIME, 1).keep("k", comes, nowMs);
    const now = caches.main.peek("k") ?? caches.hot.peek("k");
    assert.equal(now === held, stays, JSON.stringify([held.bornAtMs, comes.bornAtMs, cache]));
  }
});

test("a copy that is held is renewed though there is no room for another", () => {
  const caches = new SharedBudget(100, allGood(), { costOf: entryBytes });
  const copies = new HotCopies(caches, DEFAULT_LIFETIME, 2);
  caches.store(caches.main, "main", valueOf(90));
  caches.store(caches.hot, "k", valueOf(5, { freshUntilMs: 10 }));
  copies.keep("k", valueOf(5, { bornAtMs: 20, freshUntilMs: 50 }), 20);
  assert.equal(caches.hot.peek("k")!.freshUntilMs, 50);
  copies.keep("other", valueOf(5), 20);
  assert.equal(caches.hot.peek("other"), undefined);
});
