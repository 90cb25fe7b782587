/** A DICT server that says what a test tells it to. */
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { LineReader } from "../../../lib/origins/dict/lines.ts";
import type { Defer } from "../../support/test.ts";

export interface Client {
  /** Counted from 1, in the order of their coming. */
  readonly number: number;
  readonly socket: Socket;
  say(text: string | Uint8Array): void;
}

export interface Script {
  /** @default "220 test\r\n"; what a connection begins with */
  greeting?: string;
  /** @default "250 ok\r\n" */
  client?: string;
  /** A DEFINE has come: `word` is what stands between double quotes, or the whole argument. */
  define(word: string, client: Client): void;
}

export interface ScriptedServer {
  readonly port: number;
  /** Every line that any client has sent. */
  readonly lines: string[];
  readonly clients: Client[];
  /** Connections that are open now. */
  open(): number;
  /** Resolves when `condition` holds, looked at whenever something happens at the server. */
  until(condition: () => boolean): Promise<void>;
}

export async function serveDict(defer: Defer, script: Script): Promise<ScriptedServer> {
  const lines: string[] = [];
  const clients: Client[] = [];
  const sockets = new Set<Socket>();
  const waiting: { condition: () => boolean; resolve: () => void }[] = [];
  const happened = () => {
    for (const entry of [...waiting]) {
      if (!entry.condition()) continue;
      waiting.splice(waiting.indexOf(entry), 1);
      entry.resolve();
    }
  };
  const server = createServer((socket) => {
    const client: Client = {
      number: clients.length + 1,
      socket,
      say: (text) => void (socket.destroyed || socket.write(text)),
    };
    const reader = new LineReader();
    clients.push(client);
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      sockets.delete(socket);
      happened();
    });
    socket.on("data", (chunk: Uint8Array) => {
      reader.push(chunk, (bytes, start, end) => {
        const line = new TextDecoder().decode(bytes.subarray(start, end));
        lines.push(line);
        if (line.startsWith("CLIENT")) client.say(script.client ?? "250 ok\r\n");
        const define = /^DEFINE \S+ (?:"(.*)"|(.*))$/.exec(line);
        if (define !== null) script.define(define[1] ?? define[2]!, client);
        return true;
      });
      happened();
    });
    client.say(script.greeting ?? "220 test\r\n");
    happened();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return {
    port: (server.address() as { port: number }).port,
    lines,
    clients,
    open: () => sockets.size,
    until: (condition) =>
      new Promise((resolve) => {
        waiting.push({ condition, resolve });
        happened();
      }),
  };
}

/** A whole answer with one definition. */
export function answer(text: string): string {
  return `150 1 definitions retrieved\r\n151 "w" db "A database"\r\n${text}\r\n.\r\n250 ok\r\n`;
}
