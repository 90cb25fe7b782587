import assert from "node:assert/strict";
import { invalidatedTags, MAX_TAGS, TagReader } from "../../../lib/core/semantics/tags.ts";
import { test } from "../../support/test.ts";

type Lines = [name: string, value: string][];

const tagsOf = (...fields: Lines) => new TagReader().of(fields);

test("each field of tags is read by its own rules, and all of them count", () => {
  const cases: [Lines, readonly string[] | undefined][] = [
    [[], undefined],
    [[["content-type", "x/y"]], undefined],
    // RFC 9875, section 2: a list of strings; their parameters are ignored, and nothing is trimmed.
    [[["cache-groups", '"a", "b c";p=1,  " d"']], ["a", "b c", " d"]],
    [[["cache-groups", '"say \\"x\\""']], ['say "x"']],
    [[["surrogate-key", " one  two\tthree "]], ["one", "two", "three"]],
    [[["cache-tag", "one two, three ,,four"]], ["one two", "three", "four"]],
    [[["xkey", "one two,three"]], ["one", "two", "three"]],
    [[["surrogate-key", "a,b"]], ["a,b"]],
    [[["xkey", "z"], ["cache-groups", '"a"'], ["cache-tag", "c"]], ["a", "c", "z"]],
    // Two lines are one list, and one tag is one, whoever names it.
    [[["surrogate-key", "a b"], ["surrogate-key", "b c"], ["xkey", "c"]], ["a", "b", "c"]],
    [[["cache-groups", '"a"'], ["x", "y"], ["cache-groups", '"b"']], ["a", "b"]],
    [[["cache-tag", "a"], ["cache-tag", "b"]], ["a", "b"]],
    [[["surrogate-key", "  "]], undefined],
  ];
  for (const [fields, tags] of cases) assert.deepEqual(tagsOf(...fields), tags, JSON.stringify(fields));
});

test("a list of groups that is malformed is ignored, and the other fields still count", () => {
  for (const groups of ["a", '"a", b', '"a" "b"', '("a")', "1", '"\u00e9"', '"a', '"a",']) {
    assert.equal(tagsOf(["cache-groups", groups]), undefined, groups);
    assert.deepEqual(tagsOf(["cache-groups", groups], ["xkey", "x"]), ["x"], groups);
  }
});

test("tags in UTF-8 are decoded, and other bytes stay unchanged", () => {
  const bytes = String.fromCharCode(...new TextEncoder().encode("café"));
  assert.deepEqual(tagsOf(["cache-tag", bytes]), ["café"]);
  assert.deepEqual(tagsOf(["surrogate-key", "caf\u00e9"]), ["caf\u00e9"]);
  assert.deepEqual(tagsOf(["xkey", "日本"]), ["日本"]);
});

test("too many tags, or one that is too long, mean any tag", () => {
  const many = (count: number) => Array.from({ length: count }, (_, i) => `t${i}`).join(" ");
  assert.equal(tagsOf(["xkey", many(MAX_TAGS)])?.length, MAX_TAGS);
  assert.equal(tagsOf(["xkey", many(MAX_TAGS)], ["cache-tag", "one more"]), "any");
  assert.deepEqual(tagsOf(["xkey", `${many(MAX_TAGS)} t0 t1`])?.length, MAX_TAGS, "twice is once");
  assert.deepEqual(tagsOf(["xkey", "x".repeat(1_024)]), ["x".repeat(1_024)]);
  assert.equal(tagsOf(["xkey", "x".repeat(1_025)]), "any");
  const wide = String.fromCharCode(...new TextEncoder().encode("é".repeat(513)));
  assert.equal(tagsOf(["xkey", wide]), "any", "bytes count, not characters");
});

test("answers with the same text share one list, which nobody can change", () => {
  const reader = new TagReader();
  const of = (text: string) => reader.of([["x-other", text], ["xkey", "a b"]]);
  assert.equal(of("1"), of("2"));
  assert.ok(Object.isFrozen(of("1")));
  assert.notEqual(reader.of([["cache-tag", "a b"]]), of("1"), "the name of the field counts");
  assert.deepEqual(reader.of([["cache-tag", "a b"]]), ["a b"]);
});

test("a long field costs no more than its length", () => {
  const spaces = " ".repeat(60_000);
  const startMs = performance.now();
  assert.deepEqual(tagsOf(["cache-tag", `a${spaces}b`], ["xkey", `c${spaces}d`]), "any");
  assert.ok(performance.now() - startMs < 1_000);
});

test("the groups that an unsafe request invalidates are a list of strings too", () => {
  const of = (...lines: string[]) => invalidatedTags(lines.map((line) => ["cache-group-invalidation", line]));
  assert.deepEqual(of(), []);
  assert.deepEqual(of('"eurovision-results", "australia"'), ["eurovision-results", "australia"]);
  assert.deepEqual(of('"a"', '"b", "a"'), ["a", "b"]);
  assert.deepEqual(of("a"), []);
  assert.equal(of(Array.from({ length: MAX_TAGS + 1 }, (_, i) => `"${i}"`).join(", ")), "any");
});
