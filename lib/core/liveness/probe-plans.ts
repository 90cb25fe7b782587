import { ProbePlan } from "./probe-plan.ts";

/**
 * Who polls whom where nodes serve different groups: one plan for each group, over those who are listed in it.
 *
 * Whom a node can choose among depends on what it sees: it reads the lists of its own groups and no others, so it knows
 * of another peer only the groups that both serve. Over all names that it has heard of it would choose pollers and voters
 * that have never heard of the peer, and each node would choose others. But all nodes of one group read the same list of
 * it, and so make the same plan for it:
 *
 * - A peer has its POLLERS in each of its groups, and every node of that group knows who they are: also when one of them
 *   falls silent, and whoever polls it is to poll its wards. Where all serve the same groups the plans are the same, and
 *   nobody is polled more often than in one group; a peer of k groups has k times as many pollers at the most.
 * - Who is asked about a suspect need not be the same for all who ask. They are taken, in the suspect's rank, out of all
 *   groups that the one who asks shares with it: each of these lists the suspect, and can say. And it is from these groups
 *   that it is evicted.
 *
 * Immutable, made anew when a list changes; lists of the same names share a plan.
 */
export class ProbePlans {
  readonly #plans: ReadonlyMap<string, ProbePlan>;
  readonly #names: readonly string[];

  /**
   * O(N) per name of a list that is new.
   *
   * @param lists the names in each group, oneself among them; each once in a list, in any order
   * @param former plans of before, to be taken over where a list has not changed
   */
  constructor(lists: Iterable<readonly string[]>, former?: ProbePlans) {
    const plans = new Map<string, ProbePlan>();
    const before = former === undefined ? undefined : former.#plans;
    for (const list of lists) {
      const names = [...list].sort();
      const key = names.join(" ");
      if (!plans.has(key)) plans.set(key, before?.get(key) ?? new ProbePlan(names));
    }
    this.#plans = plans;
    this.#names = [...new Set([...plans.values()].flatMap((plan) => plan.names))].sort();
  }

  /** All nodes of all groups, sorted, each once. */
  get names(): readonly string[] {
    return this.#names;
  }

  /** Whom this node polls, each once; empty for a name that is in no group. */
  wardsOf(poller: string): ReadonlySet<string> {
    return new Set([...this.#plans.values()].flatMap((plan) => plan.wardsOf(poller)));
  }

  /** The first `count` others in the rank of `name` who share a group with it, those in `without` left out. */
  others(name: string, count: number, without: ReadonlySet<string> = new Set()): string[] {
    const plans = [...this.#plans.values()].filter((plan) => plan.names.includes(name));
    const first = new Set(plans.flatMap((plan) => plan.others(name, count, without)));
    // The first of all are among the first of each; their order is that of one plan of them.
    return plans.length === 1 ? [...first] : new ProbePlan([name, ...first]).others(name, count);
  }
}
