/**
 * Answers that are not for every request (RFC 9111, section 4.1). A marker under the key says by which request fields they are
 * told apart; each answer is an entry of its own, under a key that is made of those fields.
 */
import { hashOf } from "../base/hash.ts";
import { variantKey } from "../base/variant-key.ts";
import type { RequestHead } from "../ports.ts";
import { selectionOf } from "../semantics/vary.ts";
import { isMarker, markerOf, type Value } from "../value.ts";
import type { Found, SharedBudget } from "./shared-budget.ts";

/** Whether a value is for this request. */
export function isFor({ about: { selection } }: Value, request: RequestHead | undefined): boolean {
  return selection === undefined || selectionOf(selection.names, request?.fields ?? []) === selection.says;
}

/** The key under which this node would keep the value for this request. */
export function cacheKeyFor(caches: SharedBudget, key: string, request: RequestHead | undefined): string {
  if (!caches.hasVariants) return key;
  const { main, hot } = caches;
  const hash = hashOf(key);
  const selection = (main.peek(key, hash) ?? hot.peek(key, hash))?.about.selection;
  return selection === undefined ? key : variantKey(key, selectionOf(selection.names, request?.fields ?? []));
}

/** The key under which this value is kept. */
export function cacheKeyOf(key: string, value: Value): string {
  const { selection } = value.about;
  return selection === undefined || isMarker(value) ? key : variantKey(key, selection.says);
}

/** The value under a cache key, fresh or not, if it is good and for this request. No use is counted. */
export function findFor(caches: SharedBudget, cacheKey: string, request: RequestHead | undefined): Found | undefined {
  const found = caches.find(cacheKey);
  return found === undefined || isMarker(found.value) || !isFor(found.value, request) ? undefined : found;
}

/**
 * Stores a value, and the marker that leads to it.
 *
 * @param store puts one entry into a cache of the group; returns whether it is stored
 * @returns whether the value is stored, and can be found
 */
export function storeVariant(
  { main, hot }: SharedBudget,
  key: string,
  value: Value,
  store: (cacheKey: string, value: Value) => boolean,
): boolean {
  const { selection } = value.about;
  if (selection === undefined || isMarker(value)) return store(key, value);
  const present = (main.peek(key) ?? hot.peek(key))?.about.selection;
  // The latest answer says by which fields they are told apart from now on.
  const isKnown = present !== undefined && present.names.join() === selection.names.join();
  return (isKnown || store(key, markerOf(value))) && store(cacheKeyOf(key, value), value);
}
