/** Turns rounds into verdicts. */
import type { RuntimeKind } from "../support/node.ts";
import type { Outcome, Row, Series, Target } from "./types.ts";

/** The median; for an even count the mean of the middle two; NaN for no numbers. */
export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The value below which `share` of the numbers lie; NaN for no numbers. */
export function quantile(numbers: readonly number[], share: number): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? NaN;
}

/** Ratios round by round: in a round both turns follow each other. */
export function ratiosOf(ours: readonly number[], theirs: readonly number[]): number[] {
  return ours.map((value, i) => value / theirs[i]!);
}

export const atLeast = (limit: number): Target => ({ is: ">=", limit });
export const atMost = (limit: number): Target => ({ is: "<=", limit });
export const exactly = (limit: number): Target => ({ is: "==", limit });

/** The same target on both runtimes, or one for each. */
export function both(bun: Target, deno = bun): Record<RuntimeKind, Target> {
  return { bun, deno };
}

function isMet(value: number, { is, limit }: Target): boolean {
  return is === ">=" ? value >= limit : is === "<=" ? value <= limit : value === limit;
}

export class Judge {
  readonly #row: Row;
  readonly #outcome: Outcome;

  constructor(row: Row, outcome: Outcome) {
    this.#row = row;
    this.#outcome = outcome;
  }

  /** Adds a round to a contestant's series. */
  add(contestant: string, measure: string, unit: string, value: number): void {
    this.series(contestant, measure, unit).rounds.push(value);
  }

  series(contestant: string, measure: string, unit = ""): Series {
    let found = this.#outcome.series.find((one) => one.contestant === contestant && one.measure === measure);
    if (found === undefined) {
      found = { contestant, measure, unit, rounds: [] };
      this.#outcome.series.push(found);
    }
    return found;
  }

  /**
   * The median of the rounds' ratios. In a round both turns follow each other, so a machine that is slow in some rounds
   * does not change it; it would change a ratio of medians.
   */
  ratio(runtime: RuntimeKind, verdict: string, measure: string, ours: string, theirs: string, missing?: string): void {
    const a = this.series(ours, measure).rounds;
    const b = this.series(theirs, measure).rounds;
    if (a.length === 0 || b.length === 0) {
      return this.omit(runtime, verdict, missing ?? `${a.length === 0 ? ours : theirs} was not measured`);
    }
    const ratios = ratiosOf(a, b);
    this.#tell(runtime, verdict, "x", median(ratios), ratios);
  }

  /** The median of a series. */
  absolute(runtime: RuntimeKind, verdict: string, measure: string, contestant: string): void {
    const { rounds, unit } = this.series(contestant, measure);
    this.#tell(runtime, verdict, unit, median(rounds), rounds);
  }

  omit(runtime: RuntimeKind, measure: string, reason: string): void {
    const target = this.#target(runtime, measure);
    this.#outcome.verdicts.push({ runtime, measure, unit: "", target, status: "skip", reason });
  }

  #tell(runtime: RuntimeKind, measure: string, unit: string, value: number, rounds: readonly number[]): void {
    const target = this.#target(runtime, measure);
    const status = isMet(value, target) ? "pass" : "miss";
    this.#outcome.verdicts.push({ runtime, measure, unit, value, rounds: [...rounds], target, status });
  }

  #target(runtime: RuntimeKind, measure: string): Target {
    const target = this.#row.targets[measure]?.[runtime];
    if (target === undefined) throw new Error(`${this.#row.id} has no target for ${measure}`);
    return target;
  }
}
