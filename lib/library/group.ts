/** The program's handle of a group. */
import { utf8Bytes } from "../core/base/hash.ts";
import { keyShown, type Trace, type Tracing } from "../core/base/trace.ts";
import { MAX_CONTENT_TYPE_BYTES } from "../core/base/limits.ts";
import {
  BadKeyError,
  NotFoundError,
  OriginError,
  PassThroughError,
  PeerError,
  UnavailableError,
} from "../core/errors.ts";
import type { Loaded } from "../core/group/loaded.ts";
import { checkedInvalidation, invalidationOf } from "../core/invalidation/message.ts";
import type { Label } from "../core/invalidation/label.ts";
import { isFieldValue } from "../core/semantics/fields.ts";
import { afterText, readAfter } from "../http/after.ts";
import { checkKey } from "../http/key.ts";
import type { Invalidated } from "../http/ports.ts";
import type { Served } from "../node/groups/served-group.ts";
import type { Codec } from "./codec.ts";
import { inOrderOfArrival } from "./arrivals.ts";
import type { Arrival, CacheGroup, Change, Changed, ChangeOptions, GetOptions, PutOptions } from "./surface.ts";

/** Chosen: twelve times as long as an HTTP request for a change waits (WAIT_MS of lib/http/admin). */
const MAX_WAIT_MS = 60_000;

/** The part of the node that a group needs. */
export interface Host {
  /** @throws UnavailableError the node is closed, or was reloaded without the group */
  served(group: string): Served;
  /** Makes the close of the node wait for the work, or end the wait for it. */
  track<T>(work: Promise<T>): Promise<T>;
  readonly tracing: Tracing;
}

/** One group of a node. */
export class GroupHandle<Value> implements CacheGroup<Value> {
  readonly name: string;
  readonly #host: Host;
  readonly #codec: Codec;

  constructor(name: string, host: Host, codec: Codec) {
    this.name = name;
    this.#host = host;
    this.#codec = codec;
  }

  async get(key: string, { signal, after }: GetOptions = {}): Promise<Value> {
    checkKey(key);
    const label = after === undefined ? undefined : labelOf(after);
    const { group } = this.#host.served(this.name);
    signal?.throwIfAborted();
    const options = { ...(signal !== undefined && { signal }), after: label };
    const { tracing } = this.#host;
    const get = (trace?: Trace) => group.get(key, trace === undefined ? options : { ...options, trace });
    try {
      const loaded = tracing.isOn ? this.#recorded(tracing, key, get) : get();
      return this.#valueIn(await this.#host.track(loaded), key);
    } catch (error) {
      if (!(error instanceof PassThroughError)) throw error;
      throw new OriginError(`the answer for ${JSON.stringify(key)} is none that a cache keeps`, { cause: error });
    }
  }

  getMany(keys: Iterable<string>, options: GetOptions = {}): AsyncGenerator<Arrival<Value>, void, void> {
    return inOrderOfArrival(keys, options.signal, async (key, signal) => {
      try {
        return { key, value: await this.get(key, { ...options, signal }) };
      } catch (error) {
        return { key, error: error instanceof Error ? error : new Error(String(error)) };
      }
    });
  }

  async invalidate(change: Change, { waitMs = 0 }: ChangeOptions = {}): Promise<Changed> {
    const message = checkedInvalidation({ ...invalidationOf({}), ...change });
    const { invalidation } = this.#host.served(this.name);
    return changedBy(await this.#host.track(invalidation.invalidate(message, { waitMs: checkedWait(waitMs) })));
  }

  async put(key: string, value: Value, { waitMs = 0, contentType, ttlMs }: PutOptions = {}): Promise<Changed> {
    checkKey(key);
    const { invalidation, isWritable, valueBytesMax } = this.#host.served(this.name);
    if (!isWritable) {
      throw new TypeError(`Cannot put into ${this.name} as the group must be writable`);
    }
    const encoded = this.#codec.encode(value);
    const { byteLength } = encoded.body;
    if (byteLength > valueBytesMax) {
      throw new RangeError(`Cannot put ${byteLength} bytes as a value must have at most ${valueBytesMax}`);
    }
    const written = {
      ...encoded,
      ...(contentType !== undefined && { contentType: checkedType(contentType) }),
      ttlMs: checkedTtl(ttlMs),
    };
    try {
      return changedBy(await this.#host.track(invalidation.write(key, written, { waitMs: checkedWait(waitMs) })));
    } catch (error) {
      if (!(error instanceof PeerError)) throw error;
      const message = "the key's owner cannot be reached: the old value is gone, and the new one is not stored";
      throw new UnavailableError(message, { cause: error });
    }
  }

  async #recorded(tracing: Tracing, key: string, get: (trace: Trace) => Promise<Loaded>): Promise<Loaded> {
    const about = { "muster.group": this.name, "muster.key": keyShown(key) };
    const span = tracing.begin("get", "get", undefined, about);
    try {
      const loaded = await span.run(() => get(span.trace));
      const { source, value } = loaded;
      span.end({ "muster.cache": source === "main" ? "hit" : source, "muster.bytes": value.body.length });
      return loaded;
    } catch (error) {
      span.end({}, error);
      throw error;
    }
  }

  /** A site has answers that are no values: error pages and redirects. */
  #valueIn({ value: { body, about: { status } } }: Loaded, key: string): Value {
    if (status === 404 || status === 410) {
      throw new NotFoundError(`there is no ${JSON.stringify(key)}`);
    }
    if (status < 200 || status > 299) {
      throw new OriginError(`the origin answered ${status}`);
    }
    return this.#codec.decode(body) as Value;
  }
}

function changedBy({ label, applied, behind }: Invalidated): Changed {
  return { after: afterText(label), applied, behind };
}

/** @throws BadKeyError the text is not the `after` of a change */
function labelOf(after: string): Label {
  const { epoch, sequence } = readAfter(after);
  if (epoch === undefined) throw new BadKeyError("after must be that of a change: <epoch>-<sequence>");
  return { epoch, sequence };
}

function checkedWait(waitMs: number): number {
  if (waitMs >= 0 && waitMs <= MAX_WAIT_MS) return waitMs;
  throw new RangeError(`Cannot wait as waitMs must be from 0 to ${MAX_WAIT_MS}: current value is ${waitMs}`);
}

function checkedTtl(ttlMs: number | undefined): number | undefined {
  if (ttlMs === undefined || Number.isSafeInteger(ttlMs) && ttlMs > 0) return ttlMs;
  throw new RangeError(`Cannot put as ttlMs must be a whole number from 1: current value is ${ttlMs}`);
}

function checkedType(contentType: string): string {
  const isSound = contentType !== "" && isFieldValue(contentType);
  if (isSound && utf8Bytes(contentType) <= MAX_CONTENT_TYPE_BYTES) return contentType;
  const rule = `contentType must be 1 to ${MAX_CONTENT_TYPE_BYTES} bytes that a header can carry`;
  throw new TypeError(`Cannot put as ${rule}`);
}
