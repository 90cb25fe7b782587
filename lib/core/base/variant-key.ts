import { PrefixHash } from "./hash.ts";

/** A client's key cannot contain it, as control characters are refused. */
const MARK = "\n";
/** The length that a variant adds to the key: the mark and 64 bits in hexadecimal. */
export const VARIANT_KEY_BYTES = 1 + 16;

const high = new PrefixHash("variant\0", 1);
const low = new PrefixHash("variant\0", 2);

/**
 * The cache key of an answer that is only for some requests of a key. Different requests may get the same cache key by
 * chance, so the reader must compare the value's selection with its request.
 *
 * @param says the request's content of the fields that select a variant
 */
export function variantKey(key: string, says: string): string {
  const hex = (hash: number) => (hash >>> 0).toString(16).padStart(8, "0");
  return key + MARK + hex(high.hash(says)) + hex(low.hash(says));
}

/** The client's key behind a cache key. All variants of a key have one owner. */
export function primaryKey(cacheKey: string): string {
  const mark = cacheKey.lastIndexOf(MARK);
  return mark < 0 ? cacheKey : cacheKey.slice(0, mark);
}
