import { connect } from "node:net";
import type { Clock } from "../core/base/clock.ts";

/**
 * Whether a NATS server speaks at `server` (`host:port`, IPv6 in brackets) within `timeoutMs`. Asked before each
 * connection, because the client leaks the socket when a server takes the connection and stays silent (one that is
 * stopped, or out of files), and a node tries again and again. Never rejects.
 *
 * Source: https://docs.nats.io/reference/reference-protocols/nats-protocol (the server speaks first: `INFO {...}`)
 */
export function greets(server: string, clock: Clock, timeoutMs: number, signal: AbortSignal): Promise<boolean> {
  const colon = server.lastIndexOf(":");
  const host = server.slice(0, colon).replace(/^\[|\]$/g, "");
  return new Promise((resolve) => {
    const socket = connect(Number(server.slice(colon + 1)), host);
    const end = (isGreeted: boolean): void => {
      cancel();
      signal.removeEventListener("abort", giveUp);
      socket.destroy();
      resolve(isGreeted);
    };
    const giveUp = (): void => end(false);
    const cancel = clock.after(timeoutMs, giveUp);
    if (signal.aborted) return giveUp();
    signal.addEventListener("abort", giveUp);
    socket.on("error", giveUp);
    socket.on("close", giveUp);
    socket.once("data", (data) => end(data.toString("latin1").startsWith("INFO ")));
  });
}
