import type { Clock } from "./clock.ts";

export interface SayOnceOptions {
  readonly clock: Clock;
  /** Different things that are remembered; while so many are, nothing more is news. */
  readonly maxSaid: number;
  /** How long a thing stays said, in milliseconds. @default for ever */
  readonly forMs?: number;
}

/**
 * Tells what the log has a line about already. What it remembers is bounded, and so is how often it says "news": texts that
 * come from strangers could otherwise fill the memory, or the log.
 */
export class SayOnce {
  readonly #options: SayOnceOptions;
  /** Each text with the time until which it stays said, in the order of saying. */
  readonly #saidUntilMs = new Map<string, number>();

  constructor(options: SayOnceOptions) {
    this.#options = options;
  }

  /** Whether this was not said yet; it counts as said from now on. */
  isNews(text: string): boolean {
    const { clock, maxSaid, forMs = Infinity } = this.#options;
    const nowMs = clock.nowMs();
    for (const [said, untilMs] of this.#saidUntilMs) {
      if (untilMs > nowMs) break;
      this.#saidUntilMs.delete(said);
    }
    if (this.#saidUntilMs.has(text) || this.#saidUntilMs.size >= maxSaid) return false;
    this.#saidUntilMs.set(text, nowMs + forMs);
    return true;
  }

  /** It is over: the next time it is news. Without a text: everything is. */
  forget(text?: string): void {
    if (text === undefined) this.#saidUntilMs.clear();
    else this.#saidUntilMs.delete(text);
  }
}
