import QuickLRU from "quick-lru";

/** Keeps results of `make` by their argument; bounded by entries. */
export class Memo<K extends NonNullable<unknown>, V extends NonNullable<unknown>> {
  readonly #made: QuickLRU<K, V>;
  readonly #make: (from: K) => V;

  /** @param maxEntries quick-lru keeps up to twice as many */
  constructor(maxEntries: number, make: (from: K) => V) {
    this.#made = new QuickLRU({ maxSize: maxEntries });
    this.#make = make;
  }

  get(from: K): V {
    let made = this.#made.get(from);
    if (made === undefined) this.#made.set(from, made = this.#make(from));
    return made;
  }
}

/** Keeps one result per object, such as a peer's circuit breaker, for as long as the object lives. */
export class WeakMemo<K extends WeakKey, V extends NonNullable<unknown>> {
  readonly #made = new WeakMap<K, V>();
  readonly #make: (from: K) => V;

  constructor(make: (from: K) => V) {
    this.#make = make;
  }

  get(from: K): V {
    let made = this.#made.get(from);
    if (made === undefined) this.#made.set(from, made = this.#make(from));
    return made;
  }
}
