/**
 * Rendezvous hashing (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998): every node
 * scores every peer for a key, and the highest score owns it. Weighted as in Schindelhauer and Schomaker 2005:
 * -weight / ln(u) keeps the share of each peer in proportion to its weight, and a change of one peer moves only keys
 * that it wins or loses.
 *
 * Only integer arithmetic and the four basic operations on doubles are used, so that Bun (JavaScriptCore) and Deno (V8)
 * agree to the last bit: `Math.log` may differ between engines.
 */
import { fold, PrefixHash, stir, unstir } from "../base/hash.ts";

export interface Contender {
  readonly name: string;
  /** Relative share of the keys; > 0. */
  readonly weight: number;
}

const nameHash = new PrefixHash("", 0x6d757374);

/** The scores of one set of contenders: immutable, made anew when the set changes. */
export class Rendezvous {
  /**
   * Folded, as the hash of a key is before it meets them: once for each, and not for each pair. In fours, as `owner` reads
   * them: the first one fills the last four up.
   */
  readonly #seeds: Int32Array;
  /** Whose seed it is: of two that are the same, the earlier one. Empty where weights decide. */
  readonly #indices: ReadonlyMap<number, number>;
  /** How many contend. */
  readonly size: number;
  /** Undefined when all are equal: then the integer score alone decides, and no logarithm is taken. */
  readonly #weights: Float64Array | undefined;

  /** @param contenders in an order that is the same on every node (ties go to the earlier one) */
  constructor(contenders: readonly Contender[]) {
    this.size = contenders.length;
    const seeds = contenders.map(({ name }) => fold(nameHash.hash(name)));
    this.#seeds = new Int32Array(4 * Math.ceil(this.size / 4)).fill(seeds[0] ?? 0);
    this.#seeds.set(seeds);
    const first = contenders[0]?.weight;
    const isEven = contenders.every(({ weight }) => weight === first);
    this.#weights = isEven ? undefined : Float64Array.from(contenders, ({ weight }) => weight);
    this.#indices = new Map(isEven ? seeds.map((seed, index) => [seed, index] as const).reverse() : []);
  }

  /**
   * The index of the contender that owns a key of this hash; -1 when there is none.
   *
   * It looks for the highest score, not for who has it: JavaScriptCore does that without a branch that a processor may guess
   * wrong (0.8 of the time for 100). No step of the mixing loses anything, so the score tells the seed that it was made of.
   */
  owner(hash: number): number {
    if (this.#weights !== undefined) return this.ranked(hash, 1)[0] ?? -1;
    if (this.size === 0) return -1;
    const seeds = this.#seeds;
    const folded = fold(hash);
    let highest = -0x80000000;
    // By fours: engines look at each turn of a loop whether to stop, and a processor does what it can of four at once.
    for (let i = 0; i < seeds.length; i += 4) {
      const a = signedScore(stir(folded ^ seeds[i]!));
      const b = signedScore(stir(folded ^ seeds[i + 1]!));
      const c = signedScore(stir(folded ^ seeds[i + 2]!));
      const d = signedScore(stir(folded ^ seeds[i + 3]!));
      highest = Math.max(highest, Math.max(Math.max(a, b), Math.max(c, d)));
    }
    return this.#indices.get(folded ^ unstir(fold(highest ^ 0x80000000)))!;
  }

  /** The indices of the `count` highest scores, the owner first; all of them when there are fewer. */
  ranked(hash: number, count: number): number[] {
    const wanted = Math.min(count, this.size);
    const indices: number[] = [];
    const scores: number[] = [];
    const folded = fold(hash);
    for (let i = 0; i < this.size; i++) {
      const score = this.#score(folded, i);
      if (indices.length === wanted && !(score > scores[wanted - 1]!)) continue;
      let at = Math.min(indices.length, wanted - 1);
      for (; at > 0 && score > scores[at - 1]!; at--) {
        scores[at] = scores[at - 1]!;
        indices[at] = indices[at - 1]!;
      }
      scores[at] = score;
      indices[at] = i;
    }
    return indices;
  }

  #score(folded: number, index: number): number {
    const score = signedScore(stir(folded ^ this.#seeds[index]!));
    if (this.#weights === undefined) return score;
    // u in (0, 1), from the same bits in the same order: equal weights rank alike on both paths.
    return this.#weights[index]! / -lnOfFraction((score ^ 0x80000000) >>> 0);
  }
}

/** The order of unsigned 32-bit scores, moved into signed integers: engines compare these without a conversion. */
function signedScore(stirred: number): number {
  return fold(stirred) ^ 0x80000000;
}

const LN2 = 0.6931471805599453;

/**
 * ln((score + 0.5) / 2^32) by halving and the series of atanh. Strictly rising in `score`, and the same on every
 * engine; the error is below 1e-12, far below what moves a key (one step of the score is 2.3e-10 of u).
 */
export function lnOfFraction(score: number): number {
  let m = score + 0.5;
  let exponent = -32;
  if (m >= 1) {
    const shift = 31 - Math.clz32(score);
    m /= 2 ** shift;
    exponent += shift;
  } else {
    m *= 2;
    exponent -= 1;
  }
  const z = (m - 1) / (m + 1);
  const zz = z * z;
  let sum = 0;
  for (let n = 25; n >= 1; n -= 2) sum = sum * zz + 1 / n;
  return 2 * z * sum + exponent * LN2;
}
