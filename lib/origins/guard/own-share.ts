import type { Clock } from "../../core/base/clock.ts";

export interface OwnShareOptions {
  readonly clock: Clock;
  /** How long a larger share is not used yet, in milliseconds. */
  readonly graceMs: number;
  /** A grace period is over: more may be used from now on. */
  readonly onGrown: () => void;
}

/** A share that was valid, and still bounds this node. */
interface Former {
  readonly share: number;
  readonly untilMs: number;
}

/**
 * How many requests this node may have at the origin: the least of all the shares that it had within the grace period.
 *
 * So a share shrinks at once, and grows when every other node has long had its smaller one. If no node learns of a roster later
 * than another by more than the grace period less the longest load, then at any time the requests of each node are bounded by
 * its share in one and the same roster, and their sum by the sum of those.
 */
export class OwnShare {
  /** May change with the group's policy: what is bounded already stays bounded as long as it was. */
  options: OwnShareOptions;
  #share = 0;
  /** The earliest first, with shares that rise: a smaller one that came later stands for those before it. */
  #former: Former[] = [];
  #cancel: (() => void) | undefined;

  constructor(options: OwnShareOptions) {
    this.options = options;
  }

  /** What this node may use now. */
  get now(): number {
    return Math.min(this.#share, this.#former[0]?.share ?? Infinity);
  }

  /** What it may use after the grace period, if nothing changes. */
  get next(): number {
    return this.#share;
  }

  /** @param isAtOnce no other node can have a request at the origin */
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
