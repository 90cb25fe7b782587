/** How many retries a quiet time can save for the next fault. A node begins with this many. Chosen. */
const MAX_SAVED = 10;

/**
 * Bounds retries to a share of the loads, so that retries do not multiply the load when everything fails (Finagle's
 * RetryBudget).
 */
export class RetryBudget {
  readonly #perLoad: number;
  #saved = MAX_SAVED;

  /** @param perLoad how much of a retry each load earns */
  constructor(perLoad: number) {
    this.#perLoad = perLoad;
  }

  /** Counts one more load. */
  earn(): void {
    this.#saved = Math.min(MAX_SAVED, this.#saved + this.#perLoad);
  }

  /** Takes one retry, if one is left. */
  spend(): boolean {
    if (this.#saved < 1) return false;
    this.#saved--;
    return true;
  }
}
