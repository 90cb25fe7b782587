import { type Random, seeded } from "../chaos/keys.ts";

/** Draws that follow from a seed. */
export class Dice {
  readonly #random: Random;

  constructor(seed: number) {
    this.#random = seeded(seed);
  }

  /** From 0 up to, but without, `end`; 0 where `end` is 0. */
  below(end: number): number {
    return Math.floor(this.#random() * end);
  }

  /** Whether a case of this share has come. */
  isIn(share: number): boolean {
    return this.#random() < share;
  }

  pick<T>(among: readonly T[]): T {
    return among[this.below(among.length)]!;
  }

  /** Mostly small, sometimes up to `most`. */
  size(most: number): number {
    return this.below(1 + this.below(1 + this.below(1 + most)));
  }

  bytes(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.below(256);
    return bytes;
  }
}

/** The dice of one input of a run: each input can be made again without those before it. */
export function diceOf(seed: number, index: number): Dice {
  let mixed = Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35);
  mixed ^= mixed >>> 15;
  return new Dice(Math.imul(mixed, 0x27d4eb2f) ^ mixed >>> 13);
}

/** Dice that follow from the input alone, so that a file of the corpus tells the whole story. */
export function diceOfInput(input: Uint8Array): Dice {
  let hash = 0x811c9dc5 ^ input.length;
  for (let i = 0; i < input.length; i += 1 + (input.length >> 8)) hash = Math.imul(hash ^ input[i]!, 0x01000193);
  return new Dice(hash);
}

/** Cuts bytes into chunks: by the first byte one, a few, or many, so that a long input and its half are cut alike. */
export function chunksOf(input: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>[] {
  const dice = diceOfInput(input);
  const most = [1, 3, 16, 256, 1 + input.length][(input[0] ?? 0) % 5]!;
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < input.length;) {
    // At most some 1,000 chunks, or the chunks would take the time that is measured.
    const length = Math.max(dice.below(most + 1), input.length >> 10);
    chunks.push(input.slice(at, at + length));
    at += length;
  }
  return chunks;
}
