/**
 * An HTTP server of this process that answers every request with a body, after a while: the common part of the test
 * origins.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { Defer } from "./test.ts";

/**
 * @param take called once for each request, with its path; gives the body, after how many milliseconds it is sent, and the
 * status (200 without one)
 * @returns the server's URL, without a slash at the end; it is closed with `defer`
 */
export async function serveBodies(
  defer: Defer,
  take: (path: string) => { readonly body: Uint8Array; readonly delayMs: number; readonly status?: number },
): Promise<string> {
  const server = createServer((request, response) => {
    const { body, delayMs, status = 200 } = take(request.url!);
    const answer = () => {
      response.writeHead(status, { "content-type": "application/octet-stream", "content-length": body.length });
      response.end(body);
    };
    if (delayMs > 0) setTimeout(answer, delayMs);
    else answer();
  });
  // The origin must not end a node's idle connections: that would be a fault of the origin.
  server.keepAliveTimeout = 0;
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", 1_024, listening));
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
