/** Requests that go through, when either side stalls: with a manual clock and a raw origin, the same on both runtimes. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { OriginError, OriginTimeoutError, RequestBodyError } from "../../../lib/core/errors.ts";
import { HttpClient } from "../../../lib/origins/http/client.ts";
import { ORIGIN_IDLE_MS, passThrough } from "../../../lib/origins/http/through.ts";
import { ManualClock } from "../../support/clock.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const OK = "HTTP/1.1 200 OK\r\n";
const never = new AbortController().signal;
const GET = { method: "GET", target: "/", fields: [] };
const POST = { method: "POST", target: "/", fields: [] };

interface RawOrigin {
  readonly clock: ManualClock;
  /** The text that it received. */
  received: string;
  /** The connections that are open. */
  readonly open: Set<Socket>;
  write(text: string): void;
  end(): void;
  send(body?: ReadableStream<Uint8Array> | null, signal?: AbortSignal): ReturnType<typeof passThrough>;
}

/** An origin that answers when the test says so. @param isDeaf whether it reads nothing */
async function rawOrigin(defer: Defer, isDeaf = false): Promise<RawOrigin> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    if (isDeaf) socket.pause();
    else socket.on("data", (data: Buffer) => origin.received += data.toString("latin1"));
    socket.on("error", () => {}).on("close", () => open.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const clock = new ManualClock();
  const client = new HttpClient(new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`), clock);
  defer(() => client.close());
  const each = (act: (socket: Socket) => void) => [...open].forEach(act);
  const origin: RawOrigin = {
    clock,
    received: "",
    open,
    write: (text) => each((socket) => socket.write(Buffer.from(text, "latin1"))),
    end: () => each((socket) => socket.end()),
    send: (body = null, signal = never) =>
      passThrough(body === null ? GET : POST, body, signal, { client, clock, name: "the origin" }),
  };
  return origin;
}

const received = (origin: RawOrigin, text: string) =>
  until(() => origin.received.includes(text), 5_000, () => JSON.stringify(origin.received));
const closed = (origin: RawOrigin) => until(() => origin.open.size === 0, 5_000, () => "the connection is still open");
const text = (piece: ReadableStreamReadResult<Uint8Array>) => new TextDecoder().decode(piece.value);

/** A body whose pieces come from the test. */
function body() {
  let controller!: ReadableStreamDefaultController<Uint8Array>;
  const state = {
    isLeft: false,
    stream: new ReadableStream<Uint8Array>({
      start: (made) => void (controller = made),
      cancel: () => void (state.isLeft = true),
    }, { highWaterMark: 0 }),
    give: (piece: string) => controller.enqueue(new TextEncoder().encode(piece)),
    close: () => controller.close(),
    fail: (error: Error) => controller.error(error),
  };
  return state;
}

test("an answer whose origin stalls breaks off after 60 s, and its connection is closed", async (defer) => {
  const origin = await rawOrigin(defer);
  const sent = origin.send();
  await received(origin, "\r\n\r\n");
  origin.write(`${OK}Content-Length: 10\r\n\r\nhi`);
  const reader = (await sent).body.getReader();
  assert.equal(text(await reader.read()), "hi");
  const stalled = assert.rejects(reader.read(), OriginTimeoutError);
  await origin.clock.advance(ORIGIN_IDLE_MS - 1);
  assert.equal(origin.open.size, 1);
  await origin.clock.advance(1);
  await stalled;
  await closed(origin);
  assert.equal(origin.clock.pending, 0);
});

test("an origin that never answers times out after 60 s, and so does one that reads nothing of the body", async (defer) => {
  for (const isDeaf of [false, true]) {
    const origin = await rawOrigin(defer, isDeaf);
    const long = body();
    if (isDeaf) { for (let i = 0; i < 256; i++) long.give("x".repeat(64 * 1024)); }
    const late = assert.rejects(origin.send(isDeaf ? long.stream : null), OriginTimeoutError);
    await until(() => origin.open.size === 1, 5_000, () => "no connection");
    if (isDeaf) {
      // The system's buffers take the first bytes at once.
      let before = -1;
      await until(
        async () => {
          const bytes = [...origin.open][0]!.bytesRead;
          await new Promise((later) => setTimeout(later, 100));
          return bytes === before || (before = bytes, false);
        },
        5_000,
        () => "the body is still being taken",
      );
    } else await received(origin, "\r\n\r\n");
    await origin.clock.advance(ORIGIN_IDLE_MS);
    await late;
    for (const socket of origin.open) socket.resume();
    await closed(origin);
  }
});

test("the origin's time does not run while the client sends its body or reads the answer, however slowly", async (defer) => {
  const origin = await rawOrigin(defer);
  const slow = body();
  const sent = origin.send(slow.stream);
  for (const piece of ["one", "two", "three"]) {
    await origin.clock.advance(10 * ORIGIN_IDLE_MS);
    slow.give(piece);
    await received(origin, piece);
  }
  await origin.clock.advance(10 * ORIGIN_IDLE_MS);
  slow.close();
  await received(origin, "\r\n0\r\n");
  await origin.clock.advance(ORIGIN_IDLE_MS - 1);
  origin.write(`${OK}Content-Length: 4\r\n\r\nhi`);
  const reader = (await sent).body.getReader();
  await origin.clock.advance(10 * ORIGIN_IDLE_MS);
  assert.equal(text(await reader.read()), "hi");
  await origin.clock.advance(10 * ORIGIN_IDLE_MS);
  origin.write("ho");
  assert.equal(text(await reader.read()), "ho");
  assert.equal((await reader.read()).done, true);
  assert.equal(origin.clock.pending, 0);
});

test("each piece of the answer restarts the origin's time", async (defer) => {
  const origin = await rawOrigin(defer);
  const sent = origin.send();
  await received(origin, "\r\n\r\n");
  origin.write(`${OK}Transfer-Encoding: chunked\r\n\r\n`);
  const reader = (await sent).body.getReader();
  for (let i = 0; i < 5; i++) {
    const piece = reader.read();
    await origin.clock.advance(ORIGIN_IDLE_MS - 1);
    origin.write("2\r\nhi\r\n");
    assert.equal(text(await piece), "hi");
  }
  await reader.cancel();
  await closed(origin);
  assert.equal(origin.clock.pending, 0);
});

test("a client's body that breaks off is the client's fault, and never looks complete to the origin", async (defer) => {
  const origin = await rawOrigin(defer);
  const broken = body();
  const failed = assert.rejects(origin.send(broken.stream), RequestBodyError);
  broken.give("half");
  await received(origin, "half");
  broken.fail(new Error("the client went away"));
  await failed;
  await closed(origin);
  assert.ok(!origin.received.includes("\r\n0\r\n"), origin.received);
});

test("a client's body that breaks off after the origin has begun its answer is the client's fault, too", async (defer) => {
  for (const framing of ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n", ""]) {
    const origin = await rawOrigin(defer);
    const broken = body();
    const sent = origin.send(broken.stream);
    broken.give("half");
    await received(origin, "half");
    origin.write(`${OK}${framing}\r\n`);
    const failed = assert.rejects(new Response((await sent).body).text(), RequestBodyError);
    broken.fail(new Error("the client went away"));
    await failed;
    await closed(origin);
    assert.equal(origin.clock.pending, 0);
  }
});

test("an origin that answers before the end of the request gets no more of it, and its answer is whole", async (defer) => {
  const origin = await rawOrigin(defer);
  const long = body();
  const sent = origin.send(long.stream);
  long.give("first");
  await received(origin, "first");
  origin.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
  const { answer, body: content } = await sent;
  assert.equal(answer.status, 413);
  assert.equal(await new Response(content).text(), "no");
  await until(() => long.isLeft, 5_000, () => "the client's body is still being read");
  await closed(origin);
  assert.ok(!origin.received.includes("\r\n0\r\n"), origin.received);
});

test("an answer that is cut fails as broken off by the origin; a leaving caller ends it with its own reason", async (defer) => {
  const cut = await rawOrigin(defer);
  const first = cut.send();
  await received(cut, "\r\n\r\n");
  cut.write(`${OK}Content-Length: 10\r\n\r\nhi`);
  const { body: content } = await first;
  cut.end();
  await assert.rejects(new Response(content).text(), (error) => error instanceof OriginError);
  const left = await rawOrigin(defer);
  const leaving = new AbortController();
  const second = left.send(null, leaving.signal);
  await received(left, "\r\n\r\n");
  left.write(`${OK}Content-Length: 10\r\n\r\nhi`);
  const ended = assert.rejects(new Response((await second).body).text(), /left/);
  leaving.abort(new Error("left"));
  await ended;
  await closed(left);
});
