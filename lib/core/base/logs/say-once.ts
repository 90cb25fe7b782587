import type { Clock } from "../clock.ts";

export interface SayOnceOptions {
  readonly clock: Clock;
  /** The most texts that are remembered. While they are, no other text is news. */
  readonly maxSaid: number;
  /** How long a text counts as said, in milliseconds. @default for ever */
  readonly forMs?: number;
  /**
   * Told how many texts were no news because so many are remembered: ten minutes after the first of them, so that the log
   * gets one line about them. @default nobody
   */
  readonly onMore?: (count: number) => void;
}

/** When the texts that were left out are told, after the first of them. Chosen. */
const TELL_AFTER_MS = 600_000;

/**
 * Remembers which texts were logged, so that each is logged once. Bounded: texts from strangers must fill neither the memory
 * nor the log. A forgotten text is news again, so a text that a peer can make it forget needs a bounded log, too.
 */
export class SayOnce {
  readonly #options: SayOnceOptions;
  /** Each text and until when it counts as said, in the order of saying. */
  readonly #saidUntilMs = new Map<string, number>();
  #leftOut = 0;

  constructor(options: SayOnceOptions) {
    this.#options = options;
  }

  /** Whether the text was not said yet. It counts as said from now on. */
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
