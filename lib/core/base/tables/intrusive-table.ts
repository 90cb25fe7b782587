/** An element of a table, found by its number. Several elements may have the same number. */
export interface TableNode<T> {
  readonly number: number;
  /** The next element in its bucket. Only the table uses it. */
  follower: T | undefined;
}

/** Derived: ten per bucket at 10,000 elements, the most flights. */
const BUCKETS = 1024;

/**
 * A hash table with separate chaining; the elements hold the links. Inserting and deleting allocate nothing. Why not a
 * Map: see intrusive-list.ts.
 */
export class IntrusiveTable<T extends TableNode<T>> {
  readonly #buckets: (T | undefined)[] = new Array(BUCKETS).fill(undefined);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** An element with this number. */
  first(number: number): T | undefined {
    return having(number, this.#buckets[number & (BUCKETS - 1)]);
  }

  /** The next element with the number of `one`; `undefined` after the last. */
  after(one: T): T | undefined {
    return having(one.number, one.follower);
  }

  /** Adds an element. It must be in no table. */
  add(one: T): void {
    const bucket = one.number & (BUCKETS - 1);
    one.follower = this.#buckets[bucket];
    this.#buckets[bucket] = one;
    this.#size++;
  }

  /** @returns whether the element was in the table */
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
    // A deleted element must not keep others alive.
    one.follower = undefined;
    this.#size--;
    return true;
  }

  /** A snapshot of all elements, in no order. */
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
