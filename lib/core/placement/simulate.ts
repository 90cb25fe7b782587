/** Computes which keys would have another owner among other nodes, by the same rendezvous hashing as for real owners. */
import { PrefixHash } from "../base/hash.ts";
import { primaryKey } from "../base/variant-key.ts";
import { type Contender, Rendezvous } from "./rendezvous.ts";

/** The owners of a group's keys among given nodes. */
export class Owners {
  readonly #hash: PrefixHash;
  readonly #names: readonly string[];
  readonly #rendezvous: Rendezvous;

  /** @param contenders in any order */
  constructor(group: string, contenders: readonly Contender[]) {
    // Sorted as in a roster: of two with the same score the first wins.
    const sorted = [...contenders].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    this.#hash = new PrefixHash(`${group}\0`);
    this.#names = sorted.map(({ name }) => name);
    this.#rendezvous = new Rendezvous(sorted);
  }

  /** The name of a key's owner; `undefined`: there are no nodes. @param cacheKey a variant has the owner of its key */
  of(cacheKey: string): string | undefined {
    return this.#names[this.#rendezvous.owner(this.#hash.hash(primaryKey(cacheKey)))];
  }
}

/** The entries that a node holds as their owner, and how many of them would have another owner. Bytes are encoded. */
export interface Moved {
  keys: number;
  bytes: number;
  movedKeys: number;
  movedBytes: number;
}

/** Adds one entry of the node `self` to the sum, unless another node owns it now: that node counts it. */
export function count(
  sum: Moved,
  { key, bytes }: { readonly key: string; readonly bytes: number },
  { self, before, after }: { readonly self: string; readonly before: Owners; readonly after: Owners },
): void {
  if (before.of(key) !== self) return;
  sum.keys++;
  sum.bytes += bytes;
  if (after.of(key) === self) return;
  sum.movedKeys++;
  sum.movedBytes += bytes;
}
