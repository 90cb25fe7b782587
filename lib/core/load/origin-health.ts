import type { Clock } from "../base/clock.ts";

/** Loads are counted over this span and the one before. Chosen: a fault that ended half a minute ago is no news. */
const SPAN_MS = 15_000;
/** Chosen: below this share, some keys fail, not the origin. */
const FAILING_SHARE = 0.05;
/** How long the last load counts if it failed and no other followed. Chosen. */
const LAST_COUNTS_MS = 600_000;
/** Chosen: a reason is one sentence. */
const MAX_REASON_CHARS = 300;

/** The origin's recent answers. */
export interface OriginHealthFigures {
  /** Loads, and requests that went through, in the last 15 to 30 s, and how many failed. "Not found" is no failure. */
  readonly loads: number;
  readonly failures: number;
  /** Failures since the last load that succeeded. */
  readonly failuresInRow: number;
  /** In Unix milliseconds, while it fails: the last load failed, or at least one in twenty did. */
  readonly failingSinceMs?: number;
  /** The latest failure, however old. */
  readonly lastFailure?: { readonly atMs: number; readonly reason: string };
}

/** The health of a group's origin, by this node's loads and the requests that go through. Never called at a hit. */
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

  /**
   * Checks whether the origin was failing before it counts the load, as a failure after a good time starts a new span
   * of failures.
   */
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
