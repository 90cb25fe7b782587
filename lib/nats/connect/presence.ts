/** Finds out whether a NATS server greets at an address. */
import { connect } from "node:net";
import type { Authenticator } from "nats";
import type { Clock } from "../../core/base/clock.ts";

/** `other`: a program accepted the connection but did not greet like a NATS server. */
export type Presence = "nats" | "other" | "nobody";

export interface Sight {
  readonly presence: Presence;
  /** The name of a `nats`; empty for others. */
  readonly serverName: string;
  /** Resolves when the connection has ended: the server is gone or refused it, or `close` was called. */
  readonly lost: Promise<void>;
  /**
   * Keeps the connection of a `nats` open. When the server ends in any way, the kernel tells at once, so no polling is
   * needed. And a death between two connections of the NATS client is not missed.
   *
   * @param login answers the server's challenge; a server that requires another login ends the connection
   */
  hold(login?: Authenticator): void;
  /** Ends the connection. A late call does nothing. */
  close(): void;
}

export interface LookOptions {
  /** @default "127.0.0.1" */
  readonly host?: string;
  readonly port: number;
  readonly clock: Clock;
  /** How long a greeting may take, in ms. @default 2_000 */
  readonly timeoutMs?: number;
  /** Ends the attempt with `other`. */
  readonly signal?: AbortSignal;
}

/**
 * The longest greeting. Chosen: INFO of a large cluster has a few kilobytes; a server that sends more without a line
 * end is no NATS server.
 */
export const MAX_GREETING_BYTES = 64 * 1024;
/** The most bytes on a held connection. Chosen: a server sends a PING of 6 bytes every two minutes, and sometimes an INFO. */
const MAX_HELD_BYTES = 1024 * 1024;

/**
 * Connects and finds out which kind of server answers. Never rejects.
 *
 * Source: https://docs.nats.io/reference/reference-protocols/nats-protocol (the server speaks first: `INFO {...}`)
 */
export function lookAt(options: LookOptions): Promise<Sight> {
  const { host = "127.0.0.1", port, clock, timeoutMs = 2_000, signal } = options;
  const socket = connect(port, host);
  const lost = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const close = (): void => void socket.destroy();
  // Send CONNECT, and PONG to its pings. Otherwise the server would end the connection as stale.
  let nonce: string | undefined;
  const hold = (login?: Authenticator): void => {
    const connect = { verbose: false, pedantic: false, name: "muster: is it there", ...login?.(nonce) };
    socket.write(`CONNECT ${JSON.stringify(connect)}\r\n`);
  };
  return new Promise((resolve) => {
    let unread = "";
    let isSettled = false;
    const settle = (presence: Presence, serverName = ""): void => {
      if (isSettled) return;
      isSettled = true;
      cancelTimeout();
      signal?.removeEventListener("abort", giveUp);
      if (presence !== "nats") close();
      resolve({ presence, serverName, lost, hold, close });
    };
    const giveUp = (): void => settle("other");
    const cancelTimeout = clock.after(timeoutMs, giveUp);
    socket.on("error", (error: NodeJS.ErrnoException) => settle(error.code === "ECONNREFUSED" ? "nobody" : "other"));
    socket.once("close", giveUp);
    let bytes = 0;
    socket.on("data", (chunk) => {
      bytes += chunk.length;
      if (bytes > (isSettled ? MAX_HELD_BYTES : MAX_GREETING_BYTES)) return isSettled ? close() : giveUp();
      const lines = (unread + chunk.toString("latin1")).split("\r\n");
      unread = lines.pop()!;
      if (isSettled) {
        for (const line of lines) if (line === "PING") socket.write("PONG\r\n");
        return;
      }
      const [line] = lines;
      if (line === undefined) return;
      const greeting = greetingIn(line);
      // A NATS server sends one line, and then it is the client's turn.
      if (greeting === undefined || lines.length > 1 || unread !== "") return giveUp();
      nonce = greeting.nonce;
      settle("nats", greeting.serverName);
    });
    if (signal?.aborted) giveUp();
    else signal?.addEventListener("abort", giveUp);
  });
}

/**
 * How long the NATS server at `server` (`host:port`, IPv6 in brackets) took to greet, in ms; `undefined`: none greets.
 * To be called before each connection: nats.js leaks the socket if a server accepts the connection and stays silent
 * (stopped, or out of files), and a node tries again and again. Never rejects.
 */
export async function greets(
  server: string,
  how: Pick<LookOptions, "clock" | "timeoutMs" | "signal">,
): Promise<number | undefined> {
  const colon = server.lastIndexOf(":");
  const host = server.slice(0, colon).replace(/^\[|\]$/g, "");
  const sinceMs = how.clock.nowMs();
  const sight = await lookAt({ ...how, host, port: Number(server.slice(colon + 1)) });
  sight.close();
  return sight.presence === "nats" ? how.clock.nowMs() - sinceMs : undefined;
}

/** Reads a server's first line; `undefined` if it is no greeting of a NATS server. */
function greetingIn(line: string): { serverName: string; nonce: string | undefined } | undefined {
  if (!line.startsWith("INFO {")) return undefined;
  try {
    const { server_name: name, nonce } = JSON.parse(line.slice("INFO ".length)) as Record<string, unknown>;
    return {
      serverName: typeof name === "string" ? name : "",
      nonce: typeof nonce === "string" ? nonce : undefined,
    };
  } catch {
    return undefined;
  }
}
