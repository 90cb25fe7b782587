/**
 * A queue of lines for a slow reader, such as a pipe. It writes in batches, blocks no caller, and drops lines over a
 * bound.
 */
import type { Clock } from "../clock.ts";

export interface LineQueueOptions {
  /** Writes whole lines. Resolves when the system has taken them all; rejects when the reader is gone. */
  readonly write: (lines: string) => Promise<void>;
  /** The most bytes of one write. @default 4,096: a pipe writes them undivided, so several processes can share one output */
  readonly batchBytes?: number;
  /** The most bytes that wait. @default 1 MiB */
  readonly maxWaitingBytes?: number;
  readonly clock: Clock;
  /** Called once when dropping begins, and once with the number of dropped lines when it ends. */
  readonly onDropped: (dropped: number | undefined) => void;
  /** Called once when the reader is gone. */
  readonly onBroken: (error: unknown) => void;
}

/** Chosen: PIPE_BUF of Linux. */
const BATCH_BYTES = 4_096;
/** Chosen: some 5,000 lines. */
const MAX_WAITING_BYTES = 1024 * 1024;
/** Chosen: lines of 50 ms share a write; a person who watches does not notice the delay. */
const GATHER_MS = 50;

/** Keeps lines until they are written. */
export class LineQueue {
  readonly #options: LineQueueOptions;
  readonly #batchBytes: number;
  readonly #maxWaitingBytes: number;
  /** Each at most `batchBytes` long. New lines go to the last one. */
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

  /** @param line one or more lines in ASCII (so length equals bytes), with line feeds, no longer than a batch */
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

  /** Resolves when all lines are written or the reader is gone. Never rejects. */
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
