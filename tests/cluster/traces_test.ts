/** Traces over nodes in processes, each with an SDK that its operator has set. Runs once: it starts nodes on both runtimes. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { startNats } from "../support/nats-server.ts";
import { assembled, listening, NodeProcess, root, runCommand, type RuntimeKind } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import type { ToldSpan } from "../tracing/sdk.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PRELOAD = ["--preload", join(root, "tests/tracing/print-spans.ts")];

async function listen(defer: Defer, server: Server): Promise<string> {
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An origin that keeps the fields of its requests, by key. */
async function originOf(defer: Defer) {
  const asked = new Map<string, IncomingHttpHeaders>();
  const server = createServer((request, response) => {
    asked.set(request.url!.slice(1), request.headers);
    response.end("value");
  });
  return { asked, template: `${await listen(defer, server)}/{key}` };
}

/** A node with flags of the runtime before `main.ts`. */
async function nodeWith(
  defer: Defer,
  kind: RuntimeKind,
  command: readonly string[],
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<NodeProcess> {
  const [program, ...rest] = command;
  const child = spawn(program!, [...rest, join(root, "main.ts"), "--addr", "127.0.0.1:0", ...args], {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const node = new NodeProcess(kind, child);
  defer(() => node.end("SIGKILL"));
  await listening(node);
  return node;
}

function spansOf(...nodes: readonly NodeProcess[]): ToldSpan[] {
  // The other lines are the node's own log.
  return nodes.flatMap(({ lines }) => lines.filter((line) => line.startsWith('{"name":'))).map((line) =>
    JSON.parse(line)
  );
}

function only(spans: readonly ToldSpan[], name: string): ToldSpan {
  const found = spans.filter((span) => span.name === name);
  assert.equal(found.length, 1, `one ${name} in ${JSON.stringify(spans, undefined, 1)}`);
  return found[0]!;
}

test("a get that hops from Bun to Deno, or back, is one trace to the origin", { timeoutMs: 60_000 }, async (defer) => {
  const [nats, { asked, template }] = await Promise.all([startNats(defer), originOf(defer)]);
  const args = ["--nats", nats.url, "--group", `dict=${template}`];
  const kinds = ["bun", "deno"] as const;
  const nodes = await Promise.all(
    kinds.map((kind) => nodeWith(defer, kind, [...runCommand(kind), ...PRELOAD], [...args, "--name", kind])),
  );
  await assembled(nodes);
  for (const [asker, owner] of [nodes, nodes.toReversed()] as [NodeProcess, NodeProcess][]) {
    for (let i = 0, isHop = false; !isHop; i++) {
      const key = `${asker.kind}-${i}`;
      const traceparent = `00-${TRACE}-b7ad6b71692033${asker.kind === "bun" ? "aa" : "bb"}-01`;
      const headers = { traceparent, tracestate: "vendor=1", "x-request-id": key };
      const answer = await fetch(`${asker.url}/cache/dict/${key}`, { headers });
      assert.equal(answer.headers.get("x-request-id"), key);
      isHop = answer.headers.get("cache-status")!.includes("detail=peer");
      await answer.text();
      if (!isHop) continue;
      const ofKey = () =>
        spansOf(...nodes).filter(({ attributes }) =>
          attributes["muster.key"] === key || attributes["muster.request_id"] === key
        );
      await until(() => ofKey().length === 4, 5_000, () => JSON.stringify(ofKey(), undefined, 1));
      const spans = ofKey();
      const [request, hop] = [only(spans, "GET /cache/:group/:key"), only(spans, "hop")];
      const [serve, load] = [only(spans, "get"), only(spans, "load")];
      const parents = [request, hop, serve, load].map(({ parentSpanId }) => parentSpanId);
      assert.deepEqual(parents, [traceparent.slice(36, 52), request.spanId, hop.spanId, serve.spanId]);
      for (const { traceId } of spans) assert.equal(traceId, TRACE);
      assert.equal(hop.attributes["muster.peer"], owner.kind);
      const isBy = (node: NodeProcess, { spanId }: ToldSpan) => spansOf(node).some((span) => span.spanId === spanId);
      assert.deepEqual([isBy(asker, request), isBy(asker, hop), isBy(owner, serve), isBy(owner, load)], [
        ...new Array(4).fill(true),
      ]);
      assert.equal(asked.get(key)!.traceparent, `00-${TRACE}-${load.spanId}-01`);
      assert.equal(asked.get(key)!["x-request-id"], key);
    }
  }
});

test(
  "without an SDK on either node, a client's trace and id reach the origin as they came",
  { timeoutMs: 60_000 },
  async (defer) => {
    const [nats, { asked, template }] = await Promise.all([startNats(defer), originOf(defer)]);
    const args = ["--nats", nats.url, "--group", `dict=${template}`];
    const nodes = await Promise.all(
      (["bun", "deno"] as const).map((kind) =>
        nodeWith(defer, kind, runCommand(kind, "-P"), [...args, "--name", kind])
      ),
    );
    await assembled(nodes);
    for (const { url } of nodes) {
      for (let i = 0; i < 6; i++) {
        const key = `${url.slice(-5)}-${i}`;
        const headers = { traceparent: `00-${TRACE}-b7ad6b7169203331-01`, tracestate: "a=1", "x-request-id": key };
        await (await fetch(`${url}/cache/dict/${key}`, { headers })).text();
        const { traceparent, tracestate, "x-request-id": id } = asked.get(key)!;
        assert.deepEqual({ traceparent, tracestate, "x-request-id": id }, headers);
      }
    }
  },
);

test("Bun's workers load the operator's file, too", { timeoutMs: 60_000 }, async (defer) => {
  const { template } = await originOf(defer);
  const args = ["--nats", "off", "--group", `dict=${template}`, "--workers", "2", "--log", "json"];
  const machine = await nodeWith(defer, "bun", [...runCommand("bun"), ...PRELOAD], args);
  machine.url = /http:\/\/[^\s"]+/.exec(await machine.line('"workers":2'))![0];
  await (await fetch(`${machine.url}/cache/dict/k`)).text();
  await until(() => spansOf(machine).some(({ name }) => name === "load"), 5_000, () => machine.account("a span"));
  assert.ok(!machine.lines.some((line) => line.includes('"level":"error"')), machine.account("no error"));
});

interface OtlpSpan {
  readonly name: string;
  /** 2: of a server, 3: of a client. */
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
}

test(
  "Deno's own OpenTelemetry exports the spans, with nothing but a variable",
  { timeoutMs: 60_000 },
  async (defer) => {
    const spans: OtlpSpan[] = [];
    const collector = createServer(async (request, response) => {
      const chunks: Uint8Array[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const text = new TextDecoder().decode(await new Blob(chunks as Uint8Array<ArrayBuffer>[]).arrayBuffer());
      if (request.url === "/v1/traces") {
        for (const { scopeSpans } of JSON.parse(text).resourceSpans) {
          for (const scope of scopeSpans) spans.push(...scope.spans);
        }
      }
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
    const OTEL_EXPORTER_OTLP_ENDPOINT = await listen(defer, collector);
    const env = {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT,
      OTEL_BSP_SCHEDULE_DELAY: "100",
    };
    const { asked, template } = await originOf(defer);
    const args = ["--nats", "off", "--group", `dict=${template}`];
    const node = await nodeWith(defer, "deno", runCommand("deno", "-P"), args, env);
    const headers = { traceparent: `00-${TRACE}-b7ad6b7169203331-01` };
    await (await fetch(`${node.url}/cache/dict/k`, { headers })).text();
    const named = (name: string, kind: number) =>
      spans.find((span) => span.name === name && span.kind === kind && span.traceId === TRACE);
    const wanted = [["GET", 2], ["GET /cache/:group/:key", 2], ["load", 3], ["GET", 3]] as const;
    const find = () => wanted.flatMap(([name, kind]) => named(name, kind) ?? []);
    await until(() => find().length === wanted.length, 15_000, () => JSON.stringify(spans, undefined, 1));
    // Deno records what its server receives and what its client sends, too.
    const [server, request, load, client] = find();
    const parents = [server, request, load, client].map((span) => span!.parentSpanId);
    assert.deepEqual(parents, ["b7ad6b7169203331", server!.spanId, request!.spanId, load!.spanId]);
    assert.match(
      String(asked.get("k")!.traceparent),
      new RegExp(`^00-${TRACE}-(${load!.spanId}|${client!.spanId})-01$`),
    );
  },
);
