import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import type { NatsConnection } from "nats";
import { connectOnce, learnGossip, parseNatsUrls } from "../../../lib/nats/connect/connection.ts";
import { realClock } from "../../registry/support.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

test("a node remembers the servers of a NATS cluster that it heard of last", () => {
  const gossip = new Set<string>();
  const learn = (from: number, to: number) => {
    const connect_urls = Array.from({ length: to - from }, (_, i) => `10.0.0.${from + i}:4222`);
    learnGossip({ info: { connect_urls } } as unknown as NatsConnection, gossip);
  };
  learn(0, 10);
  learn(5, 15);
  assert.equal(gossip.size, 15);
  learn(0, 3);
  learn(20, 25);
  assert.equal(gossip.size, 16);
  const kept = [0, 1, 2, 20, 21, 22, 23, 24].map((host) => `10.0.0.${host}:4222`);
  assert.deepEqual([...gossip].slice(-kept.length), kept);
  assert.ok(!gossip.has("10.0.0.3:4222"), "unheard for the longest");
});

/** Greets the first look as NATS does, and answers the client that comes after it in its own way. */
async function squatter(defer: Defer, second: (socket: Socket) => void) {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    // An end is only seen by who reads.
    socket.resume();
    if (sockets.push(socket) === 1) socket.write('INFO {"version":"2.14.0","max_payload":1048576}\r\n');
    else second(socket);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const target = parseNatsUrls([`127.0.0.1:${(server.address() as { port: number }).port}`]);
  const how = { name: "test", timeoutMs: 500, clock: realClock, signal: new AbortController().signal };
  return { sockets, connecting: connectOnce(target, new Set(), how) };
}

test("a program that never ends its greeting is dropped after 64 KiB, and its greeting is not joined again and again", async (defer) => {
  let sentBytes = 0;
  const piece = "x".repeat(65_536);
  const { sockets, connecting } = await squatter(defer, (socket) => {
    socket.write('INFO {"a":"');
    const pour = (): void => {
      while (!socket.destroyed) {
        sentBytes += piece.length;
        if (!socket.write(piece)) return;
      }
    };
    socket.on("drain", pour);
    pour();
  });
  await assert.rejects(connecting, /greeting is too long/);
  await until(() => sockets[1]!.destroyed, 5_000, () => "the connection is closed");
  assert.ok(sentBytes < 32 * 1024 * 1024, `${sentBytes} bytes were taken`);
});

test("a server that greets the look and then no client leaves no connection behind", async (defer) => {
  const { sockets, connecting } = await squatter(defer, () => {});
  await assert.rejects(connecting, /TIMEOUT/);
  await until(() => sockets.every((socket) => socket.destroyed || socket.readableEnded || socket.closed), 5_000, () => {
    return "both connections are closed";
  });
});

test("a greeting that a busy node reads late does not make later questions wait longer", async (defer) => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    const greet = () => socket.write('INFO {"version":"2.14.0","max_payload":1048576}\r\n');
    if (sockets.push(socket) === 1) return void setTimeout(greet, 900);
    greet();
    socket.on("data", (chunk) => {
      if (String(chunk).includes("PING")) socket.write("PONG\r\n");
    });
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const target = parseNatsUrls([`127.0.0.1:${(server.address() as { port: number }).port}`]);
  const how = { name: "test", timeoutMs: 1_000, clock: realClock, signal: new AbortController().signal };
  const { connection, requestTimeoutMs, roundTripMs } = await connectOnce(target, new Set(), how);
  defer(() => connection.close());
  assert.ok(requestTimeoutMs < 3_600 && roundTripMs < 450, `${requestTimeoutMs} ms, by ${roundTripMs} ms`);
});
