/** What an origin may do to its client: each on a raw socket, the same on both runtimes. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { gzipSync } from "node:zlib";
import { OriginError } from "../../../lib/core/errors.ts";
import { collect, HttpClient, streamOf } from "../../../lib/origins/http/client.ts";
import { systemClock } from "../../../lib/runtime/process.ts";
import { ManualClock } from "../../support/clock.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

type Piece = string | Uint8Array | "END" | "RESET";
const END = "END";
const RESET = "RESET";
const OK = "HTTP/1.1 200 OK\r\n";

/** Answers every request on every connection with these pieces. */
async function serve(defer: Defer, pieces: readonly Piece[], seen: string[] = []): Promise<URL> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (data) => {
      seen.push(data.toString("latin1"));
      for (const piece of pieces) {
        if (piece === END) socket.end();
        else if (piece === RESET) socket.resetAndDestroy();
        else socket.write(typeof piece === "string" ? Buffer.from(piece, "latin1") : piece);
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
}

function clientOf(defer: Defer, base: URL): HttpClient {
  const client = new HttpClient(base, systemClock);
  defer(() => client.close());
  return client;
}

const GET = { method: "GET", target: "/a?b", fields: [["x-one", "1"], ["x-one", "2"]] } as const;

async function get(defer: Defer, pieces: readonly Piece[], ms = 5_000) {
  const client = clientOf(defer, await serve(defer, pieces));
  const answer = await client.exchange(GET, null, AbortSignal.timeout(ms));
  return { ...answer, bytes: await collect(answer, 1_000) };
}

test("a request goes out as it is, and its answer comes as it came", async (defer) => {
  const seen: string[] = [];
  const head =
    `${OK}X-A: 1\r\nSet-Cookie: a\r\nx-a:  2 \r\nSet-Cookie: b\r\nX-L: caf\xe9\r\nContent-Length: 2\r\n\r\nhi`;
  const base = await serve(defer, [head], seen);
  const answer = await clientOf(defer, base).exchange(GET, null, AbortSignal.timeout(5_000));
  assert.deepEqual(answer.fields, [
    ["x-a", "1"],
    ["set-cookie", "a"],
    ["x-a", "2"],
    ["set-cookie", "b"],
    ["x-l", "café"],
    ["content-length", "2"],
  ]);
  assert.equal(new TextDecoder().decode(await collect(answer, 10)), "hi");
  assert.match(seen[0]!, /^GET \/a\?b HTTP\/1\.1\r\n/);
  assert.match(seen[0]!, new RegExp(`host: ${base.host}\r\n`, "i"));
  assert.match(seen[0]!, /x-one: 1\r\nx-one: 2\r\n/i);
});

test("a body stays in the encoding in which it came", async (defer) => {
  const body = gzipSync("hello");
  const { bytes } = await get(defer, [`${OK}Content-Encoding: gzip\r\nContent-Length: ${body.length}\r\n\r\n`, body]);
  assert.deepEqual([...bytes!], [...body]);
});

test("chunks, and a body that ends with the connection, are whole answers; so is one without a body", async (defer) => {
  assert.equal((await get(defer, [`${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n`])).bytes!.length, 2);
  assert.equal((await get(defer, [`${OK}\r\nhi there`, END])).bytes!.length, 8);
  assert.equal((await get(defer, ["HTTP/1.1 204 No Content\r\n\r\n"])).bytes!.length, 0);
  const { status, bytes } = await get(defer, ['HTTP/1.1 304 Not Modified\r\nETag: "x"\r\n\r\n']);
  assert.deepEqual([status, bytes!.length], [304, 0]);
});

test("interim answers are passed over", async (defer) => {
  const early = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
  const { status, fields } = await get(defer, [`${early}${OK}Content-Length: 2\r\n\r\nhi`]);
  assert.deepEqual([status, fields], [200, [["content-length", "2"]]]);
});

const broken: Readonly<Record<string, readonly Piece[]>> = {
  "a body that is shorter than was said": [`${OK}Content-Length: 10\r\n\r\nhi`, END],
  "a reset in the middle": [`${OK}Content-Length: 10\r\n\r\nhi`, RESET],
  "chunks that are cut": [`${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n`, END],
  "two lengths": [`${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!`, END],
  "length and chunks, as smugglers send them": [
    `${OK}Content-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n`,
  ],
  "a folded line": [`${OK}X: 1\r\n 2\r\nContent-Length: 2\r\n\r\nhi`],
  "no HTTP": ["hello\r\n\r\n", END],
  "nothing at all": [RESET],
  "a head that is cut": [`${OK}X: 1\r\n`, END],
  "another protocol": ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhi"],
  "a status of 99": ["HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\nhi"],
  "a status of 999": ["HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nhi"],
  "500 KiB of fields": [`${OK}X: ${"y".repeat(500 * 1024)}\r\nContent-Length: 2\r\n\r\nhi`],
};
for (const [what, pieces] of Object.entries(broken)) {
  test(`${what} is an error, at once`, async (defer) => {
    await assert.rejects(get(defer, pieces), (error: unknown) => {
      assert.ok(error instanceof Error);
      assert.notEqual(error.name, "TimeoutError", "it was waited for");
      return true;
    });
  });
}

test("an origin that hangs, or stops in its head or its body, is left when the caller leaves", async (defer) => {
  for (const pieces of [[], [`${OK}X: 1\r\n`], [`${OK}Content-Length: 10\r\n\r\nhi`]]) {
    await assert.rejects(get(defer, pieces, 100), /timed? ?out|abort/i);
  }
});

test("bytes behind an answer end its connection, and are no part of the next answer", async (defer) => {
  const base = await serve(defer, [`${OK}Content-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil`]);
  const client = clientOf(defer, base);
  for (let i = 0; i < 3; i++) {
    try {
      const answer = await client.exchange(GET, null, AbortSignal.timeout(2_000));
      assert.equal(new TextDecoder().decode(await collect(answer, 100)), "hi");
    } catch (error) {
      assert.ok(error instanceof OriginError, `${error}`);
    }
  }
});

test("more than the bound is not read", async (defer) => {
  assert.equal((await get(defer, [`${OK}Content-Length: 1001\r\n\r\n`])).bytes, undefined);
  const chunk = "1f4\r\n" + "x".repeat(500) + "\r\n";
  assert.equal(
    (await get(defer, [`${OK}Transfer-Encoding: chunked\r\n\r\n${chunk}${chunk}${chunk}`])).bytes,
    undefined,
  );
});

test("a kept connection that the origin has closed costs no request", async (defer) => {
  const seen: string[] = [];
  const base = await serve(defer, [`${OK}Content-Length: 2\r\n\r\nhi`, END], seen);
  const client = clientOf(defer, base);
  for (let i = 0; i < 20; i++) {
    await collect(await client.exchange(GET, null, AbortSignal.timeout(5_000)), 10);
  }
  assert.ok(seen.length >= 20);
});

test("a stream is read no faster than it is taken, and breaks where its body is cut", async (defer) => {
  const base = await serve(defer, [`${OK}Content-Length: 10\r\n\r\nhi`, END]);
  const answer = await clientOf(defer, base).exchange(GET, null, AbortSignal.timeout(5_000));
  await assert.rejects(new Response(streamOf(answer.body)).bytes());
});

test("a request body is streamed", async (defer) => {
  const seen: string[] = [];
  const base = await serve(defer, [], seen);
  const client = clientOf(defer, base);
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const text of ["one", "two"]) controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  });
  const head = { method: "POST", target: "/", fields: [["content-length", "6"]] } as const;
  await assert.rejects(client.exchange(head, body, AbortSignal.timeout(300)));
  assert.match(seen.join(""), /^POST \/ [^]*\r\n\r\nonetwo$/);
});

/** Answers the first request of a connection, and leaves each later one without an answer, or closes the connection then. */
async function serveOnce(defer: Defer, later: readonly Piece[]): Promise<{ base: URL; seen: string[] }> {
  const seen: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let requests = 0;
    socket.on("error", () => {});
    socket.on("data", (data) => {
      seen.push(data.toString("latin1").split(" HTTP")[0]!);
      if (requests++ === 0) socket.write(`${OK}Content-Length: 2\r\n\r\nhi`);
      else if (later.includes(END)) socket.end();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { base: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), seen };
}

test("a caller who leaves on a kept connection ends the request: it is not sent again", async (defer) => {
  const { base, seen } = await serveOnce(defer, []);
  const client = clientOf(defer, base);
  await collect(await client.exchange({ ...GET, target: "/first" }, null, AbortSignal.timeout(5_000)), 10);
  const leaving = new AbortController();
  const left = assert.rejects(client.exchange({ ...GET, target: "/second" }, null, leaving.signal), /left/);
  await until(() => seen.length === 2, 5_000, () => seen.join());
  leaving.abort(new Error("left"));
  await left;
  // A request that is sent again is there before one that comes later.
  await collect(await client.exchange({ ...GET, target: "/third" }, null, AbortSignal.timeout(5_000)), 10);
  assert.deepEqual(seen, ["GET /first", "GET /second", "GET /third"]);
});

test("a request that may not be sent twice goes over a connection of its own (9112 9.5), and is sent once", async (defer) => {
  const { base, seen } = await serveOnce(defer, [END]);
  const client = clientOf(defer, base);
  const send = async (method: string, target: string) => {
    const fields: [string, string][] = method === "GET" ? [] : [["content-length", "0"]];
    return await collect(await client.exchange({ method, target, fields }, null, AbortSignal.timeout(5_000)), 10);
  };
  await send("GET", "/first");
  for (const method of ["POST", "PUT", "DELETE"]) assert.equal((await send(method, "/second"))?.length, 2, method);
  assert.deepEqual(seen, ["GET /first", "POST /second", "PUT /second", "DELETE /second"]);
});

test("a POST that the origin leaves without an answer fails, and is sent once", async (defer) => {
  const seen: string[] = [];
  const client = clientOf(defer, await serve(defer, [RESET], seen));
  const post = { method: "POST", target: "/", fields: [["content-length", "0"]] } as const;
  await assert.rejects(client.exchange(post, null, AbortSignal.timeout(5_000)), OriginError);
  assert.equal(seen.length, 1);
});

test("a GET that a closing connection has lost is sent again over a new one", async (defer) => {
  const { base, seen } = await serveOnce(defer, [END]);
  const client = clientOf(defer, base);
  for (const target of ["/first", "/second"]) {
    const answer = await client.exchange({ ...GET, target }, null, AbortSignal.timeout(5_000));
    assert.equal((await collect(answer, 10))?.length, 2);
  }
  assert.deepEqual(seen, ["GET /first", "GET /second", "GET /second"]);
});

/** The connections that are open at a server that passes everything on to `base`. */
async function countedConnections(defer: Defer, base: URL): Promise<{ url: URL; open: ReadonlySet<Socket> }> {
  const open = new Set<Socket>();
  const counted = createServer((socket) => {
    open.add(socket);
    const through = connect(Number(base.port), "127.0.0.1");
    for (const [from, to] of [[socket, through], [through, socket]] as const) {
      from.on("error", () => {}).on("close", () => to.destroy()).pipe(to);
    }
    socket.on("close", () => open.delete(socket));
  });
  counted.listen(0, "127.0.0.1");
  await once(counted, "listening");
  defer(() => {
    for (const socket of open) socket.destroy();
    counted.close();
  });
  return { url: new URL(`http://127.0.0.1:${(counted.address() as AddressInfo).port}`), open };
}

test("where fewer requests may be in flight than are, no idle connection stays beside those that are", async (defer) => {
  const held: (() => void)[] = [];
  const origin = createHttpServer((_, response) => held.push(() => response.end("hi")));
  origin.listen(0, "127.0.0.1");
  await once(origin, "listening");
  defer(() => {
    origin.closeAllConnections();
    origin.close();
  });
  const { url, open } = await countedConnections(
    defer,
    new URL(`http://127.0.0.1:${(origin.address() as AddressInfo).port}`),
  );
  const client = clientOf(defer, url);
  const send = async () => {
    const answer = await client.exchange(GET, null, AbortSignal.timeout(10_000));
    assert.equal((await collect(answer, 10))!.length, 2);
  };
  const asked = (count: number) => until(() => held.length === count, 5_000, () => `${held.length} are held`);
  client.keepIdle(4);
  const first = Array.from({ length: 4 }, send);
  await asked(4);
  client.keepIdle(2);
  for (const answer of held.splice(0, 3)) answer();
  await until(() => open.size <= 2, 5_000, () => `${open.size} are open`);
  const next = send();
  await asked(2);
  assert.equal(open.size, 2);
  for (const answer of held) answer();
  await Promise.all([...first, next]);
});

test("no more connections are open, idle ones included, than requests may be in flight", async (defer) => {
  const base = await serve(defer, [`${OK}Content-Length: 2\r\n\r\nhi`]);
  const { url, open: server } = await countedConnections(defer, base);
  const client = clientOf(defer, url);
  const send = async (method: string) => {
    const body = method === "POST" ? new Response("x").body : null;
    const answer = await client.exchange({ ...GET, method }, body, AbortSignal.timeout(5_000));
    assert.equal((await collect(answer, 10))!.length, 2);
  };
  const open = (count: number) =>
    until(() => server.size === count, 5_000, () => `${server.size}, not ${count}, are open`);
  const together = (count: number, method = "GET") => Promise.all(Array.from({ length: count }, () => send(method)));
  client.keepIdle(4);
  await together(4);
  await open(4);
  client.keepIdle(2);
  await open(2);
  await together(4);
  await open(2);
  await send("POST");
  await open(1);
  client.keepIdle(0);
  await open(0);
  await together(2);
  await open(0);
});

test("a process that stood still while it connected takes the connection that it got, and does not give up", async (defer) => {
  const { port } = await serve(defer, [`${OK}Content-Length: 2\r\n\r\nok`]);
  const clock = new ManualClock();
  const asked = Promise.withResolvers<() => void>();
  const client = new HttpClient(new URL(`http://origin.test:${port}`), clock, {
    lookup: (_, { all }, answer) =>
      asked.resolve(() => all ? answer(null, [{ address: "127.0.0.1", family: 4 }]) : answer(null, "127.0.0.1", 4)),
  });
  defer(() => client.close());
  const exchange = client.exchange(GET, null, AbortSignal.timeout(10_000));
  exchange.catch(() => {});
  const answer = await asked.promise;
  await until(() => clock.pending > 0, 2_000, () => "it waits for no connection");
  clock.standStill(10_000);
  answer();
  // The timer is late and runs before the connection is heard of: no turn of the event loop is in between.
  await clock.advance(0);
  assert.equal((await exchange).status, 200);
});
