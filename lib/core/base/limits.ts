/** Limits that several folders share. Chosen, unless a comment gives another reason. */

/** The longest key, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 1_024;
/** The longest content type that a node accepts, in bytes of UTF-8. */
export const MAX_CONTENT_TYPE_BYTES = 1_024;
/** The longest value that a node keeps or sends to a peer, in bytes. */
export const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** The longest message between nodes. Derived: the longest value, plus 1 MiB for messages batched in front of it. */
export const MAX_FRAME_BYTES = MAX_BODY_BYTES + 1024 * 1024;
/** The longest name, and the longest incarnation, of a peer, in UTF-16 units. */
export const MAX_NAME_UNITS = 256;
