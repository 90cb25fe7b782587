/** Which keys would have another owner with other nodes, by the same rendezvous hashing that gives them their owners. */
import { PrefixHash } from "../base/hash.ts";
import { primaryKey } from "../base/variant-key.ts";
import { type Contender, Rendezvous } from "./rendezvous.ts";

/** The owners of a group's keys among some nodes. */
export class Owners {
  readonly #hash: PrefixHash;
  readonly #names: readonly string[];
  readonly #rendezvous: Rendezvous;

  /** @param contenders in any order */
  constructor(group: string, contenders: readonly Contender[]) {
    // As in a roster: of two with one score the first wins.
    const sorted = [...contenders].sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
    this.#hash = new PrefixHash(`${group}\0`);
    this.#names = sorted.map(({ name }) => name);
    this.#rendezvous = new Rendezvous(sorted);
  }

  /** The name of a key's owner; `undefined`: there are no nodes. @param cacheKey a variant goes with its key */
  of(cacheKey: string): string | undefined {
    return this.#names[this.#rendezvous.owner(this.#hash.hash(primaryKey(cacheKey)))];
  }
}

/** What a node holds as owner, and how much of it would have another owner. Bytes are encoded. */
export interface Moved {
  keys: number;
  bytes: number;
  movedKeys: number;
  movedBytes: number;
}

/** Adds one entry of the node `self` to the sum. What it does not own now is no part of it: the owner counts that. */
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
