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
  assert.equal(status.found("main", false), "n1; hit");
  assert.equal(status.found("hot", false), "n1; hit; detail=hot");
  assert.equal(status.loaded("origin", true, false), "n1; fwd=miss; stored; detail=origin");
  assert.equal(status.loaded("origin", false, false), "n1; fwd=miss; detail=origin");
  assert.equal(status.loaded("peer", true, false), "n1; fwd=miss; stored; detail=peer");
  assert.equal(status.loaded("peer", false, false), "n1; fwd=miss; detail=peer");
  assert.equal(status.failed("not-found"), "n1; fwd=miss; detail=not-found");
  assert.equal(status.refused("bad-key"), "n1; detail=bad-key");
  assert.equal(status.forwarded("bypass", 200), "n1; fwd=bypass; fwd-status=200");
});

test("Cache-Status says when the node may be behind, and when a load served several requests", () => {
  const status = new CacheStatus("n1");
  assert.equal(status.found("main", true), "n1; hit; detail=behind");
  assert.equal(status.found("hot", true), "n1; hit; detail=behind");
  assert.equal(status.unkept, "n1; fwd=miss; detail=behind");
  assert.equal(status.loaded("origin", true, true), "n1; fwd=miss; stored; collapsed; detail=origin");
  assert.equal(status.loaded("peer", false, true), "n1; fwd=miss; collapsed; detail=peer");
  assert.equal(status.forwarded("bypass", 200, true), "n1; fwd=bypass; collapsed=?0; fwd-status=200");
});
