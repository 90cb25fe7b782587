/** Keys that changed at their origin. Where the bound is reached, too much is invalidated, never too little. */

/** Chosen: 4 MiB of the longest keys. */
const MAX_KEYS = 4_096;

interface Invalidation {
  /** The how manyth of this node: no clock decides what came first. */
  readonly number: number;
  readonly atMs: number;
}

const NEVER: Invalidation = { number: 0, atMs: -Infinity };

/** The last invalidation of each key. */
export class InvalidatedKeys {
  /** The oldest first. */
  readonly #last = new Map<string, Invalidation>();
  /** The latest that was dropped: it holds for all keys. */
  #dropped = NEVER;
  #count = 0;

  /** The value of the key has changed. */
  add(key: string, atMs: number): void {
    this.#last.delete(key);
    this.#last.set(key, { number: ++this.#count, atMs });
    if (this.#last.size <= MAX_KEYS) return;
    const [oldest, invalidation] = this.#last.entries().next().value!;
    this.#last.delete(oldest);
    this.#dropped = invalidation;
  }

  /** How many there were so far: the label of a load that begins now. */
  get count(): number {
    return this.#count;
  }

  /** Whether the key was invalidated since a load with this label began. */
  hasSince(label: number, key: string): boolean {
    return label < this.#count && label < this.#of(key).number;
  }

  /** Whether a value that another node has sent, or a variant, is older than the invalidation of its key. */
  covers(key: string, bornAtMs: number): boolean {
    return this.#count > 0 && bornAtMs < this.#of(key).atMs;
  }

  #of(key: string): Invalidation {
    return this.#last.get(key) ?? this.#dropped;
  }
}
