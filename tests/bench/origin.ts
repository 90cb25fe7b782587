/** The origin of every contestant: gives a key's value, after a delay if one is set, and counts. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Defer } from "../support/test.ts";
import { valueOf } from "./keys.ts";

export interface BenchOrigin {
  /** For a contestant's configuration. */
  readonly template: string;
  delayMs: number;
  loads: number;
}

/** Starts it in this process; ended with the row. */
export async function startOrigin(defer: Defer): Promise<BenchOrigin> {
  const server = createServer((request, response) => {
    origin.loads++;
    const body = valueOf(decodeURIComponent(request.url!.slice(1)));
    const answer = () => {
      response.writeHead(200, { "content-type": "application/octet-stream", "content-length": body.length });
      response.end(body);
    };
    if (origin.delayMs > 0) setTimeout(answer, origin.delayMs);
    else answer();
  });
  // An idle connection of a contestant must not end under it.
  server.keepAliveTimeout = 0;
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", 1_024, listening));
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  const { port } = server.address() as AddressInfo;
  const origin: BenchOrigin = { template: `http://127.0.0.1:${port}/{key}`, delayMs: 0, loads: 0 };
  return origin;
}
