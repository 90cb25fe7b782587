import type { Clock } from "../base/clock.ts";

/** Loads are counted over this span and the one before. Chosen: a fault that is over is no news half a minute later. */
const SPAN_MS = 15_000;
/** Chosen: below that, some keys fail and not the origin. */
const FAILING_SHARE = 0.05;
/** For how long the last load counts, if it failed and none came after it. Chosen. */
const LAST_COUNTS_MS = 600_000;
/** Chosen: a reason is one sentence. */
const MAX_REASON_CHARS = 300;

/** How the origin has answered lately. */
export interface OriginHealthFigures {
  /** Loads that ended in the last 15 to 30 s, and those of them that failed. "Not found" is no failure. */
  readonly loads: number;
  readonly failures: number;
  /** Failures since the last load that succeeded. */
  readonly failuresInRow: number;
  /** In Unix milliseconds, while it fails: the last load failed, or one in twenty did. */
  readonly failingSinceMs?: number;
  /** The latest failure, whenever it was. */
  readonly lastFailure?: { readonly atMs: number; readonly reason: string };
}

/** How a group's origin answers, by the loads of this node. Told of each load, so never of a hit. */
export class OriginHealth {
  readonly #clock: Clock;
  #spanSinceMs = -Infinity;
  #now = { loads: 0, failures: 0 };
  #before = { loads: 0, failures: 0 };
  #inRow = 0;
  #failingSinceMs: number | undefined;
  #lastFailure: { readonly atMs: number; readonly reason: string } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  succeeded(): void {
    this.#count(0);
    this.#inRow = 0;
  }

  failed(reason: string): void {
    const nowMs = this.#count(1);
    this.#inRow++;
    this.#lastFailure = { atMs: nowMs, reason: reason.slice(0, MAX_REASON_CHARS) };
    if (this.#isFailing(nowMs)) this.#failingSinceMs ??= nowMs;
  }

  figures(): OriginHealthFigures {
    const nowMs = this.#clock.nowMs();
    this.#roll(nowMs);
    if (!this.#isFailing(nowMs)) this.#failingSinceMs = undefined;
    const { loads, failures } = this.#recent;
    return {
      loads,
      failures,
      failuresInRow: this.#inRow,
      ...(this.#failingSinceMs !== undefined && { failingSinceMs: this.#failingSinceMs }),
      ...(this.#lastFailure !== undefined && { lastFailure: this.#lastFailure }),
    };
  }

  get #recent(): { readonly loads: number; readonly failures: number } {
    const [now, before] = [this.#now, this.#before];
    return { loads: now.loads + before.loads, failures: now.failures + before.failures };
  }

  #isFailing(nowMs: number): boolean {
    const { loads, failures } = this.#recent;
    if (failures > 0 && failures >= loads * FAILING_SHARE) return true;
    return this.#inRow > 0 && nowMs - this.#lastFailure!.atMs < LAST_COUNTS_MS;
  }

  /** Whether it failed until now is looked at before the load counts: a later failure begins anew. */
  #count(failures: 0 | 1): number {
    const nowMs = this.#clock.nowMs();
    this.#roll(nowMs);
    if (!this.#isFailing(nowMs)) this.#failingSinceMs = undefined;
    this.#now.loads++;
    this.#now.failures += failures;
    return nowMs;
  }

  #roll(nowMs: number): void {
    const passedMs = nowMs - this.#spanSinceMs;
    if (passedMs < SPAN_MS) return;
    this.#before = passedMs < 2 * SPAN_MS ? this.#now : { loads: 0, failures: 0 };
    this.#now = { loads: 0, failures: 0 };
    this.#spanSinceMs = nowMs;
  }
}
