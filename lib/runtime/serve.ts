/** The HTTP and WebSocket server, on either runtime. */
import type { Context, MiddlewareHandler } from "hono";
import type { WSEvents } from "hono/ws";
import { Bun, Deno, type Fetch } from "./globals.ts";
import { WEBSOCKET_OPTIONS } from "./websocket.ts";

/** A listening HTTP server. */
export interface Listener {
  readonly port: number;
  /** Accepts no more connections; resolves when the requests in flight are answered. */
  stop(): Promise<void>;
}

/** No bound: bodies go through to a site as they come, and no other route reads one. Bun's own bound is 128 MiB. */
const MAX_REQUEST_BODY_BYTES = Number.MAX_SAFE_INTEGER;
/** Bun's longest. It is longer than the slowest load: a connection that waits for an answer is not idle. */
const IDLE_TIMEOUT_SECONDS = 255;

/** Accepts requests for a WebSocket; its events go to the handlers that `makeEvents` returns. */
export async function webSocketEndpoint(makeEvents: (context: Context) => WSEvents): Promise<MiddlewareHandler> {
  // Load only the adapter of this runtime: each uses its runtime's globals when it is loaded.
  return Bun !== undefined
    ? (await import("hono/bun")).upgradeWebSocket(makeEvents)
    : (await import("hono/deno")).upgradeWebSocket(makeEvents as (context: Context) => WSEvents<WebSocket>);
}

/**
 * Listens for HTTP and WebSockets.
 *
 * @param address.isShared whether other processes of this user may listen there too (SO_REUSEPORT); the kernel then
 * spreads connections over them
 * @param fetch answers a request; under Bun its second argument is the server, which Hono's upgradeWebSocket asks for
 * @throws Error the address is in use, not of this machine, or not permitted
 */
export async function listen(
  address: { host: string; port: number; isShared?: boolean },
  fetch: Fetch,
): Promise<Listener> {
  const { host: hostname, port, isShared: reusePort = false } = address;
  try {
    if (Bun !== undefined) {
      const { websocket } = await import("hono/bun");
      const server = Bun.serve({
        hostname,
        port,
        reusePort,
        fetch,
        idleTimeout: IDLE_TIMEOUT_SECONDS,
        maxRequestBodySize: MAX_REQUEST_BODY_BYTES,
        websocket: { ...websocket, ...WEBSOCKET_OPTIONS },
      });
      return { port: server.port, stop: () => server.stop() };
    }
    const server = Deno!.serve({ hostname, port, reusePort, onListen() {} }, fetch);
    return { port: server.addr.port, stop: () => server.shutdown() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot listen on ${hostname}:${port}: ${reason}`, { cause: error });
  }
}
