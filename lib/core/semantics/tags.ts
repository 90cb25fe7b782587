/** Reads from fields the tags that an HTTP origin gives its answers, and the tags that it invalidates. */
import { parseList } from "structured-headers";
import { utf8Bytes } from "../base/hash.ts";
import { MAX_KEY_BYTES } from "../base/limits.ts";
import { Memo } from "../base/tables/memo.ts";
import { type Fields, linesOf } from "./fields.ts";

/** Chosen: far more than a page has parts. RFC 9875 asks for at least 32. */
export const MAX_TAGS = 1_000;
/** Derived: the same as for invalidations, MAX_TAG_BYTES of lib/core/invalidation/message.ts. */
const MAX_TAG_BYTES = MAX_KEY_BYTES;
/**
 * The most texts whose tags are kept, so that values with the same text share them. Chosen: at most 32 MiB with the
 * longest headers.
 */
const MAX_TEXTS = 512;
const utf8 = new TextDecoder("utf-8", { fatal: true });

/** The fields in lower case, each with the function that splits its lines. All of them count. */
const SPLITS: ReadonlyMap<string, (lines: readonly string[]) => readonly string[]> = new Map([
  // RFC 9875, section 2.
  ["cache-groups", stringsOf],
  // In order: Fastly's; Cloudflare's and Akamai's; Varnish's.
  ["surrogate-key", (lines) => asUtf8(lines, " ").split(/\s+/)],
  ["cache-tag", (lines) => asUtf8(lines, ",").split(",").map((tag) => tag.trim())],
  ["xkey", (lines) => asUtf8(lines, " ").split(/[\s,]+/)],
]);

/** Reads the tags of answers. */
export class TagReader {
  readonly #read = new Memo<string, readonly string[] | "any">(MAX_TEXTS, tagsIn);

  /** @returns "any": too many or too long tags to keep, so every tag covers the answer; `undefined`: no tags */
  of(fields: Fields): readonly string[] | "any" | undefined {
    const told = fields.filter(([name]) => SPLITS.has(name));
    if (told.length === 0) return undefined;
    // A line feed is a safe separator, as no field can contain it.
    const tags = this.#read.get(told.map(([name, value]) => `${name}:${value}`).join("\n"));
    return tags.length === 0 ? undefined : tags;
  }
}

/**
 * The tags that the answer to an unsafe request invalidates (RFC 9875, section 3). Only for such answers: in an answer
 * to a safe request the field must be ignored.
 *
 * @returns "any": too many or too long tags for a message, so everything is invalidated
 */
export function invalidatedTags(answer: Fields): readonly string[] | "any" {
  const lines = linesOf(answer, "cache-group-invalidation");
  return lines.length === 0 ? [] : bounded(stringsOf(lines));
}

/** @param text lines in the form `name:value` */
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

/** A list of sf-strings (RFC 9651). Parameters are ignored, and so is a whole list with any other item. */
function stringsOf(lines: readonly string[]): readonly string[] {
  try {
    const items = parseList(lines.join(", ")).map(([item]) => item);
    return items.every((item) => typeof item === "string") ? items : [];
  } catch {
    return [];
  }
}

/** Joins the lines. Fields come as one byte per character; they stay unchanged if they are not UTF-8. */
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
