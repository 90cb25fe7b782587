import type { Clock } from "../../core/base/clock.ts";
import { LineQueue } from "../../core/base/logs/line-queue.ts";
import type { Log } from "../../core/base/log.ts";
import { withTimeout } from "../../core/base/time/timeout.ts";

/** How long a stopping program waits for the reader of its access log. Chosen: one that reads at all takes far less. */
const FLUSH_MS = 1_000;

/** Queues the access log of a program for its reader. */
export class AccessQueue {
  readonly #clock: Clock;
  readonly #lines: LineQueue;

  /** @param write as of LineQueue */
  constructor(write: (lines: string) => Promise<void>, { clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = clock;
    this.#lines = new LineQueue({
      write,
      clock,
      onDropped(dropped) {
        if (dropped === undefined) log.warn("the access log is read too slowly: lines are dropped");
        else log.warn(`the access log is whole again: ${dropped} lines were dropped`, {}, { dropped });
      },
      onBroken: (error) => log.error("the access log ends here, as nobody reads it any more", { error }),
    });
  }

  /** Takes one or more lines. Never waits. */
  readonly write = (lines: string): void => this.#lines.add(lines);

  /** Resolves when all is written, or its reader has taken too long. */
  async flushed(): Promise<void> {
    await withTimeout(this.#clock, FLUSH_MS, () => this.#lines.flushed(), undefined);
  }
}
