/**
 * The limits: servers of the runtime that do only what cannot be left out, and keep no cache.
 *
 * - `constant [port]` answers 1 KiB with a node's headers; given a port, it shares that
 * - `herd ms`: one answer per key, so long after it was first asked for, for all who ask meanwhile
 * - `asker port`: asks the `owner` behind that port for each value, over one connection, in one write for each turn of
 *   the event loop; neither knows of deadlines, peers that are lost, or bounds
 */
import { Buffer } from "node:buffer";
import { connect, createServer, type Socket } from "node:net";
import process from "node:process";
import { setTimeout } from "node:timers/promises";
import { startWithSettings } from "../../../lib/runtime.ts";
import { keyOf, valueBytes, valueOf } from "../keys.ts";

// As a node does: it is the runtime at its best that is the limit.
startWithSettings();

interface Runtimes {
  Bun?: { serve(options: object): { port: number } };
  Deno?: { serve(options: object, fetch: Fetch): { addr: { port: number } } };
}
type Fetch = (request: Request) => Response | Promise<Response>;

const { Bun, Deno } = globalThis as unknown as Runtimes;
const [mode, argument] = process.argv.slice(2);
const hostname = "127.0.0.1";
// As a node does it: a Headers object made once is what both runtimes send fastest, and they count the bytes themselves.
const init = {
  headers: new Headers({
    "content-type": "application/octet-stream",
    "cache-status": '"127-0-0-1-8000"; hit',
    "x-content-type-options": "nosniff",
  }),
};
const answer = (body: Uint8Array<ArrayBuffer>) => new Response(body, init);
const keyIn = ({ url }: Request) => url.slice(url.lastIndexOf("/") + 1);

if (mode === "constant") {
  const body = new Uint8Array(valueOf(keyOf(0)));
  serve(() => answer(body), Number(argument ?? 0));
} else if (mode === "herd") {
  const values = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  serve(async (request) => {
    const key = keyIn(request);
    let value = values.get(key);
    if (value === undefined) values.set(key, value = setTimeout(Number(argument), new Uint8Array(valueOf(key))));
    return answer(await value);
  });
} else if (mode === "owner") own();
else if (mode === "asker") serve(asking(connect(Number(argument), hostname)));
else throw new Error(`there is no mode ${mode}`);

function serve(fetch: Fetch, shared = 0): void {
  const address = { hostname, port: shared, reusePort: shared !== 0 };
  const port = Bun !== undefined
    ? Bun.serve({ ...address, fetch }).port
    : Deno!.serve({ ...address, onListen() {} }, fetch).addr.port;
  tell(port);
}

/** In the words in which servers of the bench tell their addresses, though an owner speaks no HTTP. */
function tell(port: number): void {
  process.stderr.write(`listening on http://${hostname}:${port}\n`);
}

/** A question is its id, the length of its key and the key; an answer is the id and the value. */
function own(): void {
  const values = new Map<string, Uint8Array>();
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    receive(socket, (bytes) => {
      const answers: Uint8Array[] = [];
      let at = 0;
      while (at + 5 <= bytes.length && at + 5 + bytes[at + 4]! <= bytes.length) {
        const end = at + 5 + bytes[at + 4]!;
        const key = bytes.toString("latin1", at + 5, end);
        let value = values.get(key);
        if (value === undefined) values.set(key, value = valueOf(key));
        answers.push(bytes.subarray(at, at + 4), value);
        at = end;
      }
      if (at > 0) socket.write(Buffer.concat(answers));
      return at;
    });
  });
  server.listen(0, hostname, () => tell((server.address() as { port: number }).port));
}

function asking(socket: Socket): Fetch {
  socket.setNoDelay(true);
  const waiting = new Map<number, (response: Response) => void>();
  const batch = Buffer.alloc(64 * 1024);
  let batchBytes = 0;
  let nextId = 0;
  const flush = () => {
    socket.write(Buffer.from(batch.subarray(0, batchBytes)));
    batchBytes = 0;
  };
  receive(socket, (bytes) => {
    const answerBytes = 4 + valueBytes;
    let at = 0;
    for (; at + answerBytes <= bytes.length; at += answerBytes) {
      const id = bytes.readUInt32LE(at);
      waiting.get(id)!(answer(bytes.subarray(at + 4, at + answerBytes)));
      waiting.delete(id);
    }
    return at;
  });
  return (request) =>
    new Promise((resolve) => {
      const key = keyIn(request);
      const id = nextId++;
      waiting.set(id, resolve);
      if (batchBytes === 0) setImmediate(flush);
      batch.writeUInt32LE(id, batchBytes);
      batch[batchBytes + 4] = key.length;
      batchBytes += 5 + batch.write(key, batchBytes + 5, "latin1");
    });
}

/** @param take returns how many bytes it has used; the rest comes again with what follows */
function receive(socket: Socket, take: (bytes: Buffer<ArrayBuffer>) => number): void {
  let rest: Buffer<ArrayBuffer> = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer<ArrayBuffer>) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    rest = bytes.subarray(take(bytes));
  });
  socket.on("close", () => process.exit(0));
}
