import assert from "node:assert/strict";
import { OriginError } from "../../../lib/core/errors.ts";
import { Trace } from "../../../lib/core/base/trace.ts";
import type { Waiter } from "../../../lib/core/load/flights.ts";
import type { Loaded } from "../../../lib/core/group/loaded.ts";
import { test } from "../../support/test.ts";
import { appWith, MemoryGroup, openSocket, rawRequest, serve, valueOf } from "../support.ts";

const PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/** An app with an access log in memory. */
function logged(format: "combined" | "json" = "json") {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  const made = appWith({ accessLog: { format, write }, remoteOf: () => "192.0.2.7" });
  return { ...made, lines, last: () => JSON.parse(lines.at(-1)!) };
}

function get(app: { fetch: (request: Request) => Response | Promise<Response> }, path: string, init: RequestInit = {}) {
  return app.fetch(new Request(`http://h.test${path}`, init));
}

test("without a log and without an id of the client, an answer has no id", async () => {
  const { app, g } = appWith();
  g.main.set("a", valueOf("A"));
  for (const path of ["/cache/g/a", "/cache/g/b", "/healthz", "/nothing"]) {
    assert.equal((await get(app, path)).headers.get("x-request-id"), null, path);
  }
});

test("a client's id comes back with each answer, and one that is none is replaced", async () => {
  const { app, g } = appWith();
  g.main.set("a", valueOf("A"));
  for (
    const path of ["/cache/g/a", "/cache/g/b", "/define/a", "/healthz", "/nothing", "/cache/none/a", "/cache/g/%zz"]
  ) {
    const { headers } = await get(app, path, { headers: { "x-request-id": "abc-1" } });
    assert.equal(headers.get("x-request-id"), "abc-1", path);
    const made = await get(app, path, { headers: { "x-request-id": "no id" } });
    assert.match(made.headers.get("x-request-id")!, /^[0-9A-Z]{26}$/, path);
  }
});

test("an answer that another request shares gets no id of this one", async () => {
  const { app, g } = appWith();
  g.main.set("a", valueOf("A"));
  const [first, , second] = await Promise.all([
    get(app, "/cache/g/a", { headers: { "x-request-id": "one" } }),
    get(app, "/cache/g/a"),
    get(app, "/cache/g/a", { headers: { "x-request-id": "two" } }),
  ]);
  assert.deepEqual([first, second].map(({ headers }) => headers.get("x-request-id")), ["one", "two"]);
  assert.equal((await get(app, "/cache/g/a")).headers.get("x-request-id"), null);
});

test("a load knows whose request it is for, by an id and by a trace", async () => {
  const { app, g } = appWith();
  const traces: (Trace | undefined)[] = [];
  g.load = (_key: string, waiter: Waiter<Loaded>) => {
    traces.push(waiter.trace);
    waiter.resolve({ value: valueOf("A"), source: "origin", stored: true });
  };
  await get(app, "/cache/g/a", { headers: { "x-request-id": "one", traceparent: PARENT, tracestate: "a=1" } });
  await get(app, "/cache/g/b", { headers: { traceparent: "no", tracestate: "a=1" } });
  await get(app, "/cache/g/c");
  await get(app, "/cache/g/c", { headers: { traceparent: PARENT, tracestate: "no" } });
  const keys = JSON.stringify({ keys: ["d", "e"] });
  await (await get(app, "/cache/g/_get", { method: "POST", body: keys, headers: { "x-request-id": "two" } })).text();
  assert.deepEqual({ ...traces[0] }, { requestId: "one", traceparent: PARENT, tracestate: "a=1", joined: undefined });
  assert.equal(traces[1], undefined);
  assert.equal(traces[2], undefined, "nobody has asked for one");
  assert.deepEqual(traces[3], new Trace(undefined, PARENT));
  assert.deepEqual(traces.slice(4).map((trace) => trace?.requestId), ["two", "two"]);
});

test("a fault of the node is logged under an id, which the client gets, be it the client's or a new one", async () => {
  const { app, g, log } = appWith();
  const told: unknown[] = [];
  log.error = (_message: string, fields?: Readonly<Record<string, unknown>>) => void told.push(fields?.requestId);
  g.onLoad = () => Promise.reject(new TypeError("broken"));
  const given = await get(app, "/cache/g/a", { headers: { "x-request-id": "abc-1" } });
  const made = await get(app, "/cache/g/a");
  assert.deepEqual([given.status, made.status], [500, 500]);
  assert.deepEqual(told, ["abc-1", made.headers.get("x-request-id")]);
  assert.match(String(told[1]), /^[0-9A-Z]{26}$/);
});

test("each answer has one line, with its status, its bytes, its source and its group", async () => {
  const { app, g, lines, last } = logged();
  g.main.set("a", valueOf("A".repeat(300)));
  g.hot.set("h", valueOf("hot"));
  g.onLoad = (key) =>
    key === "bad"
      ? Promise.reject(new OriginError("down"))
      : Promise.resolve({ value: valueOf("loaded"), source: "peer", stored: false });
  const cases: [path: string, init: RequestInit, told: Record<string, unknown>][] = [
    ["/cache/g/a", {}, { status: 200, bytes: 300, cache: "hit", group: "g" }],
    ["/cache/g/a", { method: "HEAD" }, { status: 200, bytes: 0, cache: "hit", method: "HEAD" }],
    ["/cache/g/h", {}, { status: 200, bytes: 3, cache: "hot" }],
    ["/cache/g/x", {}, { status: 200, bytes: 6, cache: "peer" }],
    ["/cache/g/bad", {}, { status: 502, cache: "origin-failed" }],
    ["/cache/none/a", {}, { status: 404, cache: "no-group", group: "none" }],
    ["/define/h?", {}, { status: 200, group: "dict", path: "/define/h?" }],
    ["/healthz", {}, { status: 200, group: undefined, cache: undefined }],
    ["/cache/g/a", { method: "PATCH" }, { status: 405, method: "PATCH" }],
  ];
  for (const [path, init, told] of cases) {
    const before = lines.length;
    const answer = await get(app, path, init);
    const body = await answer.arrayBuffer();
    assert.equal(lines.length, before + 1, path);
    const line = last();
    for (const [name, value] of Object.entries(told)) assert.equal(line[name], value, `${path}: ${name}`);
    if (init.method !== "HEAD") assert.equal(line.bytes, body.byteLength, path);
    assert.equal(line.requestId, answer.headers.get("x-request-id"));
    assert.equal(line.remote, "192.0.2.7");
    assert.ok(line.durationMs >= 0);
  }
});

test("a line names the client's trace", async () => {
  const { app, last } = logged();
  await get(app, "/healthz", { headers: { traceparent: PARENT } });
  assert.equal(last().traceId, "0af7651916cd43dd8448eb211c80319c");
});

test("an answer that is a stream has its line at the end, with the bytes that were sent; one that is left, too", async () => {
  const { app, g, lines, last } = logged();
  g.main.set("a", valueOf("A"));
  const batch = { method: "POST", body: JSON.stringify({ keys: ["a", "a"] }) };
  const whole = await get(app, "/cache/g/_get", batch);
  assert.equal(lines.length, 0, "the body has not ended");
  const { byteLength } = await whole.arrayBuffer();
  assert.deepEqual([lines.length, last().bytes, last().status], [1, byteLength, 200]);
  const left = await get(app, "/cache/g/_get", batch);
  await left.body!.cancel();
  assert.deepEqual([lines.length, last().bytes], [2, 0]);
});

test("over a real server the answers with a log are those without one, byte for byte", async (defer) => {
  const group = new MemoryGroup("g");
  for (const [key, size] of [["short", 10], ["chunk", 5_000], ["long", 300_000]] as const) {
    group.main.set(key, valueOf("x".repeat(size)));
  }
  const lines: string[] = [];
  const groups = new Map([["g", group]]);
  const isChunkedTextFaster = (globalThis as { Deno?: unknown }).Deno !== undefined;
  const plain = serve(appWith({ groups, isChunkedTextFaster }).app.fetch, defer);
  const accessLog = { format: "combined" as const, write: (line: string) => void lines.push(line) };
  const observed = serve(appWith({ groups, isChunkedTextFaster, accessLog }).app.fetch, defer);
  for (const method of ["GET", "HEAD"]) {
    for (
      const path of ["/cache/g/short", "/cache/g/chunk", "/cache/g/long", "/cache/g/miss", "/stats", "/", "/metrics"]
    ) {
      const [one, other] = await Promise.all([rawRequest(plain, path, method), rawRequest(observed, path, method)]);
      const names = (answer: typeof one) => [...answer.headers.keys()].filter((name) => name !== "x-request-id").sort();
      assert.deepEqual(names(other), names(one), `${method} ${path}`);
      assert.equal(other.headers.get("transfer-encoding"), one.headers.get("transfer-encoding"));
      if (path.startsWith("/cache/")) assert.equal(other.body, one.body);
    }
  }
  assert.equal(lines.length, 14);
  assert.match(lines[1]!, /"GET \/cache\/g\/chunk HTTP\/1.1" 200 5000 /);
  assert.match(lines[2]!, /"GET \/cache\/g\/long HTTP\/1.1" 200 300000 /);
});

test("what is no HTTP in a target, a method or a field makes no second line", async (defer) => {
  const { app, lines } = logged("combined");
  const port = serve(app.fetch, defer);
  const attacks = [
    'GET /cache/g/a"%0a127.0.0.1 HTTP/1.1\r\nHost: h.test\r\n',
    'GET /cache/g/a HTTP/1.1\r\nHost: h.test\r\nUser-Agent: x" 200 1 "\\\r\n',
    "GET /cache/g/a HTTP/1.1\r\nHost: h.test\r\nUser-Agent: \x1b[2J\xe9\r\n",
    'GET /cache/g/a HTTP/1.1\r\nHost: h.test\r\nReferer: "\tend\r\nX-Request-Id: a" b\r\n',
    "GET /cache/g/\xe2\x80\xa8 HTTP/1.1\r\nHost: h.test\r\n",
  ];
  for (const attack of attacks) {
    const socket = openSocket(port, defer);
    const closed = new Promise((done) => socket.on("close", done));
    socket.resume();
    socket.write(`${attack}Connection: close\r\n\r\n`, "latin1");
    await closed;
  }
  assert.ok(lines.length >= 3, "the servers refuse some of them themselves");
  for (const line of lines) {
    assert.match(line, /^192\.0\.2\.7 - - \[[^\]]+\] "[^"]*" \d{3} \d+ "[^"]*" "[^"]*"\n$/);
    assert.match(line, /^[\x20-\x7e]+\n$/);
  }
});
