/**
 * The limits: servers of the runtime that do only what cannot be left out.
 *
 * - `constant [port]` answers 1 KiB with a node's headers; given a port, it shares that
 * - `herd ms`: one answer per key, so long after it was first asked for, for all who ask meanwhile
 * - `asker port`: asks the `owner` behind that port for each value, over one connection, in one write for each turn of
 *   the event loop; neither knows of deadlines, peers that are lost, or bounds
 * - `mesh index ports`: keeps what it has answered, without bounds, and is the `owner` of its share of the keys; the others'
 *   it asks for, like an `asker`. The ports are those of all owners, its own at that index
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

type Value = Uint8Array<ArrayBuffer>;
type Values = Map<string, Value>;

const { Bun, Deno } = globalThis as unknown as Runtimes;
const [mode, argument, ports] = process.argv.slice(2);
const hostname = "127.0.0.1";
// As a node does it: a Headers object made once is what both runtimes send fastest, and they count the bytes themselves.
const init = {
  headers: new Headers({
    "content-type": "application/octet-stream",
    "cache-status": '"127-0-0-1-8000"; hit',
    "x-content-type-options": "nosniff",
  }),
};
const answer = (body: Value) => new Response(body, init);
const keyIn = ({ url }: Request) => url.slice(url.lastIndexOf("/") + 1);

if (mode === "constant") {
  const body = new Uint8Array(valueOf(keyOf(0)));
  serve(() => answer(body), Number(argument ?? 0));
} else if (mode === "herd") {
  const values = new Map<string, Promise<Value>>();
  serve(async (request) => {
    const key = keyIn(request);
    let value = values.get(key);
    if (value === undefined) values.set(key, value = setTimeout(Number(argument), new Uint8Array(valueOf(key))));
    return answer(await value);
  });
} else if (mode === "owner") own(new Map(), 0, tell);
else if (mode === "asker") {
  const ask = asking(Number(argument));
  serve((request) => new Promise((resolve) => ask(keyIn(request), (value) => resolve(answer(value)))));
} else if (mode === "mesh") mesh(Number(argument), ports!.split(",").map(Number));
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
function own(values: Values, port: number, listening: (port: number) => void): void {
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    receive(socket, (bytes) => {
      const answers: Uint8Array[] = [];
      let at = 0;
      while (at + 5 <= bytes.length && at + 5 + bytes[at + 4]! <= bytes.length) {
        const end = at + 5 + bytes[at + 4]!;
        const key = bytes.toString("latin1", at + 5, end);
        answers.push(bytes.subarray(at, at + 4), ownValue(values, key));
        at = end;
      }
      if (at > 0) socket.write(Buffer.concat(answers));
      return at;
    });
  });
  server.listen(port, hostname, () => listening((server.address() as { port: number }).port));
}

/** What an owner holds of a key, made when it is first asked for. */
function ownValue(values: Values, key: string): Value {
  let value = values.get(key);
  if (value === undefined) values.set(key, value = new Uint8Array(valueOf(key)));
  return value;
}

function asking(port: number): (key: string, answered: (value: Value) => void) => void {
  const socket = connect(port, hostname);
  socket.setNoDelay(true);
  const waiting = new Map<number, (value: Value) => void>();
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
      waiting.get(id)!(bytes.subarray(at + 4, at + answerBytes));
      waiting.delete(id);
    }
    return at;
  });
  return (key, answered) => {
    const id = nextId++;
    waiting.set(id, answered);
    if (batchBytes === 0) setImmediate(flush);
    batch.writeUInt32LE(id, batchBytes);
    batch[batchBytes + 4] = key.length;
    batchBytes += 5 + batch.write(key, batchBytes + 5, "latin1");
  };
}

function mesh(index: number, ports: readonly number[]): void {
  const values: Values = new Map();
  // Not before the first key of theirs: by then they listen.
  const askers: ReturnType<typeof asking>[] = [];
  const serveAll = () =>
    serve((request) => {
      const key = keyIn(request);
      const value = values.get(key);
      if (value !== undefined) return answer(value);
      const owner = key.charCodeAt(key.length - 1) % ports.length;
      if (owner === index) return answer(ownValue(values, key));
      const ask = askers[owner] ??= asking(ports[owner]!);
      return new Promise((resolve) =>
        ask(key, (read) => {
          const kept = new Uint8Array(read);
          values.set(key, kept);
          resolve(answer(kept));
        })
      );
    });
  own(values, ports[index]!, serveAll);
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
