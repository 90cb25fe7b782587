/** The origin of the chaos program: it answers after a delay, and counts the loads by key and node. */
import type { Buffer } from "node:buffer";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
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

/** The origin's answer, and its delay. */
export interface OriginAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** @default none */
  readonly body?: Buffer;
  readonly delayMs: number;
}

/** A node of muster sends its name in this header, since nodes with different origin URLs share no values. */
export const nodeHeader = "x-node";

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

  /** The origin of nodes that send `nodeHeader`. */
  get template(): string {
    return `${this.#url}/{key}`;
  }

  /** The origin for a node that sends no headers. */
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

  /** @param host the address to listen on */
  async start(defer: Defer, host = "127.0.0.1"): Promise<void> {
    const server = createServer((request, response) => {
      const [key = "", byPath] = request.url!.split("/").map(decodeURIComponent).reverse();
      const by = String(request.headers[nodeHeader] ?? byPath);
      const { status, headers, body, delayMs } = this.answer(key, by, request.headers);
      const send = () => {
        response.writeHead(status, { ...headers, ...(body && { "content-length": body.length }) });
        response.end(body);
      };
      if (delayMs > 0) setTimeout(send, delayMs);
      else send();
    });
    // A node's idle connections must not end under it: that would be a fault of the origin.
    server.keepAliveTimeout = 0;
    await new Promise<void>((listening) => server.listen(0, host, 1_024, listening));
    defer(() => {
      server.closeAllConnections();
      return new Promise((closed) => server.close(closed));
    });
    const { port } = server.address() as AddressInfo;
    this.#url = `http://${host.includes(":") ? `[${host}]` : host}:${port}`;
  }

  /** Called once for each request. */
  protected answer(key: string, by: string, _headers: IncomingHttpHeaders): OriginAnswer {
    if (!this.isFailing) this.count(key, by);
    else {
      const tries = this.tries.get(key) ?? [];
      this.tries.set(key, tries);
      tries.push({ by, atMs: performance.now() - this.#beganAtMs });
    }
    const headers = { "content-type": "application/octet-stream" };
    return { status: this.isFailing ? 503 : 200, headers, body: valueOf(key), delayMs: this.delayMs };
  }

  protected count(key: string, by: string): void {
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
