/** Runs inputs, and judges what each of them takes. */
import process from "node:process";
import { checkedCorpus } from "./corpus.ts";
import { diceOf } from "./dice.ts";
import { MAX_INPUT_BYTES, mutated, stretched } from "./mutate.ts";
import type { Target } from "./target.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** For an input of up to 64 KiB. Chosen: a hundred times what the slowest parser takes for as many bytes. */
const MAX_MS = 50;
/** A busy machine makes one run slow, but not each of so many. */
const TRIES = 7;
/** Below that, twice as much for twice the bytes is not told from four times as much, and is no harm. Chosen. */
const MEASURABLE_MS = 10;
/** Twice the bytes may take so many times as long. Chosen: between 2 for what is linear, and 4. */
const MAX_GROWTH = 3.2;
/** One input in so many is a long one, of the same part again and again. */
const STRETCHED_EVERY = 500;
/** What one input may allocate. Derived: the longest message between nodes has 17 MiB, and is copied once. */
const MAX_PEAK_BYTES = 48 * 1024 * 1024;
/** What may be kept of all. Derived: the tags of 512 header blocks, 64 KiB each, twice, are the largest bounded cache. */
export const MAX_KEPT_BYTES = 96 * 1024 * 1024;
/** Chosen. */
const MAX_START_BYTES = 4_096;
const MIB = 1024 * 1024;

/** An input for which a property does not hold. */
export class Found extends Error {
  readonly input: Bytes;

  constructor(input: Bytes, what: string, options?: ErrorOptions) {
    super(`${what} (an input of ${input.length} bytes)`, options);
    this.input = input;
  }
}

/** What a run was like, beside that nothing was found. */
export interface Figures {
  readonly inputs: number;
  /** The share of the inputs that the parser took: neither none nor all, or the fuzzing misses something. */
  readonly takenShare: number;
  readonly slowestMs: number;
  readonly keptMiB: number;
  readonly seconds: number;
}

export interface RunOptions {
  readonly seed: number;
  readonly inputs: number;
  /** Called before each input; a watchdog of another thread finds a run that never ends so. */
  readonly onInput?: (index: number) => void;
}

/** Runs the corpus, then so many new inputs. @throws Found */
export async function fuzz(target: Target, { seed, inputs, onInput }: RunOptions): Promise<Figures> {
  const judge = new Judge(target);
  const sinceMs = performance.now();
  for (const input of checkedCorpus(target)) await judge.judge(input);
  const pool = startsOf(target);
  const baseBytes = usedBytes();
  let taken = 0;
  for (let index = 0; index < inputs; index++) {
    onInput?.(index);
    if (index % STRETCHED_EVERY === STRETCHED_EVERY - 1) {
      await judge.judgeLong(...longInputs(target, pool, seed, index));
    } else if (await judge.judge(inputAt(target, pool, seed, index))) taken++;
  }
  const keptBytes = usedBytes() - baseBytes;
  if (keptBytes > MAX_KEPT_BYTES) throw new Found(new Uint8Array(), `${Math.round(keptBytes / MIB)} MiB are kept`);
  return {
    inputs,
    takenShare: taken / inputs,
    slowestMs: judge.slowestMs,
    keptMiB: keptBytes / MIB,
    seconds: (performance.now() - sinceMs) / 1_000,
  };
}

/** The inputs from which new ones are made: not the long ones, of which a run would take hours. */
export function startsOf(target: Target): Bytes[] {
  return checkedCorpus(target).filter(({ length }) => length <= MAX_START_BYTES);
}

/** One input of a run, made from the seed and its number alone. */
export function inputAt(target: Target, pool: readonly Bytes[], seed: number, index: number): Bytes {
  if (index % STRETCHED_EVERY === STRETCHED_EVERY - 1) return longInputs(target, pool, seed, index)[0];
  const dice = diceOf(seed, index);
  if (target.make === undefined || dice.isIn(0.6)) return mutated(dice.pick(pool), target, pool, dice);
  const made = target.make(dice);
  return dice.isIn(0.4) ? made : mutated(made, target, pool, dice);
}

/** A long input, and one of half its length. */
function longInputs(target: Target, pool: readonly Bytes[], seed: number, index: number): [long: Bytes, half: Bytes] {
  const of = (bytes: number) => {
    const dice = diceOf(seed, index);
    return stretched(dice.pick(pool), target.tokens, dice, bytes);
  };
  return [of(MAX_INPUT_BYTES), of(MAX_INPUT_BYTES / 2)];
}

/** Runs inputs of one target and throws at what breaks a rule. */
export class Judge {
  slowestMs = 0;
  readonly #target: Target;

  constructor(target: Target) {
    this.#target = target;
  }

  /** @returns whether the parser took it. @throws Found */
  async judge(input: Bytes): Promise<boolean> {
    const mostMs = MAX_MS * Math.max(1, input.length / MAX_INPUT_BYTES);
    const sinceMs = performance.now();
    const isTaken = await this.#run(input);
    const tookMs = performance.now() - sinceMs;
    if (tookMs <= this.slowestMs) return isTaken;
    const leastMs = Math.min(tookMs, await this.#leastMs(input, tookMs > mostMs ? TRIES : 2));
    this.slowestMs = Math.max(this.slowestMs, leastMs);
    if (leastMs > mostMs) throw new Found(input, `it takes ${leastMs.toFixed(0)} ms, over ${mostMs.toFixed(0)}`);
    return isTaken;
  }

  /** @param half the same with half the length. @throws Found */
  async judgeLong(long: Bytes, half: Bytes): Promise<void> {
    const [before, residentBefore] = [allocatedBytes(), process.memoryUsage.rss()];
    await this.#run(long);
    // Bun counts what was allocated only when it collects: there the pages that were touched tell.
    const peakBytes = Math.max(allocatedBytes() - before, process.memoryUsage.rss() - residentBefore);
    if (peakBytes > MAX_PEAK_BYTES) throw new Found(long, `it takes ${Math.round(peakBytes / MIB)} MiB`);
    await this.judge(long);
    if (await this.#leastMs(long, 1) < MEASURABLE_MS || long.length < 1.8 * half.length) return;
    let [halfMs, longMs] = [Infinity, Infinity];
    // In turns, as what else the machine does comes and goes.
    for (let i = 0; i < 3; i++) {
      halfMs = Math.min(halfMs, await this.#leastMs(half));
      longMs = Math.min(longMs, await this.#leastMs(long));
      if (longMs < MEASURABLE_MS || longMs <= MAX_GROWTH * halfMs) return;
    }
    throw new Found(long, `it takes ${longMs.toFixed(1)} ms, and half of it ${halfMs.toFixed(1)}: more than linear`);
  }

  async #leastMs(input: Bytes, tries = TRIES): Promise<number> {
    let leastMs = Infinity;
    for (let i = 0; i < tries; i++) {
      const [sinceMs, since] = [performance.now(), process.cpuUsage()];
      await this.#run(input);
      // On a busy machine the time of the processor says more than that of the clock.
      const { user, system } = process.cpuUsage(since);
      leastMs = Math.min(leastMs, performance.now() - sinceMs, (user + system) / 1_000);
    }
    return leastMs;
  }

  async #run(input: Bytes): Promise<boolean> {
    try {
      const isTaken = this.#target.run(input);
      return typeof isTaken === "boolean" ? isTaken : await isTaken;
    } catch (error) {
      const why = error instanceof Error ? error.stack ?? error.message : String(error);
      throw new Found(input, why, { cause: error });
    }
  }
}

function allocatedBytes(): number {
  const { heapUsed, external, arrayBuffers } = process.memoryUsage();
  return heapUsed + Math.max(external, arrayBuffers);
}

/** After a collection, where the runtime lets a program ask for one. */
function usedBytes(): number {
  const { Bun, gc } = globalThis as { Bun?: { gc(isSync: boolean): void }; gc?: () => void };
  Bun?.gc(true);
  gc?.();
  return allocatedBytes();
}
