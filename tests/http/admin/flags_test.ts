import assert from "node:assert/strict";
import { flagsBehind, flagsOf } from "../../../lib/http/admin/flags.ts";
import { test } from "../../support/test.ts";

const off = { soft: false, waitMs: 0 };

test("a query of flags holds nothing else", () => {
  const both = ["soft", "wait"] as const;
  const cases: [query: string, flags: typeof off | undefined][] = [
    ["", off],
    ["?", off],
    ["?soft", { soft: true, waitMs: 0 }],
    ["?wait", { soft: false, waitMs: 5_000 }],
    ["?wait=1&soft=true", { soft: true, waitMs: 5_000 }],
    ["?soft&soft", { soft: true, waitMs: 0 }],
    ["?&soft&", { soft: true, waitMs: 0 }],
    ["?soft=0", undefined],
    ["?wait=5s", undefined],
    ["?Soft", undefined],
    ["?softer", undefined],
    ["?soft&x=1", undefined],
    ["?soft?wait", undefined],
  ];
  for (const [query, flags] of cases) assert.deepEqual(flagsOf(query, both), flags, query);
  assert.equal(flagsOf("?soft", ["wait"]), undefined);
});

test("flags at the end of a site's key are taken off, and the key with them is meant too", () => {
  const cases: [key: string, keys: string[], flags: Partial<typeof off>][] = [
    ["a", ["a"], {}],
    ["a?x=1", ["a?x=1"], {}],
    ["a?soft", ["a?soft", "a"], { soft: true }],
    ["a?x=1&wait", ["a?x=1&wait", "a?x=1"], { waitMs: 5_000 }],
    ["a?x&soft&wait=true", ["a?x&soft&wait=true", "a?x&soft", "a?x"], { soft: true, waitMs: 5_000 }],
    ["?wait", ["?wait", ""], { waitMs: 5_000 }],
    // Not at the end, not in the query, or the second of its kind: the site's own.
    ["a?soft&x=1", ["a?soft&x=1"], {}],
    ["a&soft", ["a&soft"], {}],
    ["soft", ["soft"], {}],
    ["a?soft=2", ["a?soft=2"], {}],
    ["a?wait&wait", ["a?wait&wait", "a?wait"], { waitMs: 5_000 }],
  ];
  for (const [key, keys, flags] of cases) assert.deepEqual(flagsBehind(key), { ...off, ...flags, keys }, key);
});
