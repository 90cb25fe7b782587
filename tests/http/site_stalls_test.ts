/** Requests that go through a node to a site, when either side stalls: with a manual clock, on the test's own runtime. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { request as httpRequest, type ServerResponse } from "node:http";
import { ManualClock } from "../support/clock.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { siteBehindNode } from "./site_support.ts";
import { openSocket } from "./support.ts";

test("a client that stalls in its body gets an answer that says so, and that the connection ends", async (defer) => {
  const clock = new ManualClock();
  const site = await siteBehindNode(defer, (_, response) => response.end("whole"), { clock });
  const socket = openSocket(site.port, defer);
  let answer = "";
  socket.setEncoding("latin1").on("data", (text: string) => answer += text);
  socket.write("POST /cache/site/k HTTP/1.1\r\nHost: h.test\r\nContent-Length: 100\r\n\r\nhalf");
  await until(() => site.asked.length === 1, 5_000, () => "the site got nothing");
  await clock.advance(30_000);
  await until(() => answer !== "", 5_000, () => "no answer");
  assert.match(answer, /^HTTP\/1\.1 408 /);
  assert.match(answer, /cache-status: n1; fwd=miss; detail=slow-request\r\n/i);
  assert.match(answer, /\r\nconnection: close\r\n/i);
  assert.deepEqual(site.log.lines, []);
});

test("a site that does not answer a forwarded request times out after a minute", async (defer) => {
  const clock = new ManualClock();
  const site = await siteBehindNode(defer, () => {}, { clock });
  const answer = fetch(`${site.url}/cache/site/k`, { method: "POST", body: "x" });
  await until(() => site.asked[0]?.body === "x", 5_000, () => "the site got nothing");
  await clock.advance(60_000);
  assert.equal((await answer).status, 504);
  assert.match((await answer).headers.get("cache-status")!, /detail=origin-timeout/);
});

test("a site that stalls in a value over the limit ends the client's answer as broken", async (defer) => {
  const clock = new ManualClock();
  const held: ServerResponse[] = [];
  const site = await siteBehindNode(defer, (_, response) => {
    response.writeHead(200, { "content-length": "3000" });
    response.write("x".repeat(2_000));
    held.push(response);
  }, { clock, valueBytesMax: 1_000 });
  const asked = httpRequest(`${site.url}/cache/site/k`).end();
  const [answer] = await once(asked, "response");
  let bytes = 0;
  const broken = new Promise<Error>((resolve) => {
    asked.on("error", resolve);
    answer.on("data", (piece: Uint8Array) => bytes += piece.length).on("error", resolve);
    answer.on("end", () => assert.fail("the answer looks whole"));
  });
  await until(() => bytes === 2_000, 5_000, () => `${bytes} bytes came`);
  await clock.advance(60_000);
  await broken;
  await until(() => held.at(-1)!.destroyed, 5_000, () => "the site's connection is still open");
});

test("a client that reads nothing of a forwarded answer holds the site for 30 s at most", async (defer) => {
  const clock = new ManualClock();
  let isLeft = false;
  const site = await siteBehindNode(defer, (_, response) => {
    response.on("close", () => isLeft = true);
    const more = () => {
      while (!isLeft && response.write(Buffer.alloc(64 * 1024)));
      response.once("drain", more);
    };
    more();
  }, { clock });
  const socket = openSocket(site.port, defer);
  socket.pause();
  socket.write("POST /cache/site/k HTTP/1.1\r\nHost: h.test\r\nContent-Length: 0\r\n\r\n");
  await until(() => site.asked.length === 1, 5_000, () => "the site got nothing");
  // The buffers between the two fill up first, and each piece restarts the time.
  await until(
    async () => {
      await clock.advance(10_000);
      return isLeft;
    },
    15_000,
    () => "the site is still held",
  );
});
