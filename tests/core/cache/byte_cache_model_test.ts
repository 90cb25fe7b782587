import assert from "node:assert/strict";
import fc from "fast-check";
import { entryBytes } from "../../../lib/core/cache/byte-cache.ts";
import { goneAtMs } from "../../../lib/core/lifetime/times.ts";
import { hashOf, mix32 } from "../../../lib/core/base/hash.ts";
import { SharedBudget } from "../../../lib/core/cache/shared-budget.ts";
import type { Value } from "../../../lib/core/value.ts";
import { test } from "../../support/test.ts";
import { allGood, valueOf } from "../support.ts";

const value = (bytes: number, freshUntilMs: number, staleIfErrorMs: number) =>
  valueOf(bytes, { freshUntilMs, staleIfErrorMs });

/** The policy on one page: plain arrays, searched from the front. */
class PlainCaches {
  readonly main = new PlainCache();
  readonly hot = new PlainCache();
  readonly budget: number;

  constructor(budget: number) {
    this.budget = budget;
  }

  get bytes(): number {
    return this.main.bytes + this.hot.bytes;
  }

  /** @param freed the expired entries that the cache has removed: which ones, it may choose */
  storeWithoutLoss(key: string, next: Value, nowMs: number, freed: readonly string[]): boolean {
    const moreBytes = () => entryBytes(key, next) - (this.main.all.find((one) => one.key === key)?.bytes ?? 0);
    const isGone = ({ value }: PlainEntry) => goneAtMs(value) <= nowMs;
    const gone = this.main.all.filter(({ key }) => freed.includes(key));
    assert.ok(gone.every(isGone), "no entry but expired ones is removed");
    for (const { key } of gone) this.main.remove(key);
    const isShort = (backBytes: number) => this.main.bytes + backBytes + moreBytes() > this.budget;
    assert.ok(
      gone.length === 0 || isShort(Math.max(...gone.map(({ bytes }) => bytes))),
      "and no more than needed",
    );
    if (isShort(0)) {
      assert.ok(!this.main.all.some(isGone), "all expired entries went first");
      return false;
    }
    while (this.bytes + moreBytes() > this.budget) this.hot.evict();
    return this.store(this.main, key, next);
  }

  store(cache: PlainCache, key: string, next: Value): boolean {
    this.main.remove(key);
    this.hot.remove(key);
    const bytes = entryBytes(key, next);
    if (bytes > this.budget) return false;
    while (this.bytes + bytes > this.budget) {
      const { main, hot } = this;
      (hot.all.length > 0 && (hot.bytes > main.bytes / 8 || main.all.length === 0) ? hot : main).evict();
    }
    const tick = cache.tick++;
    cache.unread.push({ key, value: next, bytes, usedAt: tick, seenAt: tick });
    return true;
  }
}

interface PlainEntry {
  readonly key: string;
  readonly value: Value;
  readonly bytes: number;
  usedAt: number;
  seenAt: number;
}

class PlainCache {
  unread: PlainEntry[] = [];
  read: PlainEntry[] = [];
  tick = 1;

  get all(): PlainEntry[] {
    return [...this.unread, ...this.read];
  }

  get bytes(): number {
    return this.all.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get(key: string, nowMs: number): Value | undefined {
    const found = this.all.find((one) => one.key === key);
    if (found === undefined) return undefined;
    if (goneAtMs(found.value) <= nowMs) return void this.remove(key);
    if (found.value.freshUntilMs <= nowMs) return undefined;
    found.usedAt = this.tick;
    return found.value;
  }

  remove(key: string): void {
    this.unread = this.unread.filter((one) => one.key !== key);
    this.read = this.read.filter((one) => one.key !== key);
  }

  evict(): void {
    const [unread, read] = [this.#first("unread"), this.#first("read")];
    const isReadOne = read !== undefined &&
      (unread === undefined || (this.tick - read.usedAt) * 1.15 > this.tick - unread.usedAt);
    this.remove((isReadOne ? read : unread)!.key);
    this.tick++;
  }

  /** The first entry not read since it was appended. Entries in front of it move to the end of `read`. */
  #first(list: "unread" | "read"): PlainEntry | undefined {
    for (let first = this[list][0]; first !== undefined; first = this[list][0]) {
      if (first.usedAt === first.seenAt) return first;
      first.seenAt = first.usedAt;
      this[list].shift();
      this.read.push(first);
    }
    return undefined;
  }

  byRecency(): { key: string; value: Value }[] {
    return this.all.sort((a, b) => b.usedAt - a.usedAt).map(({ key, value }) => ({ key, value }));
  }
}

type Step =
  | {
    kind: "store" | "storeWithoutLoss";
    key: string;
    bytes: number;
    ttlMs: number;
    staleMs: number;
    hot: boolean;
  }
  | { kind: "get"; key: string; hot: boolean }
  | { kind: "remove"; key: string; hot: boolean }
  | { kind: "wait"; ms: number };

/**
 * Four keys with one hash: two strings that share a hash, joined in four ways. The hash has another seed in each process. Some
 * seeds give two million counting keys a hash each; among mixed keys, about two in 80,000 share one.
 */
function namesakes(): string[] {
  const twoAfter = (start: string): [string, string] => {
    const seen = new Map<number, string>();
    for (let i = 0; i < 2_000_000; i++) {
      const key = `${start}${(mix32(i) >>> 0).toString(36)}.`;
      const before = seen.get(hashOf(key));
      if (before !== undefined) return [before, key];
      seen.set(hashOf(key), key);
    }
    throw new Error("no two keys with one hash in two million");
  };
  const [first, second] = twoAfter("");
  return twoAfter(first).flatMap((key) => [key, second + key.slice(first.length)]);
}

const four = namesakes();
const fewKeys = fc.nat(39).map((at) => four[at] ?? `key-${at}`);
const anyStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("store" as const, "store" as const, "storeWithoutLoss" as const),
      key: fewKeys,
      bytes: fc.nat(120),
      ttlMs: fc.constantFrom(Infinity, Infinity, 5, 50),
      staleMs: fc.constantFrom(0, 0, 30),
      hot: fc.boolean(),
    }),
  },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("get" as const), key: fewKeys, hot: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("remove" as const), key: fewKeys, hot: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wait" as const), ms: fc.nat(20) }) },
);

test("the keys made to share a hash do so", () => {
  assert.deepEqual([new Set(four).size, new Set(four.map(hashOf)).size], [4, 1]);
});

test("the caches answer, hold and evict as a plain model of the policy does, in the same order", () =>
  behavesAsModel(false));

test("the caches follow the same model when entries are found by a hash that some keys share", () =>
  behavesAsModel(true));

function behavesAsModel(isHashed: boolean): void {
  fc.assert(
    fc.property(
      fc.array(anyStep, { maxLength: 200, size: "max" }),
      fc.integer({ min: 100, max: 1_500 }),
      (steps, budget) => {
        const caches = new SharedBudget(budget, allGood(), { isHashed, costOf: entryBytes });
        const model = new PlainCaches(budget);
        let nowMs = 0;
        for (const step of steps) {
          if (step.kind === "wait") {
            nowMs += step.ms;
            continue;
          }
          const which = step.hot ? "hot" : "main";
          const { key } = step;
          if (step.kind === "get") {
            assert.equal(caches[which].get(key, () => nowMs), model[which].get(key, nowMs));
          } else if (step.kind === "remove") {
            caches[which].remove(key);
            model[which].remove(key);
          } else {
            const next = value(step.bytes, nowMs + step.ttlMs, step.staleMs);
            assert.equal(caches.hasRoom(key, next), model.bytes + entryBytes(key, next) <= budget);
            const before = keysOf(caches.main);
            const kept = step.kind === "store"
              ? caches.store(caches[which], key, next)
              : caches.storeWithoutLoss(key, next, nowMs);
            const freed = before.filter((one) => caches.main.peek(one) === undefined);
            const expected = step.kind === "store"
              ? model.store(model[which], key, next)
              : model.storeWithoutLoss(key, next, nowMs, freed);
            assert.equal(kept, expected);
          }
          for (const one of ["main", "hot"] as const) {
            assert.deepEqual(keysOf(caches[one]), keysOf(model[one]));
            assert.equal(caches[one].bytes, model[one].bytes);
          }
          assert.ok(caches.main.bytes + caches.hot.bytes <= budget);
        }
        for (const one of ["main", "hot"] as const) {
          const [held, expected] = [caches[one].byRecency(), model[one].byRecency()];
          for (const [at, { value }] of held.entries()) assert.equal(value, expected[at]!.value);
        }
      },
    ),
    { numRuns: 200 },
  );
}

function keysOf(cache: { byRecency(): readonly { key: string }[] }): string[] {
  return cache.byRecency().map(({ key }) => key);
}
