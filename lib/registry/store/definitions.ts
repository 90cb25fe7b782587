/** The port to the groups that operators define while nodes run: a separate bucket with one key for each group. */

/** All definitions at one moment. */
export interface DefinitionsView {
  /** The revision of the last change. */
  readonly revision: number;
  /** The definition under each group's name; `undefined`: it was deleted. Only valid until the listener returns. */
  readonly definitions: ReadonlyMap<string, Uint8Array | undefined>;
}

export interface DefinitionStore {
  /**
   * Starts calling the listener with all definitions after each change. To be called once. It is not called while the
   * store is away or its bucket is lost. A name that is missing in a view was not deleted.
   */
  followDefinitions(onView: (view: DefinitionsView) => void): void;
}

/** The longest definition, in bytes. Chosen: a thousand host names fit. */
export const maxDefinitionBytes = 64 * 1024;
/** The most definitions that a node takes; it does not read further ones. Chosen: MAX_GROUPS of the wire. */
export const maxDefinitions = 1_000;
