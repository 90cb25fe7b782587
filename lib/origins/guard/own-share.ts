import type { Clock } from "../../core/base/clock.ts";

export interface OwnShareOptions {
  readonly clock: Clock;
  /** How long a larger share must wait before it is used, in milliseconds. */
  readonly graceMs: number;
  /** Called when a grace period is over, so that more may be used. */
  readonly onGrown: () => void;
}

/** A former share that still bounds this node. */
interface Former {
  readonly share: number;
  readonly untilMs: number;
}

/**
 * How many requests this node may have at the origin: the smallest share that it had within the grace period.
 *
 * So a share shrinks at once, and grows only after every other node has long had its smaller one. Condition: two nodes'
 * times of learning a roster differ by at most the grace period less the longest load. Then at any time one roster
 * exists whose shares bound the requests of every node, and their sum.
 */
export class OwnShare {
  /** May change with the group's policy; present bounds keep their time. */
  options: OwnShareOptions;
  #share = 0;
  /** The earliest first, with rising shares: a later, smaller share replaces larger ones before it. */
  #former: Former[] = [];
  #cancel: (() => void) | undefined;

  constructor(options: OwnShareOptions) {
    this.options = options;
  }

  /** The share that this node may use now. */
  get now(): number {
    return Math.min(this.#share, this.#former[0]?.share ?? Infinity);
  }

  /** The share that it may use after the grace period, if nothing changes. */
  get next(): number {
    return this.#share;
  }

  /** @param isAtOnce whether to use it at once, as no other node can have a request at the origin */
  set(share: number, isAtOnce = false): void {
    if (share === this.#share) return;
    const { clock, graceMs } = this.options;
    const before = this.#share;
    this.#share = share;
    if (before < share && !isAtOnce) {
      this.#former = this.#former.filter((former) => former.share < before);
      this.#former.push({ share: before, untilMs: clock.nowMs() + graceMs });
      this.#await();
    }
  }

  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#former = [];
  }

  #await(): void {
    if (this.#cancel !== undefined || this.#former.length === 0) return;
    const { clock } = this.options;
    this.#cancel = clock.after(this.#former[0]!.untilMs - clock.nowMs(), () => {
      this.#cancel = undefined;
      const nowMs = clock.nowMs();
      this.#former = this.#former.filter(({ untilMs }) => untilMs > nowMs);
      this.#await();
      this.options.onGrown();
    });
  }
}
