/**
 * The JSON form of a value's `about` and of a request's header fields between nodes. Both ends check the same rules, so
 * a node never sends a block that its peer takes for malformed.
 */
import * as v from "valibot";
import { utf8Bytes } from "../../core/base/hash.ts";
import { Memo } from "../../core/base/tables/memo.ts";
import { type Fields, isFieldName, isFieldValue } from "../../core/semantics/fields.ts";
import { MAX_NAMES, MAX_TAG_BYTES } from "../../core/invalidation/message.ts";
import { NO_TAGS, type Tags } from "../../core/invalidation/tags.ts";
import { type About, PLAIN } from "../../core/value.ts";

/** The longest block, in bytes; this limits every part of it. Chosen: twice the header fields that origins keep. */
export const MAX_ABOUT_BYTES = 64 * 1024;
/** The most header lines of one message, and names in one `Vary`. Chosen: more than the 2,000 lines that node:http reads. */
export const MAX_FIELDS = 2_048;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true });
const NOTHING = new Uint8Array(0);

const fieldsSchema = v.custom<Fields>(areFields);
const tagsSchema = v.custom<Tags>(areTags);
const fieldValue = v.pipe(v.string(), v.check(isFieldValue));
const aboutSchema = v.object({
  // 0 is a marker. A final status is 200 to 599, as runtimes make no response with another one.
  status: v.pipe(v.number(), v.integer(), v.check((status) => status === 0 || status >= 200 && status <= 599)),
  fields: v.optional(fieldsSchema, []),
  etag: v.optional(fieldValue),
  names: v.optional(v.pipe(v.array(v.pipe(fieldValue, v.minLength(1))), v.minLength(1), v.maxLength(MAX_FIELDS))),
  says: v.optional(v.string()),
  own: v.optional(v.boolean(), false),
  ownStale: v.optional(v.boolean(), false),
  private: v.optional(v.boolean(), false),
  tags: v.optional(tagsSchema),
});

/**
 * The most encoded blocks to keep, for values that peers ask for often: encoding took a third of an owner's time under a load
 * of hops (measured). Chosen: no budget counts them, so they are few and short, at most 4 MiB with twice this number.
 */
const MAX_KEPT_BLOCKS = 2_048;
const MAX_KEPT_BYTES = 1_024;

type Block = { readonly bytes: Uint8Array<ArrayBuffer> | undefined };

const TOO_LONG_TO_KEEP: Block = { bytes: undefined };
const kept = new Memo<About, Block>(MAX_KEPT_BLOCKS, (about) => {
  const bytes = encodeAnew(about);
  return bytes === undefined || bytes.length > MAX_KEPT_BYTES ? TOO_LONG_TO_KEEP : { bytes };
});

/** @returns no bytes for a plain value; `undefined` for one that cannot be sent */
export function encodeAbout(about: About): Uint8Array<ArrayBuffer> | undefined {
  if (about === PLAIN) return NOTHING;
  const block = kept.get(about);
  return block === TOO_LONG_TO_KEEP ? encodeAnew(about) : block.bytes;
}

function encodeAnew(about: About): Uint8Array<ArrayBuffer> | undefined {
  const { status, fields, etag, selection, hasOwnLifetime, hasOwnStale, isPrivate, tags } = about;
  const json = {
    status,
    fields: fields.length === 0 ? undefined : fields,
    etag,
    ...selection,
    own: hasOwnLifetime || undefined,
    ownStale: hasOwnStale || undefined,
    private: isPrivate || undefined,
    tags: tags.length === 0 ? undefined : tags,
  };
  return v.is(aboutSchema, json) ? bounded(json) : undefined;
}

/** @returns `undefined` for bytes that no node writes */
export function decodeAbout(bytes: Uint8Array<ArrayBuffer>, start: number, end: number): About | undefined {
  if (start === end) return PLAIN;
  const parsed = parse(aboutSchema, bytes, start, end);
  if (parsed === undefined) return undefined;
  const { status, fields, etag, names, says, own, ownStale, private: isPrivate, tags = NO_TAGS } = parsed;
  if ((names === undefined) !== (says === undefined)) return undefined;
  const selection = names === undefined || says === undefined ? undefined : { names, says };
  return { status, fields, etag, selection, hasOwnLifetime: own, hasOwnStale: ownStale, isPrivate, tags };
}

/** @returns `undefined` for fields that cannot be sent */
export function encodeFields(fields: Fields): Uint8Array<ArrayBuffer> | undefined {
  return areFields(fields) ? bounded(fields) : undefined;
}

/** @returns `undefined` for bytes that no node writes */
export function decodeFields(bytes: Uint8Array<ArrayBuffer>, start: number, end: number): Fields | undefined {
  return parse(fieldsSchema, bytes, start, end);
}

/** Without a schema, as it runs for each request to a site that another node owns. */
function areFields(given: unknown): given is Fields {
  if (!Array.isArray(given) || given.length > MAX_FIELDS) return false;
  for (const line of given) {
    if (!Array.isArray(line) || line.length !== 2) return false;
    const [name, value] = line;
    if (typeof name !== "string" || typeof value !== "string") return false;
    if (!isFieldName(name) || !isFieldValue(value)) return false;
  }
  return true;
}

/** The same limits as for the tags of one message of the log. */
function areTags(given: unknown): given is Tags {
  if (given === "any") return true;
  if (!Array.isArray(given) || given.length < 1 || given.length > MAX_NAMES) return false;
  return given.every((tag) => typeof tag === "string" && tag !== "" && utf8Bytes(tag) <= MAX_TAG_BYTES);
}

function bounded(json: unknown): Uint8Array<ArrayBuffer> | undefined {
  const bytes = encoder.encode(JSON.stringify(json));
  return bytes.length <= MAX_ABOUT_BYTES ? bytes : undefined;
}

function parse<S extends v.GenericSchema>(
  schema: S,
  bytes: Uint8Array<ArrayBuffer>,
  start: number,
  end: number,
): v.InferOutput<S> | undefined {
  if (end - start > MAX_ABOUT_BYTES) return undefined;
  try {
    const parsed = v.safeParse(schema, JSON.parse(decoder.decode(bytes.subarray(start, end))), { abortEarly: true });
    return parsed.success ? parsed.output : undefined;
  } catch {
    return undefined;
  }
}
