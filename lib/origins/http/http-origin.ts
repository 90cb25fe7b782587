/** `http(s)://host/path/{key}`: any web server as an origin, one GET per value. */
import { Buffer } from "node:buffer";
import { version } from "../../config/config.ts";
import type { Clock } from "../../core/base/clock.ts";
import { NotFoundError, OriginError, OriginTimeoutError, OverloadedError } from "../../core/errors.ts";
import type { Origin } from "../../core/ports.ts";
import { MAX_BODY_BYTES, MAX_CONTENT_TYPE_BYTES } from "../../core/base/limits.ts";
import type { Fresh } from "../../core/value.ts";
import { LOAD_TIMEOUT_MS, type OriginDeps } from "../deps.ts";
import { fetchReason } from "./fetch-reason.ts";

/** Further requests in flight are refused. Chosen: as many as the DICT origin lets wait. */
const MAX_REQUESTS = 1_024;

/** Content encodings that `fetch` decodes under both runtimes. */
const DECODED: ReadonlySet<string> = new Set(["", "identity", "gzip", "br"]);

/**
 * What a server is asked with, the same under both runtimes: by itself each adds a user agent of its own, Bun asks for
 * encodings that Deno does not decode, and Deno adds `accept-language: *`.
 */
const HEADERS = {
  "user-agent": `muster/${version}`,
  accept: "*/*",
  "accept-language": "*",
  "accept-encoding": "gzip, br",
};

const DEFAULT_CONTENT_TYPE = "application/octet-stream";
/** Stands for the key while the URL parser normalises a template. The parser changes it in no part of a URL. */
const MARK = "muster0key0mark";

/** Gets values from a web server. It follows redirects; the last answer is the value. */
export class HttpOrigin implements Origin {
  readonly #template: string;
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #inFlight = new Set<AbortController>();
  #closed = false;

  /** @param options.template a URL with `{key}` in its path or query, as {@link parseOrigin} has accepted it */
  constructor(options: { readonly template: string }, deps: OriginDeps) {
    this.#template = new URL(options.template.replaceAll("{key}", MARK)).href;
    this.#clock = deps.clock;
    this.#timeoutMs = deps.loadTimeoutMs ?? LOAD_TIMEOUT_MS;
  }

  /**
   * @throws NotFoundError the server said 404 or 410, or no URL can carry the key (`.`, `..`, a lone surrogate)
   * @throws OriginTimeoutError the body did not end in time
   * @throws OverloadedError too many requests are in flight
   * @throws OriginError any other status, a body over 16 MiB or in an encoding that was not asked for, a content type that
   * is too long for a peer, or no connection
   */
  async load(key: string, signal: AbortSignal): Promise<Fresh> {
    signal.throwIfAborted();
    const url = this.#urlOf(key);
    if (this.#closed) throw new OriginError("the origin is closed");
    if (this.#inFlight.size >= MAX_REQUESTS) {
      throw new OverloadedError(`${MAX_REQUESTS} requests to ${new URL(url).host} are in flight already`);
    }
    const controller = new AbortController();
    const onAbort = () => controller.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    const cancelTimer = this.#clock.after(this.#timeoutMs, () => {
      controller.abort(new OriginTimeoutError(`${nameOf(url)} did not end within ${this.#timeoutMs} ms`));
    });
    this.#inFlight.add(controller);
    try {
      return await get(url, controller.signal);
    } catch (error) {
      // Each runtime wraps the reason of an abort in its own way.
      if (controller.signal.aborted) throw controller.signal.reason;
      if (error instanceof NotFoundError || error instanceof OriginError) throw error;
      throw new OriginError(`${nameOf(url)} cannot be fetched: ${fetchReason(error)}`);
    } finally {
      this.#inFlight.delete(controller);
      cancelTimer();
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Checks nothing: without a key there is no URL to ask, and the server may start later. */
  check(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  /** Fails the requests in flight. */
  close(): Promise<void> {
    this.#closed = true;
    for (const controller of this.#inFlight) controller.abort(new OriginError("the origin is closed"));
    return Promise.resolve();
  }

  #urlOf(key: string): string {
    if (!key.isWellFormed()) throw new NotFoundError(`no URL can carry ${JSON.stringify(key)}`);
    const url = this.#template.replaceAll(MARK, encodeKey(key));
    // The URL parser takes `.` and `..` (and `%2E`) as steps in the path: that would ask for another resource, maybe
    // another user's. A key that the URL cannot carry unchanged is not found.
    if (new URL(url).href !== url) throw new NotFoundError(`no URL can carry ${JSON.stringify(key)} in this place`);
    return url;
  }
}

/** Everything but RFC 3986's unreserved characters as `%XX` of its UTF-8 bytes. */
function encodeKey(key: string): string {
  return encodeURIComponent(key)
    .replaceAll(/[!'()*]/g, (char) => "%" + char.charCodeAt(0).toString(16).toUpperCase());
}

async function get(url: string, signal: AbortSignal): Promise<Fresh> {
  const response = await fetch(url, { signal, redirect: "follow", headers: HEADERS });
  if (response.status !== 200) {
    // Frees the connection in the background.
    response.body?.cancel().catch(() => {});
    if (response.status === 404 || response.status === 410) {
      throw new NotFoundError(`${nameOf(url)}: ${response.status}`);
    }
    throw new OriginError(`${nameOf(url)} answered ${response.status}`);
  }
  const fault = faultOf(response.headers);
  if (fault !== undefined) {
    response.body?.cancel().catch(() => {});
    throw new OriginError(`${nameOf(url)} ${fault}`);
  }
  const body = await readBounded(response, url);
  return { body, contentType: response.headers.get("content-type") || DEFAULT_CONTENT_TYPE };
}

/** Why an answer with these headers cannot be a value. The rule is the same under both runtimes. */
function faultOf(headers: Headers): string | undefined {
  const encoding = headers.get("content-encoding")?.trim().toLowerCase() ?? "";
  if (!DECODED.has(encoding)) return `has its body encoded as ${encoding}, which was not asked for`;
  if (Buffer.byteLength(headers.get("content-type") ?? "") > MAX_CONTENT_TYPE_BYTES) {
    return `has a content type of more than ${MAX_CONTENT_TYPE_BYTES} bytes`;
  }
  return undefined;
}

async function readBounded(response: Response, url: string): Promise<Uint8Array<ArrayBuffer>> {
  if (Number(response.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) {
    response.body?.cancel().catch(() => {});
    throw tooBig(url);
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  if (response.body !== null) {
    const reader = response.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
      // Counts decoded bytes: a small answer may decode into a big one.
      if (length > MAX_BODY_BYTES) {
        reader.cancel().catch(() => {});
        throw tooBig(url);
      }
      chunks.push(value);
    }
  }
  const body = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    body.set(chunk, at);
    at += chunk.length;
  }
  return body;
}

/** A URL for messages, without its query, which may hold a secret. */
function nameOf(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

function tooBig(url: string): OriginError {
  return new OriginError(`${nameOf(url)} has a body of more than ${MAX_BODY_BYTES} bytes`);
}
