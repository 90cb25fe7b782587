import type { Clock } from "../clock.ts";

export interface SayOnceOptions {
  readonly clock: Clock;
  /** The most texts to remember. While so many are remembered, no other text is news. */
  readonly maxSaid: number;
  /** How long a text counts as said, in milliseconds. @default forever */
  readonly forMs?: number;
  /**
   * Called with the number of texts that were no news because `maxSaid` was reached. It is called ten minutes after the
   * first of them, so the log gets one line about them. @default no call
   */
  readonly onMore?: (count: number) => void;
}

/** The delay from the first omitted text to the line about all of them. Chosen. */
const TELL_AFTER_MS = 600_000;

/**
 * Remembers logged texts, so that each is logged once. Bounded: texts from strangers must not fill the memory or the
 * log. A forgotten text is news again. If a peer can cause that, the log must be bounded, too.
 */
export class SayOnce {
  readonly #options: SayOnceOptions;
  /** Each text with the time until which it counts as said; the oldest first. */
  readonly #saidUntilMs = new Map<string, number>();
  #leftOut = 0;

  constructor(options: SayOnceOptions) {
    this.#options = options;
  }

  /** Whether the text is new. It counts as said from now on. */
  isNews(text: string): boolean {
    const { clock, maxSaid, forMs = Infinity } = this.#options;
    const nowMs = clock.nowMs();
    for (const [said, untilMs] of this.#saidUntilMs) {
      if (untilMs > nowMs) break;
      this.#saidUntilMs.delete(said);
    }
    if (this.#saidUntilMs.has(text)) return false;
    if (this.#saidUntilMs.size >= maxSaid) {
      this.#leaveOut();
      return false;
    }
    this.#saidUntilMs.set(text, nowMs + forMs);
    return true;
  }

  /** Makes a text news again; without a text, all of them. */
  forget(text?: string): void {
    if (text === undefined) this.#saidUntilMs.clear();
    else this.#saidUntilMs.delete(text);
  }

  #leaveOut(): void {
    const { clock, onMore } = this.#options;
    if (onMore === undefined || ++this.#leftOut > 1) return;
    clock.after(TELL_AFTER_MS, () => {
      onMore(this.#leftOut);
      this.#leftOut = 0;
    });
  }
}
