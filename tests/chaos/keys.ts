/** The keys of the load, how often each is asked for, and the value that each must have. */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

export const valueBytes = 1_024;

/** By rank: 0 is the most popular. */
export function keyOf(rank: number): string {
  return `key-${rank}`;
}

const made = new Map<string, Buffer>();
const maxMade = 50_000;

/** 1 KiB derived from the key: SHA-256 over the key and a counter, so that every byte can be checked. */
export function valueOf(key: string): Buffer {
  const known = made.get(key);
  if (known !== undefined) return known;
  const blocks: Buffer[] = [];
  for (let i = 0; i < valueBytes / 32; i++) blocks.push(createHash("sha256").update(`${key}\0${i}`).digest());
  const value = Buffer.concat(blocks);
  if (made.size < maxMade) made.set(key, value);
  return value;
}

export type Random = () => number;

/** Mulberry32 (Tommy Ettinger, 2017): the same load at each run of the same seed. Gives [0, 1). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Draws ranks with a probability in proportion to 1 / (rank + 1): Zipf's law with exponent 1.0. */
export class Zipf {
  readonly #cumulated: Float64Array;
  readonly #random: Random;

  constructor(count: number, random: Random) {
    this.#random = random;
    this.#cumulated = new Float64Array(count);
    let sum = 0;
    for (let rank = 0; rank < count; rank++) this.#cumulated[rank] = sum += 1 / (rank + 1);
  }

  draw(): number {
    const cumulated = this.#cumulated;
    const wanted = this.#random() * cumulated[cumulated.length - 1]!;
    let low = 0;
    let high = cumulated.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (cumulated[middle]! > wanted) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
