/**
 * The model: random interleavings against a plain specification. MODEL_RUNS says how many. A run that fails is shrunk
 * and printed; its seed is all that is needed to see it again (`planOf`, `tell`).
 */
import assert from "node:assert/strict";
import { test } from "../../../support/test.ts";
import { planOf, type Result, run, shrink, type Tally, tell } from "./model.ts";
import { type Fault, FAULTS } from "./faults.ts";

/** Chosen: 4 s. 100,000 take two minutes: `bun run tests/core/invalidation/model/runs.ts 100000`. */
const RUNS = Number(globalThis.process.env.MODEL_RUNS ?? 3_000);
/** So many runs at most until a planted fault is found. */
const MAX_RUNS_TO_A_FAULT = 1_000;
const TIMEOUT_MS = 60_000 + 20 * RUNS;

test(
  "no answer is one that the rules forbid, and all nodes end with what is newest",
  { timeoutMs: TIMEOUT_MS },
  async () => {
    const first = firstSeed();
    const total: Tally = { answers: 0, hits: 0, stale: 0, nothing: 0, errors: 0 };
    for (let seed = first; seed < first + RUNS; seed++) {
      const { violation, tally } = await run(planOf(seed));
      for (const name of Object.keys(total) as (keyof Tally)[]) total[name] += tally[name];
      if (violation === undefined) continue;
      const small = await shrink(planOf(seed));
      assert.fail(`${violation}\n${await tell(small)}`);
    }
    // A cache that keeps nothing breaks no rule.
    assert.ok(
      total.hits > 0.25 * total.answers,
      `${total.hits} hits among ${total.answers} answers, from seed ${first}`,
    );
    assert.ok(total.stale > 0.02 * total.answers, `${total.stale} stale ones among ${total.answers} answers`);
  },
);

test("a run depends on its seed alone", async () => {
  for (let seed = 1; seed <= 50; seed++) assert.equal(await tell(planOf(seed)), await tell(planOf(seed)));
});

for (const fault of FAULTS) {
  test(`the model finds a fault of rule ${fault.rule}: ${fault.name}`, { timeoutMs: 120_000 }, async () => {
    for (let seed = 1; seed <= MAX_RUNS_TO_A_FAULT; seed++) {
      const { violation } = await runWith(fault, seed);
      if (violation === undefined) continue;
      const { violation: without } = await run(planOf(seed, fault.theme));
      return assert.equal(without, undefined, "without the fault the same run is allowed");
    }
    assert.fail(`not in ${MAX_RUNS_TO_A_FAULT} runs`);
  });
}

async function runWith({ plant, mistakes, theme }: Fault, seed: number): Promise<Result> {
  const undo = plant?.();
  try {
    return await run(planOf(seed, theme), { mistakes });
  } finally {
    undo?.();
  }
}

/** Other runs each day: the same ones would find nothing new. */
function firstSeed(): number {
  return Math.floor(Date.now() / 86_400_000) * 100_000;
}
