/** Limits that several rooms must agree on. Chosen, where no other reason is given. */

/** The longest key, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 1_024;
/** The longest content type that a node takes, in bytes of UTF-8. */
export const MAX_CONTENT_TYPE_BYTES = 1_024;
/** The longest value that a node keeps or sends to a peer, in bytes. */
export const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** The longest message between nodes. Derived: one longest value, and 1 MiB for messages batched in front of it. */
export const MAX_FRAME_BYTES = MAX_BODY_BYTES + 1024 * 1024;
/** The longest name, and the longest incarnation, of a peer, in UTF-16 units. */
export const MAX_NAME_UNITS = 256;
