/** Turns the result of an origin in code into the answer that the group keeps. */
import { Buffer } from "node:buffer";
import { GrowingBytes } from "../../core/base/growing-bytes.ts";
import { MAX_BODY_BYTES, MAX_CONTENT_TYPE_BYTES } from "../../core/base/limits.ts";
import { OriginError, OverloadedError } from "../../core/errors.ts";
import { jittered } from "../../core/lifetime/times.ts";
import type { LifetimePolicy } from "../../core/lifetime/policy.ts";
import type { Freshness } from "../../core/semantics/freshness.ts";
import { MAX_TAGS } from "../../core/semantics/tags.ts";
import { MAX_TAG_BYTES } from "../../core/invalidation/message.ts";
import type { LoadingBody } from "../../core/ports.ts";
import { type Answer, isNothingHere, type Tags, type Value } from "../../core/value.ts";
import type { Loaded, LoadResult, Stale } from "./contract.ts";

const TEXT = "text/plain; charset=utf-8";
const BYTES = "application/octet-stream";
const EMPTY = new Uint8Array(0);
const utf8 = new TextEncoder();

/** The expired value for the author; `undefined` for a remembered "not found". */
export function staleOf(value: Value, nowMs: number): Stale | undefined {
  if (isNothingHere(value)) return undefined;
  const { etag, tags } = value.about;
  return {
    // A copy: the author may change it while the value is still served.
    body: value.body.slice(),
    contentType: value.contentType,
    ageMs: Math.max(0, nowMs - value.bornAtMs),
    etag,
    tags: tags === "any" ? [] : tags,
  };
}

export interface Reading {
  readonly lifetime: LifetimePolicy;
  readonly valueBytesMax: number | undefined;
  /** The value that the author was given, and its original. */
  readonly stale: Stale | undefined;
  readonly held: Value | undefined;
  readonly signal: AbortSignal;
  readonly loading?: LoadingBody | undefined;
}

/**
 * @returns status 404 where there is no such value
 * @throws OriginError the result is not of an allowed kind, or too long; the stream's error
 */
export async function answerOf(result: LoadResult, reading: Reading): Promise<Answer> {
  const loaded = loadedOf(result);
  const { status = 200 } = loaded;
  if (status === 404) return nothing(loaded, reading);
  if (status !== 200) throw new OriginError(`its status must be 200 or 404: current value is ${status}`);
  const told = await loaded.body;
  const body = await bytesOf(told, reading);
  const contentType = contentTypeOf(loaded.contentType ?? (typeof told === "string" ? TEXT : BYTES));
  const tags = tagsOf(loaded.tags);
  const etag = etagOf(loaded.etag);
  const hasMore = etag !== undefined || loaded.ttlMs !== undefined || loaded.staleIfErrorMs !== undefined ||
    loaded.staleWhileRevalidateMs !== undefined;
  return {
    body,
    contentType,
    ...(hasMore && { freshness: freshnessOf(loaded, reading.lifetime, reading.lifetime.ttlMs) }),
    ...(etag !== undefined && { fields: [["etag", etag]] }),
    ...(tags !== undefined && { tags }),
  };
}

function loadedOf(result: LoadResult): Loaded {
  if (result === undefined || result === null) return { status: 404 };
  if (isBody(result)) return { body: result };
  if (result instanceof Response) {
    const { status, headers } = result;
    if (status !== 200 && status !== 404) throw new OriginError(`it returned a response with status ${status}`);
    if (status === 404) void result.body?.cancel().catch(() => {});
    return { status, body: result.body ?? "", contentType: headers.get("content-type") ?? BYTES };
  }
  if (typeof result === "object" && ("body" in result || "status" in result)) return result;
  throw new OriginError(`it must return a body or { body }: it returned ${kindOf(result)}`);
}

function isBody(result: unknown): result is Exclude<LoadResult, Loaded | Response | null | undefined> {
  return typeof result === "string" || result instanceof Uint8Array || result instanceof ArrayBuffer ||
    result instanceof ReadableStream;
}

/** Names the kind of an unusable value, for messages. */
function kindOf(value: unknown): string {
  if (value === undefined || value === null) return String(value);
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object without a body" : `a ${typeof value}`;
}

function nothing(loaded: Loaded, { lifetime }: Reading): Answer {
  const tags = tagsOf(loaded.tags);
  return {
    body: EMPTY,
    contentType: "text/plain",
    status: 404,
    ...(loaded.ttlMs !== undefined && { freshness: freshnessOf(loaded, lifetime, lifetime.negativeTtlMs) }),
    ...(tags !== undefined && { tags }),
  };
}

async function bytesOf(body: unknown, reading: Reading): Promise<Uint8Array<ArrayBuffer>> {
  const { valueBytesMax = MAX_BODY_BYTES, stale, held } = reading;
  if (!isBody(body)) throw new OriginError(`its body must be text, bytes or a stream: it is ${kindOf(body)}`);
  if (stale !== undefined && body === stale.body) return held!.body;
  if (body instanceof ReadableStream) return await readWhole(body, valueBytesMax, reading);
  // Copy: the author may reuse the buffer, or have cut it from a longer one.
  const bytes = typeof body === "string" ? utf8.encode(body) : new Uint8Array(body).slice();
  if (bytes.length > valueBytesMax) throw tooLong(valueBytesMax);
  return bytes;
}

async function readWhole(
  stream: ReadableStream<unknown>,
  valueBytesMax: number,
  { signal, loading }: Reading,
): Promise<Uint8Array<ArrayBuffer>> {
  const reader = stream.getReader();
  const cancel = () => void reader.cancel(signal.reason).catch(() => {});
  signal.addEventListener("abort", cancel, { once: true });
  try {
    const bytes = new GrowingBytes();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      signal.throwIfAborted();
      const chunk = typeof read.value === "string" ? utf8.encode(read.value) : read.value;
      if (!(chunk instanceof Uint8Array)) {
        throw new OriginError(`its stream must hold text or bytes: it holds ${kindOf(chunk)}`);
      }
      if (bytes.length + chunk.length > valueBytesMax) throw tooLong(valueBytesMax);
      const turn = loading?.hold(bytes.length + chunk.length, signal);
      if (turn !== undefined) await turn;
      bytes.append(chunk);
    }
    signal.throwIfAborted();
    return bytes.take();
  } catch (error) {
    void reader.cancel(error).catch(() => {});
    if (signal.aborted || error instanceof OriginError || error instanceof OverloadedError) throw error;
    throw new OriginError(`its stream broke off: ${error instanceof Error ? error.message : error}`, { cause: error });
  } finally {
    signal.removeEventListener("abort", cancel);
  }
}

function tooLong(valueBytesMax: number): OriginError {
  return new OriginError(`its body is longer than the longest value, which has ${valueBytesMax} bytes`);
}

function contentTypeOf(type: string): string {
  if (typeof type !== "string" || !/^[\t\x20-\x7e]+$/.test(type) || type.length > MAX_CONTENT_TYPE_BYTES) {
    throw new OriginError(`its contentType must be 1 to ${MAX_CONTENT_TYPE_BYTES} printable ASCII characters`);
  }
  return type;
}

/** Too many or too long tags count as all tags, as for an HTTP origin. */
function tagsOf(tags: readonly string[] | undefined): Tags | undefined {
  if (tags === undefined) return undefined;
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === "string" && tag !== "")) {
    throw new OriginError("its tags must be a list of texts");
  }
  const distinct = [...new Set(tags as string[])];
  const isTooMuch = distinct.length > MAX_TAGS || distinct.some((tag) => Buffer.byteLength(tag) > MAX_TAG_BYTES);
  return isTooMuch ? "any" : Object.freeze(distinct);
}

/** RFC 9110, 8.8.3. */
function etagOf(etag: string | undefined): string | undefined {
  if (etag === undefined) return undefined;
  if (typeof etag === "string" && /^(W\/)?"[\x21\x23-\x7e]*"$/.test(etag)) return etag;
  if (typeof etag === "string" && /^[\x21\x23-\x7e]+$/.test(etag)) return `"${etag}"`;
  throw new OriginError("its etag must be printable ASCII characters without spaces and quotes");
}

/** @param policyMs the lifetime if the author names none */
function freshnessOf(
  { ttlMs, staleWhileRevalidateMs, staleIfErrorMs }: Loaded,
  lifetime: LifetimePolicy,
  policyMs: number | null,
): Freshness {
  const own = { ttlMs: spanOf("ttlMs", ttlMs), staleIfErrorMs: spanOf("staleIfErrorMs", staleIfErrorMs) };
  const whileRevalidateMs = spanOf("staleWhileRevalidateMs", staleWhileRevalidateMs);
  const isHonoured = lifetime.honourOrigin;
  const byPolicyMs = policyMs === null ? Infinity : jittered(policyMs, lifetime.ttlJitter, Math.random);
  return {
    isStorable: true,
    ageMs: 0,
    freshMs: isHonoured ? own.ttlMs ?? byPolicyMs : byPolicyMs,
    staleWhileRevalidateMs: (isHonoured ? whileRevalidateMs : undefined) ?? lifetime.staleWhileRevalidateMs,
    staleIfErrorMs: (isHonoured ? own.staleIfErrorMs : undefined) ?? lifetime.staleIfErrorMs,
    hasOwnLifetime: isHonoured && own.ttlMs !== undefined,
    hasOwnStale: isHonoured && (whileRevalidateMs !== undefined || own.staleIfErrorMs !== undefined),
  };
}

function spanOf(field: string, ms: number | null | undefined): number | undefined {
  if (ms === undefined) return undefined;
  if (ms === null && field === "ttlMs") return Infinity;
  if (typeof ms === "number" && ms >= 0 && (ms < Infinity || field === "ttlMs")) return ms;
  throw new OriginError(`its ${field} must be a number of milliseconds from 0: current value is ${ms}`);
}
