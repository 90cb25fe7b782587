import assert from "node:assert/strict";
import fc from "fast-check";
import { mix32, PrefixHash } from "../../../lib/core/base/hash.ts";
import { lnOfFraction, Rendezvous } from "../../../lib/core/placement/rendezvous.ts";
import { test } from "../../support/test.ts";

const unsigned = (n: number) => n >>> 0;
const contenders = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ name: `10-0-0-${i}-8000`, weight: 1 }));

test("owners are the same on every runtime: fixed vectors", () => {
  const equal = new Rendezvous(contenders(7));
  const weighted = new Rendezvous(contenders(7).map((peer, i) => ({ ...peer, weight: 1 + i / 2 })));
  const hash = new PrefixHash("dict\0");
  const keys = ["piston", "rendezvous", "groupcache", "ä", "日本語", "🙂", "a b", "ice cream", "x".repeat(1024)];
  assert.deepEqual(keys.map((key) => unsigned(hash.hash(key))), HASH_VECTORS);
  assert.deepEqual(keys.map((key) => equal.ranked(hash.hash(key), 3).join()), EQUAL_VECTORS);
  assert.deepEqual(keys.map((key) => weighted.ranked(hash.hash(key), 3).join()), WEIGHTED_VECTORS);
});

test("the owner is the first of the ranked, on both paths", () => {
  for (const weights of [[1, 1, 1, 1, 1], [1, 2, 3, 0.5, 1]]) {
    const rendezvous = new Rendezvous(weights.map((weight, i) => ({ name: `n${i}`, weight })));
    const hash = new PrefixHash("");
    for (let i = 0; i < 1_000; i++) {
      const h = hash.hash(`key ${i}`);
      const ranked = rendezvous.ranked(h, 5);
      assert.equal(rendezvous.owner(h), ranked[0]);
      assert.deepEqual([...ranked].sort(), [0, 1, 2, 3, 4]);
      assert.deepEqual(rendezvous.ranked(h, 2), ranked.slice(0, 2));
    }
  }
});

test("the owner has the highest score among any number of peers, also when high halves of scores are equal", () => {
  const nameHash = new PrefixHash("", 0x6d757374);
  const hash = new PrefixHash("");
  let alike = 0;
  for (const count of [1, 2, 3, 4, 5, 6, 7, 8, 1_000]) {
    const peers = contenders(count);
    const rendezvous = new Rendezvous(peers);
    assert.equal(rendezvous.size, count);
    const seeds = peers.map(({ name }) => nameHash.hash(name));
    for (let i = 0; i < 2_000; i++) {
      const h = hash.hash(String(i));
      const scores = seeds.map((seed) => unsigned(mix32(h ^ seed)));
      const highest = scores.reduce((a, b) => Math.max(a, b));
      if (scores.filter((score) => score >>> 16 === highest >>> 16).length > 1) alike++;
      assert.equal(rendezvous.owner(h), scores.indexOf(highest));
    }
  }
  assert.ok(alike > 10, `only ${alike} keys had two scores with the same high half`);
});

test("of two peers with the same seed the earlier one owns, and ranks first", () => {
  const rendezvous = new Rendezvous([...contenders(3), ...contenders(3)]);
  const hash = new PrefixHash("");
  for (let i = 0; i < 1_000; i++) {
    const h = hash.hash(String(i));
    assert.ok(rendezvous.owner(h) < 3);
    assert.equal(rendezvous.owner(h), rendezvous.ranked(h, 1)[0]);
  }
});

test("equal weights rank alike on both paths", () => {
  const equal = new Rendezvous(contenders(5));
  const scaled = new Rendezvous([...contenders(5), { name: "feather", weight: 1e-300 }]);
  const hash = new PrefixHash("");
  for (let i = 0; i < 10_000; i++) {
    const h = hash.hash(String(i));
    assert.deepEqual(scaled.ranked(h, 5), equal.ranked(h, 5));
  }
});

test("no peers, no owner", () => {
  assert.equal(new Rendezvous([]).owner(1), -1);
  assert.deepEqual(new Rendezvous([]).ranked(1, 3), []);
});

test("over a million keys the fullest of 10 peers holds at most 1.02 x the mean", { timeoutMs: 120_000 }, () => {
  const rendezvous = new Rendezvous(contenders(10));
  const hash = new PrefixHash("dict\0");
  const held = new Array(10).fill(0);
  for (let i = 0; i < 1_000_000; i++) held[rendezvous.owner(hash.hash(`word-${i}`))]++;
  assert.ok(Math.max(...held) <= 1.02 * 100_000, `held: ${held}`);
});

test("removing one of 11 peers moves its own keys and no others", () => {
  const all = contenders(11);
  for (const weights of [all, all.map((peer, i) => ({ ...peer, weight: 1 + (i % 3) }))]) {
    const before = new Rendezvous(weights);
    const left = weights.filter((_, i) => i !== 4);
    const after = new Rendezvous(left);
    const hash = new PrefixHash("dict\0");
    for (let i = 0; i < 100_000; i++) {
      const h = hash.hash(`word-${i}`);
      const owner = weights[before.owner(h)]!;
      if (owner === weights[4]) {
        // They move to the next in rank, where every node already looks.
        assert.equal(left[after.owner(h)], weights[before.ranked(h, 2)[1]!]);
      } else {
        assert.equal(left[after.owner(h)], owner);
      }
    }
  }
});

test("shares follow weights", () => {
  const weights = [1, 2, 3, 4];
  const rendezvous = new Rendezvous(weights.map((weight, i) => ({ name: `n${i}`, weight })));
  const hash = new PrefixHash("");
  const held = [0, 0, 0, 0];
  for (let i = 0; i < 200_000; i++) held[rendezvous.owner(hash.hash(String(i)))]!++;
  weights.forEach((weight, i) => {
    const share = held[i]! / 20_000;
    assert.ok(Math.abs(share / weight - 1) < 0.03, `weight ${weight} holds ${share}`);
  });
});

test("the logarithm is right to 1e-12 and rises strictly", () => {
  const close = (score: number) => {
    const error = Math.abs(lnOfFraction(score) - Math.log((score + 0.5) / 2 ** 32));
    assert.ok(error < 1e-12, `${score}: ${error}`);
  };
  for (let exponent = 0; exponent < 32; exponent++) {
    for (const score of [2 ** exponent - 1, 2 ** exponent, 2 ** exponent + 1]) {
      close(score);
      assert.ok(lnOfFraction(score) < lnOfFraction(score + 1), `${score}`);
    }
  }
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), close));
});

const HASH_VECTORS = [
  4025571184,
  1825306014,
  3945185053,
  700130651,
  2689842142,
  4294722647,
  3243065231,
  343980290,
  2731558199,
];
const EQUAL_VECTORS = ["3,6,5", "3,1,5", "0,2,5", "4,2,3", "6,4,3", "0,1,4", "2,0,5", "5,4,2", "0,3,4"];
const WEIGHTED_VECTORS = ["3,6,5", "3,5,6", "0,5,2", "4,2,5", "6,4,3", "0,1,4", "5,2,3", "5,4,2", "3,0,4"];
