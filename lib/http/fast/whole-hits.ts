/**
 * Whole answers from a cache, for values with HTTP fields. Such an answer changes once a second (`Age`, `ttl`), so its headers
 * are made once a second. Bun copies a `Headers` object faster than it reads lines; Deno reads lines as fast.
 */
import { Memo } from "../../core/base/tables/memo.ts";
import type { About, Value } from "../../core/value.ts";
import { isOneChunk, type TextBodies } from "./text-bodies.ts";

/** Headers of popular values; chosen. quick-lru keeps up to twice as many. No budget counts them. */
const MAX_MADE = 2_048;

type Lines = [name: string, value: string][];

/** The latest headers of a value, and what they were made for. */
interface Made {
  ageSeconds: number;
  ttlSeconds: number;
  cacheStatus: string;
  isSandboxed: boolean;
  byteLength: number;
  contentType: string;
  init: ResponseInit;
}

/** Makes the answers of GETs without conditions and ranges, to values with a body. */
export class WholeHits {
  /** By what a value says beside its body: a body of 16 MiB must not stay in memory for its headers. */
  readonly #made = new Memo<About, Made>(
    MAX_MADE,
    () => {
      const unset = { ageSeconds: NaN, ttlSeconds: NaN, byteLength: NaN };
      return { ...unset, cacheStatus: "", isSandboxed: false, contentType: "", init: {} };
    },
  );
  readonly #texts: TextBodies | undefined;

  /** @param texts on a runtime that sends text in one chunk faster than bytes of a known length */
  constructor(texts: TextBodies | undefined) {
    this.#texts = texts;
  }

  /**
   * @param cacheStatus without what changes with the time
   * @param isSandboxed a site's value has two forms: under the node's own host, and under a host of the site
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
    // Values that say the same beside their bodies share these headers, but for what is told of the body.
    const isSame = made.ageSeconds === ageSeconds && made.ttlSeconds === ttlSeconds &&
      made.cacheStatus === cacheStatus && made.isSandboxed === isSandboxed && made.byteLength === byteLength &&
      made.contentType === contentType;
    if (!isSame) {
      const init = this.#initOf(value, headersOf());
      Object.assign(made, { ageSeconds, ttlSeconds, cacheStatus, isSandboxed, byteLength, contentType, init });
    }
    return new Response(this.#texts?.of(value) ?? value.body, made.init);
  }

  #initOf({ body, about: { status } }: Value, lines: Lines): ResponseInit {
    const { byteLength } = body;
    const isChunk = this.#texts !== undefined && isOneChunk(byteLength);
    lines.push(isChunk ? ["transfer-encoding", "chunked"] : ["content-length", String(byteLength)]);
    return { status, headers: this.#texts === undefined ? new Headers(lines) : lines };
  }
}
