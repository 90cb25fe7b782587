/** A message of the log, as JSON: `{"keys":[...]}`, `{"prefixes":[...]}`, `{"tags":[...]}` or `{"all":true}`. */
import { MAX_KEY_BYTES } from "../base/limits.ts";
import { utf8Bytes } from "../base/hash.ts";
import { UNSIGNED, UNSIGNED_FAULT } from "../base/unsigned.ts";

/** An invalidation. It covers a value if any of its four parts does. */
export interface Invalidation {
  readonly keys: readonly string[];
  readonly prefixes: readonly string[];
  readonly tags: readonly string[];
  readonly all: boolean;
  /** Covered values become stale instead of being dropped. */
  readonly soft: boolean;
}

/** The most keys, prefixes and tags of one message together. Chosen: one message must not block a node. */
export const MAX_NAMES = 1_000;
/** Chosen: enough for all names of a message at a quarter of their maximum length. */
export const MAX_MESSAGE_BYTES = 256 * 1024;
/** The longest tag, in bytes of UTF-8. */
export const MAX_TAG_BYTES = MAX_KEY_BYTES;

/** Error messages show this much of a stranger's text. Chosen. */
const MAX_SHOWN_UNITS = 64;

const NONE: readonly string[] = Object.freeze([]);
const FIELDS: ReadonlySet<string> = new Set(["keys", "prefixes", "tags", "all", "soft"]);
const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });

/** Makes an invalidation from the given fields and defaults. */
export function invalidationOf(given: Partial<Invalidation>): Invalidation {
  return { keys: NONE, prefixes: NONE, tags: NONE, all: false, soft: false, ...given };
}

/** @throws TypeError in words for its author: unsigned, not JSON, an unknown field, nothing named, or too much */
export function parseInvalidation(data: Uint8Array): Invalidation {
  if (data === UNSIGNED) throw new TypeError(UNSIGNED_FAULT);
  if (data.byteLength > MAX_MESSAGE_BYTES) throw new TypeError(`it is longer than ${MAX_MESSAGE_BYTES} bytes`);
  let json: unknown;
  try {
    json = JSON.parse(decoder.decode(data));
  } catch {
    throw new TypeError("it is not JSON");
  }
  return checkedInvalidation(json);
}

/** The same for parsed JSON. @throws TypeError */
export function checkedInvalidation(json: unknown): Invalidation {
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new TypeError("it is not a JSON object");
  const given = json as Record<string, unknown>;
  const unknown = Object.keys(given).find((name) => !FIELDS.has(name));
  if (unknown !== undefined) {
    throw new TypeError(
      `it has a field ${JSON.stringify(unknown.slice(0, MAX_SHOWN_UNITS))}: there are ${[...FIELDS].join(", ")}`,
    );
  }
  const [keys, prefixes, tags] = [namesIn(given, "keys"), namesIn(given, "prefixes"), namesIn(given, "tags")];
  const [all, soft] = [flagIn(given, "all"), flagIn(given, "soft")];
  const count = keys.length + prefixes.length + tags.length;
  if (count > MAX_NAMES) {
    throw new TypeError(`it has ${count} keys, prefixes and tags: at most ${MAX_NAMES} are allowed`);
  }
  if (count === 0 && !all) throw new TypeError("it covers nothing: it needs keys, prefixes, tags, or all");
  return { keys, prefixes, tags, all, soft };
}

/** @throws TypeError as `parseInvalidation` */
export function encodeInvalidation({ keys, prefixes, tags, all, soft }: Invalidation): Uint8Array {
  const some = (names: readonly string[]) => names.length === 0 ? undefined : names;
  const json = {
    keys: some(keys),
    prefixes: some(prefixes),
    tags: some(tags),
    all: all || undefined,
    soft: soft || undefined,
  };
  const data = encoder.encode(JSON.stringify(json));
  parseInvalidation(data);
  return data;
}

function namesIn(given: Record<string, unknown>, field: string): readonly string[] {
  const names = given[field];
  if (names === undefined) return NONE;
  if (!Array.isArray(names)) throw new TypeError(`${field} is not a list`);
  for (const name of names) {
    // The top page of a site has the empty key. The empty prefix would cover every key: "all" must say that openly.
    if (typeof name !== "string" || (name === "" && field !== "keys")) {
      throw new TypeError(`${field} has an entry that is no text, or empty`);
    }
    if (utf8Bytes(name) > MAX_TAG_BYTES) throw new TypeError(`${field} has an entry of over ${MAX_TAG_BYTES} bytes`);
  }
  return names;
}

function flagIn(given: Record<string, unknown>, field: string): boolean {
  const flag = given[field];
  if (flag !== undefined && typeof flag !== "boolean") throw new TypeError(`${field} is neither true nor false`);
  return flag === true;
}
