import assert from "node:assert/strict";
import { ByteCache, entryBytes } from "../../../lib/core/cache/byte-cache.ts";
import { test } from "../../support/test.ts";
import { valueOf } from "../support.ts";

const value = (bytes: number, freshUntilMs = Infinity) => valueOf(bytes, { freshUntilMs });
const now = () => 1_000;

test("an entry weighs its key in UTF-8 and its body", () => {
  assert.equal(entryBytes("piston", value(10)), 16);
  assert.equal(entryBytes("ä", value(0)), 2);
  assert.equal(entryBytes("日", value(0)), 3);
  assert.equal(entryBytes("🙂", value(1)), 5);
});

test("an expired value is not served, and its bytes are freed", () => {
  const cache = new ByteCache();
  cache.set("k", value(10, 1_000));
  assert.ok(cache.get("k", () => 999));
  assert.equal(cache.get("k", () => 1_000), undefined);
  assert.equal(cache.bytes, 0);
  assert.deepEqual(cache.stats(), { bytes: 0, memoryBytes: 0, items: 0, gets: 2, hits: 1, evictions: 0 });
});

test("entries come out by recency, the last used first", () => {
  const cache = new ByteCache();
  for (const key of ["a", "b", "c"]) cache.set(key, value(1));
  cache.get("a", now);
  cache.set("d", value(1));
  cache.set("e", value(1));
  cache.get("b", now);
  // "a" was read in the tick in which "d" came. Within a tick the order is that of insertion.
  assert.deepEqual(cache.byRecency().map(({ key }) => key), ["b", "e", "a", "d", "c"]);
});

test("a stale value that is served counts as used", () => {
  const cache = new ByteCache();
  for (const key of ["stale", "b", "c"]) cache.set(key, valueOf(1, { freshUntilMs: 10, staleIfErrorMs: 10_000 }));
  cache.use("stale");
  cache.use("none");
  cache.evictOne();
  cache.evictOne();
  assert.ok(cache.peek("stale"));
});
