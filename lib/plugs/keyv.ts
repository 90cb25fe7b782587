/**
 * A store for Keyv, and so for libraries on top of Keyv, such as cacheable and cache-manager.
 *
 * @module
 */
import type { CacheGroup } from "../library/surface.ts";
import { type StoreOptions, TextValues } from "./text-values.ts";

export type { StoreOptions };

/** One of the values of `setMany`. */
export interface KeyvEntry {
  /** With its namespace in front, in Keyv's form. */
  readonly key: string;
  /** In the form of Keyv's serializer. */
  readonly value: unknown;
  /** Its lifetime, in milliseconds. Default: that of the group. */
  readonly ttl?: number | undefined;
}

/**
 * Keeps the values of a Keyv in a writable group of text. A cache cannot list its keys, so this store has no iterator.
 * It may evict any value.
 *
 * @example
 * ```ts
 * import { createNode } from "muster-cache";
 * import { KeyvStore } from "muster-cache/keyv";
 *
 * await using node = await createNode({
 *   nats: "off", // of a cluster: "nats://127.0.0.1:4222"
 *   groups: { sessions: { origin: "none:", writable: true, type: "text" } },
 * });
 * const store = new KeyvStore(node.group("sessions")); // then: new Keyv({ store })
 * await store.set("42", "ada", 60_000);
 * if (await store.get("42") !== "ada") throw new Error("not kept");
 * ```
 */
export class KeyvStore {
  /** Keyv's own notes about the store. */
  // deno-lint-ignore no-explicit-any
  readonly opts: any = {};
  /** Set by Keyv. Each key begins with it, and `clear` deletes only such keys. So each Keyv needs its own store. */
  namespace: string | undefined;
  readonly #values: TextValues;

  /** A store over a group. @param group writable, of type text */
  constructor(group: CacheGroup<string>, options?: StoreOptions) {
    this.#values = new TextValues(group, options);
  }

  /** Does nothing, but Keyv's contract requires it: there are no events, and a failed call rejects. */
  on(_event: string, _listener: (...args: never[]) => void): this {
    return this;
  }

  /** The text of a key; `undefined`: there is none. @throws like `CacheGroup.get`, except NotFoundError */
  // deno-lint-ignore no-explicit-any
  async get(key: string): Promise<any> {
    return await this.#values.get(key);
  }

  /** Like `get`, in the order of the keys. */
  // deno-lint-ignore no-explicit-any
  async getMany(keys: string[]): Promise<any[]> {
    return await this.#values.getMany(keys);
  }

  /**
   * Writes a text.
   *
   * @param ttl its lifetime, in milliseconds; 0 and none: that of the group
   * @throws TypeError the value is no text: the Keyv must have a serializer, as it has by default; as `CacheGroup.put`
   */
  async set(key: string, value: unknown, ttl?: number): Promise<boolean> {
    return await this.#values.set(key, value, ttl);
  }

  /** Like `set`, for each entry. */
  async setMany(entries: KeyvEntry[]): Promise<void> {
    await this.#values.setMany(entries);
  }

  /** Deletes a key. @returns whether there was a value for it just before */
  async delete(key: string): Promise<boolean> {
    return await this.#values.delete([key]);
  }

  /** Deletes keys. @returns whether there was a value for one of them just before */
  async deleteMany(keys: string[]): Promise<boolean> {
    return await this.#values.delete(keys);
  }

  /** Deletes all keys of the namespace; without one, the whole group. */
  async clear(): Promise<void> {
    await this.#values.clear(this.namespace);
  }

  /** Whether there is a value for the key. */
  async has(key: string): Promise<boolean> {
    return await this.get(key) !== undefined;
  }
}
