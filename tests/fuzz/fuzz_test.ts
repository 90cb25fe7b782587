/** The corpus, and some thousands of new inputs: what `npm run fuzz` does with a million of each. */
import assert from "node:assert/strict";
import process from "node:process";
import { test } from "../support/test.ts";
import { namesInCorpus } from "./corpus.ts";
import { Found, fuzz, inputAt, Judge, MAX_KEPT_BYTES, startsOf } from "./engine.ts";
import { checkMessage, type Target, tried, utf8 } from "./target.ts";
import { targets } from "./targets.ts";

const SEED = 20260131;
/** Of each target. Chosen: all of them in a few seconds. */
const INPUTS = 1_000;

for (const target of targets) {
  test(`${target.name}: no input makes the parser throw what it must not, hang, or take what it would refuse`, async () => {
    const { takenShare } = await fuzz(target, { seed: SEED, inputs: INPUTS });
    assert.ok(takenShare > 0 && takenShare < 1, `a share of ${takenShare} was taken`);
  });
}

test("every file of the corpus belongs to a target", () => {
  const known = new Set(targets.map(({ name }) => name));
  assert.deepEqual(namesInCorpus().filter((name) => !known.has(name)), []);
  assert.equal(known.size, targets.length);
});

/** A target that is never right with an input that holds a bang. */
function planted(run: Target["run"], seeds = ["a seed"]): Target {
  return { name: "planted", seeds: seeds.map(utf8), tokens: ["!"], run };
}

const isBang = (input: Uint8Array) => input.includes(0x21);

async function foundIn(target: Target, inputs = 2_000): Promise<Found> {
  const error = await fuzz(target, { seed: SEED, inputs }).then(() => undefined, (error: unknown) => error);
  assert.ok(error instanceof Found, `it found nothing: ${error}`);
  return error;
}

test("the fuzzer finds an error that is not allowed, and gives the input", async () => {
  const found = await foundIn(planted((input) => {
    if (isBang(input)) throw new RangeError("a bang");
    return true;
  }));
  assert.ok(isBang(found.input));
  assert.match(found.message, /RangeError: a bang/);
});

test("the fuzzer tells an engine's own TypeError from one that a parser throws for people", () => {
  const nothing = undefined as unknown as string;
  assert.throws(() => tried(() => nothing.length, TypeError), /an engine's own error/);
  assert.throws(() => tried(() => (nothing as unknown as () => void)(), TypeError), /an engine's own error/);
  assert.throws(() => tried(() => [...nothing], TypeError), /an engine's own error/);
  const deep = (): number => 1 + deep();
  assert.throws(() => tried(deep, RangeError), /an engine's own error/);
  const refuse = () => {
    throw new TypeError("it is not JSON");
  };
  assert.equal(tried(refuse, TypeError), undefined);
  assert.throws(() => checkMessage("a".repeat(5_000)), /5000 characters/);
});

test("the fuzzer finds what takes long, and what takes more than linear time", async () => {
  // By both clocks, as the judge takes the smaller.
  const busy = (ms: number) => {
    const [endMs, since] = [performance.now() + ms, process.cpuUsage()];
    const usedMs = () => {
      const { user, system } = process.cpuUsage(since);
      return (user + system) / 1_000;
    };
    while (performance.now() < endMs || usedMs() < ms);
    return true;
  };
  assert.match((await foundIn(planted((input) => isBang(input) ? busy(60) : true))).message, /takes \d+ ms, over 50/);
  const judge = new Judge(planted(({ length }) => busy((length / 16_000) ** 2)));
  await assert.rejects(judge.judgeLong(new Uint8Array(64_000), new Uint8Array(32_000)), /more than linear/);
  await new Judge(planted(({ length }) => busy(length / 4_000))).judgeLong(
    new Uint8Array(64_000),
    new Uint8Array(32_000),
  );
});

test("the fuzzer finds what takes or keeps too much memory", async () => {
  const kept: Uint8Array[] = [];
  const keeps = planted((input) => {
    if (isBang(input)) kept.push(new Uint8Array(4 * 1024 * 1024));
    return true;
  });
  const { message } = await foundIn(keeps, 1_000);
  assert.match(message, /MiB/);
  assert.ok(kept.length * 4 * 1024 * 1024 > MAX_KEPT_BYTES);
  const takes = new Judge(
    planted(({ length }) => length < 64_000 || new Uint8Array(1_200 * length).fill(1).length > 0),
  );
  await assert.rejects(takes.judgeLong(new Uint8Array(64_000), new Uint8Array(32_000)), /it takes \d+ MiB/);
});

test("an input follows from the seed and its number alone", () => {
  for (const target of targets) {
    const pool = startsOf(target);
    for (const index of [0, 7, 499, 1_234]) {
      assert.deepEqual(inputAt(target, pool, SEED, index), inputAt(target, startsOf(target), SEED, index));
    }
    const inputs = Array.from({ length: 50 }, (_, index) => inputAt(target, pool, SEED, index).join());
    assert.ok(new Set(inputs).size > 30, target.name);
  }
});
