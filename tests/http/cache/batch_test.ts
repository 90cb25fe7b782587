/** Many keys in one request, from the app's side: each key as by itself, and within bounds. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { CancelSignal } from "../../../lib/core/base/cancel.ts";
import { NotFoundError, OriginError, OriginTimeoutError, OverloadedError } from "../../../lib/core/errors.ts";
import type { Loaded } from "../../../lib/core/group/loaded.ts";
import { NOTHING_HERE } from "../../../lib/core/value.ts";
import { encodeKeyPath } from "../../../lib/http/key.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { siteBehindNode } from "../site_support.ts";
import { appWith, plainValue, valueOf } from "../support.ts";

interface Line {
  readonly key: string;
  readonly status: number;
  readonly cacheStatus: string;
  readonly contentType?: string;
  readonly body?: string;
  readonly base64?: string;
  readonly detail?: string;
}

type App = ReturnType<typeof appWith>["app"];

const URL_OF_G = "http://h/cache/g/_get";
const manyKeys = (count: number) => Array.from({ length: count }, (_, i) => `key ${i}`);
const bodyOf = (keys: readonly unknown[]) => JSON.stringify({ keys });

async function post(app: App, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) {
  return await app.request(URL_OF_G, { method: "POST", body, headers });
}

async function linesOf(response: Response): Promise<Line[]> {
  assert.equal(response.status, 200);
  const text = await response.text();
  assert.ok(text === "" || text.endsWith("\n"));
  return text.split("\n").slice(0, -1).map((line) => JSON.parse(line) as Line);
}

/** An answer that is read piece by piece. */
async function readerOf(app: App, keys: readonly string[], signal?: AbortSignal) {
  const response = await app.request(URL_OF_G, { method: "POST", body: bodyOf(keys), ...(signal && { signal }) });
  return response.body!.getReader();
}

test("each key of a batch gets the status, the words and the body that it gets by itself", async () => {
  const clock = new ManualClock();
  const { app, g, log } = appWith({ clock });
  const fail: Record<string, Error> = {
    "not found": new NotFoundError("none"),
    failed: new OriginError("secret"),
    late: new OriginTimeoutError("secret"),
    busy: new OverloadedError("secret"),
    fault: new Error("secret"),
  };
  const nowMs = clock.nowMs();
  g.main.set("hit", valueOf("a disk"));
  g.main.set("ends", { ...valueOf("x"), bornAtMs: nowMs, freshUntilMs: nowMs + 3_600_500 });
  g.main.set("nothing", { ...valueOf(""), about: NOTHING_HERE });
  g.main.set("no type", plainValue(new Uint8Array(0), ""));
  g.hot.set("a/b?c", valueOf("{}", "application/json"));
  g.onLoad = (key) => {
    const loaded: Loaded = { value: valueOf(`${key} ü`), source: key === "of peer" ? "peer" : "origin", stored: true };
    return key in fail ? Promise.reject(fail[key]) : Promise.resolve(loaded);
  };
  const keys = [...g.main.keys(), ...g.hot.keys(), ...Object.keys(fail), "loaded", "of peer", "k".repeat(1_025)];
  const lines = await linesOf(await post(app, bodyOf(keys)));
  assert.deepEqual(lines.map(({ key }) => key).sort(), [...keys].sort());
  for (const { key, status, cacheStatus, contentType, body, detail } of lines) {
    const alone = await app.request(`http://h/cache/g/${encodeURIComponent(key)}`);
    const text = await alone.text();
    assert.deepEqual([status, cacheStatus], [alone.status, alone.headers.get("cache-status")], key);
    if (status === 200) assert.deepEqual([body, contentType], [text, alone.headers.get("content-type")], key);
    else assert.deepEqual([body, detail], [undefined, JSON.parse(text).detail], key);
    assert.ok(!JSON.stringify(detail ?? "").includes("secret"));
  }
  const seen = Object.fromEntries(lines.map(({ key, status }) => [key, status]));
  assert.deepEqual(
    ["hit", "nothing", "not found", "failed", "late", "busy", "fault", "k".repeat(1_025)].map((key) => seen[key]),
    [200, 404, 404, 502, 504, 503, 500, 400],
  );
  assert.equal(log.lines.filter((line) => line.startsWith("error ")).length, 2, "once in the batch, once alone");
});

test("a batch says what it is, is answered line by line as values come, and may name a key twice", async () => {
  const { app, g } = appWith();
  const gates = new Map<string, () => void>();
  g.main.set("hit", valueOf("h"));
  g.onLoad = (key) =>
    new Promise((resolve) =>
      gates.set(key, () => resolve({ value: valueOf(key), source: "origin" as const, stored: true }))
    );
  const response = await post(app, bodyOf(["slow", "fast", "hit", "", "hit"]));
  const { headers } = response;
  assert.equal(headers.get("content-type"), "application/x-ndjson");
  assert.equal(headers.get("cache-control"), "no-store");
  const reader = response.body!.getReader();
  const next = async () => new TextDecoder().decode((await reader.read()).value).match(/"key":"[^"]*"/g);
  assert.deepEqual(await next(), ['"key":"hit"', '"key":""', '"key":"hit"']);
  gates.get("fast")!();
  assert.deepEqual(await next(), ['"key":"fast"']);
  gates.get("slow")!();
  assert.deepEqual(await next(), ['"key":"slow"']);
  assert.equal((await reader.read()).done, true);
  assert.deepEqual(await linesOf(await post(app, bodyOf([]))), []);
});

test("a body that is UTF-8 comes as text, any other as base64, and both byte for byte", async () => {
  const { app, g } = appWith();
  const bodies: Record<string, Uint8Array<ArrayBuffer>> = {
    text: new TextEncoder().encode('caf\u00e9 \ud83d\ude42 "\n\u2028\u0000'),
    bom: Uint8Array.of(0xef, 0xbb, 0xbf, 0x61),
    empty: new Uint8Array(0),
    broken: Uint8Array.of(0xff, 0x61, 0xc3),
    "part of a frame": Uint8Array.of(0x61, 0xff, 0xfe, 0x61).subarray(1, 3),
    long: new Uint8Array(3_000_000).map((_, i) => i * 31 + (i >> 13)),
  };
  for (const [key, body] of Object.entries(bodies)) g.main.set(key, plainValue(body, "x/y"));
  const lines = await linesOf(await post(app, bodyOf(Object.keys(bodies))));
  assert.equal(lines.length, 6);
  for (const { key, body, base64 } of lines) {
    const isText = ["text", "bom", "empty"].includes(key);
    assert.deepEqual([body === undefined, base64 === undefined], [!isText, isText], key);
    const bytes = isText ? Buffer.from(body!) : Buffer.from(base64!, "base64");
    assert.ok(bytes.equals(bodies[key]!), key);
  }
});

test("what is no batch is refused whole, before any get", async () => {
  const { app, g } = appWith();
  const refused: [string | Uint8Array<ArrayBuffer>, number][] = [
    ["", 400],
    ["{", 400],
    ['["a"]', 400],
    ["null", 400],
    ["{}", 400],
    ['{"keys":"a"}', 400],
    ['{"keys":["a",1]}', 400],
    ['{"keys":["a"],"soft":true}', 400],
    [Uint8Array.of(...new TextEncoder().encode('{"keys":["'), 0xff, ...new TextEncoder().encode('"]}')), 400],
    [bodyOf(manyKeys(1_001)), 413],
    [" ".repeat(1024 * 1024 + 1), 413],
  ];
  for (const [body, status] of refused) {
    const response = await post(app, body);
    assert.equal(response.status, status, String(body).slice(0, 40));
    assert.equal(response.headers.get("content-type"), "application/problem+json");
  }
  const query = await app.request(`${URL_OF_G}?x=1`, { method: "POST", body: bodyOf(["a"]) });
  assert.equal(query.status, 400);
  const none = await app.request("http://h/cache/none/_get", { method: "POST", body: bodyOf(["a"]) });
  assert.deepEqual([none.status, none.headers.get("cache-status")], [404, "n1; detail=no-group"]);
  assert.equal((await app.request("http://h/cache/g/other", { method: "POST", body: bodyOf(["a"]) })).status, 405);
  assert.equal((await app.request("http://h/define/_get", { method: "POST", body: bodyOf(["a"]) })).status, 405);
  assert.deepEqual(g.calls, []);
  const longest = Array.from({ length: 1_000 }, (_, i) => String(i).padStart(1_024, "k"));
  assert.equal((await linesOf(await post(app, bodyOf(longest)))).length, 1_000);
});

test("a key of the name _get is a key like any other", async () => {
  const { app, g } = appWith();
  assert.equal(await (await app.request(URL_OF_G)).text(), "_get");
  assert.equal((await app.request(URL_OF_G, { method: "HEAD" })).status, 200);
  assert.deepEqual((await linesOf(await post(app, bodyOf(["_get"])))).map(({ body }) => body), ["_get"]);
  assert.equal(encodeKeyPath("_get"), "_get");
  assert.deepEqual(g.loadedKeys, ["_get", "_get", "_get"]);
});

test("Muster-After counts for all keys and is asked about once; a node that stays behind asks the origin", async () => {
  const { app, g } = appWith();
  g.main.set("a", valueOf("old"));
  const reached = await linesOf(await post(app, bodyOf(["a", "b"]), { "muster-after": "7-42" }));
  assert.deepEqual(reached.map(({ body }) => body), ["old", "b"]);
  assert.deepEqual(g.calls, ["reach 7-42", "lookup a", "lookup b", "load b"]);
  g.calls.length = 0;
  g.onReach = () => Promise.resolve(false);
  const lines = await linesOf(await post(app, bodyOf(["a", "b"]), { "muster-after": "7-43" }));
  const behind = "n1; fwd=miss; detail=behind";
  assert.deepEqual(lines.map(({ body, cacheStatus }) => [body, cacheStatus]), [["a", behind], ["b", behind]]);
  assert.deepEqual(g.calls, ["reach 7-43", "loadUnkept a", "loadUnkept b"]);
  const bad = await post(app, bodyOf(["a"]), { "muster-after": "x" });
  assert.deepEqual([bad.status, bad.headers.get("cache-status")], [400, "n1; detail=bad-after"]);
});

test("no more gets are in flight than the bound, and the next begin together", async () => {
  const { app, g } = appWith();
  const waiting: (() => void)[] = [];
  g.onLoad = (key) =>
    new Promise((resolve) =>
      waiting.push(() => resolve({ value: valueOf(key), source: "origin" as const, stored: true }))
    );
  const reader = await readerOf(app, manyKeys(1_000));
  assert.equal(g.loadedKeys.length, 0, "nobody has read yet");
  const begun: number[] = [];
  let lines = 0;
  for (let read = reader.read(); lines < 1_000; read = reader.read()) {
    await settle();
    if (begun.at(-1) !== g.loadedKeys.length) begun.push(g.loadedKeys.length);
    assert.ok(waiting.length <= 256, `${waiting.length} in flight`);
    for (const arrive of waiting.splice(0, 1)) arrive();
    lines += new TextDecoder().decode((await read).value).split("\n").length - 1;
  }
  assert.deepEqual(begun, [256, 384, 512, 640, 768, 896, 1_000]);
  assert.equal((await reader.read()).done, true);
});

test("while a client reads nothing, values wait within a bound", async () => {
  const { app, g } = appWith();
  const value = plainValue(new Uint8Array(256 * 1024).fill(0x61), "x/y");
  const keys = manyKeys(1_000);
  for (const key of keys) g.main.set(key, value);
  const reader = await readerOf(app, keys);
  await reader.read();
  await settle();
  // 17 are more than 4 MiB; one of them is on its way to the client.
  assert.equal(g.calls.length, 18);
  let bytes = 0;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    assert.ok(read.value.byteLength <= 64 * 1024);
    bytes += read.value.byteLength;
  }
  assert.ok(bytes > 1_000 * 256 * 1024 - 64 * 1024);
  assert.equal(g.calls.length, 1_000);
});

test("when the client goes, the gets in flight end and no other begins", async () => {
  for (const how of ["stream", "request"] as const) {
    const { app, g } = appWith();
    const signals: CancelSignal[] = [];
    g.onLoad = (_, signal) =>
      new Promise((_, reject) => {
        signals.push(signal);
        signal.addEventListener("abort", () => reject(signal.reason));
      });
    const client = new AbortController();
    const reader = await readerOf(app, manyKeys(1_000), client.signal);
    const read = reader.read();
    await settle();
    assert.equal(signals.length, 256);
    if (how === "stream") {
      await reader.cancel();
      assert.equal((await read).done, true);
    } else {
      client.abort();
      await assert.rejects(read, /went away/);
    }
    await settle();
    assert.ok(signals.every(({ aborted }) => aborted), how);
    assert.equal(g.loadedKeys.length, 256, how);
  }
});

test("a client that takes nothing for 30 s is given up, and one that takes its time is not", async () => {
  const clock = new ManualClock();
  const { app, g } = appWith({ clock });
  const value = plainValue(new Uint8Array(40_000).fill(0x61), "x/y");
  const keys = manyKeys(12);
  for (const key of keys) g.main.set(key, value);
  const slow = await readerOf(app, keys);
  for (let read = await slow.read(); !read.done; read = await slow.read()) await clock.advance(29_000);
  assert.equal(clock.pending, 0);
  const stalled = await readerOf(app, keys);
  await stalled.read();
  await clock.advance(30_000);
  await assert.rejects(stalled.read(), /taken nothing/);
  assert.equal(clock.pending, 0);
});

test("a group that is removed meanwhile answers the rest of a batch as it would a get", async () => {
  const { app, g, groups } = appWith();
  const value = plainValue(new Uint8Array(64 * 1024), "x/y");
  const keys = manyKeys(300);
  for (const key of keys) g.main.set(key, value);
  const response = await post(app, bodyOf(keys));
  const reader = response.body!.getReader();
  let text = new TextDecoder().decode((await reader.read()).value);
  groups.delete("g");
  const decoder = new TextDecoder();
  for (let read = await reader.read(); !read.done; read = await reader.read()) text += decoder.decode(read.value);
  const lines = text.split("\n").slice(0, -1).map((line) => JSON.parse(line) as Line);
  const gone = lines.filter(({ status }) => status === 404);
  assert.equal(lines.length, 300);
  assert.ok(gone.length > 200);
  assert.equal(gone[0]!.cacheStatus, "n1; detail=no-group");
  assert.equal(gone[0]!.detail, "this node serves no group called g");
});

test("a site takes POST to /_get itself", async (defer) => {
  const site = await siteBehindNode(defer, (request, response) => {
    response.end(`${request.method} ${request.url}`);
  });
  const response = await fetch(`${site.url}/cache/site/_get`, { method: "POST", body: bodyOf(["a"]) });
  assert.equal(await response.text(), "POST /base/_get");
  assert.equal(site.asked[0]!.body, bodyOf(["a"]));
});
