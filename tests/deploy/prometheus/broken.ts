/** What a fleet can be broken with: origins that fail on demand, a module that blocks, a way to NATS that stalls. */
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from "node:net";
import { temporaryDirectory } from "../../support/node.ts";
import type { Defer } from "../../support/test.ts";

/** An HTTP server with one path for each group. */
export interface Api {
  readonly url: string;
  isBroken: boolean;
  /** As when its process ends. */
  close(): Promise<void>;
}

/** While it is broken `api` and `guarded` answer 500, `slow` takes 1.5 s and `narrow` 0.3 s. `small` has long values. */
export async function startApi(defer: Defer): Promise<Api> {
  const delaysMs: Readonly<Record<string, number>> = { slow: 1_500, narrow: 300 };
  const server = createServer(async (request, response) => {
    const group = request.url!.split("/")[1]!;
    if (api.isBroken) await new Promise((resolve) => setTimeout(resolve, delaysMs[group] ?? 0));
    const isFailing = api.isBroken && (group === "api" || group === "guarded");
    response.writeHead(isFailing ? 500 : 200, { "content-type": "text/plain" });
    response.end(group === "small" ? "x".repeat(8_192) : request.url);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const close = () => {
    server.closeAllConnections();
    return new Promise<void>((closed) => server.close(() => closed()));
  };
  defer(close);
  const api: Api = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, isBroken: false, close };
  return api;
}

/** The file of an origin that computes for 400 ms without a pause. */
export function blockingModule(defer: Defer): string {
  const path = `${temporaryDirectory(defer)}/blocking.mjs`;
  writeFileSync(
    path,
    `export async function load(key) {
  const untilMs = Date.now() + 400;
  while (Date.now() < untilMs);
  return { body: key, contentType: "text/plain" };
}
`,
  );
  return path;
}

/** A TCP proxy that takes bytes and keeps them while it stalls, as a router does that drops packets for a while. */
export async function startStallingProxy(defer: Defer, targetPort: number) {
  const ends = new Set<Socket>();
  let isStalled = false;
  const add = (socket: Socket, other: Socket): void => {
    ends.add(socket);
    socket.on("error", () => {}).on("close", () => {
      ends.delete(socket);
      other.destroy();
    });
    socket.pipe(other);
    if (isStalled) socket.unpipe(other);
  };
  const pairs = new Set<[Socket, Socket]>();
  const server = createTcpServer((client) => {
    const target = connect(targetPort, "127.0.0.1");
    const pair: [Socket, Socket] = [client, target];
    pairs.add(pair);
    client.on("close", () => pairs.delete(pair));
    add(client, target);
    add(target, client);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    for (const socket of ends) socket.destroy();
    return new Promise<void>((closed) => server.close(() => closed()));
  });
  const each = (act: (from: Socket, to: Socket) => void) => {
    for (const [client, target] of pairs) {
      act(client, target);
      act(target, client);
    }
  };
  return {
    port: (server.address() as AddressInfo).port,
    stall() {
      isStalled = true;
      each((from, to) => {
        from.unpipe(to);
        from.pause();
      });
    },
    resume() {
      isStalled = false;
      each((from, to) => void from.pipe(to));
    },
  };
}
