import type { Clock } from "../base/clock.ts";

/** A tick that is due within this share of the interval may come early. Chosen: this at most doubles the probes. */
const EARLY_SHARE = 0.5;
/** The time between two probes of a silent peer, in intervals. Chosen: a live peer answers nearly every probe. */
export const SILENT_INTERVALS = 0.5;

export interface ProbeTimerOptions {
  readonly clock: Clock;
  /** From 0 to 1, as Math.random. */
  readonly random: () => number;
  readonly intervalMs: number;
  /** Each interval is shortened by a random part of up to this share. */
  readonly jitter: number;
  /** Called at each tick, with the time when the tick was due. */
  readonly onTick: (dueMs: number) => void;
}

/** One timer for all regular probes of a node, since each wake-up costs an idle process. */
export class ProbeTimer {
  readonly #options: ProbeTimerOptions;
  #cancel: (() => void) | undefined;
  #dueMs = 0;
  #ticks = 0;

  constructor(options: ProbeTimerOptions) {
    this.#options = options;
  }

  /** Ticks so far. */
  get ticks(): number {
    return this.#ticks;
  }

  /** The first tick comes after a random part of the interval, so not for all nodes at once. */
  start(): void {
    if (this.#cancel !== undefined) return;
    const { clock, random, intervalMs } = this.#options;
    this.#arm(clock.nowMs() + random() * intervalMs);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  /** To be called when the process is awake for another reason. A tick that is due soon then comes now. */
  soon(): void {
    const nowMs = this.#options.clock.nowMs();
    if (this.#cancel === undefined || this.#dueMs - nowMs > EARLY_SHARE * this.#options.intervalMs) return;
    this.#cancel();
    this.#dueMs = Math.min(this.#dueMs, nowMs);
    this.#tick();
  }

  /**
   * When the next probe is due. It counts from `dueMs`, the due time of the last one, so that delays of timers do not add up.
   *
   * @param intervals how many intervals to wait; 0.5 is half of one
   */
  dueAfter(dueMs: number, intervals = 1): number {
    const { clock, random, intervalMs, jitter } = this.#options;
    const pauseMs = intervals * intervalMs * (1 - jitter * random());
    const nowMs = clock.nowMs();
    return Math.min(Math.max(nowMs, dueMs + pauseMs), nowMs + pauseMs);
  }

  #arm(dueMs: number): void {
    const { clock } = this.#options;
    this.#dueMs = dueMs;
    this.#cancel = clock.after(dueMs - clock.nowMs(), () => this.#tick());
  }

  #tick(): void {
    this.#ticks++;
    const dueMs = this.#dueMs;
    this.#arm(this.dueAfter(dueMs));
    this.#options.onTick(dueMs);
  }
}
