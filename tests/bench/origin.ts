/** The origin of every contestant: it answers with a key's value, after an optional delay, and counts loads. */
import type { Defer } from "../support/test.ts";
import { valueOf } from "./keys.ts";

export interface BenchOrigin {
  /** For a contestant's configuration. */
  readonly template: string;
  delayMs: number;
  loads: number;
}

/** Bun's own server: with node:http a load took the origin twice as long, and nodes then fill slowly. */
interface BunServer {
  readonly port: number;
  stop(isAtOnce: boolean): Promise<void>;
}
interface BunServe {
  serve(options: object): BunServer;
}

const init = { headers: { "content-type": "application/octet-stream" } };

/** Starts it in this process; ended with the row. */
export function startOrigin(defer: Defer): Promise<BenchOrigin> {
  const origin = { template: "", delayMs: 0, loads: 0 };
  const { Bun } = globalThis as unknown as { Bun: BunServe };
  const answer = async ({ url }: Request) => {
    origin.loads++;
    const key = decodeURIComponent(url.slice(url.lastIndexOf("/") + 1));
    if (origin.delayMs > 0) await new Promise((over) => setTimeout(over, origin.delayMs));
    return new Response(valueOf(key), init);
  };
  // A node's idle connections must stay open: closing them would be the origin's fault.
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, idleTimeout: 0, fetch: answer });
  defer(() => server.stop(true));
  origin.template = `http://127.0.0.1:${server.port}/{key}`;
  return Promise.resolve(origin);
}
