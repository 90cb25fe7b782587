import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { ByteCache } from "../../../lib/core/cache/byte-cache.ts";
import { costBy, MOST_COSTS } from "../../../lib/core/cache/memory.ts";
import { SharedBudget } from "../../../lib/core/cache/shared-budget.ts";
import { NOTHING_HERE, PLAIN } from "../../../lib/core/value.ts";
import { onBothRuntimes, root, runCommand } from "../../support/node.ts";
import { test } from "../../support/test.ts";
import { allGood, valueOf } from "../support.ts";
import type { Churned } from "./churn.ts";

const MIB = 1024 * 1024;
/** See the README of this room: what a runtime needs for itself once it has work. */
const RUNTIME_BYTES = 80 * MIB;

test("a budget full of small values bounds the process", { timeoutMs: 60_000 }, () =>
  onBothRuntimes(async (kind) => {
    const [program, ...args] = runCommand(kind);
    const churn = [join(root, "tests/core/cache/churn.ts"), String(16 * MIB), "10", "12", "3"];
    const { stdout } = await promisify(execFile)(program!, [...args, ...churn]);
    const { budgetBytes, mostBytes, memoryBytes, items, bytes } = JSON.parse(stdout) as Churned;
    assert.ok(memoryBytes <= budgetBytes && memoryBytes > 0.99 * budgetBytes);
    assert.equal(bytes, 22 * items);
    assert.ok(mostBytes < 1.5 * budgetBytes + RUNTIME_BYTES, `${kind}: ${mostBytes / MIB} MiB`);
  }));

test("an entry costs more than its bytes, and the more, the more hangs on it", () => {
  const costOf = costBy({ entryBytes: 1_000, perBodyByte: 1.5 });
  assert.equal(costOf("k", valueOf(0)), 1_002);
  assert.equal(costOf("日本", valueOf(3)), 1_009);
  assert.equal(costOf("k", valueOf(0, { about: NOTHING_HERE })), 1_002, "values share it");
  const costs = [
    { ...PLAIN },
    { ...PLAIN, etag: '"1"' },
    { ...PLAIN, fields: [["age", "1"], ["b", "2"]] as const },
    { ...PLAIN, fields: [["age", "1"], ["b", "2"]] as const, tags: ["a", "b"] },
    { ...PLAIN, fields: [["age", "1"], ["b", "2"]] as const, tags: ["a", "b"], selection: { names: ["c"], says: "d" } },
  ].map((about) => costOf("k", valueOf(0, { about })));
  assert.deepEqual(costs, [1_302, 1_305, 1_628, 1_952, 2_275]);
});

test("an entry counts the same when it comes and when it goes", () => {
  const costOf = costBy(MOST_COSTS);
  const cache = new ByteCache(false, costOf);
  const about = { ...PLAIN, fields: [["etag", '"1"']] as const, tags: ["a"] };
  cache.set("k", valueOf(100, { about, freshUntilMs: 10 }));
  assert.equal(cache.memoryBytes, costOf("k", valueOf(100, { about })));
  cache.shorten("k", { ...cache.peek("k")!, freshUntilMs: 5 });
  cache.set("other", valueOf(7));
  cache.set("k", valueOf(3));
  assert.equal(cache.memoryBytes, costOf("k", valueOf(3)) + costOf("other", valueOf(7)));
  assert.equal(cache.stats().memoryBytes, cache.memoryBytes);
  while (cache.items > 0) cache.evictOne();
  assert.equal(cache.memoryBytes, 0);
});

test("the budget bounds the cost, not the encoded bytes", () => {
  const costOf = costBy(MOST_COSTS);
  const caches = new SharedBudget(10 * costOf("0", valueOf(1)), allGood());
  for (let i = 0; i < 10; i++) assert.ok(caches.store(caches.main, String(i), valueOf(1)));
  assert.ok(caches.store(caches.hot, "h", valueOf(1)));
  assert.deepEqual([caches.main.items + caches.hot.items, caches.memoryBytes], [10, caches.budgetBytes]);
});
