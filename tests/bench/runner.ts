/** Runs rows, each within its time, and always ends the processes that a row started. */
import process from "node:process";
import type { Defer } from "../support/test.ts";
import { type Bench, type Go, type Outcome, type Row, type RowResult, Skip, type Verdict } from "./types.ts";

/** For `--quick`: the rest of the minute is for the build and the clean-up. */
const maxQuickMs = 56_000;
const leastLeftMs = 500;

export interface RunnerOptions {
  readonly quick: boolean;
  readonly rounds: number;
  readonly loadRounds: number;
  readonly turnMs: number;
  readonly warmUpMs: number;
  readonly say: (text: string) => void;
  /** Whether rows share the time of `--quick`. */
  readonly isShared: boolean;
}

export class Runner {
  readonly #options: RunnerOptions;
  readonly #sinceMs = performance.now();
  readonly #shared = new Map<string, Promise<unknown>>();
  /** Clean-ups for the end of a row or of the run; the last one first. */
  readonly #undos: { row: (() => unknown)[]; whole: (() => unknown)[] } = { row: [], whole: [] };
  isStopping = false;

  constructor(options: RunnerOptions) {
    this.#options = options;
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      process.once(signal, async () => {
        this.isStopping = true;
        await undo(this.#undos.row);
        await this.end();
        process.exit(130);
      });
    }
  }

  get tookMs(): number {
    return performance.now() - this.#sinceMs;
  }

  /** Undone by `end`. */
  readonly deferWhole: Defer = (one) => this.#undos.whole.push(one);

  end(): Promise<void> {
    return undo(this.#undos.whole);
  }

  /** Runs a row. A failure is reported, and the other rows go on. `next` decides whether its stage's servers live on. */
  async run(row: Row, next: Row | undefined, go: Go): Promise<RowResult> {
    const { quick, rounds, loadRounds, turnMs, warmUpMs, say, isShared } = this.#options;
    const beganMs = performance.now();
    const outcome: Outcome = { series: [], verdicts: [], errors: 0, checked: 0, notes: [] };
    // A row that timed out may still be at work: its next processes are ended at once, and its next step ends it.
    let isOver = false;
    const bench: Bench = {
      quick,
      rounds,
      loadRounds,
      turnMs,
      warmUpMs,
      go,
      defer: (one) => isOver || this.isStopping ? void one() : this.#undos.row.push(one),
      shared: (name, make) => this.#share(name, make),
      step: (text) => {
        if (isOver || this.isStopping) throw new Skip("given up");
        say(`${row.id}: ${text}`);
      },
    };
    const leftMs = quick && isShared ? maxQuickMs - this.tookMs : Infinity;
    const limitMs = Math.min(leftMs, 1_000 * row.maxSeconds[quick ? 0 : 1] * Math.max(1, rounds / (quick ? 1 : 5)));
    let reason: string | undefined;
    let isMissed = false;
    bench.step("starting");
    try {
      if (leftMs < leastLeftMs) throw new Skip("--quick had no time left");
      await within(limitMs, row.run(bench, outcome), quick);
    } catch (error) {
      isMissed = !(error instanceof Skip);
      reason = isMissed ? `failed: ${(error as Error).message}` : (error as Error).message;
      if (isMissed) outcome.errors++;
    }
    isOver = true;
    if (reason !== undefined || row.stage === undefined || row.stage !== next?.stage) {
      await undo(this.#undos.row);
      this.#shared.clear();
    }
    const { id, what, how } = row;
    const verdicts = judged(row, outcome, reason, isMissed);
    if (reason?.includes("\n")) outcome.notes.push(reason);
    return { ...outcome, verdicts, id, what, how, tookMs: performance.now() - beganMs };
  }

  #share<T>(name: string, make: () => Promise<T>): Promise<T> {
    if (!this.#shared.has(name)) this.#shared.set(name, make());
    return this.#shared.get(name) as Promise<T>;
  }
}

/** @throws when it takes too long: a Skip where time was short, an Error where it should have been enough */
async function within(limitMs: number, running: Promise<void>, isShort: boolean): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const reason = `not done within ${(limitMs / 1_000).toFixed(0)} s`;
    timer = setTimeout(() => reject(isShort ? new Skip(reason) : new Error(reason)), limitMs);
  });
  try {
    await Promise.race([running, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Every target of the row gets a verdict: a missing figure is a skip or a miss, and no figure passes beside an error. */
function judged(row: Row, { verdicts, errors }: Outcome, reason: string | undefined, isMissed: boolean): Verdict[] {
  const untold = Object.entries(row.targets).flatMap(([measure, byRuntime]) =>
    Object.entries(byRuntime)
      .filter(([runtime]) => !verdicts.some((one) => one.measure === measure && one.runtime === runtime))
      .map(([runtime, target]): Verdict => ({
        runtime: runtime as Verdict["runtime"],
        measure,
        unit: "",
        target,
        status: isMissed ? "miss" : "skip",
        reason: reason?.split("\n")[0] ?? "not measured",
      }))
  );
  const told = verdicts.map((one): Verdict =>
    errors > 0 && one.status === "pass" ? { ...one, status: "miss", reason: `${errors} errors` } : one
  );
  return [...told, ...untold];
}

async function undo(all: (() => unknown)[]): Promise<void> {
  for (const one of all.splice(0).reverse()) {
    try {
      await one();
    } catch (error) {
      process.stderr.write(`could not clean up: ${(error as Error).message}\n`);
    }
  }
}
