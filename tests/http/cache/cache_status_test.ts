import assert from "node:assert/strict";
import { CacheStatus } from "../../../lib/http/cache/cache-status.ts";
import { test } from "../../support/test.ts";

test("a node's name is an sf-token in Cache-Status if it can be one, else a quoted sf-string", () => {
  for (
    const [name, field] of [
      ["n1", "n1; hit"],
      ["edge_a-1", "edge_a-1; hit"],
      ["127-0-0-1-8000", '"127-0-0-1-8000"; hit'],
      ["-a", '"-a"; hit'],
      ["_a", '"_a"; hit'],
      ["a b", '"a b"; hit'],
      ['say "\\"', '"say \\"\\\\\\""; hit'],
      ["", '""; hit'],
    ]
  ) assert.equal(new CacheStatus(name).hit, field);
  assert.throws(() => new CacheStatus("nö"), RangeError);
  assert.throws(() => new CacheStatus("a\r\nb: c"), RangeError);
});

test("Cache-Status tells hits, loads and failures apart, and says stored only if the value is stored", () => {
  const status = new CacheStatus("n1");
  assert.equal(status.hotHit, "n1; hit; detail=hot");
  assert.equal(status.loaded("origin", true), "n1; fwd=miss; stored; detail=origin");
  assert.equal(status.loaded("origin", false), "n1; fwd=miss; detail=origin");
  assert.equal(status.loaded("peer", true), "n1; fwd=miss; stored; detail=peer");
  assert.equal(status.loaded("peer", false), "n1; fwd=miss; detail=peer");
  assert.equal(status.loaded("main", true), "n1; hit");
  assert.equal(status.loaded("hot", true), "n1; hit; detail=hot");
  assert.equal(status.failed("not-found"), "n1; fwd=miss; detail=not-found");
  assert.equal(status.refused("bad-key"), "n1; detail=bad-key");
});
