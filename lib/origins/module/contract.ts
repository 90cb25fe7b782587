/** The types for authors of origins in code. */

/** The expired value. Returning it means that it is still good; it then lives as long as a new one. */
export interface Stale {
  /** A copy: changing it changes nothing. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** A media type. */
  readonly contentType: string;
  /** Since it was loaded, in milliseconds. */
  readonly ageMs: number;
  /** The tag from `load`, in quotes. */
  readonly etag: string | undefined;
  /** The tags from `load`. */
  readonly tags: readonly string[];
}

/** The second argument of a load. */
export interface LoadOptions {
  /** Aborted when no caller waits for the value any more, or the group's `loadTimeoutMs` is over. */
  readonly signal: AbortSignal;
  /** `undefined`: this node holds none. */
  readonly stale: Stale | undefined;
  /**
   * Header fields that identify the client's request behind this load. Send them with the requests that you make. They
   * are `x-request-id`, `traceparent` and `tracestate`, if known.
   */
  readonly trace: Readonly<Record<string, string>>;
}

/** Text is sent as UTF-8. A stream is read into memory, up to the group's `valueBytesMax`. */
export type Body = string | Uint8Array | ArrayBuffer | ReadableStream<Uint8Array | string>;

/** A value with more facts than its body. */
export interface Loaded {
  /** The value itself. `null`: there is none. */
  readonly body?: Body | Promise<Body> | null;
  /** A media type. @default `text/plain; charset=utf-8` for text, else `application/octet-stream` */
  readonly contentType?: string | undefined;
  /** How long it may be served, in milliseconds; null: for ever. @default the group's policy */
  readonly ttlMs?: number | null | undefined;
  /** After that, how long it may be served while it is refreshed, in milliseconds. @default the group's policy */
  readonly staleWhileRevalidateMs?: number | undefined;
  /** After `ttlMs`, how long it may be served while the origin fails, in milliseconds. @default the group's policy */
  readonly staleIfErrorMs?: number | undefined;
  /** Tags by which it may be invalidated. @default none */
  readonly tags?: readonly string[] | undefined;
  /** The tag by which clients may validate it, with or without quotes. @default none */
  readonly etag?: string | undefined;
  /** 200 or 404; 404: there is no such value. @default 200 */
  readonly status?: number | undefined;
}

/** `undefined` and `null`: there is no such value. */
export type LoadResult = Body | Loaded | Response | null | undefined;

/**
 * Loads the value of a key. The `name` of an error has a meaning. `NotFoundError`: there is no value.
 * `OverloadedError`: the caller should try again later. `TimeoutError`: it took too long. Any other error is a failure
 * of the origin.
 */
export type Load = (key: string, options: LoadOptions) => LoadResult | Promise<LoadResult>;
