/**
 * Who polls whom, and who is asked about a suspect: by rendezvous over all names, so that every node that sees the same
 * names makes the same plan, each peer has its pollers whoever comes and goes, and one change moves few of them.
 */
import { PrefixHash } from "../base/hash.ts";
import { Rendezvous } from "../placement/rendezvous.ts";

/** So many others poll each peer: work for the cluster is O(N), and two of them may die together with it. */
export const POLLERS = 3;

const hash = new PrefixHash("poll\0");

/** The plan for one set of names: immutable, made anew when the set changes, in O(N) per name. */
export class ProbePlan {
  readonly #names: readonly string[];
  readonly #rendezvous: Rendezvous;
  readonly #wards = new Map<string, string[]>();

  /** @param names of all nodes, oneself among them; each once, in any order */
  constructor(names: Iterable<string>) {
    // Code units, as in rosters: ties go to the earlier one, so the order must be the same everywhere.
    this.#names = [...names].sort();
    // A peer's weight is its share of the keys; polling is no heavier for a big one.
    this.#rendezvous = new Rendezvous(this.#names.map((name) => ({ name, weight: 1 })));
    for (const name of this.#names) {
      for (const poller of this.others(name, POLLERS)) {
        const wards = this.#wards.get(poller);
        if (wards === undefined) this.#wards.set(poller, [name]);
        else wards.push(name);
      }
    }
  }

  /** All nodes of the plan, sorted. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** Whom this node polls; empty for a name that is not in the plan. */
  wardsOf(poller: string): readonly string[] {
    return this.#wards.get(poller) ?? [];
  }

  /** The first `count` others in the rank of `name`, those in `without` left out. */
  others(name: string, count: number, without: ReadonlySet<string> = new Set()): string[] {
    return this.#rendezvous.ranked(hash.hash(name), count + 1 + without.size)
      .map((index) => this.#names[index]!)
      .filter((other) => other !== name && !without.has(other))
      .slice(0, count);
  }
}
