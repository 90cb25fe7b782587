/** Decides when to look at a stream: at each bell and a few times after it, but never faster than the pace. */
import type { Clock } from "../../core/base/clock.ts";
import type { NatsStream } from "./stream.ts";

export interface LookoutOptions {
  readonly stream: NatsStream;
  /** The subject or pattern that rings the bell. */
  readonly subject: string;
  readonly clock: Clock;
  /** Looks once. Resolves to whether there was news. */
  readonly look: () => Promise<boolean>;
  /** Called when a look failed. */
  readonly onDoubt: () => void;
}

/**
 * The least time between two looks, in ms. Chosen: a burst of joins makes many changes, and each look costs the leader
 * two requests and each follower a pass over its list.
 */
const PACE_MS = 25;
/** The same after a look without news. Chosen: nobody can make a node ask more than a hundred times a second. */
const PACE_WITHOUT_NEWS_MS = 10;
/**
 * The looks after a bell until one finds news, each as ms of rest before it. Derived: a bell comes well under 1 ms before its
 * message on one server, 1 to 3 ms with three, and perhaps 100 ms under load. A refused write costs all four looks.
 */
const AFTER_BELL_MS: readonly number[] = [0, 10, 50, 200];
/** One more look after news, as a bell between two subscriptions is not heard. Chosen, as above. */
const AFTER_NEWS_MS: readonly number[] = [100];

/** The bell of one subject and the looks that it causes. */
export class Lookout {
  readonly #options: LookoutOptions;
  #unring: (() => void) | undefined;
  /** The remaining looks, each as the rest before it. */
  #looks: readonly number[] = [];
  /** The earliest time of the next look. */
  #earliestMs = -Infinity;
  #cancelLook: (() => void) | undefined;
  #isClosed = false;

  constructor(options: LookoutOptions) {
    this.#options = options;
  }

  /** Listens for the bell from now on. To be called before a question is sent, so that later messages are noticed. */
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
      // If a look takes long, NATS or this node is busy. Then pause as long, so that looks do not add load.
      const endedMs = clock.nowMs();
      const paceMs = isNews ? PACE_MS : PACE_WITHOUT_NEWS_MS;
      this.#earliestMs = endedMs + Math.max(paceMs, endedMs - beganMs);
      if (this.#cancelLook === undefined) this.#plan(isNews ? AFTER_NEWS_MS : this.#looks);
    } catch {
      if (!this.#isClosed) onDoubt();
    }
  }
}
