/** Changes through a real server, on the test's own runtime. */
import assert from "node:assert/strict";
import { MAX_MESSAGE_BYTES } from "../../../lib/core/invalidation/message.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { appWith, openSocket, serve } from "../support.ts";

function served(defer: Parameters<typeof serve>[1], options: Parameters<typeof appWith>[0] = {}) {
  const made = appWith({ isLoopbackOnly: true, ...options });
  made.g.isWritable = true;
  const port = serve(made.app.fetch, defer);
  /** Sends what is typed, and resolves to the status of the answer. */
  const statusOf = (head: string, body = "") =>
    new Promise<string>((answered) => {
      const socket = openSocket(port, defer);
      socket.once("data", (data) => answered(data.toString("latin1").split(" ")[1]!));
      socket.write(`${head}\r\n\r\n${body}`);
    });
  return { ...made, port, url: `http://127.0.0.1:${port}`, statusOf };
}

test("PURGE, PUT and DELETE arrive with their bodies, byte for byte", async (defer) => {
  const { url, g } = served(defer);
  const body = Uint8Array.from({ length: 1_000 }, (_, i) => i & 0xff);
  const headers = { "content-type": "application/x-own" };
  assert.equal((await fetch(`${url}/cache/g/a%2Fb`, { method: "PUT", body, headers })).status, 200);
  assert.equal((await fetch(`${url}/cache/g/k?soft`, { method: "PURGE" })).status, 200);
  assert.equal((await fetch(`${url}/cache/g/k`, { method: "DELETE" })).status, 200);
  assert.deepEqual(g.written, [{ key: "a/b", body, contentType: "application/x-own", waitMs: 0 }]);
  assert.deepEqual(g.invalidated.map(({ message }) => [message.keys, message.soft]), [[["k"], true], [["k"], false]]);
});

test("a body that is too long ends the request, and the node goes on", async (defer) => {
  const { url, g, dict } = served(defer);
  for (let i = 0; i < 3; i++) {
    const put = await fetch(`${url}/cache/g/k`, { method: "PUT", body: new Uint8Array(3_000_000) });
    assert.equal(put.status, 413);
    await put.body?.cancel();
    const post = await fetch(`${url}/_admin/groups/dict/invalidate`, {
      method: "POST",
      body: `{"all":true}${" ".repeat(MAX_MESSAGE_BYTES)}`,
    });
    assert.equal(post.status, 413);
    await post.body?.cancel();
  }
  assert.equal(await (await fetch(`${url}/cache/g/k`)).text(), "k");
  assert.deepEqual([g.written, g.invalidated, dict.invalidated], [[], [], []]);
});

test("a body that is too long is found out while it comes, where its length was not told", async (defer) => {
  const { g, statusOf } = served(defer);
  const head = "PUT /cache/g/k HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked";
  const chunk = (bytes: number) => `${bytes.toString(16)}\r\n${"x".repeat(bytes)}\r\n`;
  // No end follows: it is refused before there is one.
  assert.equal(await statusOf(head, chunk(600) + chunk(600)), "413");
  assert.equal(await statusOf(head, `${chunk(600)}${chunk(400)}0\r\n\r\n`), "200");
  assert.deepEqual(g.written.map(({ body }) => body.byteLength), [1_000]);
});

test("a client that stops in the middle of its body is answered when its time is over", async (defer) => {
  const clock = new ManualClock();
  const { g, statusOf } = served(defer, { clock });
  const answer = statusOf("PUT /cache/g/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10", "12345");
  while (clock.pending === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await clock.advance(30_000);
  assert.equal(await answer, "408");
  assert.deepEqual(g.written, []);
});

test("the Host that a request names, and an absolute target, must be this machine's", async (defer) => {
  const { g, statusOf } = served(defer);
  const purge = (target: string, host: string) => statusOf(`PURGE ${target} HTTP/1.1\r\n${host}`);
  assert.equal(await purge("/cache/g/k", "Host: localhost"), "200");
  assert.equal(await purge("/cache/g/k", "Host: [::1]:8000"), "200");
  for (const host of ["Host: rebound.test", "Host: rebound.test:8000", "Host: localhost.rebound.test", "Host: a b"]) {
    assert.match(await purge("/cache/g/k", host), /^40[03]$/, host);
  }
  assert.match(await purge("http://localhost/cache/g/k", "Host: rebound.test"), /^40[03]$/);
  assert.equal(await purge("/cache/g/k", "Host: localhost\r\nOrigin: http://localhost"), "403");
  assert.equal(await purge("/cache/g/k", "Host: localhost\r\nX-Forwarded-For: 127.0.0.1"), "403");
  assert.equal(g.invalidated.length, 2);
});
