/** Nodes that know groups without serving them: nodes of one process, which share a registry in memory. */
import assert from "node:assert/strict";
import type { Config } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/parse.ts";
import { askersOf } from "../../lib/registry/store/store.ts";
import { Node } from "../../lib/node/node.ts";
import { serviceOf } from "../../lib/node/groups/served-group.ts";
import { asked } from "../../lib/core/ports.ts";
import { PeerError } from "../../lib/core/errors.ts";
import { MemoryStream } from "../../lib/registry/store/memory-log.ts";
import { MemoryBucket } from "../../lib/registry/store/memory-store.ts";
import { encodeRecord } from "../../lib/registry/record.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { MemoryLog } from "../support/log.ts";
import { serveBodies } from "../support/serve-bodies.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

type Policies = Readonly<Record<string, { readonly origin: string; readonly [field: string]: unknown }>>;

/** As `--nats off` has it but for `serve`: these nodes share a registry all the same. */
function configOf(groups: Policies, serve?: readonly string[]): Config {
  const text = JSON.stringify({ nats: "off", addr: "127.0.0.1:0", drainTimeout: "2s", pollInterval: "100ms", groups });
  const input = { env: {}, readFile: () => text, isTerminal: false, checkOrigin: () => {} };
  const parsed = parseConfig({ argv: ["--config", "it"], ...input });
  assert.ok(parsed.kind === "run");
  return { ...parsed.config, serve };
}

function fleet(defer: Defer) {
  const bucket = new MemoryBucket();
  const stream = new MemoryStream(systemClock);
  const log = new MemoryLog();
  const nodes: Node[] = [];
  defer(() => Promise.all(nodes.map((node) => node.stop())));
  const start = async (name: string, groups: Policies, serve?: readonly string[]) => {
    const listedAs = (port: number) => ({ url: `http://127.0.0.1:${port}`, name });
    const worker = { listedAs, store: bucket.open(), log: stream.open() };
    const node = new Node(configOf(groups, serve), { clock: systemClock, log, worker });
    await node.start();
    nodes.push(node);
    await until(() => node.isReady(), 5_000, () => `${name} is not ready:\n${log.lines.join("\n")}`);
    return node;
  };
  const keys = () => [...bucket.entries].filter(([, { value }]) => value).map(([key]) => key).sort();
  return { bucket, log, start, keys };
}

const ask = (node: Node, path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${node.port}${path}`, init);
const statsOf = async (node: Node) => await (await ask(node, "/stats")).json();

test("a node that does not serve a group stands in no list of its peers, and asks the peer that serves it", async (defer) => {
  const origin = await startOrigin(defer);
  const { start, keys, log } = fleet(defer);
  const api = { api: { origin: origin.template } };
  const a = await start("a", api);
  const b = await start("b", api, []);
  assert.deepEqual(keys(), ["=api.b", "api.a"]);
  assert.ok(log.lines.includes("info not serving api: asking the nodes that do"));
  for (let i = 0; i < 20; i++) {
    const answer = await ask(b, `/cache/api/k${i}`);
    assert.equal(await answer.text(), `k${i}`);
    assert.match(answer.headers.get("cache-status")!, /^b; fwd=miss;.*detail=peer/);
  }
  assert.equal((await ask(b, "/cache/api/missing")).status, 404);
  const batch = await ask(b, "/cache/api/_get", { method: "POST", body: '{"keys":["k1","new"]}' });
  assert.equal(batch.status, 200);
  assert.match(await batch.text(), /new/);
  assert.equal(origin.loads.length, 22);
  const { groups: { api: atB } } = await statsOf(b);
  assert.equal(atB.serves, false);
  assert.equal(atB.originLoads, 0);
  assert.deepEqual(atB.roster.peers.map(({ name }: { name: string }) => name), ["a"]);
  const { groups: { api: atA } } = await statsOf(a);
  assert.equal(atA.serves, undefined);
  assert.equal(atA.mainCache.items, 21, "every key is owned by the one that serves");
});

test("when nobody serves the group it is 503 until somebody does", async (defer) => {
  const origin = await startOrigin(defer);
  const { start } = fleet(defer);
  const api = { api: { origin: origin.template, hotAfterFetches: 0, writable: true } };
  const b = await start("b", api, []);
  const refused = async () => {
    const answer = await ask(b, "/cache/api/k");
    assert.equal(answer.status, 503);
    assert.ok(Number(answer.headers.get("retry-after")) > 0);
    assert.match((await answer.json()).detail, /no node that serves api can be reached/);
    const written = await ask(b, "/cache/api/k", { method: "PUT", body: "mine" });
    assert.equal(written.status, 503, "it keeps no value of its own");
  };
  await refused();
  const a = await start("a", api);
  await until(async () => (await ask(b, "/cache/api/k")).status === 200, 5_000, () => "a is not asked");
  await a.stop();
  await refused();
  assert.deepEqual(origin.loads, ["k"]);
});

test("nodes that serve no common group, or know none of each other's, reach each other where one asks", async (defer) => {
  const origin = await startOrigin(defer);
  const { start, keys } = fleet(defer);
  const [x, y] = ["x", "y"].map((name) => ({ [name]: { origin: origin.template } })) as [Policies, Policies];
  const a = await start("a", x);
  const c = await start("c", y);
  const b = await start("b", { ...x, ...y }, ["y"]);
  assert.deepEqual(keys(), ["=x.b", "x.a", "y.b", "y.c"]);
  for (let i = 0; i < 10; i++) {
    assert.equal(await (await ask(b, `/cache/x/k${i}`)).text(), `k${i}`);
    assert.equal(await (await ask(c, `/cache/y/k${i}`)).text(), `k${i}`);
  }
  assert.equal((await ask(a, "/cache/y/k1")).status, 404);
  const linksOf = async (node: Node) =>
    (await statsOf(node)).links.map(({ name, state }: { name: string; state: string }) => `${name} ${state}`).sort();
  assert.deepEqual(await linksOf(a), ["b open"], "of strangers to each other neither tries to connect");
  assert.deepEqual(await linksOf(b), ["a open", "c open"]);
  assert.deepEqual(await linksOf(c), ["b open"]);
});

test("a PURGE and a write at a node that does not serve the group are seen at the nodes that do", async (defer) => {
  let version = 1;
  const url = await serveBodies(defer, () => ({ body: new TextEncoder().encode(`v${version}`), delayMs: 0 }));
  const { start } = fleet(defer);
  const groups = { api: { origin: `${url}/{key}`, writable: true } };
  const a = await start("a", groups);
  const b = await start("b", groups, []);
  const c = await start("c", groups, []);
  const all = [a, b, c];
  const texts = () => Promise.all(all.map(async (node) => await (await ask(node, "/cache/api/k")).text()));
  for (let i = 0; i < 3; i++) assert.deepEqual(await texts(), ["v1", "v1", "v1"]);
  assert.match((await ask(b, "/cache/api/k")).headers.get("cache-status")!, /hit; detail=hot/);
  version = 2;
  const purged = await (await ask(b, "/cache/api/k?wait", { method: "PURGE" })).json();
  assert.deepEqual([purged.applied.sort(), purged.behind], [["a", "b", "c"], []], "the copies of c count, too");
  assert.deepEqual(await texts(), ["v2", "v2", "v2"]);
  const written = await ask(b, "/cache/api/k?wait", { method: "PUT", body: "mine" });
  assert.ok(written.ok, await written.clone().text());
  assert.deepEqual(await texts(), ["mine", "mine", "mine"]);
  const { groups: { api } } = await statsOf(b);
  assert.equal(api.mainCache.items, 0);
});

test("answers that may not be shared are asked of the owner, one request each", async (defer) => {
  let loads = 0;
  const { createServer } = await import("node:http");
  const server = createServer((_request, response) => {
    response.writeHead(200, { "cache-control": "private", "content-type": "text/plain" });
    setTimeout(() => response.end(`load ${++loads}`), 20);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => void server.close());
  const { port } = server.address() as { port: number };
  const { start } = fleet(defer);
  const groups = { api: { origin: `http://127.0.0.1:${port}/{key}` } };
  await start("a", groups);
  const b = await start("b", groups, []);
  const texts: string[] = [];
  for (let round = 0; round < 2; round++) {
    texts.push(...await Promise.all(Array.from({ length: 5 }, async () => (await ask(b, "/cache/api/k")).text())));
  }
  assert.equal(new Set(texts).size, 10);
  assert.ok(texts.every((text) => text.startsWith("load ")), texts.join());
});

test("a peer with an old roster that asks for what the node does not serve goes on to the next in rank", async () => {
  const served = new Map([["api", { isServed: false, group: {} }]]) as unknown as Parameters<typeof serviceOf>[0];
  const service = serviceOf(served, {} as Parameters<typeof serviceOf>[1], () => true, () => false);
  const options = { signal: new AbortController().signal, timeoutMs: 1_000 };
  await assert.rejects(asked(options, (ask) => service.get("api", "k", ask)), PeerError);
});

test("what an earlier life of the node has served is not taken for its own", async (defer) => {
  const origin = await startOrigin(defer);
  const { start, bucket, keys } = fleet(defer);
  const former = {
    name: "b",
    url: "http://127.0.0.1:1",
    incarnation: "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    key: "A".repeat(43),
    state: "serving" as const,
    weight: 100,
    zone: "",
    joined: "2026-01-01T00:00:00.000Z",
    version: "0.1.0",
    runtime: "bun",
  };
  bucket.write("api.b", encodeRecord("api", former), 0);
  const b = await start("b", { api: { origin: origin.template } }, []);
  assert.equal((await ask(b, "/cache/api/k")).status, 503);
  await until(() => keys().join() === askersOf("api") + ".b", 5_000, () => keys().join());
  assert.deepEqual(origin.loads, []);
});

test("what goes through to a site goes to a node that serves it, and a change there is seen at once", async (defer) => {
  const { createServer } = await import("node:http");
  const seen: string[] = [];
  let text = "first";
  const server = createServer((request, response) => {
    let body = "";
    request.setEncoding("utf8").on("data", (chunk: string) => body += chunk).on("end", () => {
      seen.push(`${request.method} ${request.url} ${request.headers["x-mine"] ?? ""}`);
      if (request.method === "POST") text = body;
      const isShared = request.url !== "/base/private";
      response.writeHead(200, { "cache-control": isShared ? "max-age=60" : "private", "x-from": "site" });
      response.end(request.method === "HEAD" ? undefined : text);
    });
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  const { port } = server.address() as { port: number };
  const { start } = fleet(defer);
  const site = { site: { origin: `http://127.0.0.1:${port}/base/*`, hosts: ["site.example"] } };
  const alone = await start("b", site, []);
  const refused = await ask(alone, "/cache/site/page", { method: "POST", body: "x" });
  assert.equal(refused.status, 503);
  const a = await start("a", site);
  await until(async () => (await ask(alone, "/cache/site/page?q=1")).status === 200, 5_000, () => "a is not asked");
  const hit = await ask(alone, "/cache/site/page?q=1");
  assert.equal(await hit.text(), "first");
  assert.match(hit.headers.get("cache-status")!, /hit; detail=hot/);
  const posted = await ask(alone, "/cache/site/page?q=1", {
    method: "POST",
    body: "second",
    headers: { "x-mine": "yes" },
  });
  assert.equal(posted.status, 200);
  assert.match(posted.headers.get("cache-status")!, /^a; fwd=method.*, b; fwd=method/);
  for (const node of [alone, a]) assert.equal(await (await ask(node, "/cache/site/page?q=1")).text(), "second");
  for (let i = 0; i < 3; i++) {
    const answer = await ask(alone, "/cache/site/private");
    assert.equal(answer.headers.get("x-from"), "site");
    assert.equal(await answer.text(), "second");
  }
  assert.equal((await ask(alone, "/cache/site/other", { method: "HEAD" })).status, 200);
  assert.equal(seen.filter((line) => line === "POST /base/page?q=1 yes").length, 1);
  assert.equal(seen.filter((line) => line.startsWith("GET /base/private")).length, 3);
});
