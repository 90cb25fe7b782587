import assert from "node:assert/strict";
import fc from "fast-check";
import type { PeerRecord } from "../../lib/core/roster.ts";
import { encodeRecord, parseRecord } from "../../lib/registry/record.ts";
import { test } from "../support/test.ts";
import { bytesOf, recordOf } from "./support.ts";

const parse = (record: unknown, key = "dict.a"): PeerRecord =>
  parseRecord("dict", key, bytesOf(JSON.stringify(record)));

test("a record comes back as it was written", () => {
  const record = recordOf("a", { weight: 2.5, zone: "eu-1", state: "draining" });
  assert.deepEqual(parseRecord("dict", "dict.a", encodeRecord("dict", record)), record);
});

test("a record may have the node's policy, or not", () => {
  const record = recordOf("a", { policy: "ttlMs=60000 origin=1a2b3c4d" });
  assert.deepEqual(parseRecord("dict", "dict.a", encodeRecord("dict", record)), record);
  assert.equal(parse(recordOf("a")).policy, undefined);
});

test("fields that a newer node may add are dropped", () => {
  const record = recordOf("a");
  assert.deepEqual(parse({ ...record, colour: "red" }), record);
});

test("URLs of peers have one spelling", () => {
  assert.equal(parse(recordOf("a", { url: "http://127.0.0.1:8000/" })).url, "http://127.0.0.1:8000");
  assert.equal(parse(recordOf("a", { url: "http://[::1]:8000" })).url, "http://[::1]:8000");
  assert.equal(parse(recordOf("a", { url: "https://Cache.example" })).url, "https://cache.example");
});

const refused: [why: string, changes: Record<string, unknown>, message: RegExp][] = [
  ["another scheme", { url: "ftp://127.0.0.1:8000" }, /^url: not an http/],
  ["a script", { url: "javascript:alert(1)" }, /^url: /],
  ["credentials", { url: "http://user:secret@127.0.0.1:8000" }, /^url: /],
  ["a path", { url: "http://127.0.0.1:8000/path" }, /^url: /],
  ["a query", { url: "http://127.0.0.1:8000/?q" }, /^url: /],
  ["an empty query", { url: "http://127.0.0.1:8000/?" }, /^url: /],
  ["a fragment", { url: "http://127.0.0.1:8000#x" }, /^url: /],
  ["no host", { url: "http://" }, /^url: /],
  ["port 0", { url: "http://127.0.0.1:0" }, /^url: /],
  ["a port out of range", { url: "http://127.0.0.1:70000" }, /^url: /],
  ["a line break in the URL", { url: "http://127.0.0.1:8000\n" }, /^url: /],
  ["a long URL", { url: `http://${"a".repeat(600)}` }, /^url: /],
  ["no URL", { url: undefined }, /^url: /],
  ["weight 0", { weight: 0 }, /^weight: /],
  ["a negative weight", { weight: -1 }, /^weight: /],
  ["a weight that --weight would refuse", { weight: 100.1 }, /^weight: /],
  ["a weight that is no number", { weight: "1" }, /^weight: /],
  ["an unknown state", { state: "king" }, /^state: /],
  ["an empty incarnation", { incarnation: "" }, /^incarnation: /],
  ["a long incarnation", { incarnation: "x".repeat(65) }, /^incarnation: /],
  ["no key", { key: undefined }, /^key: /],
  ["a short key", { key: "A".repeat(42) }, /^key: not 32 bytes in base64url$/],
  ["a long key", { key: "A".repeat(44) }, /^key: not 32 bytes in base64url$/],
  ["a key in another base", { key: `${"A".repeat(42)}+` }, /^key: not 32 bytes in base64url$/],
  ["a key in a second spelling", { key: `${"A".repeat(42)}B` }, /^key: not 32 bytes in base64url$/],
  ["control characters in the zone", { zone: "a\u001b[31m" }, /^zone: not up to 64 of A-Z a-z 0-9/],
  ["a long zone", { zone: "z".repeat(65) }, /^zone: /],
  ["control characters in the policy", { policy: "a=\u001b[31m" }, /^policy: not plain text/],
  ["a long policy", { policy: "p".repeat(1_025) }, /^policy: /],
  ["a policy that is no text", { policy: { ttlMs: 1 } }, /^policy: /],
  ["a joined that is no time", { joined: "yesterday" }, /^joined: /],
  ["another name than the key's", { name: "b" }, /^its name is not the one in its key$/],
  ["a name with a dot", { name: "a.b" }, /^name: /],
  ["a prototype in disguise", { name: { toString: "a" } }, /^name: /],
];

test("a record that breaks a rule is refused with the rule, never with the value", () => {
  for (const [why, changes, message] of refused) {
    assert.throws(() => parse({ ...recordOf("a"), ...changes }), (error) => {
      assert.ok(error instanceof TypeError, why);
      assert.match(error.message, message, why);
      assert.ok(error.message.length < 200 && !error.message.includes("secret"), why);
      return true;
    }, why);
  }
});

test("a value that is no object is refused", () => {
  for (const text of ["", "nonsense", "null", "7", "[]", '"a"', "{", "\ufeff{}"]) {
    assert.throws(() => parseRecord("dict", "dict.a", bytesOf(text)), TypeError, text);
  }
  assert.throws(() => parseRecord("dict", "dict.a", new Uint8Array([0xff, 0xfe])), /not JSON in UTF-8/);
  assert.throws(() => parse({ ...recordOf("a"), more: "x".repeat(4_096) }), /longer than 4096 bytes/);
});

test("a record that other nodes would refuse cannot be written", () => {
  assert.throws(
    () => encodeRecord("dict", recordOf("a", { weight: 0 })),
    /^TypeError: Cannot list this node in dict: weight: /,
  );
  assert.throws(() => encodeRecord("dict", recordOf("a.b")), TypeError);
});

test("any bytes are either a sound record or refused with a TypeError", () => {
  const field = fc.oneof(fc.string(), fc.double(), fc.constant(null), fc.constant("http://h:1"), fc.constant("a"));
  const almost = fc.record({ name: field, url: field, incarnation: field, weight: field, zone: field }).map((changes) =>
    bytesOf(JSON.stringify({ ...recordOf("a"), ...changes }))
  );
  fc.assert(fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), almost), (bytes) => {
    try {
      const record = parseRecord("dict", "dict.a", bytes);
      assert.equal(record.name, "a");
      assert.ok(record.weight > 0 && record.weight <= 100);
      assert.equal(new URL(record.url).origin, record.url);
    } catch (error) {
      assert.ok(error instanceof TypeError, String(error));
    }
  }));
});
