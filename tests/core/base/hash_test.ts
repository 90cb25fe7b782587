import assert from "node:assert/strict";
import fc from "fast-check";
import { fold, PrefixHash, stir, unstir, utf8Bytes } from "../../../lib/core/base/hash.ts";
import { test } from "../../support/test.ts";

const unsigned = (n: number) => n >>> 0;
const prefixes = fc.string({ unit: "binary" });
/** Mostly ASCII, which the hash reads by a loop of its own, with other characters in between. */
const texts = fc.array(fc.oneof(fc.string({ unit: "grapheme-ascii" }), fc.string({ unit: "binary", maxLength: 3 })))
  .map((parts) => parts.join(""));

test("the hash gives the published values of MurmurHash3 x86 32", () => {
  // https://stackoverflow.com/q/14747343 and smhasher's verification strings.
  const vectors: [string, number, number][] = [
    ["", 0, 0],
    ["", 1, 0x514e28b7],
    ["", 0xffffffff, 0x81f16f39],
    ["\0\0\0\0", 0, 0x2362f9de],
    ["aaaa", 0x9747b28c, 0x5a97808a],
    ["aaa", 0x9747b28c, 0x283e0130],
    ["aa", 0x9747b28c, 0x5d211726],
    ["a", 0x9747b28c, 0x7fa09ea6],
    ["abcd", 0x9747b28c, 0xf0478627],
    ["Hello, world!", 0x9747b28c, 0x24884cba],
    ["ππππππππ", 0x9747b28c, 0xd58063c1],
    ["The quick brown fox jumps over the lazy dog", 0x9747b28c, 0x2fa826cd],
  ];
  for (const [text, seed, expected] of vectors) {
    assert.equal(unsigned(new PrefixHash("", seed).hash(text)), expected, JSON.stringify(text));
  }
});

test("a prefix read beforehand gives the same hash", () => {
  fc.assert(
    fc.property(prefixes, texts, (prefix, text) => {
      assert.equal(new PrefixHash(prefix).hash(text), referenceMurmur(new TextEncoder().encode(prefix + text)));
    }),
    { numRuns: 2_000 },
  );
});

test("the hash reads the same bytes as the encoder", () => {
  fc.assert(
    fc.property(texts, (text) => {
      const bytes = new TextEncoder().encode(text);
      assert.equal(utf8Bytes(text), bytes.length);
      assert.equal(new PrefixHash("").hash(text), referenceMurmur(bytes));
    }),
    { numRuns: 2_000 },
  );
});

test("mixing can be undone", () => {
  fc.assert(fc.property(fc.integer(), (number) => {
    assert.equal(unstir(stir(number)), number);
    assert.equal(fold(fold(number)), number);
  }));
});

/** The algorithm over bytes, as its author writes it: blocks first, then the tail. */
function referenceMurmur(bytes: Uint8Array): number {
  const rotate = (x: number, by: number) => (x << by) | (x >>> (32 - by));
  const scramble = (k: number) => Math.imul(rotate(Math.imul(k, 0xcc9e2d51), 15), 0x1b873593);
  const view = new DataView(bytes.buffer);
  let h = 0;
  const blocks = bytes.length - (bytes.length % 4);
  for (let i = 0; i < blocks; i += 4) {
    h = (Math.imul(rotate(h ^ scramble(view.getUint32(i, true)), 13), 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let i = bytes.length - 1; i >= blocks; i--) tail = (tail << 8) | bytes[i]!;
  h ^= scramble(tail) ^ bytes.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}
