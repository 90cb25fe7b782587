/** What the author of an origin in code writes, and what it is given. */

/** The value that has expired. To return it says that it is still good; it then lives as long as a new one. */
export interface Stale {
  /** A copy: changing it changes nothing. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** A media type. */
  readonly contentType: string;
  /** Since it was loaded, in milliseconds. */
  readonly ageMs: number;
  /** As `load` gave it, in quotes. */
  readonly etag: string | undefined;
  /** As `load` gave them. */
  readonly tags: readonly string[];
}

/** What a load gets beside the key. */
export interface LoadOptions {
  /** Aborted when nobody waits for the value any more, or the group's `loadTimeoutMs` is over. */
  readonly signal: AbortSignal;
  /** `undefined`: this node holds none. */
  readonly stale: Stale | undefined;
  /**
   * The header fields that say which client's request the load is for, to be sent along with requests that it makes:
   * `x-request-id`, `traceparent` and `tracestate`, those that are known.
   */
  readonly trace: Readonly<Record<string, string>>;
}

/** Text is sent as UTF-8. A stream is read into memory, up to the group's `valueBytesMax`. */
export type Body = string | Uint8Array | ArrayBuffer | ReadableStream<Uint8Array | string>;

/** A value with more to say than its body. */
export interface Loaded {
  /** The value itself. `null`: there is none. */
  readonly body?: Body | Promise<Body> | null;
  /** A media type. @default `text/plain; charset=utf-8` for text, else `application/octet-stream` */
  readonly contentType?: string | undefined;
  /** How long it may be served, in milliseconds; null: for ever. @default the group's policy */
  readonly ttlMs?: number | null | undefined;
  /** After that, for how long while it is refreshed, in milliseconds. @default the group's policy */
  readonly staleWhileRevalidateMs?: number | undefined;
  /** After `ttlMs`, for how long while the origin fails, in milliseconds. @default the group's policy */
  readonly staleIfErrorMs?: number | undefined;
  /** By which it may be invalidated. @default none */
  readonly tags?: readonly string[] | undefined;
  /** What clients may name it by, with or without quotes. @default none */
  readonly etag?: string | undefined;
  /** 200 or 404; 404: there is no such value. @default 200 */
  readonly status?: number | undefined;
}

/** `undefined` and `null`: there is no such value. */
export type LoadResult = Body | Loaded | Response | null | undefined;

/**
 * Loads the value of a key. An error whose `name` is `NotFoundError` says that there is none, `OverloadedError` that the
 * caller is to come again later, `TimeoutError` that it took too long. Any other is a failure of the origin.
 */
export type Load = (key: string, options: LoadOptions) => LoadResult | Promise<LoadResult>;
