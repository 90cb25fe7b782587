import type { Label } from "../../core/invalidation/label.ts";

/** The peer's label in the log of invalidations, as it told over this connection. */
export class ToldLabel {
  #label: Label | undefined;

  /** `undefined`: it told no label yet. */
  get label(): Label | undefined {
    return this.#label;
  }

  /** Announcements come in order, so the last one counts. A log that was made again may have a smaller epoch. */
  announced(label: Label): void {
    this.#label = label;
  }

  /** An announcement may overtake the reply to a catch-up. So a reply may only move the label forward. */
  replied(label: Label): void {
    const known = this.#label;
    const isFurther = known === undefined || label.epoch > known.epoch ||
      label.epoch === known.epoch && label.sequence > known.sequence;
    if (isFurther) this.#label = label;
  }
}
