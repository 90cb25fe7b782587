/** A TCP proxy that can hold back the server's bytes, or cut off its clients. */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import type { Defer } from "../support/test.ts";

export class HoldingProxy {
  readonly #targetPort: number;
  readonly #fromServer = new Set<Socket>();
  readonly #fromClient = new Set<Socket>();
  #isHolding = false;
  #isCut = false;
  #server: Server | undefined;

  /** @param targetPort on 127.0.0.1 */
  constructor(targetPort: number) {
    this.#targetPort = targetPort;
  }

  get port(): number {
    return (this.#server!.address() as AddressInfo).port;
  }

  async start(defer: Defer): Promise<void> {
    const server = createServer((client) => this.#join(client));
    this.#server = server;
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
    defer(() => {
      for (const socket of [...this.#fromServer, ...this.#fromClient]) socket.destroy();
      return new Promise((closed) => server.close(closed));
    });
  }

  /** From now on the client receives nothing; its own bytes still arrive. */
  hold(): void {
    this.#isHolding = true;
    for (const socket of this.#fromServer) socket.pause();
  }

  /** Delivers the held bytes, in order. */
  release(): void {
    this.#isHolding = false;
    for (const socket of this.#fromServer) socket.resume();
  }

  /** Ends all connections, and every new one, until `mend`. */
  cut(): void {
    this.#isCut = true;
    for (const socket of [...this.#fromServer, ...this.#fromClient]) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  #join(client: Socket): void {
    if (this.#isCut) return void client.on("error", () => {}).destroy();
    const server = connect(this.#targetPort, "127.0.0.1");
    this.#fromClient.add(client);
    this.#fromServer.add(server);
    server.on("data", (chunk) => client.write(chunk));
    client.on("data", (chunk) => server.write(chunk));
    const end = () => {
      server.destroy();
      client.destroy();
      this.#fromServer.delete(server);
      this.#fromClient.delete(client);
    };
    for (const socket of [server, client]) socket.on("error", end).on("close", end);
    if (this.#isHolding) server.pause();
  }
}
