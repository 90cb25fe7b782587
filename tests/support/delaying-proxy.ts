/** A TCP proxy that simulates a distant server: a connection and all its bytes come late. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import type { Defer } from "./test.ts";

/**
 * Bytes need `oneWayMs` in each direction. A connection needs three times that to reach the server, as three packets do.
 *
 * @param targetPort on 127.0.0.1
 * @returns its port on 127.0.0.1
 */
export async function startDelayingProxy(defer: Defer, targetPort: number, oneWayMs: number): Promise<number> {
  const ends = new Set<Socket>();
  const timers = new Set<ReturnType<typeof setTimeout>>();
  const later = (delayMs: number, action: () => void): void => {
    const timer = setTimeout(() => {
      timers.delete(timer);
      action();
    }, delayMs);
    timers.add(timer);
  };
  const join = (client: Socket): void => {
    const server = new Promise<Socket>((connected) => later(3 * oneWayMs, () => connected(follow(dial(), client))));
    const dial = () => connect(targetPort, "127.0.0.1");
    follow(client);
    client.on("data", (chunk) => later(oneWayMs, () => void server.then((socket) => socket.write(chunk))));
    client.on("close", () => void server.then((socket) => socket.destroy()));
    void server.then((socket) => socket.on("data", (chunk) => later(oneWayMs, () => client.write(chunk))));
  };
  const follow = (socket: Socket, other?: Socket): Socket => {
    ends.add(socket);
    socket.on("error", () => {}).on("close", () => {
      ends.delete(socket);
      other?.destroy();
    });
    return socket;
  };
  const proxy = createServer(join);
  await new Promise<void>((listening) => proxy.listen(0, "127.0.0.1", listening));
  defer(() => {
    for (const timer of timers) clearTimeout(timer);
    for (const socket of ends) socket.destroy();
    return new Promise<void>((closed) => proxy.close(() => closed()));
  });
  return (proxy.address() as AddressInfo).port;
}
