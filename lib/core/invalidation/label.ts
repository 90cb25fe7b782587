/**
 * A position in the log of invalidations: how far a node is, or up to where a value was good. Immutable and shared: all
 * values checked at one moment hold the same object.
 */
export interface Label {
  /** The life of the log: its creation time in whole microseconds since 1970. 0: no log was seen yet. */
  readonly epoch: number;
  /** The number of a message in that life, from 1. 0: before the first message. */
  readonly sequence: number;
}

/** The label of a node that never had contact with a log, and of all values that it loaded until then. */
export const BLIND: Label = Object.freeze({ epoch: 0, sequence: 0 });

/** Whether the two labels are the same position in the log. */
export function areSame(one: Label, other: Label): boolean {
  return one === other || (one.epoch === other.epoch && one.sequence === other.sequence);
}
