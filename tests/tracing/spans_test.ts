/** Spans of nodes of one process, as a real SDK gets them. */
import assert from "node:assert/strict";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { context, trace } from "@opentelemetry/api";
import { createNode, type GroupOptions, NotFoundError } from "../../lib/mod.ts";
import { OpenTelemetry } from "../../lib/tracing/open-telemetry.ts";
import { startNats } from "../support/nats-server.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { setSdk, type ToldSpan } from "./sdk.ts";

const drainTimeout = "2s";
const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/** Sets an SDK until the test ends. */
function spansOf(defer: Defer): ToldSpan[] {
  const spans: ToldSpan[] = [];
  defer(setSdk((span) => spans.push(span)));
  return spans;
}

/** An origin that keeps the fields of each request. */
async function originOf(defer: Defer, gate: Promise<unknown> = Promise.resolve()) {
  const asked: IncomingHttpHeaders[] = [];
  const server = createServer(async (request, response) => {
    asked.push(request.headers);
    await gate;
    response.writeHead(request.url!.includes("missing") ? 404 : 200, { "content-type": "text/plain" });
    response.end("value");
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  return { asked, base: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** Nodes `a` and `b` that know each other. */
async function pairOf(defer: Defer, group: GroupOptions) {
  const { url: nats } = await startNats(defer);
  const nodeNamed = async (name: string) => {
    const node = await createNode({ name, nats, drainTimeout, publicStats: true, groups: { g: group } });
    defer(() => node.close());
    return node;
  };
  const [a, b] = [await nodeNamed("a"), await nodeNamed("b")];
  await Promise.all([a.ready, b.ready]);
  const peersOf = async (node: typeof a) => {
    const stats = await (await node.fetch(new Request("http://h.test/stats"))).json();
    return stats.groups.g.roster.peers.length;
  };
  await until(async () => await peersOf(a) === 2 && await peersOf(b) === 2, 10_000, () => "they never met");
  /** Keys that the other node owns, by where a get of `a` finds them. */
  const ownedByB = async (prefix: string) => {
    for (let i = 0;; i++) {
      const key = `${prefix}${i}`;
      const answer = await fetch(`http://127.0.0.1:${a.port}/_admin/groups/g/explain?key=${key}`);
      if (answer.status !== 200) throw new Error(`explain: ${answer.status}`);
      if ((await answer.json()).owners[0].name === "b") return key;
    }
  };
  return { a, b, ownedByB };
}

function childOf(spans: readonly ToldSpan[], parent: ToldSpan | undefined, name: string): ToldSpan {
  const found = spans.filter((span) => span.name === name && span.parentSpanId === parent?.spanId);
  assert.equal(found.length, 1, `one ${name} under ${parent?.name}:\n${JSON.stringify(spans, undefined, 1)}`);
  return found[0]!;
}

test("without an SDK nothing is recorded, and none need be set before the node starts", async (defer) => {
  const tracing = new OpenTelemetry("0.1.0");
  assert.equal(tracing.isOn, false);
  const node = await createNode({ nats: "off", drainTimeout, groups: { g: { load: (key) => key } } });
  defer(() => node.close());
  await node.group("g").get("before");
  const spans = spansOf(defer);
  assert.equal(tracing.isOn, true);
  await node.group("g").get("after");
  assert.deepEqual(spans.map(({ name }) => name), ["load", "get"]);
});

test("a get, its hop, the owner's get and its load are one trace, which goes on to the origin", async (defer) => {
  const { asked, base } = await originOf(defer);
  const { a, ownedByB } = await pairOf(defer, { origin: `${base}/{key}` });
  const key = await ownedByB("key");
  const spans = spansOf(defer);
  const headers = { traceparent: PARENT, tracestate: "vendor=1", "x-request-id": "abc-1" };
  const answer = await a.fetch(new Request(`http://h.test/cache/g/${key}`, { headers }));
  assert.equal(await answer.text(), "value");
  await until(() => spans.length >= 4, 5_000, () => JSON.stringify(spans));
  const request = spans.find(({ name }) => name === "GET /cache/:group/:key")!;
  assert.equal(request.parentSpanId, "b7ad6b7169203331");
  const hop = childOf(spans, request, "hop");
  const serve = childOf(spans, hop, "get");
  const load = childOf(spans, serve, "load");
  assert.equal(spans.length, 4);
  for (const { traceId, status } of spans) {
    assert.equal(traceId, "0af7651916cd43dd8448eb211c80319c");
    assert.equal(status, 0);
  }
  assert.deepEqual([request, hop, serve, load].map(({ kind }) => kind), [1, 2, 1, 2]);
  const { attributes } = request;
  assert.equal(attributes["http.request.method"], "GET");
  assert.equal(attributes["http.route"], "/cache/:group/:key");
  assert.equal(attributes["url.path"], `/cache/g/${key}`);
  assert.equal(attributes["http.response.status_code"], 200);
  assert.equal(attributes["muster.cache"], "peer");
  assert.equal(attributes["muster.request_id"], "abc-1");
  assert.equal(hop.attributes["muster.peer"], "b");
  for (const span of [hop, serve, load]) assert.deepEqual(span.attributes["muster.key"], key);
  // The origin is told of the load, not of the client's span.
  assert.equal(asked.length, 1);
  assert.equal(asked[0]!.traceparent, `00-${load.traceId}-${load.spanId}-01`);
  assert.equal(asked[0]!.tracestate, "vendor=1");
  assert.equal(asked[0]!["x-request-id"], "abc-1");
});

test("the owner's hit is a step of the trace, too", async (defer) => {
  const { base } = await originOf(defer);
  const { a, b, ownedByB } = await pairOf(defer, { origin: `${base}/{key}`, hotAfterFetches: 0 });
  const key = await ownedByB("key");
  await b.group("g").get(key);
  const spans = spansOf(defer);
  await a.group("g").get(key);
  await until(() => spans.length >= 3, 5_000, () => JSON.stringify(spans));
  const get = spans.find(({ name, parentSpanId }) => name === "get" && parentSpanId === undefined)!;
  const serve = childOf(spans, childOf(spans, get, "hop"), "get");
  assert.deepEqual([get.kind, serve.kind], [0, 1]);
  assert.deepEqual([get, serve].map(({ attributes }) => attributes["muster.cache"]), ["peer", "hit"]);
});

test("one load is a part of the first asker's trace; those who join it are linked to that", async (defer) => {
  const gate = Promise.withResolvers<void>();
  const { asked, base } = await originOf(defer, gate.promise);
  const node = await createNode({ nats: "off", drainTimeout, groups: { g: { origin: `${base}/{key}` } } });
  defer(() => node.close());
  const spans = spansOf(defer);
  const get = async (id: string) => {
    const headers = { "x-request-id": id };
    return await (await node.fetch(new Request("http://h.test/cache/g/k", { headers }))).text();
  };
  const all = [get("first"), get("second"), get("third")];
  await until(() => asked.length === 1, 5_000, () => "the origin was not asked");
  gate.resolve();
  assert.deepEqual(await Promise.all(all), ["value", "value", "value"]);
  const named = (id: string) => spans.find(({ attributes }) => attributes["muster.request_id"] === id)!;
  const [first, second, third] = ["first", "second", "third"].map(named);
  const load = childOf(spans, first, "load");
  assert.equal(spans.length, 4);
  assert.equal(asked[0]!["x-request-id"], "first");
  assert.equal(load.traceId, first!.traceId);
  assert.deepEqual(first!.links, []);
  for (const joined of [second!, third!]) {
    assert.notEqual(joined.traceId, first!.traceId);
    assert.deepEqual(joined.links, [first!.spanId]);
  }
});

test("a failed load is a failed span with the kind of its error; that there is no such value is none", async (defer) => {
  const load = (key: string) => {
    if (key === "missing") throw new NotFoundError("none");
    throw new TypeError("broken");
  };
  const node = await createNode({ nats: "off", drainTimeout, groups: { g: { load } } });
  defer(() => node.close());
  const spans = spansOf(defer);
  await assert.rejects(node.group("g").get("bad"));
  await assert.rejects(node.group("g").get("missing"));
  const answer = await node.fetch(new Request("http://h.test/cache/g/bad"));
  assert.equal(answer.status, 502);
  const told = spans.map(({ name, status, attributes }) => [name, status, attributes["error.type"]]);
  assert.deepEqual(told, [
    ["load", 2, "OriginError"],
    ["get", 2, "OriginError"],
    ["load", 0, "NotFoundError"],
    ["get", 0, "NotFoundError"],
    ["load", 2, "OriginError"],
    ["GET /cache/:group/:key", 2, "502"],
  ]);
});

test("a span around a get, and one within a load, are its parent and its child", async (defer) => {
  const inLoad: unknown[] = [];
  const load = async (key: string, { trace: fields }: { trace: Readonly<Record<string, string>> }) => {
    inLoad.push(trace.getSpan(context.active())?.spanContext().spanId, fields.traceparent);
    await Promise.resolve();
    trace.getTracer("test").startSpan("query").end();
    return key;
  };
  const node = await createNode({ nats: "off", drainTimeout, groups: { g: { load } } });
  defer(() => node.close());
  const spans = spansOf(defer);
  await trace.getTracer("test").startActiveSpan("handler", async (span) => {
    await node.group("g").get("k");
    span.end();
  });
  const handler = spans.find(({ name }) => name === "handler")!;
  const get = childOf(spans, handler, "get");
  const loaded = childOf(spans, get, "load");
  childOf(spans, loaded, "query");
  assert.deepEqual(inLoad, [loaded.spanId, `00-${loaded.traceId}-${loaded.spanId}-01`]);
});

test("the key of a site is told without its query, and its node's own pages have no spans", async (defer) => {
  const { base } = await originOf(defer);
  const node = await createNode({ nats: "off", drainTimeout, groups: { g: { origin: `${base}/*` } } });
  defer(() => node.close());
  const spans = spansOf(defer);
  await (await node.fetch(new Request("http://h.test/cache/g/page?token=secret"))).text();
  for (const path of ["/healthz", "/readyz", "/stats", "/nothing"]) {
    await node.fetch(new Request(`http://h.test${path}`));
  }
  assert.deepEqual(spans.map(({ name }) => name), ["load", "GET /cache/:group/:key"]);
  assert.ok(!JSON.stringify(spans).includes("secret"));
  assert.equal(spans[0]!.attributes["muster.key"], "page?…");
});

test("a sampler's word counts: what is not sampled is not recorded, and says so to the next", async (defer) => {
  const { asked, base } = await originOf(defer);
  const node = await createNode({ nats: "off", drainTimeout, groups: { g: { origin: `${base}/{key}` } } });
  defer(() => node.close());
  const spans = spansOf(defer);
  const headers = { traceparent: PARENT.replace(/01$/, "00") };
  await (await node.fetch(new Request("http://h.test/cache/g/k", { headers }))).text();
  assert.deepEqual(spans, []);
  assert.match(String(asked[0]!.traceparent), /^00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-00$/);
});
