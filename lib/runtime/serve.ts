/** The HTTP and WebSocket server of either runtime. */
import type { Context, MiddlewareHandler } from "hono";
import type { WSEvents } from "hono/ws";
import { Bun, Deno, type Fetch } from "./globals.ts";
import { WEBSOCKET_OPTIONS } from "./websocket.ts";

/** A listening HTTP server. */
export interface Listener {
  readonly port: number;
  /** Accepts no more and resolves when what is in flight has been answered. */
  stop(): Promise<void>;
}

/** No route takes a body. */
const MAX_REQUEST_BODY_BYTES = 64 * 1024;
/** Bun's longest, and longer than the slowest load: an answer that is awaited is not an idle connection. */
const IDLE_TIMEOUT_SECONDS = 255;

/** Turns a request for a WebSocket into one whose events go to what `makeEvents` returns. */
export async function webSocketEndpoint(makeEvents: (context: Context) => WSEvents): Promise<MiddlewareHandler> {
  // Each adapter names its runtime when it is loaded, so only the one that fits may be.
  return Bun !== undefined
    ? (await import("hono/bun")).upgradeWebSocket(makeEvents)
    : (await import("hono/deno")).upgradeWebSocket(makeEvents as (context: Context) => WSEvents<WebSocket>);
}

/**
 * Listens for HTTP and WebSockets.
 *
 * @param address.isShared whether other processes of this user may listen there too (SO_REUSEPORT): the kernel then
 * spreads the connections among them
 * @param fetch answers a request; under Bun its second argument is the server, which Hono's upgradeWebSocket asks for
 * @throws Error the address cannot be had: in use, not of this machine, or not permitted
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
