import type { CancelSignal } from "../core/base/cancel.ts";
import type { Clock } from "../core/base/clock.ts";
import { PeerError } from "../core/errors.ts";
import type { Channel } from "./channel/channel.ts";

/** The first connection to a new peer, and the asks that wait for it, each within its own time limit. */
export class Opening {
  readonly #peer: string;
  readonly #clock: Clock;
  readonly #opened = Promise.withResolvers<Channel>();
  #waiters = 0;
  #isOver = false;

  constructor(peer: string, clock: Clock) {
    this.#peer = peer;
    this.#clock = clock;
    this.#opened.promise.catch(() => {}); // nobody may be waiting
  }

  get waiters(): number {
    return this.#waiters;
  }

  /** Whether it opened or failed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The first call of `open` or `fail` counts. */
  open(channel: Channel): void {
    this.#isOver = true;
    this.#opened.resolve(channel);
  }

  fail(reason: string): void {
    this.#isOver = true;
    this.#opened.reject(new PeerError(`${this.#peer} cannot be reached: ${reason}`));
  }

  /**
   * Waits, then asks with the remaining time.
   *
   * @param untilMs the end of the wait, if `timeoutMs` does not end it earlier
   * @throws PeerError it failed or did not open in time; the signal's reason when it aborts; the errors of `ask`
   */
  wait<T>(
    { signal, timeoutMs }: { signal?: CancelSignal; timeoutMs: number },
    ask: (channel: Channel, leftMs: number) => Promise<T>,
    untilMs = Infinity,
  ): Promise<T> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const clock = this.#clock;
    this.#waiters++;
    const nowMs = clock.nowMs();
    const deadlineMs = nowMs + timeoutMs;
    return new Promise((resolve, reject) => {
      const leave = (): boolean => {
        if (left) return false;
        left = true;
        this.#waiters--;
        cancelTimer();
        signal?.removeEventListener("abort", aborted);
        return true;
      };
      let left = false;
      const aborted = () => leave() && reject(signal!.reason);
      const cancelTimer = clock.after(Math.min(timeoutMs, untilMs - nowMs), () => {
        if (leave()) reject(new PeerError(`${this.#peer} was not connected in time`));
      });
      signal?.addEventListener("abort", aborted);
      this.#opened.promise.then((channel) => {
        if (leave()) resolve(ask(channel, deadlineMs - clock.nowMs()));
      }, (error) => {
        if (leave()) reject(error);
      });
    });
  }
}
