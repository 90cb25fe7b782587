/**
 * The edge to Bun and Deno: the only file that names either of them, or `process`. Both are reached through
 * `globalThis` with the few members that are used here, since no type package describes both.
 */
import { readFileSync } from "node:fs";
import type { Context, MiddlewareHandler } from "hono";
import type { WSEvents } from "hono/ws";
import type { Clock } from "./core/clock.ts";

interface BunServer {
  readonly port: number;
  stop(closeActiveConnections?: boolean): Promise<void>;
}
interface DenoServer {
  readonly addr: { port: number };
  shutdown(): Promise<void>;
}
type Fetch = (request: Request, env?: unknown) => Response | Promise<Response>;

const { Bun, Deno, process } = globalThis as unknown as {
  Bun?: { version: string; serve(options: Record<string, unknown>): BunServer };
  Deno?: { version: { deno: string }; serve(options: Record<string, unknown>, handler: Fetch): DenoServer };
  process: {
    argv: string[];
    env: Record<string, string | undefined>;
    exit(code: number): never;
    on(event: string, listener: (...args: unknown[]) => void): void;
    stderr: { isTTY?: boolean; write(text: string): boolean };
    stdout: { write(text: string): boolean };
  };
};

/** A listening HTTP server. */
export interface Listener {
  readonly port: number;
  /** Accepts no more and resolves when what is in flight has been answered. */
  stop(): Promise<void>;
}

/** A frame between peers carries at most one value of 16 MiB and its neighbours (see peer/frames.ts). */
const MAX_WEBSOCKET_FRAME_BYTES = 17 * 1024 * 1024;
/** What a peer that does not read may make this node hold, per connection; over it, the connection is closed. */
const MAX_WEBSOCKET_BUFFERED_BYTES = 64 * 1024 * 1024;
/** No route takes a body. */
const MAX_REQUEST_BODY_BYTES = 64 * 1024;
/** Bun's longest, and longer than the slowest load: an answer that is awaited is not an idle connection. */
const IDLE_TIMEOUT_SECONDS = 255;

/** For the registry and the status: `bun 1.4.5`, `deno 2.9.5`. */
export function runtimeName(): string {
  return Bun !== undefined ? `bun ${Bun.version}` : `deno ${Deno!.version.deno}`;
}

/** Whether this runtime's server sends a string faster than bytes: Deno copies the bytes of each answer. */
export const isTextFaster = Bun === undefined;

/** What stands behind `main.ts` on the command line. */
export function commandLine(): string[] {
  return process.argv.slice(2);
}

/** Reads only the named variables: under Deno's least permissions the others may not even be listed. */
export function environment(names: readonly string[]): Record<string, string | undefined> {
  return Object.fromEntries(names.map((name) => [name, process.env[name]]));
}

/** @throws what node:fs throws */
export function readTextFile(path: string): string {
  return readFileSync(path, "utf8");
}

/** Whether standard error is a terminal. */
export function isTerminal(): boolean {
  return process.stderr.isTTY === true;
}

/** To standard error, as it is. */
export function writeError(text: string): void {
  process.stderr.write(text);
}

/** To standard output, as it is. */
export function writeOut(text: string): void {
  process.stdout.write(text);
}

/** Ends the process at once. */
export function exit(code: number): never {
  return process.exit(code);
}

/** Calls `listener` at every SIGINT and SIGTERM. */
export function onStopSignal(listener: (signal: string) => void): void {
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => listener(signal));
}

/** The clock of this machine. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

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
 * @param fetch answers a request; under Bun its second argument is the server, which Hono's upgradeWebSocket asks for
 * @throws Error the address cannot be had: in use, not of this machine, or not permitted
 */
export async function listen(address: { host: string; port: number }, fetch: Fetch): Promise<Listener> {
  const { host: hostname, port } = address;
  try {
    if (Bun !== undefined) {
      const { websocket } = await import("hono/bun");
      const server = Bun.serve({
        hostname,
        port,
        fetch,
        idleTimeout: IDLE_TIMEOUT_SECONDS,
        maxRequestBodySize: MAX_REQUEST_BODY_BYTES,
        websocket: {
          ...websocket,
          maxPayloadLength: MAX_WEBSOCKET_FRAME_BYTES,
          backpressureLimit: MAX_WEBSOCKET_BUFFERED_BYTES,
          perMessageDeflate: false,
        },
      });
      return { port: server.port, stop: () => server.stop() };
    }
    const server = Deno!.serve({ hostname, port, onListen() {} }, fetch);
    return { port: server.addr.port, stop: () => server.shutdown() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot listen on ${hostname}:${port}: ${reason}`, { cause: error });
  }
}
