/** Counts work that has begun and not ended. */
export class InFlight {
  #count = 0;
  #onNone: (() => void)[] = [];
  readonly #ended = () => {
    if (--this.#count === 0) { for (const resolve of this.#onNone.splice(0)) resolve(); }
  };

  get count(): number {
    return this.#count;
  }

  /** The same promise, counted until it settles. */
  track<T>(work: Promise<T>): Promise<T> {
    this.#count++;
    work.then(this.#ended, this.#ended);
    return work;
  }

  /** Resolves when nothing is in flight; at once if nothing is now. */
  async none(): Promise<void> {
    if (this.#count > 0) await new Promise<void>((resolve) => this.#onNone.push(resolve));
  }
}
