/** Many keys in one request, asked of nodes as users run them. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { startNats } from "../support/nats-server.ts";
import {
  assembled,
  assertLoadedOnce,
  bothRuntimes,
  type NodeProcess,
  onBothRuntimes,
  type RuntimeKind,
  startNode,
} from "../support/node.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

const mixed: readonly RuntimeKind[] = ["bun", "deno", "bun"];

interface Line {
  readonly key: string;
  readonly status: number;
  readonly cacheStatus: string;
  readonly body?: string;
}

async function startCluster(defer: Defer, template: string) {
  const nats = await startNats(defer);
  const args = ["--nats", nats.url, "--group", `dict=${template}`];
  const nodes = await Promise.all(mixed.map((kind) => startNode(defer, kind, args)));
  await assembled(nodes);
  return nodes;
}

const requestFor = (keys: readonly string[]) => ({ method: "POST", body: JSON.stringify({ keys }) });

async function batch(node: NodeProcess, keys: readonly string[]): Promise<Line[]> {
  const response = await fetch(`${node.url}/cache/dict/_get`, requestFor(keys));
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "application/x-ndjson");
  return (await response.text()).split("\n").slice(0, -1).map((line) => JSON.parse(line) as Line);
}

const sorted = (lines: readonly Line[]) =>
  lines.map(({ key, status, body }) => ({ key, status, body: body ?? null })).sort((a, b) => a.key < b.key ? -1 : 1);

test("a thousand keys cost the origin one load each, whichever nodes are asked for them", {
  timeoutMs: 60_000,
}, async (defer) => {
  const origin = await startOrigin(defer);
  const nodes = await startCluster(defer, origin.template);
  const keys = Array.from({ length: 999 }, (_, i) => `${i % 9 === 0 ? "missing" : "word ü"} ${i}`);
  const expected = sorted(
    keys.map((key) =>
      key.startsWith("missing")
        ? { key, status: 404, cacheStatus: "" }
        : { key, status: 200, cacheStatus: "", body: key }
    ),
  );
  const all = await Promise.all(nodes.map((node) => batch(node, [...keys, ""])));
  for (const lines of all) {
    assert.deepEqual(sorted(lines.filter(({ key }) => key !== "")), expected);
    assert.match(lines.find(({ key }) => key === "")!.cacheStatus, /; detail=bad-key$/);
  }
  // A "not found" is not remembered by default, so each node may have asked for it.
  const found = keys.filter((key) => !key.startsWith("missing"));
  await assertLoadedOnce(nodes, "dict", origin.loads.filter((key) => !key.startsWith("missing")), found);
  for (const node of nodes) {
    const again = await batch(node, found);
    assert.ok(again.every(({ cacheStatus }) => /; hit(; detail=hot)?$/.test(cacheStatus)), again[0]!.cacheStatus);
  }
});

test("a client that goes away ends the gets of its batch at the origin, and no other begins", async (defer) => {
  const asked: string[] = [];
  const open = new Set<string>();
  const template = await serveBy(defer, (request, response) => {
    const key = request.url!.slice(1);
    asked.push(key);
    open.add(key);
    response.on("close", () => open.delete(key));
  });
  await onBothRuntimes(async (kind) => {
    const node = await startNode(defer, kind, ["--nats", "off", "--group", `dict=${template}`]);
    const keys = Array.from({ length: 1_000 }, (_, i) => `${kind}-${i}`);
    const ofThis = (all: Iterable<string>) => [...all].filter((key) => key.startsWith(kind)).length;
    const client = new AbortController();
    const answer = fetch(`${node.url}/cache/dict/_get`, { ...requestFor(keys), signal: client.signal });
    answer.then((response) => response.text()).catch(() => {});
    await until(() => ofThis(open) >= 64, 10_000, () => `${ofThis(open)} loads on ${kind}`);
    client.abort();
    await until(() => ofThis(open) === 0, 5_000, () => `${ofThis(open)} of ${ofThis(asked)} go on, on ${kind}`);
    // If these loads had timed out instead, others would have had room.
    assert.ok(ofThis(asked) <= 256, `${ofThis(asked)} loads on ${kind}`);
    assert.deepEqual(node.lines.filter((line) => /error/i.test(line)), []);
  });
});

test("a client that does not read holds up the rest of its batch", { timeoutMs: 180_000 }, async (defer) => {
  const body = "x".repeat(200 * 1024);
  let loads = 0;
  const template = await serveBy(defer, (_, response) => {
    loads++;
    response.end(body);
  });
  for (const kind of bothRuntimes) {
    loads = 0;
    const node = await startNode(defer, kind, ["--nats", "off", "--group", `dict=${template}`]);
    const keys = Array.from({ length: 1_000 }, (_, i) => `key ${i}`);
    const socket = await sent(node, JSON.stringify({ keys }), defer);
    let [before, sinceMs] = [-1, performance.now()];
    // Until nothing moves for a second.
    await until(
      () => {
        if (loads !== before) [before, sinceMs] = [loads, performance.now()];
        return loads > 0 && performance.now() - sinceMs > 1_000;
      },
      20_000,
      () => `${loads} loads on ${kind}`,
    );
    assert.ok(loads < 500, `${loads} of 1,000 loads on ${kind}`);
    let bytes = 0;
    socket.on("data", (chunk) => bytes += chunk.length).resume();
    await until(() => bytes > 1_000 * body.length, 60_000, () => `${bytes} bytes on ${kind}`);
    assert.equal(loads, 1_000);
  }
});

/** An origin. @returns for `--group name=…` */
async function serveBy(defer: Defer, handler: RequestListener): Promise<string> {
  const server = createServer(handler);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/{key}`;
}

/** A request over a connection from which nothing is read. */
async function sent(node: NodeProcess, body: string, defer: Defer): Promise<Socket> {
  const { hostname, port } = new URL(node.url);
  const socket = connect(Number(port), hostname);
  defer(() => socket.destroy());
  await once(socket, "connect");
  socket.pause();
  socket.write(`POST /cache/dict/_get HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
  return socket;
}
