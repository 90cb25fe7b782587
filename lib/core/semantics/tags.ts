/** The tags that an HTTP origin gives its answers, and those that it invalidates. Fields in, names out. */
import { parseList } from "structured-headers";
import { utf8Bytes } from "../base/hash.ts";
import { MAX_KEY_BYTES } from "../base/limits.ts";
import { Memo } from "../base/tables/memo.ts";
import { type Fields, linesOf } from "./fields.ts";

/** Chosen: far more than pages are made of; RFC 9875 asks for 32 at least. */
export const MAX_TAGS = 1_000;
/** The longest tag of an invalidation is as long: MAX_TAG_BYTES of lib/core/invalidation/message.ts. */
const MAX_TAG_BYTES = MAX_KEY_BYTES;
/** Texts whose tags are kept, so that values with one text share them. Chosen: with the longest headers 32 MiB. */
const MAX_TEXTS = 512;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Each in lower case, with how its lines are taken apart. All of them count. */
const SPLITS: ReadonlyMap<string, (lines: readonly string[]) => readonly string[]> = new Map([
  // RFC 9875, section 2.
  ["cache-groups", stringsOf],
  // Fastly's, Cloudflare's and Akamai's, and Varnish's.
  ["surrogate-key", (lines) => asUtf8(lines, " ").split(/\s+/)],
  ["cache-tag", (lines) => asUtf8(lines, ",").split(",").map((tag) => tag.trim())],
  ["xkey", (lines) => asUtf8(lines, " ").split(/[\s,]+/)],
]);

/** Reads the tags of answers. */
export class TagReader {
  readonly #read = new Memo<string, readonly string[] | "any">(MAX_TEXTS, tagsIn);

  /** @returns "any": more or longer ones than are kept, so that every tag covers the answer; `undefined`: none */
  of(fields: Fields): readonly string[] | "any" | undefined {
    const told = fields.filter(([name]) => SPLITS.has(name));
    if (told.length === 0) return undefined;
    // No field can hold a line feed.
    const tags = this.#read.get(told.map(([name, value]) => `${name}:${value}`).join("\n"));
    return tags.length === 0 ? undefined : tags;
  }
}

/**
 * The tags that the answer to an unsafe request invalidates (RFC 9875, section 3). To be asked of such answers only: in one to
 * a safe request the field must be ignored.
 *
 * @returns "any": more or longer ones than a message may name, so that everything is meant
 */
export function invalidatedTags(answer: Fields): readonly string[] | "any" {
  const lines = linesOf(answer, "cache-group-invalidation");
  return lines.length === 0 ? [] : bounded(stringsOf(lines));
}

/** @param text lines of `name:value` */
function tagsIn(text: string): readonly string[] | "any" {
  const fields = text.split("\n").map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1)];
  });
  return bounded([...SPLITS].flatMap(([name, tagsOf]) => tagsOf(linesOf(fields, name))));
}

function bounded(named: readonly string[]): readonly string[] | "any" {
  const tags = new Set(named.filter((tag) => tag !== ""));
  const isTooMuch = tags.size > MAX_TAGS || [...tags].some((tag) => utf8Bytes(tag) > MAX_TAG_BYTES);
  return isTooMuch ? "any" : Object.freeze([...tags]);
}

/** A list of sf-strings (RFC 9651); parameters do not count, and a list with anything else in it is ignored. */
function stringsOf(lines: readonly string[]): readonly string[] {
  try {
    const items = parseList(lines.join(", ")).map(([item]) => item);
    return items.every((item) => typeof item === "string") ? items : [];
  } catch {
    return [];
  }
}

/** The lines as one. Fields come as bytes, one in each character; where they are no UTF-8 they stay as they are. */
function asUtf8(lines: readonly string[], between: string): string {
  const text = lines.join(between).trim();
  // deno-lint-ignore no-control-regex
  if (/^[\x00-\x7f]*$/.test(text) || !/^[\x00-\xff]*$/.test(text)) return text;
  try {
    return utf8.decode(Uint8Array.from(text, (char) => char.charCodeAt(0)));
  } catch {
    return text;
  }
}
