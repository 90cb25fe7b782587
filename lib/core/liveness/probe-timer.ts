import type { Clock } from "../base/clock.ts";

/** A beat that is due within this share of the interval can be taken early. */
const EARLY_SHARE = 0.5;

export interface BeatOptions {
  readonly clock: Clock;
  /** From 0 to 1, as Math.random. */
  readonly random: () => number;
  readonly intervalMs: number;
  /** Each interval is shortened by a random part of it, up to this share. */
  readonly jitter: number;
  /** What is done at each beat, with the time at which it was due. */
  readonly act: (dueMs: number) => void;
}

/** One timer for all that a node does again and again: an idle process pays for each time that it wakes. */
export class ProbeTimer {
  readonly #options: BeatOptions;
  #cancel: (() => void) | undefined;
  #dueMs = 0;
  #count = 0;

  constructor(options: BeatOptions) {
    this.#options = options;
  }

  /** Beats so far. */
  get count(): number {
    return this.#count;
  }

  /** The first beat is after a random part of the interval: who starts does not wait a whole one, nor do all poll at once. */
  start(): void {
    if (this.#cancel !== undefined) return;
    const { clock, random, intervalMs } = this.#options;
    this.#await(clock.nowMs() + random() * intervalMs);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** The process is awake for another reason: a beat that is due soon is taken now. */
  soon(): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#cancel === undefined || this.#dueMs - nowMs > EARLY_SHARE * this.#options.intervalMs) return;
    this.#cancel();
    this.#dueMs = Math.min(this.#dueMs, nowMs);
    this.#beat();
  }

  /**
   * What is due next after something was due at `dueMs`: counted from there, or timers that are late would add up.
   *
   * @param intervals how many to wait; 0.5 is half of one
   */
  dueAfter(dueMs: number, intervals = 1): number {
    const { clock, random, intervalMs, jitter } = this.#options;
    const pauseMs = intervals * intervalMs * (1 - jitter * random());
    const nowMs = clock.nowMs();
    return Math.min(Math.max(nowMs, dueMs + pauseMs), nowMs + pauseMs);
  }

  #await(dueMs: number): void {
    const { clock } = this.#options;
    this.#dueMs = dueMs;
    this.#cancel = clock.after(dueMs - clock.nowMs(), () => this.#beat());
  }

  #beat(): void {
    this.#count++;
    const dueMs = this.#dueMs;
    this.#await(this.dueAfter(dueMs));
    this.#options.act(dueMs);
  }
}
