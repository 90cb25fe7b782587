/**
 * How far along the log of invalidations something is: a node, or a value that was good when a node was there. Immutable and
 * shared: everything that was checked at one moment holds the same object.
 */
export interface Label {
  /** The life of the log: when it was made, in whole microseconds since 1970. 0: no log was seen yet. */
  readonly epoch: number;
  /** The number of a message in that life, from 1. 0: before the first one. */
  readonly sequence: number;
}

/** Of a node that has not been in touch with a log, and of all that it has loaded by then. */
export const BLIND: Label = Object.freeze({ epoch: 0, sequence: 0 });

/** Whether they name the same place in the log. */
export function areSame(one: Label, other: Label): boolean {
  return one === other || (one.epoch === other.epoch && one.sequence === other.sequence);
}
