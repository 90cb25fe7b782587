import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { BadKeyError } from "../../lib/core/errors.ts";
import { MAX_KEY_BYTES } from "../../lib/core/base/limits.ts";
import { checkKey, decodeGroupcacheKeyPath, decodeKeyPath, encodeKeyPath, rawPathOf } from "../../lib/http/key.ts";
import { test } from "../support/test.ts";
import { anyString, isKey } from "./strings.ts";

test("every string is encoded to one path segment that decodes to itself, or is refused by both ends of the codec", () => {
  fc.assert(
    fc.property(anyString, (key) => {
      if (!isKey(key)) {
        assert.throws(() => checkKey(key), BadKeyError);
        assert.throws(() => encodeKeyPath(key), BadKeyError);
        if (key.isWellFormed()) assert.throws(() => decodeKeyPath(encodeURIComponent(key)), BadKeyError);
        return;
      }
      const path = encodeKeyPath(key);
      assert.match(path, /^[\x21-\x7e]+$/);
      assert.doesNotMatch(path, /[/?#\\]/);
      assert.equal(decodeKeyPath(path), key);
      assert.equal(new URL(`http://h/cache/g/${path}`).pathname, `/cache/g/${path}`, "a URL parser leaves it alone");
    }),
    { numRuns: 2_000 },
  );
});

test("a tail of any visible ASCII is decoded exactly once, or refused", () => {
  const tail = fc.string({ unit: fc.constantFrom(..."%%%%2525eEfFcCaA3/.+~é\\#"), maxLength: 40 });
  fc.assert(
    fc.property(tail, (text) => {
      let key: string;
      try {
        key = decodeKeyPath(text);
      } catch (error) {
        assert.ok(error instanceof BadKeyError);
        return;
      }
      assert.equal(key, decodeURIComponent(text));
      assert.ok(isKey(key));
    }),
    { numRuns: 2_000 },
  );
});

test("the rest of the path is the key, slashes included, and a plus is a plus", () => {
  for (
    const [tail, key] of [
      ["a/b", "a/b"],
      ["a%2Fb", "a/b"],
      ["a%252Fb", "a%2Fb"],
      ["/a//b/", "/a//b/"],
      ["c++", "c++"],
      ["a%2Bb", "a+b"],
      ["a%20b", "a b"],
      ["...", "..."],
      ["..a/a../a..b", "..a/a../a..b"],
      ["v1..v2", "v1..v2"],
      ["%252E%252Ex", "%2E%2Ex"],
      [".a/b.", ".a/b."],
      ["na%C3%AFve", "naïve"],
      ["na\u00efve", "naïve"],
      ["%EF%BF%BD", "\ufffd"],
      ["%EF%BB%BFa", "\ufeffa"],
    ]
  ) assert.equal(decodeKeyPath(tail), key);
});

test("malformed escapes, overlong forms, encoded surrogates, control characters and dot segments are refused", () => {
  for (
    const tail of [
      "",
      "%",
      "a%",
      "a%2",
      "%zz",
      "%c3%28",
      "%ff",
      "%C0%AF",
      "%ED%A0%80",
      "%F4%90%80%80",
      "%00",
      "a%0Ab",
      "a%0D%0Ab",
      "%1F",
      "%7F",
      "%C2%80",
      "%C2%9F",
      ".",
      "..",
      "%2e",
      "%2E%2e",
      ".%2e",
      "a/../b",
      "a/./b",
      "a/..",
      "../a",
      "a/%2E%2E/b",
      // Read as another path by some server behind an origin: decoded, decoded twice, with a backslash, with parameters.
      "..%2Fsecret.txt",
      "%2e%2e%2fsecret.txt",
      "a%2F..%2Fb",
      "a%2F.",
      "..%5Csecret",
      "a%5C..",
      "%252e%252e%252fsecret",
      "a/%252E%252E",
      "%25252e%25252e%25252fsecret",
      "..;/secret",
      "a/..;x=1/b",
      "..%3Fx",
      "a/..%23x",
      ".%253Fx",
      "a#b",
      "a\\b",
      "\ud800",
      "a\tb",
    ] // deno-fmt-ignore-line
  ) assert.throws(() => decodeKeyPath(tail), BadKeyError, JSON.stringify(tail));
});

test("the longest key is 1,024 bytes of UTF-8, however many characters those are", () => {
  for (const unit of ["a", "é", "€", "😀"]) {
    const bytes = Buffer.byteLength(unit);
    const filling = "a".repeat(MAX_KEY_BYTES % bytes);
    const longest = unit.repeat(Math.floor(MAX_KEY_BYTES / bytes)) + filling;
    assert.equal(Buffer.byteLength(longest), MAX_KEY_BYTES);
    assert.equal(decodeKeyPath(encodeKeyPath(longest)), longest);
    assert.throws(() => encodeKeyPath(longest + "a"), BadKeyError);
    assert.throws(() => decodeKeyPath(encodeURIComponent(longest + "a")), BadKeyError);
  }
  assert.equal(decodeKeyPath("%61".repeat(MAX_KEY_BYTES)), "a".repeat(MAX_KEY_BYTES));
  assert.throws(() => decodeKeyPath("%61".repeat(MAX_KEY_BYTES + 1)), BadKeyError);
  assert.throws(() => decodeKeyPath("a".repeat(100_000)), BadKeyError);
});

test("on the groupcache wire a plus is a space, as Go's url.QueryEscape writes it, and %2B is the plus", () => {
  fc.assert(fc.property(anyString.filter(isKey), (key) => {
    assert.equal(decodeGroupcacheKeyPath(goQueryEscape(key)), key);
  }));
  assert.equal(decodeGroupcacheKeyPath("a+b%2Bc"), "a b+c");
});

test("the raw path is what stands between the host and the query, untouched", () => {
  for (
    const [url, path] of [
      ["http://h/cache/g/a?x=/y", "/cache/g/a"],
      ["http://h:8000//a//b%2f", "//a//b%2f"],
      ["https://h/a/../b#c", "/a/../b#c"],
      ["http://[::1]:80/a", "/a"],
      ["/cache/g/a?b", "/cache/g/a"],
      ["http://host", "/"],
    ]
  ) assert.equal(rawPathOf(url), path);
});

/** Go's `url.QueryEscape`: all but `A-Z a-z 0-9 - _ . ~` is escaped, a space is a plus. */
function goQueryEscape(text: string): string {
  return [...Buffer.from(text)].map((byte) => {
    const char = String.fromCharCode(byte);
    if (char === " ") return "+";
    return /[A-Za-z0-9\-_.~]/.test(char) ? char : "%" + byte.toString(16).toUpperCase().padStart(2, "0");
  }).join("");
}
