/**
 * The limits: servers of the runtime that do only what a cache must do. Servers with keys use Hono like nodes, in its
 * fastest way, and keep values in the form that the runtime sends fastest.
 *
 * - `constant [port]` answers 1 KiB with a node's headers; a given port is shared
 * - `map [port]` answers with the key's value in a Map
 * - `asker port` asks the `owner` behind that port for each value, over one connection, with one write per turn of the
 *   event loop. It has no deadlines, no failover and no bounds
 * - `mesh index ports` keeps all its answers, without bounds, and is the `owner` of its share of the keys. It asks for
 *   the other keys like an `asker`. The ports are those of all owners, its own at that index
 * - `herd index ports origin` is a `mesh` whose values come from an origin, a URL with `{key}` in it. All requests for
 *   a key wait for one load
 */
import { Buffer } from "node:buffer";
import { connect, createServer, type Socket } from "node:net";
import process from "node:process";
import { Hono } from "hono";
import { chained, unchained } from "../../../lib/http/fast/unchained.ts";
import { isChunkedTextFaster, startWithSettings } from "../../../lib/runtime/start/settings.ts";
import { groupName, keyOf, valueBytes, valueOf } from "../keys.ts";

// As a node does: the limit is the runtime at its best.
startWithSettings();

interface Runtimes {
  Bun?: { serve(options: object): { port: number } };
  Deno?: { serve(options: object, fetch: Fetch): { addr: { port: number } } };
}
type Fetch = (request: Request) => Response | Promise<Response>;

type Value = Uint8Array<ArrayBuffer>;
type Values = Map<string, Value>;
/** Called with a value when it arrives. */
type Wait = (landed: (value: Value) => void) => void;

const { Bun, Deno } = globalThis as unknown as Runtimes;
const [mode, argument, ports, origin] = process.argv.slice(2);
const hostname = "127.0.0.1";
// As a node does: both runtimes send a Headers object made once fastest, and Deno a body in one chunk.
const init = {
  headers: new Headers({
    "content-type": "application/octet-stream",
    "cache-status": '"127-0-0-1-8000"; hit',
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox",
    ...(isChunkedTextFaster ? { "transfer-encoding": "chunked" } : {}),
  }),
};
const answer = (body: Value | string) => new Response(body, init);
/** A body for those who hold it. */
const heldOf = (value: Value) =>
  isChunkedTextFaster ? Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("latin1") : value;
const keyIn = ({ url }: Request) => url.slice(url.lastIndexOf("/") + 1);

if (mode === "constant") {
  const body = heldOf(new Uint8Array(valueOf(keyOf(0))));
  serve(() => answer(body), Number(argument ?? 0));
} else if (mode === "map") {
  const bodies = new Map<string, Value | string>();
  const held = (key: string) => {
    const body = heldOf(new Uint8Array(valueOf(key)));
    bodies.set(key, body);
    return body;
  };
  serveKeys((key) => answer(bodies.get(key) ?? held(key)), Number(argument ?? 0));
} else if (mode === "owner") {
  const values: Values = new Map();
  own((key) => ownValue(values, key), 0, tell);
} else if (mode === "asker") {
  const ask = asking(Number(argument));
  serveKeys((key) => unchained(new Promise((resolve) => ask(key, (value) => resolve(answer(heldOf(value)))))));
} else if (mode === "mesh") mesh(Number(argument), ports!.split(",").map(Number));
else if (mode === "herd") herd(Number(argument), ports!.split(",").map(Number), origin!);
else throw new Error(`there is no mode ${mode}`);

function serve(fetch: Fetch, shared = 0): void {
  const address = { hostname, port: shared, reusePort: shared !== 0 };
  const port = Bun !== undefined
    ? Bun.serve({ ...address, fetch }).port
    : Deno!.serve({ ...address, onListen() {} }, fetch).addr.port;
  tell(port);
}

function serveKeys(find: (key: string) => Response | Promise<Response>, shared = 0): void {
  const prefix = `/cache/${groupName}/`;
  // The router looks paths up in a table, without patterns.
  const app = new Hono({ getPath: ({ url }) => url.startsWith(prefix, url.indexOf("/", 8)) ? prefix : "/" });
  app.get(prefix, (c) => find(keyIn(c.req.raw)));
  app.fetch = chained(app);
  serve((request) => app.fetch(request), shared);
}

/** Prints the line in which the bench finds an address, although an owner speaks no HTTP. */
function tell(port: number): void {
  process.stderr.write(`listening on http://${hostname}:${port}\n`);
}

/** A question is its id, the length of its key and the key; an answer is the id and the value. */
function own(find: (key: string) => Value | Wait, port: number, listening: (port: number) => void): void {
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    receive(socket, (bytes) => {
      const answers: Uint8Array[] = [];
      let at = 0;
      while (at + 5 <= bytes.length && at + 5 + bytes[at + 4]! <= bytes.length) {
        const end = at + 5 + bytes[at + 4]!;
        const key = bytes.toString("latin1", at + 5, end);
        const value = find(key);
        if (typeof value !== "function") answers.push(bytes.subarray(at, at + 4), value);
        else {
          const id = new Uint8Array(bytes.subarray(at, at + 4));
          value((landed) => socket.write(Buffer.concat([id, landed])));
        }
        at = end;
      }
      if (answers.length > 0) socket.write(Buffer.concat(answers));
      return at;
    });
  });
  server.listen(port, hostname, () => listening((server.address() as { port: number }).port));
}

/** The owner's value of a key, made at its first request. */
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

function ownerOf(key: string, count: number): number {
  return key.charCodeAt(key.length - 1) % count;
}

function mesh(index: number, ports: readonly number[]): void {
  /** Its own values, and the bodies of all its answers. */
  const values: Values = new Map();
  const bodies = new Map<string, Value | string>();
  // Connected at their first key: by then they listen.
  const askers: ReturnType<typeof asking>[] = [];
  const serveAll = () =>
    serveKeys((key) => {
      const body = bodies.get(key);
      if (body !== undefined) return answer(body);
      const owner = ownerOf(key, ports.length);
      if (owner === index) {
        const own = heldOf(ownValue(values, key));
        bodies.set(key, own);
        return answer(own);
      }
      const ask = askers[owner] ??= asking(ports[owner]!);
      return unchained(
        new Promise((resolve) =>
          ask(key, (read) => {
            const kept = heldOf(new Uint8Array(read));
            bodies.set(key, kept);
            resolve(answer(kept));
          })
        ),
      );
    });
  own((key) => ownValue(values, key), ports[index]!, serveAll);
}

/** The waiters for a value: as in a node, peers are answered before clients. */
class Waiting {
  readonly peers: ((value: Value) => void)[] = [];
  readonly callers: ((value: Value) => void)[] = [];
}

function herd(index: number, ports: readonly number[], origin: string): void {
  const values: Values = new Map();
  const waiting = new Map<string, Waiting>();
  const askers: ReturnType<typeof asking>[] = [];
  const load = async (key: string) => {
    const response = await fetch(origin.replace("{key}", key));
    land(key, new Uint8Array(await response.arrayBuffer()));
  };
  const land = (key: string, value: Value) => {
    values.set(key, value);
    const { peers, callers } = waiting.get(key)!;
    waiting.delete(key);
    for (const landed of [...peers, ...callers]) landed(value);
  };
  const waitingFor = (key: string) => {
    let all = waiting.get(key);
    if (all !== undefined) return all;
    waiting.set(key, all = new Waiting());
    const owner = ownerOf(key, ports.length);
    if (owner === index) void load(key);
    else (askers[owner] ??= asking(ports[owner]!))(key, (read) => land(key, new Uint8Array(read)));
    return all;
  };
  const find = (key: string) =>
    values.get(key) ?? ((landed: (value: Value) => void) => waitingFor(key).peers.push(landed));
  const serveAll = () =>
    serveKeys((key) => {
      const value = values.get(key);
      if (value !== undefined) return answer(heldOf(value));
      return unchained(
        new Promise((resolve) => waitingFor(key).callers.push((landed) => resolve(answer(heldOf(landed))))),
      );
    });
  own(find, ports[index]!, serveAll);
}

/** @param take returns how many bytes it used; the rest comes again with the next bytes */
function receive(socket: Socket, take: (bytes: Buffer<ArrayBuffer>) => number): void {
  let rest: Buffer<ArrayBuffer> = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer<ArrayBuffer>) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    rest = bytes.subarray(take(bytes));
  });
  socket.on("close", () => process.exit(0));
}
