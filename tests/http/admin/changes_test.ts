/** PURGE, PUT, DELETE and the invalidations of operators, through the app. */
import assert from "node:assert/strict";
import { OverloadedError, PeerError, UnavailableError } from "../../../lib/core/errors.ts";
import { invalidationOf, MAX_MESSAGE_BYTES } from "../../../lib/core/invalidation/message.ts";
import type { AppOptions } from "../../../lib/http/app.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { appWith, MemoryGroup } from "../support.ts";

function writableApp(options: Partial<Omit<AppOptions, "groups">> = {}) {
  const made = appWith({ isLoopbackOnly: true, ...options });
  made.g.isWritable = true;
  const send = async (method: string, path: string, init: RequestInit = {}) => {
    const response = await made.app.request(`http://localhost${path}`, { method, ...init });
    assert.equal(response.headers.get("cache-control"), "no-store");
    // deno-lint-ignore no-explicit-any
    const json: any = await response.json();
    return { status: response.status, headers: response.headers, json, detail: json.detail };
  };
  return { ...made, send };
}

const change = {
  sequence: 42,
  epoch: 7,
  after: "7-42",
  applied: ["n1"],
  behind: [],
  durableMs: 1,
  appliedMs: 2,
};

test("PURGE invalidates one key, hard or soft, with or without a wait, and answers with its place in the log", async () => {
  const { send, dict, g } = writableApp();
  const { status, json, headers } = await send("PURGE", "/cache/dict/a%20b");
  assert.deepEqual([status, json, headers.get("content-type")], [200, change, "application/json"]);
  await send("PURGE", "/cache/dict/k?soft");
  await send("PURGE", "/cache/dict/k?wait&soft=true");
  assert.deepEqual(dict.invalidated, [
    { message: invalidationOf({ keys: ["a b"] }), waitMs: 0 },
    { message: invalidationOf({ keys: ["k"], soft: true }), waitMs: 0 },
    { message: invalidationOf({ keys: ["k"], soft: true }), waitMs: 5_000 },
  ]);
  assert.deepEqual([dict.calls, g.invalidated], [[], []]);
});

test("a wait that some node did not meet still succeeds, and names the node", async () => {
  const { send, dict } = writableApp();
  const told = { label: { epoch: 1_764_398_000_123_456, sequence: 1 }, applied: ["n1"], behind: ["n2"] };
  dict.onChange = () => Promise.resolve({ ...told, durableMs: 1, appliedMs: 5_000 });
  const { status, json } = await send("PURGE", "/cache/dict/k?wait");
  assert.deepEqual([status, json.behind, json.after], [200, ["n2"], "1764398000123456-1"]);
});

test("a PURGE that cannot be meant is refused, and invalidates nothing", async () => {
  const { send, dict } = writableApp();
  const cases: [path: string, status: number, detail: RegExp][] = [
    ["/cache/dict/k?x=1", 400, /may hold soft and wait only/],
    ["/cache/dict/k?soft=2", 400, /may hold/],
    ["/cache/dict/", 400, /empty key/],
    ["/cache/dict/%zz", 400, /percent escapes/],
    ["/cache/nosuch/k", 404, /no group called nosuch/],
    ["/define/k", 405, /not allowed/],
    ["/_groupcache/dict/k", 405, /not allowed/],
    ["/stats", 405, /not allowed/],
  ];
  for (const [path, status, detail] of cases) {
    const answer = await send("PURGE", path);
    assert.equal(answer.status, status, path);
    assert.match(answer.detail, detail, path);
  }
  assert.deepEqual(dict.invalidated, []);
});

test("an operator's message goes to the group as it is", async () => {
  const { send, dict } = writableApp();
  const post = (body: string, query = "") => send("POST", `/_admin/groups/dict/invalidate${query}`, { body });
  assert.deepEqual((await post('{"tags":["a"],"soft":true}')).json, change);
  await post('{"all":true}', "?wait");
  assert.deepEqual(dict.invalidated, [
    { message: invalidationOf({ tags: ["a"], soft: true }), waitMs: 0 },
    { message: invalidationOf({ all: true }), waitMs: 5_000 },
  ]);
});

test("a message that cannot be used is a 400 with its fault, or a 413", async () => {
  const { send, dict } = writableApp();
  const path = "/_admin/groups/dict/invalidate";
  const cases: [path: string, body: string, status: number, detail: RegExp][] = [
    [path, "", 400, /the message cannot be used: it is not JSON/],
    [path, "{}", 400, /covers nothing/],
    [path, '{"key":["a"]}', 400, /has a field "key"/],
    [`${path}?soft`, '{"all":true}', 400, /may hold wait only/],
    [path, `{"all":true}${" ".repeat(MAX_MESSAGE_BYTES)}`, 413, /at most 262144 bytes/],
    ["/_admin/groups/nosuch/invalidate", '{"all":true}', 404, /no group called nosuch: it serves .*dict/],
    ["/_admin/groups/dict/nosuch", '{"all":true}', 404, /nothing under this path/],
    ["/_admin", "{}", 404, /nothing under this path/],
  ];
  for (const [at, body, status, detail] of cases) {
    const answer = await send("POST", at, { body });
    assert.equal(answer.status, status, `${at} ${body.slice(0, 20)}`);
    assert.match(answer.detail, detail);
  }
  const get = await send("GET", path);
  assert.deepEqual([get.status, get.headers.get("allow")], [405, "POST"]);
  assert.deepEqual(dict.invalidated, []);
});

test("PUT writes a value with its type, and DELETE invalidates it", async () => {
  const { send, g } = writableApp();
  const bytes = Uint8Array.of(0, 255, 10);
  const put = await send("PUT", "/cache/g/a%2Fb", { body: bytes, headers: { "content-type": "image/png" } });
  assert.deepEqual([put.status, put.json], [200, change]);
  await send("PUT", "/cache/g/k?wait", { body: new Uint8Array(0) });
  assert.deepEqual(g.written, [
    { key: "a/b", body: bytes, contentType: "image/png", waitMs: 0 },
    { key: "k", body: new Uint8Array(0), contentType: "application/octet-stream", waitMs: 5_000 },
  ]);
  assert.deepEqual((await send("DELETE", "/cache/g/k?wait")).json, change);
  assert.deepEqual(g.invalidated, [{ message: invalidationOf({ keys: ["k"] }), waitMs: 5_000 }]);
});

test("PUT takes a lifetime in seconds, and DELETE of a colon behind a slash all keys under it", async () => {
  const { send, g } = writableApp();
  for (const ttl of ["60", "0.25"]) await send("PUT", "/cache/g/k", { body: "v", headers: { "x-ttl": ttl } });
  assert.deepEqual(g.written.map(({ ttlMs }) => ttlMs), [60_000, 250]);
  for (const key of ["a/b/:", ":", "a/%3A", "a:", "%3A"]) await send("DELETE", `/cache/g/${key}`);
  assert.deepEqual(
    g.invalidated.map(({ message }) => message),
    [{ prefixes: ["a/b/"] }, { all: true }, { keys: ["a/:"] }, { keys: ["a:"] }, { keys: [":"] }].map(invalidationOf),
  );
});

test("a write is refused where the group takes none, and where the value could not be given back as it came", async () => {
  const { send, dict, g } = writableApp();
  for (const method of ["PUT", "DELETE", "POST", "PATCH", "OPTIONS"]) {
    const refused = await send(method, "/cache/dict/k");
    assert.deepEqual([refused.status, refused.headers.get("allow")], [405, "GET, HEAD, PURGE"], method);
  }
  const post = await send("POST", "/cache/g/k");
  assert.deepEqual([post.status, post.headers.get("allow")], [405, "GET, HEAD, PUT, DELETE, PURGE"]);
  const cases: [headers: Record<string, string>, path: string, status: number, detail: RegExp][] = [
    [{ "content-encoding": "gzip" }, "k", 415, /without gzip/],
    ...["0", "-1", "soon", "1e3", ""].map((ttl) => [{ "x-ttl": ttl }, "k", 400, /x-ttl must be/] as typeof cases[0]),
    [{ "content-range": "bytes 0-1/2" }, "k", 400, /whole/],
    [{ "content-type": `x/${"y".repeat(1_024)}` }, "k", 400, /Content-Type/],
    [{ "if-none-match": "*" }, "k", 400, /if-none-match has no effect/],
    [{}, "k?soft", 400, /may hold wait only/],
    [{}, "", 400, /empty key/],
  ];
  for (const [headers, key, status, detail] of cases) {
    const answer = await send("PUT", `/cache/g/${key}`, { body: "v", headers });
    assert.equal(answer.status, status, JSON.stringify(headers));
    assert.match(answer.detail, detail);
  }
  assert.equal((await send("DELETE", "/cache/g/k", { headers: { "if-match": '"1"' } })).status, 400);
  assert.deepEqual([dict.invalidated, g.invalidated, g.written], [[], [], []]);
});

test("a body over the longest value is a 413, whether its length is told or not", async () => {
  const { send, g } = writableApp();
  const streamed = (bytes: number) =>
    new ReadableStream({
      start(controller) {
        for (let left = bytes; left > 0; left -= 100) controller.enqueue(new Uint8Array(Math.min(left, 100)));
        controller.close();
      },
    });
  const put = (body: BodyInit, headers = {}) =>
    send("PUT", "/cache/g/k", { body, headers, duplex: "half" } as RequestInit);
  const answer = await put("v", { "content-length": "1001" });
  assert.deepEqual([answer.status, answer.detail], [413, "the body must have at most 1000 bytes"]);
  assert.equal((await put(streamed(1_001))).status, 413);
  assert.equal(g.written.length, 0);
  assert.equal((await put(streamed(1_000))).status, 200);
  assert.equal(g.written[0]!.body.byteLength, 1_000);
});

test("a body that does not come in time is a 408, and one that breaks off a 400; nothing is written", async () => {
  const clock = new ManualClock();
  const { send, g } = writableApp({ clock });
  let isCancelled = false;
  const open = new ReadableStream<Uint8Array>({
    start: (controller) => controller.enqueue(new Uint8Array(3)),
    cancel: () => void (isCancelled = true),
  });
  const slow = send("PUT", "/cache/g/k", { body: open, duplex: "half" } as RequestInit);
  await clock.advance(29_999);
  await clock.advance(1);
  assert.equal((await slow).status, 408);
  assert.ok(isCancelled);
  const broken = new ReadableStream({ pull: (controller) => controller.error(new Error("gone")) });
  assert.equal((await send("PUT", "/cache/g/k", { body: broken, duplex: "half" } as RequestInit)).status, 400);
  assert.deepEqual([g.written, clock.pending], [[], 0]);
});

test("a change that failed says what a client may count on", async () => {
  const { send, g, log } = writableApp();
  const cases: [error: Error, method: string, status: number, detail: RegExp][] = [
    [new UnavailableError("secret", { isAmbiguous: false }), "PURGE", 503, /^NATS cannot be reached: nothing was inv/],
    [new UnavailableError("secret"), "PURGE", 503, /^NATS has not answered: it may have been invalidated/],
    [new UnavailableError("secret", { isAmbiguous: false }), "PUT", 503, /nothing was invalidated/],
    [new OverloadedError("secret"), "PUT", 503, /no node has room for it: the old value is gone/],
    [new PeerError("secret"), "PUT", 503, /owner of the key cannot be reached: the old value is gone/],
    [new RangeError("secret"), "DELETE", 500, /something went wrong/],
  ];
  for (const [error, method, status, detail] of cases) {
    g.onChange = () => Promise.reject(error);
    const answer = await send(method, "/cache/g/k", method === "PUT" ? { body: "v" } : {});
    assert.equal(answer.status, status, error.message);
    assert.match(answer.detail, detail);
    assert.doesNotMatch(JSON.stringify(answer.json), /secret/);
    assert.equal(answer.headers.get("retry-after"), status === 503 ? "1" : null);
  }
  assert.deepEqual(log.lines, ["error cannot change g: RangeError: secret"]);
});

test("changes are refused on a node that other machines reach, and for requests that may come from elsewhere", async () => {
  const paths: [method: string, path: string][] = [
    ["PURGE", "/cache/g/k"],
    ["PUT", "/cache/g/k"],
    ["DELETE", "/cache/g/k"],
    ["POST", "/_admin/groups/g/invalidate"],
    ["POST", "/_admin/nosuch"],
  ];
  const open = writableApp({ isLoopbackOnly: false });
  const silent = appWith();
  silent.g.isWritable = true;
  const local = writableApp();
  for (const [method, path] of paths) {
    const body = method === "POST" ? '{"all":true}' : undefined;
    const refused = await open.send(method, path, { body });
    assert.deepEqual([refused.status, refused.json.title], [403, "Forbidden"], `${method} ${path}`);
    assert.match(refused.detail, /listens on a loopback address/);
    assert.equal((await silent.app.request(`http://localhost${path}`, { method, body })).status, 403);
    for (const header of [["origin", "http://evil.test"], ["via", "1.1 x"], ["host", "evil.test"]] as const) {
      assert.equal((await local.send(method, path, { body, headers: [[...header]] })).status, 403, header[0]);
    }
    // Reads are for anybody.
    assert.equal((await open.app.request("http://evil.test/cache/g/k", { headers: { via: "1.1 x" } })).status, 200);
  }
  for (const { g } of [open, silent, local]) assert.deepEqual([g.invalidated, g.written], [[], []]);
});

test("a group that is removed takes no changes from that moment", async () => {
  const late = new MemoryGroup("late");
  const groups = new Map([["late", late]]);
  const { app } = appWith({ groups, isLoopbackOnly: true });
  const purge = async () => (await app.request("http://localhost/cache/late/k", { method: "PURGE" })).status;
  assert.equal(await purge(), 200);
  groups.delete("late");
  assert.equal(await purge(), 404);
});
