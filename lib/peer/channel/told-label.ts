import type { Label } from "../../core/invalidation/label.ts";

/** Where the peer is in the log of invalidations, as far as it has told over this connection. */
export class ToldLabel {
  #label: Label | undefined;

  /** `undefined`: it has told nothing yet. */
  get label(): Label | undefined {
    return this.#label;
  }

  /** Announcements come in the order in which the peer moves. A log that was made anew may have a smaller epoch. */
  announced(label: Label): void {
    this.#label = label;
  }

  /** The reply to a catch-up is older than an announcement that overtook it while it was made: it only moves on. */
  replied(label: Label): void {
    const known = this.#label;
    const isFurther = known === undefined || label.epoch > known.epoch ||
      label.epoch === known.epoch && label.sequence > known.sequence;
    if (isFurther) this.#label = label;
  }
}
