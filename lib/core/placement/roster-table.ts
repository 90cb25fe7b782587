/** Stores many rosters of nearly the same nodes in little memory: one bit for each node in each roster. */
import { type Contender, Rendezvous } from "./rendezvous.ts";

/** The nodes of one roster, as bits by a node's index in the table. Immutable. */
export type Members = Uint32Array;

/** The ranks to try before all nodes are searched. Chosen: rosters differ little, so each nearly always has one of these. */
const FIRST_RANKS = 16;

/** The nodes of all its rosters; a node with two weights counts as two. The table only grows, so its user must replace it. */
export class RosterTable {
  readonly #contenders: Contender[] = [];
  /** The index of each, by weight and name. */
  readonly #places = new Map<string, number>();
  /** Over all nodes, in the order of their indices. `undefined` after a node was added. */
  #rendezvous: Rendezvous | undefined;

  /** The number of its nodes. */
  get size(): number {
    return this.#contenders.length;
  }

  /** Adds a roster. */
  membersOf(contenders: readonly Contender[]): Members {
    const places = contenders.map((contender) => this.#placeOf(contender));
    const members = new Uint32Array(Math.ceil(this.size / 32));
    for (const place of places) members[place >>> 5]! |= 1 << (place & 31);
    return members;
  }

  /** The same roster without one of its nodes. */
  without(members: Members, contender: Contender): Members {
    const place = this.#placeOf(contender);
    const left = members.slice();
    left[place >>> 5]! &= ~(1 << (place & 31));
    return left;
  }

  /** The nodes of a roster. */
  contendersOf(members: Members): Contender[] {
    return this.#contenders.filter((_, place) => has(members, place));
  }

  /**
   * The name of the owner of a key with this hash in each roster, in order; `undefined` for a roster without nodes. Two
   * nodes with the same score may rank differently here than in their roster: then the caller asks the wrong one.
   */
  *owners(hash: number, rosters: Iterable<Members>): Iterable<string | undefined> {
    const rendezvous = this.#rendezvous ??= new Rendezvous(this.#contenders);
    const ranked = rendezvous.ranked(hash, FIRST_RANKS);
    for (const members of rosters) {
      const place = ranked.find((place) => has(members, place)) ??
        rendezvous.ownerAmong(hash, (place) => has(members, place));
      yield this.#contenders[place]?.name;
    }
  }

  #placeOf({ name, weight }: Contender): number {
    const key = `${weight} ${name}`;
    const known = this.#places.get(key);
    if (known !== undefined) return known;
    this.#rendezvous = undefined;
    this.#places.set(key, this.size);
    return this.#contenders.push({ name, weight }) - 1;
  }
}

/** A roster that is older than the node's index has no bit for it. */
function has(members: Members, place: number): boolean {
  return ((members[place >>> 5] ?? 0) >>> (place & 31) & 1) === 1;
}
