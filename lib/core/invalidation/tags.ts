/** The tags by which a value may be invalidated. `any`: it has too many tags to keep, so every tag covers it. */
export type Tags = readonly string[] | "any";

export const NO_TAGS: Tags = Object.freeze([]);
