/**
 * Whole answers from a cache, for values with HTTP fields. Such an answer changes once a second (`Age`, `ttl`), so this
 * makes its headers once a second. Bun copies a `Headers` object faster than it reads lines; Deno reads lines as fast.
 */
import { Memo } from "../../core/base/tables/memo.ts";
import type { About, Value } from "../../core/value.ts";
import { untyped } from "./untyped.ts";
import { isOneChunk, type TextBodies } from "./text-bodies.ts";

/** How many popular values have headers here; chosen. quick-lru keeps up to twice as many. No budget counts them. */
const MAX_MADE = 2_048;

type Lines = [name: string, value: string][];

/** The latest headers of a value, and the facts that they were made from. */
interface Made {
  ageSeconds: number;
  ttlSeconds: number;
  cacheStatus: string;
  isSandboxed: boolean;
  byteLength: number;
  contentType: string;
  init: ResponseInit;
}

/** Makes answers to GETs without conditions and ranges, for values with a body. */
export class WholeHits {
  /** The key is the value's `about`, not the value: a body of 16 MiB must not stay in memory for its headers. */
  readonly #made = new Memo<About, Made>(
    MAX_MADE,
    () => {
      const unset = { ageSeconds: NaN, ttlSeconds: NaN, byteLength: NaN };
      return { ...unset, cacheStatus: "", isSandboxed: false, contentType: "", init: {} };
    },
  );
  readonly #texts: TextBodies | undefined;

  /** @param texts set on a runtime that sends text in one chunk faster than bytes of a known length */
  constructor(texts: TextBodies | undefined) {
    this.#texts = texts;
  }

  /**
   * @param cacheStatus without the parameters that change with time
   * @param isSandboxed whether the answer is under the node's own host; under a host of the site it has another form
   * @param headersOf makes the headers for this second, without `Content-Length`
   */
  response(
    value: Value,
    cacheStatus: string,
    isSandboxed: boolean,
    nowMs: number,
    headersOf: () => Lines,
  ): Response {
    const ageSeconds = Math.floor((nowMs - value.bornAtMs) / 1_000);
    const ttlSeconds = Math.floor((value.freshUntilMs - nowMs) / 1_000);
    const { contentType, body: { byteLength } } = value;
    const made = this.#made.get(value.about);
    // Values with the same `about` share these headers, except those that describe the body.
    const isSame = made.ageSeconds === ageSeconds && made.ttlSeconds === ttlSeconds &&
      made.cacheStatus === cacheStatus && made.isSandboxed === isSandboxed && made.byteLength === byteLength &&
      made.contentType === contentType;
    if (!isSame) {
      const init = this.#initOf(value, headersOf());
      Object.assign(made, { ageSeconds, ttlSeconds, cacheStatus, isSandboxed, byteLength, contentType, init });
    }
    return new Response(contentType === "" ? this.#untyped(value) : this.#texts?.of(value) ?? value.body, made.init);
  }

  /** Deno adds a type to a string only. */
  #untyped({ body }: Value): BodyInit {
    return this.#texts === undefined ? untyped(body) : body;
  }

  #initOf({ body, about: { status } }: Value, lines: Lines): ResponseInit {
    const { byteLength } = body;
    const isChunk = this.#texts !== undefined && isOneChunk(byteLength);
    lines.push(isChunk ? ["transfer-encoding", "chunked"] : ["content-length", String(byteLength)]);
    return { status, headers: this.#texts === undefined ? new Headers(lines) : lines };
  }
}
