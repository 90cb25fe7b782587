/** Room is made in bounded steps, so no store and no smaller budget holds up the event loop. */
import assert from "node:assert/strict";
import { entryBytes } from "../../../lib/core/cache/byte-cache.ts";
import { MAX_LOOKED_AT_ONCE, SharedBudget } from "../../../lib/core/cache/shared-budget.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { allGood, valueOf } from "../support.ts";

const ENTRY_BYTES = 10;
const MANY = 20 * MAX_LOOKED_AT_ONCE;
const BUDGET_BYTES = MANY * ENTRY_BYTES;

/** Entries of ten bytes that fill the budget. */
function fullCaches(clock?: ManualClock) {
  const caches = new SharedBudget(BUDGET_BYTES, allGood(), { costOf: entryBytes, ...(clock && { clock }) });
  for (let i = 0; i < MANY; i++) assert.ok(caches.store(caches.main, keyOf(i), valueOf(5)));
  assert.equal(caches.memoryBytes, BUDGET_BYTES);
  const evictions = () => caches.main.stats().evictions;
  const store = (key: string, bytes: number) => caches.store(caches.main, key, valueOf(bytes - key.length));
  return { caches, evictions, store };
}

function keyOf(at: number): string {
  return String(at).padStart(5, "0");
}

test("a value that needs much room is stored at once, and pays for its room in steps", async () => {
  const clock = new ManualClock();
  const { caches, evictions, store } = fullCaches(clock);
  const bytes = BUDGET_BYTES / 2;
  assert.ok(store("large", bytes));
  assert.equal(evictions(), MAX_LOOKED_AT_ONCE, "one step");
  assert.ok(caches.memoryBytes <= BUDGET_BYTES + bytes, "over by this value at most");
  assert.equal(clock.pending, 1);
  await clock.advance(1_000);
  assert.equal(clock.pending, 0);
  assert.ok(caches.memoryBytes <= BUDGET_BYTES);
  assert.ok(caches.memoryBytes > BUDGET_BYTES - ENTRY_BYTES, "and no more went than had to");
  assert.ok(caches.main.peek("large"));
});

test("while room is owed, a store that frees its own is taken, and one that would owe more is not", () => {
  const { caches, store } = fullCaches();
  assert.ok(store("large", BUDGET_BYTES / 2));
  const owed = caches.memoryBytes - BUDGET_BYTES;
  assert.ok(owed > 0);
  assert.equal(store("other", BUDGET_BYTES / 4), false, "served, not stored");
  assert.ok(caches.memoryBytes - BUDGET_BYTES < owed, "but it has paid");
  let stores = 0;
  for (; caches.memoryBytes > BUDGET_BYTES; stores++) assert.ok(store(`new-${stores}`, 20));
  assert.ok(stores < 20, "without a clock, later stores pay");
});

test("a smaller budget is reached in steps", async () => {
  const clock = new ManualClock();
  const { caches, evictions } = fullCaches(clock);
  caches.resize(ENTRY_BYTES);
  assert.equal(evictions(), MAX_LOOKED_AT_ONCE);
  caches.resize(ENTRY_BYTES);
  assert.equal(clock.pending, 1, "one timer, however often");
  await clock.advance(1);
  assert.deepEqual([caches.main.items, clock.pending], [1, 0]);
});

test("one eviction passes over a bounded number of entries that were read", () => {
  const { caches, evictions, store } = fullCaches();
  for (let i = 0; i < MANY; i++) assert.ok(caches.main.get(keyOf(i), () => 0));
  assert.ok(store("new-1", ENTRY_BYTES));
  assert.equal(evictions(), 1);
  assert.ok(caches.memoryBytes <= BUDGET_BYTES);
  // Those that it has passed over wait behind the others, the oldest of which has gone.
  assert.ok(caches.main.peek(keyOf(0)));
  assert.equal(caches.main.peek(keyOf(MAX_LOOKED_AT_ONCE)), undefined);
});

test("handed-over values displace a bounded number of expired entries and hot copies at a time", () => {
  for (const kind of ["expired", "hot"] as const) {
    const caches = new SharedBudget(BUDGET_BYTES, allGood(), { costOf: entryBytes });
    for (let i = 0; i < MANY; i++) {
      const value = valueOf(5, { freshUntilMs: kind === "expired" ? 1 : Infinity });
      caches.store(kind === "expired" ? caches.main : caches.hot, keyOf(i), value);
    }
    const items = () => caches.main.items + caches.hot.items;
    const large = valueOf(BUDGET_BYTES / 10);
    assert.equal(caches.storeWithoutLoss("large", large, 2), false, "too much at a time");
    assert.ok(items() >= MANY - MAX_LOOKED_AT_ONCE && items() < MANY);
    for (let tries = 0; !caches.storeWithoutLoss("large", large, 2); tries++) assert.ok(tries < 5, "its next tries");
    assert.ok(caches.memoryBytes <= BUDGET_BYTES);
  }
});
