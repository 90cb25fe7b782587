/** Unused bodies of errors and redirects must not hold a connection for long. With a raw origin, on both runtimes. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { NotFoundError, OriginError } from "../../../lib/core/errors.ts";
import { TemplateOrigin } from "../../../lib/origins/http/template-origin.ts";
import { ManualClock } from "../../support/clock.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const never = new AbortController().signal;

/** A template at an origin that answers each request with `answer`. */
async function templateAt(defer: Defer, answer: (socket: Socket) => void) {
  const open = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    open.add(socket);
    socket.on("error", () => {}).on("close", () => open.delete(socket)).on("data", () => answer(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  const clock = new ManualClock();
  const { port } = server.address() as AddressInfo;
  const origin = new TemplateOrigin({ template: `http://127.0.0.1:${port}/{key}` }, { clock });
  defer(() => origin.close());
  const load = () => origin.load("k", never).then(({ status }) => status, (error) => error);
  return { clock, open, load, connections: () => connections };
}

const chunk = Buffer.from(`4000\r\n${"x".repeat(0x4000)}\r\n`);
const head = (status: string, more = "") => `HTTP/1.1 ${status}\r\n${more}\r\n`;

test("the endless body of an error is not read to its end, and its connection ends", async (defer) => {
  for (const status of ["404 Not Found", "503 Service Unavailable"]) {
    const { load, open } = await templateAt(defer, (socket) => {
      socket.write(head(status, "Transfer-Encoding: chunked\r\n"));
      const more = () => {
        while (!socket.destroyed && socket.write(chunk));
      };
      socket.on("drain", more);
      more();
    });
    const ended = await load();
    assert.ok(ended === 404 || ended instanceof NotFoundError || ended instanceof OriginError, `${ended}`);
    await until(() => open.size === 0, 5_000, () => "the body is still being read");
  }
});

test("a long body is not read at all, and a stalled body is given up after a second", async (defer) => {
  const long = await templateAt(defer, (socket) => {
    socket.write(head("404 Not Found", "Content-Length: 1000000\r\n"));
  });
  await long.load();
  await until(() => long.open.size === 0, 5_000, () => "the connection is kept");
  const stalled = await templateAt(defer, (socket) => {
    socket.write(head("404 Not Found", "Content-Length: 10\r\n") + "hi");
  });
  await stalled.load();
  await stalled.clock.advance(999);
  assert.equal(stalled.open.size, 1);
  await stalled.clock.advance(1);
  await until(() => stalled.open.size === 0, 5_000, () => "the connection is kept");
});

test("a short body is read, and its connection is kept; a body that is cut does no harm", async (defer) => {
  const short = await templateAt(defer, (socket) => {
    socket.write(head("404 Not Found", "Content-Length: 2\r\n") + "hi");
  });
  let loads = 0;
  await until(
    async () => {
      await short.load();
      return ++loads >= short.connections() + 3;
    },
    5_000,
    () => `${short.connections()} connections for ${loads} loads`,
  );
  await until(() => short.clock.pending === 0, 5_000, () => "a timer is left");
  const cut = await templateAt(defer, (socket) => {
    socket.end(head("404 Not Found", "Content-Length: 10\r\n") + "hi");
  });
  await cut.load();
  await until(() => cut.open.size === 0, 5_000, () => "the connection is open");
});
