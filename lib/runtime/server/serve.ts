/** The HTTP and WebSocket server on both runtimes. */
import type { Context } from "hono";
import type { UpgradeWebSocket, WSEvents } from "hono/ws";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { bunServer, hurry, isAnswered, mayBeSilent } from "./bun-server.ts";
import { RenewedServer } from "./deno-server.ts";
import { Bun, type BunServer, type Fetch } from "../globals.ts";
import { watchOpenFiles } from "../open-files.ts";
import { systemClock } from "../process.ts";

/** A listening HTTP server. */
export interface Listener {
  readonly port: number;
  /** Accepts no more connections. Resolves when the requests in flight are answered. */
  stop(): Promise<void>;
}

/**
 * How answers depend on the runtime's server. Deno's server keeps the `Content-Length` of a stream. Bun's server drops
 * it (https://github.com/oven-sh/bun/issues/10507), so there long values are sent whole, and slow clients are watched.
 */
export const answerPort = { isSliced: Bun === undefined, isAnswered, hurry, mayBeSilent };

/**
 * The client's address of a request, from the server; an IPv4 address in its own form. `undefined`: it is unknown.
 *
 * @param env the server's second argument: the server itself on Bun, facts about the connection on Deno
 */
export function remoteOf(request: Request, env: unknown): string | undefined {
  if (typeof env !== "object" || env === null) return undefined;
  const address = Bun === undefined
    ? (env as { remoteAddr?: { hostname?: string } }).remoteAddr?.hostname
    : (env as Partial<BunServer>).requestIP?.(request)?.address;
  return address?.replace(/^::ffff:(?=\d+\.)/, "");
}

/**
 * A listener for peers ends connections only after this many looks in a row with too many files (10 s). By then the
 * public listener has ended its own, which did not help. Deno can only end all idle connections, including those of peers.
 */
const PEERS_PATIENCE = 40;

/** A certificate with its chain, and its private key, in PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** Accepts a request for a WebSocket; its events go to the handlers. The result throws if the runtime cannot upgrade. */
export async function webSocketUpgrade(): Promise<(context: Context, events: WSEvents) => Promise<Response>> {
  // Load only the adapter of this runtime, as each one uses its runtime's globals when it is loaded.
  return Bun !== undefined
    ? (await import("hono/bun")).upgradeWebSocket
    : (await import("hono/deno")).upgradeWebSocket as UpgradeWebSocket;
}

/**
 * Listens for HTTP and WebSockets. If too many files are open, it ends the connections that wait for nothing.
 *
 * @param address.isShared whether other processes of this user may listen there, too (SO_REUSEPORT); the kernel then
 * spreads connections over them
 * @param address.isForPeers whether it is only for other nodes: then a crowd at another listener does not cut them off
 * @param address.tls encrypts it
 * @param fetch answers a request; under Bun its second argument is the server, which Hono's upgradeWebSocket needs
 * @param log gets a line when connections are ended
 * @throws Error the address is in use, not on this machine, or not permitted
 */
export async function listen(
  address: { host: string; port: number; isShared?: boolean; isForPeers?: boolean; tls?: Certificate },
  fetch: Fetch,
  log: Log,
  clock: Clock = systemClock,
): Promise<Listener> {
  const { host: hostname, port, isShared: reusePort = false, tls } = address;
  const options = { hostname, port, reusePort, ...(Bun !== undefined ? { tls } : tls) };
  try {
    const server = Bun !== undefined ? await bunServer(options, fetch) : new RenewedServer(options, fetch, clock, log);
    const patience = address.isForPeers === true ? PEERS_PATIENCE : 1;
    const endWatch = watchOpenFiles(() => server.relieve(), clock, log, undefined, undefined, patience);
    return {
      port: server.port,
      stop() {
        endWatch();
        return server.stop();
      },
    };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot listen on ${hostname}:${port}: ${reason}`, { cause: error });
  }
}
