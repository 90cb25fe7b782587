/** The base of wrk's figures: a turn has its length, every body is compared, and a fill asks for every key. */
import assert from "node:assert/strict";
import { serveBodies } from "../support/serve-bodies.ts";
import { type Defer, test } from "../support/test.ts";
import { firstKeys, keyFile, keyOf, valueOf } from "./keys.ts";
import type { Outcome } from "./types.ts";
import { draw, fill, load } from "./wrk.ts";

const needs = { programs: ["wrk"] };
const keyOfPath = (path: string) => path.slice(path.lastIndexOf("/") + 1);

function emptyOutcome(): Outcome {
  return { series: [], verdicts: [], errors: 0, checked: 0, notes: [] };
}

/** Answers each key with `bodyOf(key)`. */
function serve(defer: Defer, bodyOf: (key: string) => Uint8Array): Promise<string> {
  return serveBodies(defer, (path) => ({ body: bodyOf(keyOfPath(path)), delayMs: 0 }));
}

test("a turn ends when it is over, however long wrk takes to begin", needs, async (defer) => {
  const urls = Array<string>(4).fill(await serve(defer, valueOf));
  const outcome = emptyOutcome();
  // A turn that would end before wrk's threads begin; until then wrk ignores SIGINT.
  const told = await load(defer, outcome, {
    urls,
    keyFile: keyFile(defer, firstKeys(100_000)),
    connections: 4,
    turnMs: 1,
  });
  assert.ok(told.requests > 0);
  assert.deepEqual([outcome.errors, outcome.checked], [0, told.requests]);
});

test("no turn draws the keys of another turn again", needs, async (defer) => {
  let asked: string[] = [];
  const url = await serve(defer, (key) => {
    asked.push(key);
    return valueOf(key);
  });
  const options = { urls: [url], keyFile: keyFile(defer, firstKeys(1_000)), connections: 1, turnMs: 200 };
  const turn = async () => {
    asked = [];
    await load(defer, emptyOutcome(), options);
    return asked.slice(0, 20);
  };
  assert.notDeepEqual(await turn(), await turn());
});

test("a fill asks for every key, and compares every answer", needs, async (defer) => {
  const keys = firstKeys(1_000);
  const asked = new Set<string>();
  const url = await serve(defer, (key) => {
    asked.add(key);
    return valueOf(key);
  });
  const outcome = emptyOutcome();
  await fill(defer, outcome, url, { keyFile: keyFile(defer, keys), connections: 8, timeoutMs: 10_000 });
  assert.deepEqual([...asked].sort(), [...keys].sort());
  assert.equal(outcome.errors, 0);
  assert.ok(outcome.checked >= keys.length);
});

const last = valueOf(keyOf(1));
last[last.length - 1]! ^= 1;
const middle = valueOf(keyOf(1));
middle[500]! ^= 1;
const wrongs: Record<string, Uint8Array> = {
  "whose last byte is another": last,
  "of which a byte in the middle is another": middle,
  "that ends too early": valueOf(keyOf(1)).subarray(0, 1_020),
  "of a key that was never asked for": valueOf(keyOf(7)),
  "that is empty": new Uint8Array(),
};
for (const [what, body] of Object.entries(wrongs)) {
  test(`a body ${what} is an error`, needs, async (defer) => {
    const url = await serve(defer, (key) => key === keyOf(1) ? body : valueOf(key));
    const outcome = emptyOutcome();
    const common = { keyFile: keyFile(defer, firstKeys(2)), connections: 2 };
    const told = await load(defer, outcome, { ...common, urls: [url], turnMs: 200 });
    assert.ok(outcome.errors > 0);
    assert.equal(outcome.errors + outcome.checked, told.requests);
  });
}

test("draws end with their number, and the same seed draws the same", needs, async (defer) => {
  let asked: string[] = [];
  const url = await serve(defer, (key) => {
    asked.push(key);
    return valueOf(key);
  });
  const outcome = emptyOutcome();
  const options = { urls: [url], keyFile: keyFile(defer, firstKeys(1_000)), connections: 1, timeoutMs: 10_000 };
  const turn = async (seed: number) => {
    asked = [];
    const { requests } = await draw(defer, outcome, { ...options, requests: 100, seed });
    // One more may be asked for before the thread has stopped.
    assert.ok(requests >= 100 && requests <= 101, `${requests}`);
    return asked.slice(0, 100);
  };
  const first = await turn(1);
  assert.deepEqual(await turn(1), first);
  assert.notDeepEqual(await turn(2), first);
  assert.equal(outcome.errors, 0);
});
