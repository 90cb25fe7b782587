/** Turns an exchange with an HTTP origin into the answer that the group keeps. */
import { Buffer } from "node:buffer";
import { promisify } from "node:util";
import { brotliDecompress, gunzip, inflate } from "node:zlib";
import { MAX_CONTENT_TYPE_BYTES } from "../../core/base/limits.ts";
import { OriginError, OverloadedError } from "../../core/errors.ts";
import type { LifetimePolicy } from "../../core/lifetime/policy.ts";
import { jittered } from "../../core/lifetime/times.ts";
import { endToEnd, type Fields, linesOf, without } from "../../core/semantics/fields.ts";
import type { Freshness, FreshnessPolicy } from "../../core/semantics/freshness.ts";
import type { TagReader } from "../../core/semantics/tags.ts";
import type { Answer } from "../../core/value.ts";
import type { Exchanged } from "./client.ts";

/** The longest block of fields that is kept with a value. Chosen: it travels with each value between nodes. */
const MAX_FIELDS_BYTES = 32 * 1024;
/**
 * Computed for each answer by the cache (`Age`) or the server (`Content-Length`), or kept separately (`Content-Type`).
 */
const NOT_KEPT: ReadonlySet<string> = new Set(["age", "content-length", "content-type"]);

/** The part of a group's policy that `freshnessOf` needs, with the lifetime shortened at random. */
export function freshnessPolicy(
  lifetime: LifetimePolicy,
  options: { readonly hasHeuristics: boolean; readonly keepsCookies: boolean; readonly status: number },
): FreshnessPolicy {
  const { ttlMs, ttlJitter, negativeTtlMs, honourOrigin, staleWhileRevalidateMs, staleIfErrorMs } = lifetime;
  // A template's "not found" lives for the negative lifetime; a site's 404 is an answer like any other.
  const isNegative = !options.hasHeuristics && options.status === 404;
  const spanMs = isNegative ? negativeTtlMs : ttlMs;
  return {
    honourOrigin,
    ttlMs: spanMs === null ? null : jittered(spanMs, ttlJitter, Math.random),
    staleWhileRevalidateMs,
    staleIfErrorMs,
    hasHeuristics: options.hasHeuristics,
    keepsCookies: options.keepsCookies,
  };
}

/**
 * How long a body is served that only the end of the connection ended, as it may have been cut. Chosen: long enough to
 * serve all waiting requests, short enough that a cut body is soon gone.
 */
const CLOSE_DELIMITED_MS = 10_000;
/** Left out of such an answer: with validators it would be freshened and never fetched again. */
const VALIDATORS: ReadonlySet<string> = new Set(["etag", "last-modified"]);

/** How long an answer may be served; at most 10 s if only the end of the connection ended its body. */
export function withinDoubt(
  freshness: Freshness,
  { isCloseDelimited }: Pick<Exchanged, "isCloseDelimited">,
): Freshness {
  if (!isCloseDelimited) return freshness;
  const freshMs = Math.min(freshness.freshMs, CLOSE_DELIMITED_MS);
  return { ...freshness, freshMs, staleWhileRevalidateMs: 0, staleIfErrorMs: 0 };
}

/** The fields that are kept with such a body. */
export function keptInDoubt(fields: Fields, { isCloseDelimited }: Pick<Exchanged, "isCloseDelimited">): Fields {
  return isCloseDelimited ? without(fields, VALIDATORS) : fields;
}

/** The fields that are kept and sent to clients. @throws OriginError they are too long */
export function keptFields(fields: Fields, url: string): Fields {
  const kept = without(endToEnd(fields), NOT_KEPT);
  const bytes = kept.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (bytes > MAX_FIELDS_BYTES) {
    throw new OriginError(`${url} has more than ${MAX_FIELDS_BYTES} bytes of header fields`);
  }
  return kept;
}

/** The tags of an answer with these fields, if it has any. */
export function taggedBy(fields: Fields, reader: TagReader): Pick<Answer, "tags"> {
  const tags = reader.of(fields);
  return tags === undefined ? {} : { tags };
}

/**
 * @param fallback used if the origin names no type
 * @throws OriginError the type is longer than nodes accept, or has characters that no header can carry
 */
export function contentTypeOf(fields: Fields, url: string, fallback: string): string {
  const [type] = linesOf(fields, "content-type");
  if (type === undefined || type === "") return fallback;
  if (Buffer.byteLength(type) > MAX_CONTENT_TYPE_BYTES) {
    throw new OriginError(`${url} has a content type of more than ${MAX_CONTENT_TYPE_BYTES} bytes`);
  }
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(type)) throw new OriginError(`${url} has a content type with control characters`);
  return type;
}

const decoders: Readonly<Record<string, (body: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>>> =
  {
    gzip: promisify(gunzip),
    "x-gzip": promisify(gunzip),
    deflate: promisify(inflate),
    br: promisify(brotliDecompress),
  };

/**
 * Decodes a body with an encoding that was not asked for, and removes the encoding's name from the fields.
 *
 * @throws OriginError the encoding is unknown, the body is broken, or it has more than `maxBytes`
 */
export async function decoded(
  body: Uint8Array<ArrayBuffer>,
  fields: Fields,
  url: string,
  maxBytes: number,
): Promise<Pick<Answer, "body"> & { fields: Fields }> {
  const encoding = linesOf(fields, "content-encoding").join(",").trim().toLowerCase();
  if (encoding === "" || encoding === "identity") return { body, fields };
  const decode = Object.hasOwn(decoders, encoding) ? decoders[encoding] : undefined;
  if (decode === undefined) {
    throw new OriginError(`${url} has its body encoded as ${encoding}, which was not asked for`);
  }
  try {
    const plain = await decode(body, { maxOutputLength: maxBytes });
    return { body: new Uint8Array(plain), fields: without(fields, new Set(["content-encoding"])) };
  } catch (error) {
    throw new OriginError(`${url} has a body that is no ${encoding}, or too long: ${(error as Error).message}`);
  }
}

/** The whole body. @throws OriginError it was cut, or the connection was lost; OverloadedError; the signal's reason */
export async function readWhole<T>(
  read: Promise<T>,
  { body }: Exchanged,
  url: string,
  signal: AbortSignal,
): Promise<T> {
  try {
    return await read;
  } catch (error) {
    body.destroy();
    if (signal.aborted) throw signal.reason;
    if (error instanceof OverloadedError) throw error;
    throw new OriginError(`${url} broke off: ${(error as Error).message}`);
  }
}
