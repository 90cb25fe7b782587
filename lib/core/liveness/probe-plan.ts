/** Decides which nodes probe which peers. */
import { PrefixHash } from "../base/hash.ts";
import { Rendezvous } from "../placement/rendezvous.ts";

/**
 * How many others probe each peer in each of its groups. Chosen: the work of the cluster grows only with N, and a peer
 * may die together with two of its probers.
 */
export const PROBERS = 3;

const hash = new PrefixHash("poll\0");

interface Ranking {
  /** Sorted. */
  readonly names: readonly string[];
  readonly rendezvous: Rendezvous;
}

/** The plan for the list of one group. */
interface ListPlan extends Ranking {
  readonly probers: ReadonlyMap<string, readonly string[]>;
  readonly targets: ReadonlyMap<string, readonly string[]>;
}

/**
 * The probers of each peer, for the lists of all groups of this node. Immutable.
 *
 * - Each list has its own plan, by rendezvous over its names. All nodes of a group read the same list, so they make the
 *   same plan and know the probers of each peer. One change of the list changes few probers.
 * - A plan over all names would differ from node to node, as each node reads only the lists of its own groups.
 */
export class ProbePlan {
  readonly #plans: ReadonlyMap<string, ListPlan>;
  /** The keys of the plans, list by list. */
  readonly #keys: readonly string[];
  /** All nodes of all lists, sorted, each once. */
  readonly names: readonly string[];

  /**
   * O(N) for a list in which few names changed, O(N²) for a new one. Lists of the same names share their work.
   *
   * @param lists the names in each group, including this node's; each once in a list, in any order
   * @param former the plan before this one, with its lists in the same order; unchanged parts are reused
   */
  constructor(lists: Iterable<readonly string[]>, former?: ProbePlan) {
    const plans = new Map<string, ListPlan>();
    const keys: string[] = [];
    const [before, formerKeys] = former === undefined ? [undefined, []] : [former.#plans, former.#keys];
    for (const list of lists) {
      const names = [...list].sort();
      const key = names.join(" ");
      const near = before?.get(formerKeys[keys.length] ?? key);
      if (!plans.has(key)) plans.set(key, before?.get(key) ?? listPlanOf(names, near));
      keys.push(key);
    }
    this.#plans = plans;
    this.#keys = keys;
    this.names = [...new Set([...plans.values()].flatMap(({ names }) => names))].sort();
  }

  /** The peers that a node probes, each once; empty for a name that is in no list. */
  targetsOf(prober: string): ReadonlySet<string> {
    return new Set([...this.#plans.values()].flatMap(({ targets }) => targets.get(prober) ?? []));
  }

  /**
   * The first `count` probers of a target, by the target's rank: nodes that share a group with it, so they also list it.
   *
   * @param without names to leave out
   */
  probersOf(target: string, count: number, without: ReadonlySet<string> = new Set()): string[] {
    const plans = [...this.#plans.values()].filter(({ names }) => names.includes(target));
    const first = new Set(plans.flatMap((plan) => firstInRank(plan, target, count, without)));
    // The first over all lists are among the first of each list. Ranking them again gives the order over all lists.
    return plans.length === 1 ? [...first] : firstInRank(rankingOf([...first].sort()), target, count, without);
  }
}

/** @param names sorted by code units, as in rosters. A tie goes to the earlier name, so all nodes need the same order */
function rankingOf(names: readonly string[]): Ranking {
  // All weights are 1: a weight is a share of keys, and a heavy peer is no harder to probe.
  return { names, rendezvous: new Rendezvous(names.map((name) => ({ name, weight: 1 }))) };
}

/** @param former a plan for almost the same names, if there is one */
function listPlanOf(names: readonly string[], former: ListPlan | undefined): ListPlan {
  const ranking = rankingOf(names);
  const places = new Map(names.map((name, place) => [name, place]));
  const added = former === undefined ? [] : names.filter((name) => !former.probers.has(name));
  const probers = new Map<string, readonly string[]>();
  const targets = new Map<string, string[]>();
  for (const target of names) {
    const kept = former?.probers.get(target);
    const own = kept?.length === PROBERS && kept.every((prober) => places.has(prober))
      ? withNewcomers(ranking, target, kept, added, places)
      : firstInRank(ranking, target, PROBERS, new Set());
    probers.set(target, own);
    for (const prober of own) {
      const known = targets.get(prober);
      if (known === undefined) targets.set(prober, [target]);
      else known.push(target);
    }
  }
  return { ...ranking, probers, targets };
}

/** The first in rank after new names joined. Only the former first ones and the new names can be among them. */
function withNewcomers(
  { names, rendezvous }: Ranking,
  target: string,
  kept: readonly string[],
  added: readonly string[],
  places: ReadonlyMap<string, number>,
): readonly string[] {
  if (added.length === 0) return kept;
  const candidates = [...kept, ...added].map((name) => places.get(name)!).sort((a, b) => a - b);
  return rendezvous.rankedAmong(hash.hash(target), PROBERS, candidates).map((place) => names[place]!);
}

function firstInRank({ names, rendezvous }: Ranking, target: string, count: number, without: ReadonlySet<string>) {
  return rendezvous.ranked(hash.hash(target), count + 1 + without.size)
    .map((index) => names[index]!)
    .filter((name) => name !== target && !without.has(name))
    .slice(0, count);
}
