/**
 * The cost of an entry in memory. Its encoded bytes say little: an empty value under a key of 5 characters takes 540
 * bytes on Bun, and on Deno a body of one byte takes 470 bytes more than no body. So the budget counts these costs.
 *
 * The figures come from `tests/core/cache/memory-table.ts`, which fills a cache and replaces all of it several times.
 * They include garbage that is not collected yet: on both runtimes about as much as the live data.
 */
import { type About, NOTHING_HERE, PLAIN, type Value } from "../value.ts";

/** The memory that a runtime needs. */
export interface EntryCosts {
  /** For the entry, its place in a map, its value with the times, and the object around its body. */
  readonly entryBytes: number;
  /** For each byte of a body. */
  readonly perBodyByte: number;
}

/** The bytes of memory that an entry counts against the budget. Must be the same for the same key and value at any time. */
export type CostOf = (key: string, value: Value) => number;

/** The costs of the runtime that needs more memory. */
export const MOST_COSTS: EntryCosts = { entryBytes: 1_800, perBodyByte: 2 };

/** Derived: a string takes two bytes per unit if any of its units needs two. */
const BYTES_OF_UNIT = 2;
/** An `About` that no other value shares. Measured. */
const ABOUT_BYTES = 300;
/** A field line or a tag, without its text. Measured. */
const LINE_BYTES = 160;

/** The cost of entries on a runtime. */
export function costBy({ entryBytes, perBodyByte }: EntryCosts): CostOf {
  return (key, { body, about }) =>
    entryBytes + BYTES_OF_UNIT * key.length + Math.ceil(perBodyByte * body.byteLength) + aboutBytes(about);
}

/** Plain values share one `About`, so it costs them nothing. */
function aboutBytes(about: About): number {
  if (about === PLAIN || about === NOTHING_HERE) return 0;
  const { fields, tags, etag = "", selection } = about;
  let bytes = ABOUT_BYTES + etag.length;
  for (const [name, value] of fields) bytes += LINE_BYTES + name.length + value.length;
  if (tags !== "any") { for (const tag of tags) bytes += LINE_BYTES + BYTES_OF_UNIT * tag.length; }
  if (selection === undefined) return bytes;
  for (const name of selection.names) bytes += LINE_BYTES + name.length;
  return bytes + LINE_BYTES + BYTES_OF_UNIT * selection.says.length;
}
