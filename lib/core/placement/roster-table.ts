/** Many rosters that hold nearly the same nodes, in little room: a bit for each node in each roster. */
import { type Contender, Rendezvous } from "./rendezvous.ts";

/** The nodes of one roster: the bit of a node's place in the table. Immutable. */
export type Members = Uint32Array;

/** Tried before all nodes are looked at. Chosen: the rosters differ little, so one of the first is nearly always in each. */
const FIRST_RANKS = 16;

/** The nodes of all its rosters, each weight of a node for itself. It only grows: the one who uses it begins a new one. */
export class RosterTable {
  readonly #contenders: Contender[] = [];
  /** The place of each, by weight and name. */
  readonly #places = new Map<string, number>();
  /** Over all nodes, in the order of their places; `undefined` since one was added. */
  #rendezvous: Rendezvous | undefined;

  /** How many nodes it has. */
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
   * The names of the owners of a key of this hash in each roster, in their order; `undefined` for a roster without nodes.
   * Two nodes with one score may rank here as they did not in their roster: the caller may ask the wrong one of them.
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

/** A roster that is older than the node's place has no bit for it. */
function has(members: Members, place: number): boolean {
  return ((members[place >>> 5] ?? 0) >>> (place & 31) & 1) === 1;
}
