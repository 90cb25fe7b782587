/**
 * Feeds the parsers with a million inputs each, and watches what they throw, how long they take and what they keep.
 *
 * `bun run tests/fuzz/main.ts [--target name]… [--inputs n] [--seed n]`
 *
 * The exit code is 0 when nothing was found, 1 when something was: the input is then a file of tests/fuzz/corpus, and the
 * tests fail until it is mended. 2 for a wrong option.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { keep } from "./corpus.ts";
import { inputAt, startsOf } from "./engine.ts";
import { targets } from "./targets.ts";
import type { Target } from "./target.ts";
import type { Outcome, Task } from "./worker.ts";

/** One input that takes so long is a hang. Chosen: far above what a starved machine makes of some milliseconds. */
const HANG_MS = 30_000;
const LOOK_EVERY_MS = 1_000;

function fail(message: string): never {
  console.error(`${message}\nTargets: ${targets.map(({ name }) => name).join(" ")}`);
  process.exit(2);
}

function options(): { chosen: readonly Target[]; inputs: number; seed: number } {
  let values;
  try {
    ({ values } = parseArgs({
      args: process.argv.slice(2).filter((arg) => arg !== "--"),
      options: {
        target: { type: "string", multiple: true },
        inputs: { type: "string", default: "1000000" },
        seed: { type: "string", default: "1" },
      },
    }));
  } catch (error) {
    fail((error as Error).message);
  }
  const [inputs, seed] = [Number(values.inputs), Number(values.seed)];
  if (!Number.isInteger(inputs) || inputs < 1 || inputs > 2 ** 31 - 1) fail("--inputs must be a whole number from 1");
  if (!Number.isInteger(seed)) fail("--seed must be a whole number");
  const unknown = values.target?.find((name) => !targets.some((target) => target.name === name));
  if (unknown !== undefined) fail(`there is no target ${unknown}`);
  return { chosen: targets.filter(({ name }) => values.target?.includes(name) ?? true), inputs, seed };
}

/** Resolves to what came of it; a thread that does not get on is ended. */
function run(target: Target, inputs: number, seed: number): Promise<Outcome> {
  const progress = new SharedArrayBuffer(4);
  const at = new Int32Array(progress);
  const workerData: Task = { name: target.name, seed, inputs, progress };
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { workerData });
  return new Promise<Outcome>((resolve, reject) => {
    let [last, sinceMs] = [0, performance.now()];
    const timer = setInterval(() => {
      const index = Atomics.load(at, 0);
      if (index !== last) [last, sinceMs] = [index, performance.now()];
      if (performance.now() - sinceMs < HANG_MS) return;
      const input = inputAt(target, startsOf(target), seed, index);
      end({ kind: "found", input, what: `input ${index} takes more than ${HANG_MS} ms` });
    }, LOOK_EVERY_MS);
    const end = (outcome: Outcome) => {
      clearInterval(timer);
      resolve(outcome);
      void worker.terminate();
    };
    worker.once("message", end);
    worker.once("error", (error) => {
      clearInterval(timer);
      reject(error);
    });
  });
}

const { chosen, inputs, seed } = options();
let isClean = true;
console.log(`${inputs} inputs each, seed ${seed}`);
for (const target of chosen) {
  const outcome = await run(target, inputs, seed);
  if (outcome.kind === "found") {
    isClean = false;
    console.log(`${target.name}: FOUND: ${outcome.what}\n  the input: ${keep(target.name, outcome.input)}`);
    continue;
  }
  const { seconds, takenShare, slowestMs, keptMiB } = outcome.figures;
  console.log(
    `${target.name.padEnd(14)} ${seconds.toFixed(1).padStart(7)} s, ${
      (takenShare * 100).toFixed(1).padStart(5)
    } % taken, ` +
      `slowest ${slowestMs.toFixed(1)} ms, ${keptMiB.toFixed(1)} MiB kept`,
  );
}
process.exit(isClean ? 0 : 1);
