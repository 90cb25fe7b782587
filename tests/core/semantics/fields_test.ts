/** Dates, lists, variants, conditions and ranges: a row for each rule, with its section. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  freshened,
  isAbout,
  isNotModified,
  isRangeOf,
  unconditional,
  validatorsOf,
} from "../../../lib/core/semantics/conditional.ts";
import { formatHttpDate, parseHttpDate } from "../../../lib/core/semantics/dates.ts";
import { endToEnd, type Fields, membersOf } from "../../../lib/core/semantics/fields.ts";
import { rangeOf } from "../../../lib/core/semantics/range.ts";
import { selectionOf, varyingNames } from "../../../lib/core/semantics/vary.ts";
import { test } from "../../support/test.ts";

const NOW_MS = Date.UTC(2026, 0, 1);

test("three forms of dates are read (9110 5.6.7), in any case, and nothing else", () => {
  const good = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
  for (const text of [...good, ...good.map((one) => one.toUpperCase())]) {
    assert.equal(parseHttpDate(text, NOW_MS), Date.UTC(1994, 10, 6, 8, 49, 37), text);
  }
  assert.equal(parseHttpDate("Thursday, 18-Aug-50 02:01:18 GMT", NOW_MS), Date.UTC(2050, 7, 18, 2, 1, 18));
  assert.equal(parseHttpDate("Thursday, 18-Aug-77 02:01:18 GMT", NOW_MS), Date.UTC(1977, 7, 18, 2, 1, 18));
  const bad = [
    ...["", "0", "Thu, 18 Aug 2050 02:01:18 UTC", "Thu, 18 Aug 2050 02:01:18 AEST", "Thu, 18 Aug 50 02:01:18 GMT"],
    ...["Thu 18 Aug 2050 02:01:18 GMT", "Thu, 18  Aug  2050 02:01:18 GMT", "Thu, 18-Aug-2050 02:01:18 GMT"],
    ...["Thu, 18 Aug 2050 02.01.18 GMT", "Thu, 18 Aug 2050 2:01:18 GMT", "Thu, 31 Feb 2050 02:01:18 GMT"],
    ...["Thu, 18 Aug 2050 25:01:18 GMT", "Thu, 18 Aug 2050 02:61:18 GMT", "2050-08-18T02:01:18Z"],
  ];
  for (const text of bad) assert.equal(parseHttpDate(text, NOW_MS), undefined, text);
});

test("a date that is written is read as it was", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 4_000_000_000 }), (seconds) => {
    assert.equal(parseHttpDate(formatHttpDate(seconds * 1_000), NOW_MS), seconds * 1_000);
  }));
});

test("lists are split at commas outside of quotes (9110 5.6.1)", () => {
  assert.deepEqual(membersOf('a, "b, c" ,, d="e\\",f"'), ["a", '"b, c"', 'd="e\\",f"']);
  assert.deepEqual(membersOf('a, "unclosed, b'), ["a", '"unclosed, b']);
});

test("any text is split quickly, and never throws", () => {
  fc.assert(fc.property(fc.string(), (text) => assert.ok(membersOf(text).every((member) => member !== ""))));
  const startedMs = performance.now();
  for (const evil of ['"\\'.repeat(50_000), '"'.repeat(100_000), ",".repeat(100_000)]) membersOf(evil);
  assert.ok(performance.now() - startedMs < 1_000);
});

test("fields of one hop, and those that Connection names, go no further (9110 7.6.1)", () => {
  const fields: Fields = [["connection", "close, X-One"], ["x-one", "1"], ["keep-alive", "5"], ["te", "trailers"], [
    "x-two",
    "2",
  ]];
  assert.deepEqual(endToEnd(fields), [["x-two", "2"]]);
});

test("requests that say the same in the fields of Vary get the same answer (9111 4.1)", () => {
  const names = varyingNames([["vary", "Accept-Language, accept"], ["vary", "ACCEPT"]]);
  assert.deepEqual(names, ["accept", "accept-language"]);
  const says = (...fields: [string, string][]) => selectionOf(names, fields);
  assert.equal(says(["accept", "a , b"]), says(["accept", "a"], ["accept", "b"]));
  assert.equal(says(["accept", "a"], ["other", "1"]), says(["accept", "a"]));
  for (const other of [says(["accept", "b"]), says(), says(["accept", ""]), says(["accept-language", "a"])]) {
    assert.notEqual(says(["accept", "a"]), other);
  }
  assert.notEqual(says(), says(["accept", ""]));
});

test("a client that already has the answer gets no body (9110 13.2.2)", () => {
  const modified = formatHttpDate(NOW_MS - 60_000);
  const held: Fields = [["etag", 'W/"a"'], ["last-modified", modified]];
  const rows: [Fields, boolean, string][] = [
    [[["if-none-match", '"a"']], true, "13.1.2 weak comparison"],
    [[["if-none-match", '"b", W/"a"']], true, "13.1.2 one of a list"],
    [[["if-none-match", "*"]], true, "13.1.2 any"],
    [[["if-none-match", '"b"'], ["if-modified-since", modified]], false, "13.2.2 the tag goes first"],
    [[["if-modified-since", modified]], true, "13.1.3 the same date"],
    [[["if-modified-since", formatHttpDate(NOW_MS)]], true, "13.1.3 a later one"],
    [[["if-modified-since", formatHttpDate(NOW_MS - 90_000)]], false, "13.1.3 an earlier one"],
    [[["if-modified-since", "yesterday"]], false, "13.1.3 no date"],
    [[], false, "no condition"],
  ];
  for (const [request, is, section] of rows) assert.equal(isNotModified(request, held, NOW_MS), is, section);
  assert.equal(isNotModified([["if-none-match", '"a"']], [], NOW_MS), false, "nothing to compare with");
});

test("If-Range wants a strong tag, or the very date (9110 13.1.5)", () => {
  const modified = formatHttpDate(NOW_MS);
  const held: Fields = [["etag", '"a"'], ["last-modified", modified]];
  const is = (condition: string) => isRangeOf([["if-range", condition]], held);
  assert.deepEqual(['"a"', modified, '"b"', 'W/"a"', "x"].map(is), [true, true, false, false, false]);
  assert.equal(isRangeOf([], held), true);
});

test("a stored answer is validated by its own validators, and freshened by a 304 (9111 4.3, 3.2)", () => {
  const held: Fields = [["etag", '"a"'], ["last-modified", "x"], ["content-type", "text/plain"], ["age", "5"], [
    "b",
    "1",
  ]];
  assert.deepEqual(validatorsOf(held), [["if-none-match", '"a"'], ["if-modified-since", "x"]]);
  assert.deepEqual(validatorsOf([["b", "1"]]), []);
  const newer: Fields = [["etag", '"a"'], ["b", "2"], ["b", "3"], ["content-type", "text/html"], [
    "content-length",
    "9",
  ]];
  assert.deepEqual(
    freshened(held, newer),
    [["last-modified", "x"], ["content-type", "text/plain"], ["age", "5"], ["etag", '"a"'], ["b", "2"], ["b", "3"]],
  );
  assert.equal(isAbout(held, [["etag", 'W/"a"']]), true);
  assert.equal(isAbout(held, [["etag", '"other"']]), false);
  assert.equal(isAbout(held, []), true);
  assert.deepEqual(unconditional([["if-match", "x"], ["range", "bytes=0-1"], ["accept", "a"]]), [["accept", "a"]]);
});

test("one range is cut from the whole (9110 14)", () => {
  const rows: [string | undefined, ReturnType<typeof rangeOf>][] = [
    ["bytes=0-4", { kind: "part", start: 0, end: 5 }],
    ["bytes=5-", { kind: "part", start: 5, end: 10 }],
    ["bytes=-3", { kind: "part", start: 7, end: 10 }],
    ["bytes=-30", { kind: "part", start: 0, end: 10 }],
    ["bytes=8-99", { kind: "part", start: 8, end: 10 }],
    ["BYTES=0-0", { kind: "part", start: 0, end: 1 }],
    ["bytes=10-", { kind: "unsatisfiable" }],
    ["bytes=-0", { kind: "unsatisfiable" }],
    ...["bytes=5-2", "bytes=0-1,3-4", "bytes=-", "bytes=a-b", "lines=0-1", "", undefined].map(
      (value): [string | undefined, ReturnType<typeof rangeOf>] => [value, { kind: "whole" }],
    ),
  ];
  for (const [value, is] of rows) assert.deepEqual(rangeOf(value, 10), is, value);
});
