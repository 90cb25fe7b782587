/** The port to the groups that operators define while nodes run: a bucket of its own, one key for each group. */

/** All definitions, as they stand at one moment. */
export interface DefinitionsView {
  /** The revision of the last change. */
  readonly revision: number;
  /** What stands under each group's name; `undefined`: somebody has deleted it. Only valid until the listener returns. */
  readonly definitions: ReadonlyMap<string, Uint8Array | undefined>;
}

export interface DefinitionStore {
  /**
   * Starts telling what is defined, whole, after each change; to be called once. While the store is away, or when its
   * bucket was lost, nothing is told: a name that is missing in a view was not deleted.
   */
  followDefinitions(onView: (view: DefinitionsView) => void): void;
}

/** The longest definition, in bytes. Chosen: a thousand host names fit. */
export const maxDefinitionBytes = 64 * 1024;
/** Most definitions that a node takes; further ones are not read. Chosen: MAX_GROUPS of the wire. */
export const maxDefinitions = 1_000;
