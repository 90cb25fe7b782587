/** The origin of the chaos program: it answers after a delay, and counts the loads by key and node. */
import { serveBodies } from "../support/serve-bodies.ts";
import type { Defer } from "../support/test.ts";
import { valueOf } from "./keys.ts";

/** A load of a key that had been loaded before. */
export interface ExtraLoad {
  readonly key: string;
  /** The node that asked. */
  readonly by: string;
  /** The nodes that had loaded it before, in order. */
  readonly before: readonly string[];
  /** Since the origin was reset, in milliseconds. */
  readonly atMs: number;
}

/** The loads since `begin` of keys that had been loaded before. */
export class CountingOrigin {
  /** How long a load takes, in milliseconds. */
  delayMs = 0;
  /** While it is true, every load is answered with 503. */
  isFailing = false;
  /** The tries while the origin failed, by key, in order. */
  readonly tries = new Map<string, Pick<ExtraLoad, "by" | "atMs">[]>();
  /** Called at each load, before it is answered. */
  onLoad: (key: string, by: string) => void = () => {};
  readonly extra: ExtraLoad[] = [];
  /** All loads since `begin`. */
  loads = 0;
  readonly #loadersOf = new Map<string, string[]>();
  #beganAtMs = performance.now();
  #url = "";

  /** The origin for this node's configuration; by it the loads are counted per node. */
  templateFor(node: string): string {
    return `${this.#url}/${node}/{key}`;
  }

  /** How many keys were ever loaded. */
  get keysLoaded(): number {
    return this.#loadersOf.size;
  }

  /** Counts extra loads from now on; the keys loaded before stay known. */
  begin(): void {
    this.extra.length = 0;
    this.tries.clear();
    this.loads = 0;
    this.#beganAtMs = performance.now();
  }

  /** The nodes that have loaded a key, in order. */
  loadersOf(key: string): readonly string[] {
    return this.#loadersOf.get(key) ?? [];
  }

  async start(defer: Defer): Promise<void> {
    this.#url = await serveBodies(defer, (path) => {
      const [, by = "", key = ""] = path.split("/").map(decodeURIComponent);
      if (!this.isFailing) this.#count(key, by);
      else {
        const tries = this.tries.get(key) ?? [];
        this.tries.set(key, tries);
        tries.push({ by, atMs: performance.now() - this.#beganAtMs });
      }
      return { body: valueOf(key), delayMs: this.delayMs, status: this.isFailing ? 503 : 200 };
    });
  }

  #count(key: string, by: string): void {
    this.loads++;
    const loaders = this.#loadersOf.get(key);
    if (loaders === undefined) this.#loadersOf.set(key, [by]);
    else {
      this.extra.push({ key, by, before: [...loaders], atMs: Math.round(performance.now() - this.#beganAtMs) });
      loaders.push(by);
    }
    this.onLoad(key, by);
  }
}
