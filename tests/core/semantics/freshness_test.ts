/** What may be kept, and for how long: a row for each rule, with the section that gives it. */
import assert from "node:assert/strict";
import { formatHttpDate } from "../../../lib/core/semantics/dates.ts";
import type { Fields } from "../../../lib/core/semantics/fields.ts";
import { type Freshness, freshnessOf, type FreshnessPolicy } from "../../../lib/core/semantics/freshness.ts";
import { test } from "../../support/test.ts";

const NOW_MS = Date.UTC(2026, 0, 1);
const at = (seconds: number) => formatHttpDate(NOW_MS + seconds * 1_000);
const SITE: FreshnessPolicy = {
  honourOrigin: true,
  ttlMs: null,
  staleWhileRevalidateMs: 0,
  staleIfErrorMs: 0,
  hasHeuristics: true,
  keepsCookies: false,
};
const TEMPLATE: FreshnessPolicy = { ...SITE, hasHeuristics: false };

interface Case {
  readonly section: string;
  readonly fields: Fields;
  readonly status?: number;
  readonly request?: Fields;
  readonly policy?: FreshnessPolicy;
  readonly clockAheadMs?: number;
  readonly is: Partial<Freshness>;
}

const cc = (value: string): Fields => [["cache-control", value]];
const stored = (seconds: number): Partial<Freshness> => ({ isStorable: true, freshMs: seconds * 1_000 });
const NOT_STORED: Partial<Freshness> = { isStorable: false };

const cases: readonly Case[] = [
  { section: "9111 5.2.2.1 max-age", fields: cc("max-age=60"), is: stored(60) },
  { section: "9111 5.2.2.10 s-maxage goes before max-age", fields: cc("max-age=60, s-maxage=10"), is: stored(10) },
  { section: "9111 5.2.2.10 s-maxage, longer", fields: cc("s-maxage=100, max-age=0"), is: stored(100) },
  {
    section: "9111 5.3 max-age goes before Expires",
    fields: [...cc("max-age=60"), ["expires", at(-5)]],
    is: stored(60),
  },
  { section: "9111 5.3 Expires less Date", fields: [["expires", at(50)], ["date", at(20)]], is: stored(30) },
  { section: "9111 5.3 Expires, no Date", fields: [["expires", at(50)]], is: stored(50) },
  { section: "9111 5.3 Expires, malformed Date", fields: [["expires", at(50)], ["date", "foo"]], is: stored(50) },
  { section: "9111 5.3 an invalid Expires is past", fields: [["expires", "0"]], is: stored(0) },
  { section: "9111 5.3 two Expires are no date", fields: [["expires", at(9)], ["expires", at(9)]], is: stored(0) },
  { section: "9111 4.2.1 the first of two counts", fields: cc("max-age=5, max-age=50"), is: stored(5) },
  { section: "9111 4.2.1 in two lines as well", fields: [...cc("max-age=5"), ...cc("max-age=50")], is: stored(5) },
  { section: "9111 4.2.1 no whole number is stale", fields: cc("max-age=3600a"), is: stored(0) },
  { section: "9111 4.2.1 nor is a negative one", fields: cc("max-age=-1"), is: stored(0) },
  { section: "9111 4.2.1 nor one in single quotes", fields: cc("max-age='3600'"), is: stored(0) },
  { section: "9111 5.2 quoted is as good", fields: cc('max-age="60"'), is: stored(60) },
  { section: "9111 5.2 leading zeros", fields: cc("max-age=0060"), is: stored(60) },
  { section: "9111 5.2 names in any case", fields: cc("MaX-aGe=60"), is: stored(60) },
  { section: "9111 5.2.3 unknown ones are passed over", fields: cc("foo, bar=baz, max-age=60"), is: stored(60) },
  {
    section: "9111 5.2 a directive in a quoted string is none",
    fields: cc('x="max-age=3600", max-age=1'),
    is: stored(1),
  },
  { section: "9111 1.2.2 more than 2^31", fields: cc("max-age=99999999999"), is: stored(2 ** 31) },
  {
    section: "9111 4.2.3 Age counts",
    fields: [...cc("max-age=60"), ["age", "20"]],
    is: { freshMs: 40_000, ageMs: 20_000 },
  },
  { section: "9111 4.2.3 Date counts", fields: [...cc("max-age=60"), ["date", at(-50)]], is: { freshMs: 10_000 } },
  {
    section: "9111 4.2.3 Date counts by the origin's clock",
    fields: [...cc("max-age=60"), ["date", at(-3_650)]],
    clockAheadMs: 3_600_000,
    is: { freshMs: 10_000, ageMs: 50_000 },
  },
  { section: "9111 4.2.3 a Date ahead does not", fields: [...cc("max-age=60"), ["date", at(3600)]], is: stored(60) },
  {
    section: "9111 5.1 the first member of Age",
    fields: [...cc("max-age=60"), ["age", "50, 0"]],
    is: { freshMs: 10_000 },
  },
  { section: "9111 5.1 Age that is no number", fields: [...cc("max-age=60"), ["age", "7.5"]], is: { freshMs: 60_000 } },
  { section: "9111 5.2.2.5 no-store", fields: cc("no-store, max-age=60"), is: NOT_STORED },
  {
    section: "9111 5.2.2.3 must-understand, understood",
    fields: cc("must-understand, no-store, max-age=60"),
    is: stored(60),
  },
  {
    section: "9111 5.2.2.3 must-understand, not",
    fields: cc("must-understand, max-age=60"),
    status: 299,
    is: NOT_STORED,
  },
  { section: "9111 5.2.2.7 private", fields: cc("private, max-age=60"), is: NOT_STORED },
  { section: "9111 5.2.2.7 private with names", fields: cc('private="a", max-age=60'), is: NOT_STORED },
  { section: "9111 4.1 Vary: *", fields: [...cc("max-age=60"), ["vary", "accept, *"]], is: NOT_STORED },
  { section: "9111 5.2.2.4 no-cache is kept, and never fresh", fields: cc("no-cache, max-age=60"), is: stored(0) },
  { section: "7.3 (shared caches) Set-Cookie", fields: [...cc("max-age=60"), ["set-cookie", "a=1"]], is: NOT_STORED },
  {
    section: "7.3 Set-Cookie where the group says so",
    fields: [...cc("max-age=60"), ["set-cookie", "a=1"]],
    policy: { ...SITE, keepsCookies: true },
    is: stored(60),
  },
  { section: "9111 3.5 Authorization", fields: cc("max-age=60"), request: [["authorization", "x"]], is: NOT_STORED },
  ...["public", "must-revalidate", "s-maxage=60"].map((directive): Case => ({
    section: `9111 3.5 Authorization with ${directive}`,
    fields: cc(`${directive}, max-age=60`),
    request: [["authorization", "x"]],
    is: stored(60),
  })),
  { section: "9110 15.3.7 a part", fields: cc("max-age=60"), status: 206, is: NOT_STORED },
  { section: "9110 15.4.5 a 304 that nobody asked for", fields: cc("max-age=60"), status: 304, is: NOT_STORED },
  { section: "9110 15.2 no final answer", fields: cc("max-age=60"), status: 103, is: NOT_STORED },
  { section: "9111 3 any final status, if it says so", fields: cc("max-age=60"), status: 599, is: stored(60) },
  { section: "9111 4.2.2 heuristics", fields: [["last-modified", at(-100)]], is: stored(10) },
  {
    section: "9111 4.2.2 of a status that has none",
    fields: [["last-modified", at(-100)]],
    status: 503,
    is: NOT_STORED,
  },
  {
    section: "9111 4.2.2 unless public",
    fields: [["last-modified", at(-100)], ...cc("public")],
    status: 599,
    is: stored(10),
  },
  {
    section: "9111 4.2.2 the group's ttlMs goes before heuristics",
    fields: [["last-modified", at(-100)]],
    policy: { ...SITE, ttlMs: 3_000 },
    is: stored(3),
  },
  { section: "9111 3 nothing to serve or validate it by", fields: [], is: NOT_STORED },
  { section: "9111 3 a validator alone", fields: [["etag", '"a"']], is: stored(0) },
  {
    section: "9213 2.2 CDN-Cache-Control goes first",
    fields: [...cc("no-store"), ["cdn-cache-control", "max-age=9"]],
    is: stored(9),
  },
  {
    section: "9213 2.2 and puts Expires out of force",
    fields: [["expires", at(50)], ["cdn-cache-control", "max-age=9"]],
    is: stored(9),
  },
  {
    section: "9213 2.2 a malformed one is none",
    fields: [...cc("max-age=9"), ["cdn-cache-control", "max-age=é"]],
    is: stored(9),
  },
  { section: "9213 2.2 an empty one is none", fields: [...cc("max-age=9"), ["cdn-cache-control", ""]], is: stored(9) },
  { section: "9213 no-store in it", fields: [...cc("max-age=9"), ["cdn-cache-control", "no-store"]], is: NOT_STORED },
  { section: "5861 3", fields: cc("max-age=1, stale-while-revalidate=5"), is: { staleWhileRevalidateMs: 5_000 } },
  { section: "5861 4", fields: cc("max-age=1, stale-if-error=5"), is: { staleIfErrorMs: 5_000 } },
  ...["must-revalidate", "proxy-revalidate", "s-maxage=1", "no-cache"].map((directive): Case => ({
    section: `9111 4.2.4 ${directive} is never stale`,
    fields: cc(`${directive}, max-age=1, stale-while-revalidate=5, stale-if-error=5`),
    policy: { ...SITE, staleIfErrorMs: 60_000, staleWhileRevalidateMs: 60_000 },
    is: { staleWhileRevalidateMs: 0, staleIfErrorMs: 0 },
  })),
  {
    section: "the group's word where the origin gives none",
    fields: cc("max-age=1"),
    policy: { ...SITE, staleIfErrorMs: 60_000, staleWhileRevalidateMs: 30_000 },
    is: { staleWhileRevalidateMs: 30_000, staleIfErrorMs: 60_000 },
  },
  {
    section: "a template without a lifetime",
    fields: [],
    policy: TEMPLATE,
    is: { isStorable: true, freshMs: Infinity },
  },
  {
    section: "a template knows no heuristics",
    fields: [["last-modified", at(-100)]],
    policy: TEMPLATE,
    is: { freshMs: Infinity },
  },
  {
    section: "honourOrigin off: only the policy counts",
    fields: [...cc("no-store, max-age=1"), ["age", "50"]],
    policy: { ...TEMPLATE, honourOrigin: false, ttlMs: 7_000 },
    is: { isStorable: true, freshMs: 7_000, ageMs: 0, hasOwnLifetime: false },
  },
  {
    section: "the policy's times are not the origin's own",
    fields: [["etag", '"1"']],
    policy: { ...TEMPLATE, ttlMs: 7_000, staleIfErrorMs: 9_000 },
    is: { freshMs: 7_000, staleIfErrorMs: 9_000, hasOwnLifetime: false, hasOwnStale: false },
  },
  {
    section: "a lifetime that the origin names is its own",
    fields: cc("max-age=60"),
    is: { hasOwnLifetime: true, hasOwnStale: false },
  },
  {
    section: "5861 so is the time after it",
    fields: cc("stale-if-error=9"),
    policy: { ...TEMPLATE, ttlMs: 7_000 },
    is: { freshMs: 7_000, staleIfErrorMs: 9_000, hasOwnLifetime: false, hasOwnStale: true },
  },
  {
    section: "9111 4.2.2 a heuristic lifetime is this node's",
    fields: [["last-modified", at(-100)]],
    is: { freshMs: 10_000, hasOwnLifetime: false },
  },
];

test("each rule of the RFCs on storing and freshness holds", () => {
  for (const { section, fields, status = 200, request = [], policy = SITE, clockAheadMs = 0, is } of cases) {
    const found = freshnessOf(
      { requestFields: request, status, fields, requestedAtMs: NOW_MS, receivedAtMs: NOW_MS, clockAheadMs },
      policy,
    );
    const told = Object.fromEntries(Object.keys(is).map((name) => [name, found[name as keyof Freshness]]));
    assert.deepEqual(told, is, section);
  }
});

test("the time that the answer took counts as age", () => {
  const exchange = { requestFields: [], status: 200, fields: cc("max-age=60") };
  const found = freshnessOf({ ...exchange, requestedAtMs: NOW_MS - 4_000, receivedAtMs: NOW_MS }, SITE);
  assert.equal(found.freshMs, 56_000);
});
