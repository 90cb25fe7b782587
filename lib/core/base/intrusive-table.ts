/** What is in a table: found by a number, which others may have as well. */
export interface TableNode<T> {
  readonly number: number;
  /** For the table. */
  follower: T | undefined;
}

/** For some 10,000 at once, ten to a bucket. */
const BUCKETS = 1024;

/**
 * A hash table with separate chaining through the things themselves, for what is in the air: it is made once, and neither
 * inserting nor deleting allocates anything. Why not a Map: see linked.ts.
 */
export class IntrusiveTable<T extends TableNode<T>> {
  readonly #buckets: (T | undefined)[] = new Array(BUCKETS).fill(undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** One that has this number. */
  first(number: number): T | undefined {
    return having(number, this.#buckets[number & (BUCKETS - 1)]);
  }

  /** Another one with the number of `one`, until all have been seen. */
  after(one: T): T | undefined {
    return having(one.number, one.follower);
  }

  /** Adds one that is in no table. */
  add(one: T): void {
    const bucket = one.number & (BUCKETS - 1);
    one.follower = this.#buckets[bucket];
    this.#buckets[bucket] = one;
    this.#size++;
  }

  /** @returns whether it was there */
  delete(one: T): boolean {
    const bucket = one.number & (BUCKETS - 1);
    let before: T | undefined;
    let at = this.#buckets[bucket];
    while (at !== one) {
      if (at === undefined) return false;
      before = at;
      at = at.follower;
    }
    if (before === undefined) this.#buckets[bucket] = one.follower;
    else before.follower = one.follower;
    // It is not to keep the others.
    one.follower = undefined;
    this.#size--;
    return true;
  }

  /** All of this moment, in no order. */
  all(): T[] {
    const all: T[] = [];
    for (const first of this.#buckets) for (let one = first; one !== undefined; one = one.follower) all.push(one);
    return all;
  }
}

function having<T extends TableNode<T>>(number: number, from: T | undefined): T | undefined {
  let one = from;
  while (one !== undefined && one.number !== number) one = one.follower;
  return one;
}
