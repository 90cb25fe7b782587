/**
 * Answers for some requests only (RFC 9111, section 4.1). A marker under the key names the request fields that select
 * an answer. Each answer is a separate entry under a key made from these fields.
 */
import { hashOf } from "../base/hash.ts";
import { variantKey } from "../base/variant-key.ts";
import type { RequestHead } from "../ports.ts";
import { inLanguage, inWantedLanguage, languageOf, selectionOf } from "../semantics/vary.ts";
import { isMarker, markerOf, type Value } from "../value.ts";
import type { Found, SharedBudget } from "./shared-budget.ts";

/** Whether a value is for this request: its selection matches, or it is in the language that the request wants most. */
export function isFor(value: Value, request: RequestHead | undefined): boolean {
  const { selection } = value.about;
  if (selection === undefined) return true;
  const says = selectionOf(selection.names, request?.fields ?? []);
  if (says === selection.says) return true;
  const told = saidByLanguage(value);
  return told !== undefined && told === inWantedLanguage(says);
}

/** The cache key of this node for the value of this request. */
export function cacheKeyFor(caches: SharedBudget, key: string, request: RequestHead | undefined): string {
  if (!caches.hasVariants) return key;
  const { main, hot } = caches;
  const hash = hashOf(key);
  const selection = (main.peek(key, hash) ?? hot.peek(key, hash))?.about.selection;
  if (selection === undefined) return key;
  const says = selectionOf(selection.names, request?.fields ?? []);
  const own = variantKey(key, says);
  if (main.peek(own) !== undefined || hot.peek(own) !== undefined) return own;
  const wanted = inWantedLanguage(says);
  if (wanted === undefined) return own;
  const other = variantKey(key, wanted);
  const held = main.peek(other) ?? hot.peek(other);
  return held !== undefined && isFor(held, request) ? other : own;
}

/** The cache key of this value. */
export function cacheKeyOf(key: string, value: Value): string {
  const { selection } = value.about;
  return selection === undefined || isMarker(value) ? key : variantKey(key, selection.says);
}

/** The value under a cache key, fresh or not, if it is good and for this request. Counts no use. */
export function findFor(caches: SharedBudget, cacheKey: string, request: RequestHead | undefined): Found | undefined {
  const found = caches.find(cacheKey);
  return found === undefined || isMarker(found.value) || !isFor(found.value, request) ? undefined : found;
}

/**
 * Stores a value, and the marker that leads to it.
 *
 * @param store puts one entry into a cache of the group; returns whether it was stored
 * @returns whether the value was stored and can be found
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
  // The latest answer decides which request fields select a variant from now on.
  const isKnown = present !== undefined && present.names.join() === selection.names.join();
  if (!isKnown && !store(key, markerOf(value))) return false;
  const cacheKey = cacheKeyOf(key, value);
  // One more entry per language, not per request: it holds the latest answer in that language.
  const told = saidByLanguage(value);
  if (told !== undefined && variantKey(key, told) !== cacheKey) store(variantKey(key, told), value);
  return store(cacheKey, value);
}

/** The selection of requests that want this answer's language most. `undefined`: its language does not select it. */
function saidByLanguage({ about: { status, fields, selection } }: Value): string | undefined {
  // Only a 200 proves that the origin has the resource in this language.
  return status === 200 && selection !== undefined ? inLanguage(selection.says, languageOf(fields)) : undefined;
}
