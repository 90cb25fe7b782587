/** Asking another node whether it still runs, over real sockets. */
import assert from "node:assert/strict";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { PeerNetworks } from "../../lib/config/networks.ts";
import { isAlive } from "../../lib/registry/is-alive.ts";
import { freePort } from "../support/free-port.ts";
import { type Defer, test } from "../support/test.ts";
import { recordOf } from "./support.ts";

/** A node whose answers the test gives, or does not. */
async function node(defer: Defer) {
  const asked = Promise.withResolvers<ServerResponse>();
  const server = createServer((_, response) => asked.resolve(response));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return { record: recordOf("a", { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }), asked };
}

test("a live node that stands still for more than a second is heard, as long as that is within the time", async (defer) => {
  const { record, asked } = await node(defer);
  const verdict = isAlive(record, 20_000);
  const response = await asked.promise;
  await new Promise((over) => setTimeout(over, 1_200));
  response.end(JSON.stringify({ name: "a", incarnation: record.incarnation }));
  assert.equal(await verdict, true);
});

test("a node that is silent for the whole time is gone, and so are a closed port and another life", async (defer) => {
  const silent = await node(defer);
  assert.equal(await isAlive(silent.record, 50), false);
  const closed = recordOf("a", { url: `http://127.0.0.1:${await freePort()}` });
  assert.equal(await isAlive(closed, 20_000), false);
  const { record, asked } = await node(defer);
  const verdict = isAlive(record, 20_000);
  (await asked.promise).end(JSON.stringify({ name: "a", incarnation: "another" }));
  assert.equal(await verdict, false);
});

test("a record with the URL and the incarnation of a node of another name is nobody's", async (defer) => {
  const { record, asked } = await node(defer);
  const verdict = isAlive(record, 20_000);
  (await asked.promise).end(JSON.stringify({ name: "b", incarnation: record.incarnation }));
  assert.equal(await verdict, false);
});

test("an address outside the peers' networks is not asked, named by itself or by a name", async (defer) => {
  const { record, asked } = await node(defer);
  void asked.promise.then(() => assert.fail("it was asked"));
  const elsewhere = new PeerNetworks(["10.0.0.0/8"]);
  const byName = { ...record, url: record.url.replace("127.0.0.1", "localhost") };
  for (const asked of [record, byName]) assert.equal(await isAlive(asked, 20_000, elsewhere), false);
});
