import { PrefixHash } from "./hash.ts";

/** No key of a client holds it. */
const MARK = "\n";
/** What a variant's key has behind the key itself: the mark and 64 bits in hexadecimal. */
export const VARIANT_KEY_BYTES = 1 + 16;

const high = new PrefixHash("variant\0", 1);
const low = new PrefixHash("variant\0", 2);

/**
 * Where the answer to some requests for a key is kept, when it is not for all of them. Two requests that say different
 * things may get one key, so the finder of a value compares the request that it was for.
 *
 * @param says what such a request says in the fields that tell the answers apart
 */
export function variantKey(key: string, says: string): string {
  const hex = (hash: number) => (hash >>> 0).toString(16).padStart(8, "0");
  return key + MARK + hex(high.hash(says)) + hex(low.hash(says));
}

/** The key that was asked for: all variants of it have one owner. */
export function primaryKey(cacheKey: string): string {
  const mark = cacheKey.lastIndexOf(MARK);
  return mark < 0 ? cacheKey : cacheKey.slice(0, mark);
}
