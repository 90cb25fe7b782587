/** An origin of raw bytes: each path answers with its own fault. */
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Defer } from "./test.ts";

/** The parts of an answer, in order: text in Latin-1, or the end of the connection. */
export type Piece = string | "END" | "RESET";

/** One request as the origin got it. */
export interface SeenRequest {
  readonly path: string;
  /** The head, with its names as they came. */
  readonly head: string;
  /** The number of its connection, in order of arrival. */
  readonly connection: number;
}

export interface BadOrigin {
  /** Without a slash at the end. */
  readonly url: string;
  /** In order. */
  readonly seen: SeenRequest[];
}

/** @param answer gives the pieces for a request; nothing is sent where it gives none */
export async function startBadOrigin(
  defer: Defer,
  answer: (request: SeenRequest) => readonly Piece[],
): Promise<BadOrigin> {
  const seen: SeenRequest[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    const connection = ++connections;
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
    let rest = "";
    socket.setEncoding("latin1").on("data", (text: string) => {
      const heads = (rest + text).split("\r\n\r\n");
      rest = heads.pop()!;
      for (const head of heads) {
        const request = { path: head.split(" ")[1] ?? "", head, connection };
        seen.push(request);
        send(socket, answer(request));
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((closed) => server.close(closed));
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

function send(socket: Socket, pieces: readonly Piece[]): void {
  for (const piece of pieces) {
    if (piece === "END") socket.end();
    else if (piece === "RESET") socket.resetAndDestroy();
    else socket.write(Buffer.from(piece, "latin1"));
  }
}
