/** When to look at a stream: at each bell, and a few times after it, but never more often than the pace. */
import type { Clock } from "../../core/base/clock.ts";
import type { NatsStream } from "./stream.ts";

export interface LookoutOptions {
  readonly stream: NatsStream;
  /** What rings the bell: a subject or a pattern. */
  readonly subject: string;
  readonly clock: Clock;
  /** Looks once. Resolves to whether there was news. */
  readonly look: () => Promise<boolean>;
  /** A look failed. */
  readonly onDoubt: () => void;
}

/**
 * Least time between two looks, in ms. Chosen: a burst of joins is many changes, and each look costs the leader two
 * requests and each follower a pass over its list.
 */
const PACE_MS = 25;
/** The same after a look that found nothing. Chosen: nobody can have a node ask more than a hundred times a second. */
const PACE_WITHOUT_NEWS_MS = 10;
/**
 * The looks after a bell, until one finds something, in ms of rest before each. Derived: a bell is ahead of its message by
 * well under 1 ms on one server and by 1 to 3 ms among three; a loaded one may take 100 ms. A refused write costs all four.
 */
const AFTER_BELL_MS: readonly number[] = [0, 10, 50, 200];
/** After news one look more: a bell that would have rung between two subscriptions is not heard. Chosen, as above. */
const AFTER_NEWS_MS: readonly number[] = [100];

/** The bell of one subject, and the looks that follow from it. */
export class Lookout {
  readonly #options: LookoutOptions;
  #unring: (() => void) | undefined;
  /** The looks that are still to come, each with its rest before it. */
  #looks: readonly number[] = [];
  /** No look before then. */
  #earliestMs = -Infinity;
  #cancelLook: (() => void) | undefined;
  #isClosed = false;

  constructor(options: LookoutOptions) {
    this.#options = options;
  }

  /** Hears the bell from now on. To be called before a question is sent: what is published after it is then heard of. */
  listen(): void {
    if (this.#isClosed) return;
    const { stream, subject } = this.#options;
    this.#unring ??= stream.ring(subject, () => {
      this.#unring = undefined;
      this.#plan(AFTER_BELL_MS);
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#cancelLook?.();
    this.#unring?.();
  }

  #plan(looks: readonly number[]): void {
    const [restMs, ...later] = looks;
    this.#cancelLook?.();
    this.#cancelLook = undefined;
    if (restMs === undefined || this.#isClosed) return;
    this.#looks = later;
    const { clock } = this.#options;
    const waitMs = Math.max(restMs, this.#earliestMs - clock.nowMs());
    const begin = (): void => {
      this.#cancelLook = undefined;
      void this.#answerBell();
    };
    if (waitMs <= 0) begin();
    else this.#cancelLook = clock.after(waitMs, begin);
  }

  async #answerBell(): Promise<void> {
    const { clock, look, onDoubt } = this.#options;
    const beganMs = clock.nowMs();
    this.#earliestMs = beganMs + PACE_MS;
    this.listen();
    try {
      const isNews = await look();
      // Where a look takes long, NATS or this node is busy: the pause is as long, so that looks do not add to it.
      const endedMs = clock.nowMs();
      const paceMs = isNews ? PACE_MS : PACE_WITHOUT_NEWS_MS;
      this.#earliestMs = endedMs + Math.max(paceMs, endedMs - beganMs);
      if (this.#cancelLook === undefined) this.#plan(isNews ? AFTER_NEWS_MS : this.#looks);
    } catch {
      if (!this.#isClosed) onDoubt();
    }
  }
}
