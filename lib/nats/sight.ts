/** Looks at what listens on a port of this machine, and keeps looking until it is gone. */
import { connect } from "node:net";
import type { Clock } from "../core/base/clock.ts";

/** `other`: something took the connection, but did not greet as a NATS server does. */
export type Presence = "nats" | "other" | "nobody";

export interface Sight {
  presence: Presence;
  /** What a `nats` calls itself; empty for the rest. */
  serverName: string;
  /** Resolves when the connection of a `nats` has ended: the server is gone, or does not want us. */
  lost: Promise<void>;
  /** Ends the connection; may be called late. */
  close(): void;
}

const greetingTimeoutMs = 2_000;
/** INFO of a large cluster is a few kilobytes; whatever speaks longer without a line's end is no NATS server. */
const greetingMaxChars = 64 * 1024;

/**
 * Connects to 127.0.0.1 and answers what is there. A NATS server greets first (`INFO {...}`), and the connection is then
 * held: when the server ends, in whatever way, the kernel tells us at once, so nobody has to poll, and a death between
 * two connections of the NATS client cannot be missed. Never rejects.
 *
 * Source: https://docs.nats.io/reference/reference-protocols/nats-protocol
 */
export function lookAt(port: number, clock: Clock): Promise<Sight> {
  const socket = connect(port, "127.0.0.1");
  const lost = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  const close = (): void => void socket.destroy();
  return new Promise((resolve) => {
    let unread = "";
    let isSettled = false;
    const settle = (presence: Presence, serverName = ""): void => {
      if (isSettled) return;
      isSettled = true;
      cancelTimeout();
      if (presence !== "nats") close();
      resolve({ presence, serverName, lost, close });
    };
    const cancelTimeout = clock.after(greetingTimeoutMs, () => settle("other"));
    socket.on("error", (error: NodeJS.ErrnoException) => settle(error.code === "ECONNREFUSED" ? "nobody" : "other"));
    socket.once("close", () => settle("other"));
    socket.on("data", (chunk) => {
      const lines = (unread + chunk.toString("latin1")).split("\r\n");
      unread = lines.pop()!.slice(0, greetingMaxChars + 1);
      for (const line of lines) {
        if (line === "PING") socket.write("PONG\r\n");
        if (isSettled) continue;
        const serverName = greetingName(line);
        if (serverName === undefined) return settle("other");
        // Without CONNECT and PONG the server would take us for a stale connection and end it.
        socket.write('CONNECT {"verbose":false,"pedantic":false,"name":"muster: is it there"}\r\n');
        settle("nats", serverName);
      }
      if (unread.length > greetingMaxChars) settle("other");
    });
  });
}

/** The name in a server's first line, or undefined when it is not a NATS server's. */
function greetingName(line: string): string | undefined {
  if (!line.startsWith("INFO {")) return undefined;
  try {
    const name: unknown = JSON.parse(line.slice("INFO ".length)).server_name;
    return typeof name === "string" ? name : "";
  } catch {
    return undefined;
  }
}
