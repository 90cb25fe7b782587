/** A writable group of text for the stores of other libraries: a key without a value is no error. */
import { NotFoundError } from "../core/errors.ts";
import type { CacheGroup } from "../library/surface.ts";

/** The options of a store. */
export interface StoreOptions {
  /**
   * How long a write waits until all nodes of the group have applied it, in milliseconds. Default: 0, which waits for
   * this node only.
   */
  readonly waitMs?: number;
}

/**
 * Derived: this many of the longest keys, of 1,024 bytes, fit into one message of 256 KiB even if JSON escapes them.
 */
const MAX_KEYS = 100;
/** The most writes at a time. Chosen: the same as the reads of `getMany`. */
const MAX_WRITES = 64;

/** The values of one group. */
export class TextValues {
  readonly #group: CacheGroup<string>;
  readonly #options: { readonly waitMs: number };

  constructor(group: CacheGroup<string>, { waitMs = 0 }: StoreOptions = {}) {
    this.#group = group;
    this.#options = { waitMs };
  }

  /**
   * @returns `undefined`: there is none
   * @throws like `CacheGroup.get`, except NotFoundError
   */
  async get(key: string): Promise<string | undefined> {
    try {
      return await this.#group.get(key);
    } catch (error) {
      if (error instanceof NotFoundError) return undefined;
      throw error;
    }
  }

  /** Like `get`, in the order of the keys. */
  async getMany(keys: readonly string[]): Promise<(string | undefined)[]> {
    const found = new Map<string, string>();
    for await (const { key, value, error } of this.#group.getMany(keys)) {
      if (error === undefined) found.set(key, value);
      else if (!(error instanceof NotFoundError)) throw error;
    }
    return keys.map((key) => found.get(key));
  }

  /**
   * @param ttl the value's lifetime, in milliseconds; 0 and none: that of the group
   * @throws TypeError the value is no text; and as `CacheGroup.put`
   */
  async set(key: string, value: unknown, ttl?: number): Promise<true> {
    const ttlMs = ttl ? { ttlMs: Math.max(1, Math.ceil(ttl)) } : {};
    // `put` refuses a value that is no text.
    await this.#group.put(key, value as string, { ...this.#options, ...ttlMs });
    return true;
  }

  /** Like `set`, for each entry. */
  async setMany(entries: readonly { key: string; value: unknown; ttl?: number | undefined }[]): Promise<void> {
    for (let at = 0; at < entries.length; at += MAX_WRITES) {
      await Promise.all(entries.slice(at, at + MAX_WRITES).map(({ key, value, ttl }) => this.set(key, value, ttl)));
    }
  }

  /** Deletes keys. @returns whether there was a value for one of them just before */
  async delete(keys: readonly string[]): Promise<boolean> {
    const had = await this.getMany(keys);
    // Delete also the keys that were not found: another node may be writing one now.
    for (let at = 0; at < keys.length; at += MAX_KEYS) {
      await this.#group.invalidate({ keys: keys.slice(at, at + MAX_KEYS) }, this.#options);
    }
    return had.some((value) => value !== undefined);
  }

  /** Deletes all keys under the prefix, followed by a colon; without a prefix, the whole group. */
  async clear(prefix: string | undefined): Promise<void> {
    await this.#group.invalidate(prefix ? { prefixes: [`${prefix}:`] } : { all: true }, this.#options);
  }
}
