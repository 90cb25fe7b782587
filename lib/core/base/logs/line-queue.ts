/** Lines for a reader that may be slow, such as a pipe: written in batches, never waited for, and dropped beyond a bound. */
import type { Clock } from "../clock.ts";

export interface LineQueueOptions {
  /** Writes whole lines. Resolves when the system has taken all of them; rejects when nobody will read any more. */
  readonly write: (lines: string) => Promise<void>;
  /** The most bytes of one write. @default 4,096: what a pipe takes as one, so that processes with one output can share it */
  readonly batchBytes?: number;
  /** The most bytes that wait. @default 1 MiB */
  readonly maxWaitingBytes?: number;
  readonly clock: Clock;
  /** Told once when lines begin to be dropped, and once, with their number, when none are dropped any more. */
  readonly onDropped: (dropped: number | undefined) => void;
  /** Told once that nobody will read any more. */
  readonly onBroken: (error: unknown) => void;
}

/** Chosen: PIPE_BUF of Linux. */
const BATCH_BYTES = 4_096;
/** Chosen: some 5,000 lines. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** Chosen: lines of so long share a write, and nobody who looks on notices. */
const GATHER_MS = 50;

/** Keeps lines until they are written. */
export class LineQueue {
  readonly #options: LineQueueOptions;
  readonly #batchBytes: number;
  readonly #maxWaitingBytes: number;
  /** Each at most a batch long; the last one grows. */
  #batches: string[] = [];
  #waitingBytes = 0;
  #writing: Promise<void> | undefined;
  #cancelGathering: (() => void) | undefined;
  #dropped = 0;
  #isBroken = false;

  constructor(options: LineQueueOptions) {
    this.#options = options;
    this.#batchBytes = options.batchBytes ?? BATCH_BYTES;
    this.#maxWaitingBytes = options.maxWaitingBytes ?? MAX_WAITING_BYTES;
  }

  /** @param line one or more, of ASCII, so that the length is the bytes; with its line feed, and no longer than a batch */
  add(line: string): void {
    if (this.#isBroken) return;
    const { length } = line;
    if (this.#waitingBytes + length > this.#maxWaitingBytes) return this.#drop(line.split("\n").length - 1);
    this.#waitingBytes += length;
    const last = this.#batches.length - 1;
    if (last >= 0 && this.#batches[last]!.length + length <= this.#batchBytes) this.#batches[last] += line;
    else this.#batches.push(line);
    if (this.#writing !== undefined) return;
    if (this.#batches.length > 1) this.#begin();
    else this.#cancelGathering ??= this.#options.clock.after(GATHER_MS, () => this.#begin());
  }

  /** Resolves when all lines are written, or nobody reads any more. Never rejects. */
  async flushed(): Promise<void> {
    this.#begin();
    await this.#writing;
  }

  #begin(): void {
    this.#cancelGathering?.();
    this.#cancelGathering = undefined;
    if (this.#batches.length > 0) this.#writing ??= this.#write();
  }

  async #write(): Promise<void> {
    try {
      for (let batch = this.#batches.shift(); batch !== undefined; batch = this.#batches.shift()) {
        await this.#options.write(batch);
        this.#waitingBytes -= batch.length;
        if (this.#dropped > 0 && this.#waitingBytes <= this.#maxWaitingBytes / 2) this.#tell();
      }
    } catch (error) {
      this.#isBroken = true;
      this.#batches = [];
      this.#waitingBytes = 0;
      this.#options.onBroken(error);
    }
    this.#writing = undefined;
  }

  #drop(lines: number): void {
    if (this.#dropped === 0) this.#options.onDropped(undefined);
    this.#dropped += lines;
  }

  #tell(): void {
    const dropped = this.#dropped;
    this.#dropped = 0;
    this.#options.onDropped(dropped);
  }
}
