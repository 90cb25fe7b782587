/** Sizes that several rooms must agree on, each in one place. Chosen, if no reason is given. */

/** The longest key, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 1_024;
/** The longest content type that a node takes, in bytes of UTF-8. */
export const MAX_CONTENT_TYPE_BYTES = 1_024;
/** The longest value that is kept, or travels between nodes, in bytes. */
export const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** A message between nodes: one longest value, the messages batched in front of it, and air. */
export const MAX_FRAME_BYTES = MAX_BODY_BYTES + 1024 * 1024;
/** The longest name of a peer or of one of its lives, in characters. */
export const MAX_NAME_UNITS = 256;
