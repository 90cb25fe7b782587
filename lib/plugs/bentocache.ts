/**
 * The second layer of a bentocache, for values that its first layer, in the memory of each process, does not have.
 *
 * @module
 */
import type { CacheGroup } from "../library/surface.ts";
import { type StoreOptions, TextValues } from "./text-values.ts";

export type { StoreOptions };

/** The object from which bentocache makes a driver. */
export interface BentocacheDriverFactory {
  /** Bentocache adds its own. */
  readonly options: Record<string, never>;
  /** Makes the driver of one cache, with bentocache's prefix for it. */
  readonly factory: (config: { readonly prefix?: string }) => BentocacheDriver;
}

/**
 * A driver for `useL2Layer`, over a writable group of text. Bentocache's grace periods need values after their
 * lifetimes have ended. Bentocache sets the time of each value itself, so the group needs no lifetime.
 *
 * @example
 * ```ts
 * import { createNode } from "muster-cache";
 * import { bentocacheDriver } from "muster-cache/bentocache";
 *
 * await using node = await createNode({
 *   nats: "off", // of a cluster: "nats://127.0.0.1:4222"
 *   groups: { second: { origin: "none:", writable: true, type: "text" } },
 * });
 * const driver = bentocacheDriver(node.group("second")); // then: bentostore().useL2Layer(driver)
 * const users = driver.factory({ prefix: "app" }).namespace("users");
 * await users.set("42", "ada", 60_000);
 * if (await users.pull("42") !== "ada") throw new Error("not kept");
 * ```
 * @param group writable, of type text
 */
export function bentocacheDriver(group: CacheGroup<string>, options?: StoreOptions): BentocacheDriverFactory {
  return { options: {}, factory: ({ prefix }) => new BentocacheDriver(group, prefix, options) };
}

/** Keys under one prefix. It comes from {@linkcode bentocacheDriver}. */
export class BentocacheDriver {
  /** The layer of this driver. */
  readonly type = "l2";
  readonly #group: CacheGroup<string>;
  readonly #values: TextValues;
  readonly #prefix: string | undefined;
  readonly #options: StoreOptions | undefined;

  /** A driver over a group. @param prefix the prefix of all keys, followed by a colon; `undefined`: none */
  constructor(group: CacheGroup<string>, prefix: string | undefined, options?: StoreOptions) {
    this.#group = group;
    this.#values = new TextValues(group, options);
    this.#prefix = prefix;
    this.#options = options;
  }

  /** The keys under one more prefix. */
  namespace(name: string): BentocacheDriver {
    return new BentocacheDriver(this.#group, this.#keyOf(name), this.#options);
  }

  /** The text of a key; `undefined`: there is none. @throws like `CacheGroup.get`, except NotFoundError */
  async get(key: string): Promise<string | undefined> {
    return await this.#values.get(this.#keyOf(key));
  }

  /** Gets the text of a key and then deletes it. These are two steps: two concurrent calls may both get it. */
  async pull(key: string): Promise<string | undefined> {
    const value = await this.get(key);
    if (value !== undefined) await this.delete(key);
    return value;
  }

  /** Writes a text. @param ttl its lifetime, in milliseconds; none: that of the group @throws as `CacheGroup.put` */
  async set(key: string, value: string, ttl?: number): Promise<boolean> {
    return await this.#values.set(this.#keyOf(key), value, ttl);
  }

  /** Deletes a key. @returns whether there was a value for it just before */
  async delete(key: string): Promise<boolean> {
    return await this.#values.delete([this.#keyOf(key)]);
  }

  /** Deletes keys. @returns whether one of them had a value just before; true without keys */
  async deleteMany(keys: string[]): Promise<boolean> {
    return await this.#values.delete(keys.map((key) => this.#keyOf(key))) || keys.length === 0;
  }

  /** Deletes all keys under the prefix; without one, the whole group. */
  async clear(): Promise<void> {
    await this.#values.clear(this.#prefix);
  }

  /** Does nothing: the program itself closes the node. */
  async disconnect(): Promise<void> {}

  #keyOf(key: string): string {
    return this.#prefix ? `${this.#prefix}:${key}` : key;
  }
}
