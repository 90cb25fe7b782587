/** The tags of a value by which it may be invalidated; `any`: it has more than are kept, so every tag covers it. */
export type Tags = readonly string[] | "any";

export const NO_TAGS: Tags = Object.freeze([]);
