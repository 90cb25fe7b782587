/** Many runs of the model: `bun run tests/core/invalidation/model/runs.ts [runs] [first seed]`. */
import { kindOf, planOf, run, shrink, tell } from "./model.ts";

/** Chosen: shrinking takes a second. */
const MAX_TOLD = 8;
const [runs = "100000", first = "1"] = globalThis.process.argv.slice(2);
const total = { answers: 0, hits: 0, stale: 0, nothing: 0, errors: 0, steps: 0, failed: 0 };
const sinceMs = performance.now();
const kinds = new Map<string, number>();
for (let seed = Number(first); seed < Number(first) + Number(runs); seed++) {
  const plan = planOf(seed);
  const { violation, steps, tally } = await run(plan);
  total.steps += steps;
  for (const name of ["answers", "hits", "stale", "nothing", "errors"] as const) total[name] += tally[name];
  if (violation === undefined) continue;
  total.failed++;
  const kind = kindOf(violation);
  kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  // One of each kind is told.
  if (kinds.get(kind)! > 1 || kinds.size > MAX_TOLD) continue;
  const small = await shrink(plan);
  console.log(`${await tell(small)}\n`);
}
const tookMs = performance.now() - sinceMs;
console.log(total, `${Math.round(tookMs)} ms, ${(tookMs / Number(runs)).toFixed(2)} ms a run`);
console.log([...kinds].sort((a, b) => b[1] - a[1]).slice(0, 20));
globalThis.process.exitCode = total.failed === 0 ? 0 : 1;
