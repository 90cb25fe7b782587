import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createServer } from "node:net";
import { Connections } from "../support/http-client.ts";
import { type Defer, test } from "../support/test.ts";
import { valueBytes, valueOf } from "./keys.ts";
import { Client } from "./parts/client.ts";

const key = "k1";
const value = valueOf(key);
const other = valueOf("k2");
const size = valueBytes.toString(16);
const half = valueBytes / 2;
const halfSize = half.toString(16);

const joined = (...parts: (string | Uint8Array)[]) =>
  Buffer.concat(parts.map((part) => Buffer.from(part as Uint8Array)));
const withLength = (body: Uint8Array, status = 200) =>
  joined(`HTTP/1.1 ${status} OK\r\nContent-Length: ${body.length}\r\n\r\n`, body);
const head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ndate: now\r\n\r\n";
const inOneChunk = (body: Uint8Array) => joined(`${head}${size}\r\n`, body, "\r\n0\r\n\r\n");
const inTwoChunks = joined(
  ...[`${head}${halfSize}\r\n`, value.subarray(0, half)],
  ...[`\r\n${halfSize}\r\n`, value.subarray(half), "\r\n0\r\n\r\n"],
);

const answers: [what: string, answer: Buffer, isRight: boolean][] = [
  ["a length", withLength(value), true],
  ["one chunk", inOneChunk(value), true],
  ["two chunks", inTwoChunks, true],
  ["another value", withLength(other), false],
  ["another value in one chunk", inOneChunk(other), false],
  ["an error", withLength(value, 500), false],
  ["the size of another chunk", joined(`${head}${halfSize}\r\n`, value, "\r\n0\r\n\r\n"), false],
];
const endless = joined("HTTP/1.1 200 OK\r\n\r\n", value);

/** Sends this answer to each request, whole or in pieces. */
async function serveBytes(defer: Defer, answer: Buffer, isWhole: boolean): Promise<string> {
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("data", async () => {
      if (isWhole) return void socket.write(answer);
      // Pieces of a few bytes, so that some piece ends in every part of the framing.
      for (let at = 0; at < answer.length; at += 7) {
        socket.write(answer.subarray(at, at + 7));
        await new Promise((next) => setImmediate(next));
      }
    });
  });
  defer(() => server.close());
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

for (const isWhole of [true, false]) {
  const how = isWhole ? "at once" : "in pieces";
  test(`the bench's client tells a key's value from all else, ${how}`, async (defer) => {
    for (const [what, answer, isRight] of answers) {
      const client = await Client.open(await serveBytes(defer, answer, isWhole));
      const told = await new Promise<boolean>((done) => client.ask("/cache/bench/", key, done));
      client.close();
      assert.equal(told, isRight, what);
    }
  });

  test(`the client of chaos reads what has a length, and chunks, ${how}`, async (defer) => {
    for (const answer of [withLength(value), inOneChunk(value), inTwoChunks]) {
      const connections = new Connections(await serveBytes(defer, answer, isWhole));
      for (let i = 0; i < 2; i++) {
        const { body, status, wasRepeated } = await connections.get("/", 5_000);
        assert.ok(body.equals(value));
        assert.deepEqual([status, wasRepeated], [200, false]);
      }
      connections.close();
    }
    const connections = new Connections(await serveBytes(defer, endless, isWhole));
    await assert.rejects(connections.get("/", 5_000), /not an answer with a length/);
  });
}
