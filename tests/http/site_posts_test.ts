/** What becomes of the answer to a POST (RFC 9110, section 9.3.3), as a client sees it, on the test's own runtime. */
import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { invalidationOf } from "../../lib/core/invalidation/message.ts";
import { type Entry, NoPeers, type Peer } from "../../lib/core/ports.ts";
import { type Defer, test } from "../support/test.ts";
import { siteBehindNode, type SiteHandler } from "./site_support.ts";

const kept = { "cache-control": "max-age=60", "content-type": "text/x", "content-location": "k" };

/** A site that answers each request with its number. */
const counting: SiteHandler = ({ method }, response, count) => {
  response.writeHead(200, { ...kept, etag: `"${count}"` });
  response.end(`${method} ${count}`);
};

async function begin(defer: Defer, handler: SiteHandler, owners = NoPeers) {
  const site = await siteBehindNode(defer, handler, { owners });
  const send = async (method: string, headers: Record<string, string> = {}) => {
    const body = method === "POST" ? { body: "x" } : {};
    const response = await fetch(`${site.url}/cache/site/k`, { method, headers, ...body });
    return { text: await response.text(), headers: response.headers, status: response.status };
  };
  const get = async (headers?: Record<string, string>) => (await send("GET", headers)).text;
  return { ...site, send, get };
}

test("the answer to a POST that names its own URI and a lifetime serves later GETs and HEADs, and no POST", async (defer) => {
  const { send, asked } = await begin(defer, counting);
  assert.equal((await send("GET")).text, "GET 1");
  assert.equal((await send("POST")).text, "POST 2");
  const { text, headers } = await send("GET");
  assert.equal(text, "POST 2");
  assert.match(headers.get("cache-status")!, /^n1; hit; ttl=\d+$/);
  assert.deepEqual(["etag", "content-type", "content-location"].map((name) => headers.get(name)), [
    '"2"',
    "text/x",
    "k",
  ]);
  assert.match((await send("HEAD")).headers.get("cache-status")!, /^n1; hit/);
  assert.equal((await send("GET", { "if-none-match": '"2"' })).status, 304);
  assert.equal((await send("POST")).text, "POST 3");
  assert.equal(asked.length, 3);
});

test("it is a variant where Vary says so, as the answer to a GET is", async (defer) => {
  const { send, get } = await begin(defer, ({ method, headers }, response) => {
    response.writeHead(200, { ...kept, vary: "x-a" });
    response.end(`${method} ${headers["x-a"]}`);
  });
  await send("POST", { "x-a": "1" });
  assert.deepEqual([await get({ "x-a": "1" }), await get({ "x-a": "2" })], ["POST 1", "GET 2"]);
});

test("no other unsafe method's answer is kept", async (defer) => {
  const { send, get } = await begin(defer, counting);
  for (const method of ["PUT", "PATCH", "DELETE", "REPORT"]) await send(method);
  assert.equal(await get(), "GET 5");
});

for (
  const [why, change] of [
    ["another POST", { keys: ["k"] }],
    ["an invalidation of one of its tags", { tags: ["t"] }],
    ["an invalidation of everything", { all: true }],
  ] as const
) {
  test(`after ${why} that began later and was logged first, the next GET is a load`, async (defer) => {
    const gate = Promise.withResolvers<ServerResponse>();
    const { send, get, invalidations } = await begin(defer, ({ method }, response, count) => {
      response.writeHead(200, { ...kept, "surrogate-key": "t" });
      if (count > 1) return response.end(`${method} ${count}`);
      gate.resolve(response);
    });
    const posted = send("POST");
    const response = await gate.promise;
    await invalidations.invalidate("site", invalidationOf(change), { waitMs: 0 });
    response.end("POST 1");
    assert.equal((await posted).text, "POST 1");
    assert.equal(await get(), "GET 2");
  });
}

test("an invalidation that comes after it covers it", async (defer) => {
  const { send, get, invalidations } = await begin(defer, counting);
  await send("POST");
  assert.equal(await get(), "POST 1");
  await invalidations.invalidate("site", invalidationOf({ keys: ["k"] }), { waitMs: 0 });
  assert.equal(await get(), "GET 2");
});

test("a body that is cut, or longer than the longest value, is passed on and not kept", async (defer) => {
  const { send, get } = await begin(defer, ({ method }, response, count) => {
    response.writeHead(200, kept);
    if (count === 1) return response.end("x".repeat(1_001));
    if (method === "GET") return response.end(`GET ${count}`);
    response.write("first part", () => response.destroy());
  });
  assert.equal((await send("POST")).text.length, 1_001);
  assert.equal(await get(), "GET 2");
  await assert.rejects(send("POST"));
  assert.equal(await get(), "GET 4");
});

test("it goes to the owner of the key, labelled with its own change", async (defer) => {
  const pushed: Entry[] = [];
  const owner: Peer = {
    name: "n2",
    ask: () => assert.fail("nobody asks"),
    peek: () => Promise.resolve(undefined),
    push: (_, entries) => Promise.resolve(pushed.push(...entries)),
    catchUp: (label) => Promise.resolve(label),
  };
  const owners = { ...NoPeers, pick: () => owner };
  const { send, invalidations } = await begin(defer, counting, owners);
  await send("POST");
  const [{ key, value }] = pushed as [Entry];
  assert.equal(key, "k");
  assert.equal(new TextDecoder().decode(value.body), "POST 1");
  assert.equal(value.about.etag, '"1"');
  assert.deepEqual(value.label, invalidations.position.label);
  assert.equal(value.about.hasOwnLifetime, true);
});
