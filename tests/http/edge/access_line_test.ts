import assert from "node:assert/strict";
import fc from "fast-check";
import { accessLine, type Answered } from "../../../lib/http/edge/access-line.ts";
import { CacheStatus } from "../../../lib/http/cache/cache-status.ts";
import { test } from "../../support/test.ts";

function answered(change: Partial<Answered> = {}): Answered {
  return {
    atMs: Date.UTC(2026, 10, 29, 14, 50, 16, 123),
    remote: "192.0.2.7",
    method: "GET",
    target: "/cache/dict/apple?x=1",
    status: 200,
    bytes: 102,
    durationMs: 1.23456,
    cache: "hit",
    group: "dict",
    requestId: "01M8",
    traceId: "0af7651916cd43dd8448eb211c80319c",
    headers: new Headers({ "user-agent": "curl/8", referer: "https://a.test/" }),
    ...change,
  };
}

/** By what readers of nginx's and Apache's logs use: the fields of the Combined Log Format. */
const COMBINED =
  /^(\S+) - - \[(\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000)\] "(\S+) (.*) HTTP\/1\.1" (\d{3}) (\d+) "([^"]*)" "([^"]*)"\n$/;

test("a combined line is what nginx and Apache write", () => {
  assert.equal(
    accessLine(answered(), "combined"),
    '192.0.2.7 - - [29/Nov/2026:14:50:16 +0000] "GET /cache/dict/apple?x=1 HTTP/1.1" 200 102 "https://a.test/" "curl/8"\n',
  );
  assert.equal(
    accessLine(answered({ remote: undefined, headers: new Headers(), atMs: 0 }), "combined"),
    '- - - [01/Jan/1970:00:00:00 +0000] "GET /cache/dict/apple?x=1 HTTP/1.1" 200 102 "-" "-"\n',
  );
});

test("a JSON line has a name for each thing, and leaves out what is not known", () => {
  assert.deepEqual(JSON.parse(accessLine(answered(), "json")), {
    time: "2026-11-29T14:50:16.123Z",
    remote: "192.0.2.7",
    method: "GET",
    path: "/cache/dict/apple?x=1",
    status: 200,
    bytes: 102,
    durationMs: 1.235,
    cache: "hit",
    group: "dict",
    requestId: "01M8",
    traceId: "0af7651916cd43dd8448eb211c80319c",
    userAgent: "curl/8",
    referer: "https://a.test/",
  });
  const bare = { remote: undefined, cache: undefined, group: undefined, requestId: undefined, traceId: undefined };
  const line = JSON.parse(accessLine(answered({ ...bare, headers: new Headers() }), "json"));
  assert.deepEqual(Object.keys(line), ["time", "method", "path", "status", "bytes", "durationMs"]);
});

test("nobody can write a line of their own, nor end a field", () => {
  const evil = '/a" 200 1 "-" "-"\n127.0.0.1 - - [x] "GET /b\r\n\x1b[2J\x00\u2028\u00e9\\';
  const combined = accessLine(answered({ target: evil, method: 'G"\nT' }), "combined");
  const [, , , method, target] = COMBINED.exec(combined)!;
  assert.equal(method, "G\\x22\\x0AT");
  assert.ok(target!.startsWith("/a\\x22 200 1 \\x22-\\x22 \\x22-\\x22\\x0A127.0.0.1"), target);
  assert.ok(target!.endsWith("\\x0D\\x0A\\x1B[2J\\x00\\u2028\\xE9\\x5C"), target);
  assert.equal(JSON.parse(accessLine(answered({ target: evil }), "json")).path, evil);
});

test("whatever a client sends, a line is one line of printable ASCII, of at most 4,096 bytes, that is read again", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 5_000 }),
    fc.constantFrom('"'.repeat(5_000), "\u2028".repeat(5_000), "\\".repeat(5_000), "a".repeat(9_000), "\n", ""),
  );
  const field = fc.oneof(
    fc.string({
      unit: fc.integer({ min: 0x20, max: 0xff }).map((unit) => String.fromCharCode(unit)),
      maxLength: 2_000,
    }),
    fc.constantFrom("\xff".repeat(3_000), '"'.repeat(3_000)),
  );
  fc.assert(
    fc.property(text, text, field, field, field, (target, group, agent, referer, forwarded) => {
      const headers = new Headers({ "user-agent": agent, referer, "x-forwarded-for": forwarded });
      const told = answered({ target, method: group, group, requestId: "x".repeat(128), headers });
      for (const format of ["combined", "json"] as const) {
        const line = accessLine(told, format);
        assert.match(line, /^[\x20-\x7e]*\n$/);
        assert.ok(line.length <= 4_096, `${format}: ${line.length}`);
      }
      const { path } = JSON.parse(accessLine(told, "json"));
      assert.ok(target.startsWith(path));
      assert.ok(!/[^\\]"/.test(COMBINED.exec(accessLine(answered({ target, headers }), "combined"))?.[4] ?? 'x"'));
    }),
    { numRuns: 300 },
  );
});

test("the source of a value is read from this node's own member of Cache-Status, whoever stands before it", () => {
  const status = new CacheStatus("127-0-0-1-8000");
  const cases: [string, string | undefined][] = [
    [status.hit, "hit"],
    [`${status.hit}; ttl=5`, "hit"],
    [status.hotHit, "hot"],
    [status.behindHit, "behind"],
    [status.unkept, "behind"],
    [status.loaded("origin", true, false), "origin"],
    [`${status.loaded("peer", true, true)}; ttl=59`, "peer"],
    [status.failed("not-found"), "not-found"],
    [status.refused("bad-key"), "bad-key"],
    [status.forwarded("bypass", 200, false), "bypass"],
    [`other; hit; detail=evil, ${status.hotHit}`, "hot"],
    [`"127-0-0-1-8000"; hit, ${status.loaded("origin", false, false)}`, "origin"],
    ["other; hit", undefined],
  ];
  for (const [field, source] of cases) assert.equal(status.sourceIn(field), source, field);
  assert.equal(status.sourceIn(null), undefined);
  const named = new CacheStatus("hit");
  assert.deepEqual([named.hit, named.hotHit].map((field) => named.sourceIn(field)), ["hit", "hot"]);
});
