/** The origin of the chaos program: takes its time, and counts every load of every key, and for whom it was. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Defer } from "../support/test.ts";
import { valueOf } from "./keys.ts";

/** A load of a key that had been loaded before. */
export interface ExtraLoad {
  readonly key: string;
  /** The node that asked. */
  readonly by: string;
  /** Who had asked for it before, in order. */
  readonly before: readonly string[];
  /** Since the origin was reset, in milliseconds. */
  readonly atMs: number;
}

/** Of the loads since `begin`: those of keys that had been loaded already, then or before. */
export class CountingOrigin {
  /** What a load takes, in milliseconds. */
  delayMs = 0;
  /** Called at each load, before it is answered. */
  onLoad: (key: string, by: string) => void = () => {};
  readonly extra: ExtraLoad[] = [];
  /** All loads since `begin`. */
  loads = 0;
  readonly #loadersOf = new Map<string, string[]>();
  #beganAtMs = performance.now();
  #url = "";

  /** For a node's configuration: tells the loads of the nodes apart. */
  templateFor(node: string): string {
    return `${this.#url}/${node}/{key}`;
  }

  /** How many keys were ever loaded. */
  get keysLoaded(): number {
    return this.#loadersOf.size;
  }

  /** Counts extra loads from now on; what was loaded stays known. */
  begin(): void {
    this.extra.length = 0;
    this.loads = 0;
    this.#beganAtMs = performance.now();
  }

  /** Who has loaded a key, in order. */
  loadersOf(key: string): readonly string[] {
    return this.#loadersOf.get(key) ?? [];
  }

  async start(defer: Defer): Promise<void> {
    const server = createServer((request, response) => {
      const [, by = "", key = ""] = request.url!.split("/").map(decodeURIComponent);
      this.#count(key, by);
      const answer = () => {
        const body = valueOf(key);
        response.writeHead(200, { "content-type": "application/octet-stream", "content-length": body.length });
        response.end(body);
      };
      if (this.delayMs > 0) setTimeout(answer, this.delayMs);
      else answer();
    });
    // A node's idle connections must not end under it: that would be a fault of the origin.
    server.keepAliveTimeout = 0;
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", 1_024, listening));
    defer(() => {
      server.closeAllConnections();
      return new Promise((closed) => server.close(closed));
    });
    this.#url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
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
