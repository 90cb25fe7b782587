/** Muster-After, and the honesty of a node that may be behind. */
import assert from "node:assert/strict";
import type { Label } from "../../lib/core/invalidation/label.ts";
import { afterText, BadAfterError, readAfter } from "../../lib/http/after.ts";
import { test } from "../support/test.ts";
import { appWith, valueOf } from "./support.ts";

test("a place is read as it is written, or as a plain number, and nothing else is", () => {
  const label = { epoch: 1_764_398_000_123_456, sequence: 42 };
  assert.deepEqual(readAfter(afterText(label)), label);
  assert.deepEqual(readAfter(" 42 "), { epoch: undefined, sequence: 42 });
  assert.deepEqual(readAfter("0"), { epoch: undefined, sequence: 0 });
  for (const text of ["", "-1", "1-", "1-2-3", "0-5", "x", "1.5", "1e3", "9007199254740993", "42, 43", "7 - 8"]) {
    assert.throws(() => readAfter(text), BadAfterError, text);
  }
});

function get(made: ReturnType<typeof appWith>, path: string, after: string, method = "GET") {
  return made.app.request(`http://h${path}`, { method, headers: { "muster-after": after } });
}

test("a get after a place that the node has reached is as any other, without a wait", async () => {
  const made = appWith({ currentEpoch: () => 9 });
  made.dict.main.set("k", valueOf("kept"));
  const hit = made.app.fetch(new Request("http://h/define/k", { headers: { "muster-after": "7-42" } }));
  assert.ok(hit instanceof Response, "a hit makes no promise");
  assert.equal(hit.headers.get("cache-status"), "n1; hit");
  assert.equal(await (await get(made, "/cache/dict/other", "42")).text(), "other");
  assert.deepEqual(made.dict.calls, ["reach 7-42", "lookup k", "reach 9-42", "lookup other", "load other"]);
});

test("a get after a place that the node reaches in time waits for it, and then looks", async () => {
  const made = appWith();
  made.g.main.set("k", valueOf("old"));
  const gate = Promise.withResolvers<boolean>();
  made.g.onReach = () => gate.promise;
  const answer = get(made, "/cache/g/k", "7-42");
  await Promise.resolve();
  assert.deepEqual(made.g.calls, ["reach 7-42"]);
  made.g.main.set("k", valueOf("new"));
  gate.resolve(true);
  const response = await answer;
  assert.deepEqual([await response.text(), response.headers.get("cache-status")], ["new", "n1; hit"]);
});

test("where the node stays behind, the value comes from the origin for this request only, and the answer says so", async () => {
  const made = appWith();
  made.g.main.set("k", valueOf("old"));
  made.g.onReach = () => Promise.resolve(false);
  made.g.onLoad = () => Promise.resolve({ value: valueOf("new"), source: "origin", stored: false });
  for (const method of ["GET", "HEAD"]) {
    made.g.calls.length = 0;
    const response = await get(made, "/cache/g/k", "7-42", method);
    assert.equal(response.headers.get("cache-status"), "n1; fwd=miss; detail=behind");
    assert.equal(await response.text(), method === "GET" ? "new" : "");
    assert.deepEqual(made.g.calls, ["reach 7-42", "loadUnkept k"]);
  }
  made.g.onReach = () => Promise.reject(new Error("secret"));
  assert.equal((await get(made, "/cache/g/k", "7-42")).status, 500);
  assert.equal(made.log.lines.length, 1);
});

test("a malformed place is a 400 that asks no cache", async () => {
  const made = appWith();
  for (const path of ["/cache/g/k", "/define/k"]) {
    const response = await get(made, path, "soon");
    assert.equal(response.status, 400);
    assert.equal(response.headers.get("cache-status"), "n1; detail=bad-after");
    assert.match((await response.json()).detail, /Muster-After must be/);
  }
  assert.deepEqual([...made.g.calls, ...made.dict.calls], []);
  assert.equal((await get(made, "/_groupcache/g/k", "soon")).status, 200, "the groupcache wire has no such field");
});

test("a plain number at a node that has not seen the log is no reason to take what it has", async () => {
  let epoch = 0;
  const made = appWith({ currentEpoch: () => epoch });
  made.g.main.set("k", valueOf("old"));
  const reached = (label: Label) => made.g.calls.push(`asked ${label.sequence}`);
  made.g.onReach = (label) => {
    reached(label);
    return Promise.resolve(false);
  };
  assert.equal((await get(made, "/cache/g/k", "5")).headers.get("cache-status"), "n1; fwd=miss; detail=behind");
  // It sees the log while it waits.
  made.g.onReach = (label) => {
    if (label.epoch === 9) return true;
    epoch = 9;
    return Promise.resolve(false);
  };
  assert.equal((await get(made, "/cache/g/k", "5")).headers.get("cache-status"), "n1; hit");
  epoch = 0;
  made.g.calls.length = 0;
  assert.equal((await get(made, "/cache/g/k", "0")).headers.get("cache-status"), "n1; hit");
  assert.deepEqual(made.g.calls, ["lookup k"], "nothing comes before 0");
});

test("while the node cannot read the log, its hits say that it may be behind, and no longer", async () => {
  const { app, g } = appWith();
  g.main.set("plain", valueOf("v"));
  g.hot.set("hot", valueOf("v"));
  const now = Date.now();
  g.main.set("timed", { ...valueOf("v"), bornAtMs: now, freshUntilMs: now + 60_000 });
  const statusOf = async (key: string) => (await app.request(`http://h/cache/g/${key}`)).headers.get("cache-status")!;
  const all = async () => [await statusOf("plain"), await statusOf("hot"), (await statusOf("timed")).slice(0, -2)];
  const usual = ["n1; hit", "n1; hit; detail=hot", "n1; hit; ttl="];
  assert.deepEqual(await all(), usual);
  g.isBehind = true;
  assert.deepEqual(await all(), ["n1; hit; detail=behind", "n1; hit; detail=behind", "n1; hit; detail=behind; ttl="]);
  g.onLoad = (key) => Promise.resolve({ value: valueOf(key), source: "main", stored: true });
  assert.equal(await statusOf("another load had put it there"), "n1; hit; detail=behind");
  g.isBehind = false;
  assert.deepEqual(await all(), usual);
});

test("a request that joined the load of another one says collapsed", async () => {
  const { app, g } = appWith();
  const load = g.load.bind(g);
  g.load = (key, waiter) => {
    waiter.isCollapsed = key === "joined";
    load(key, waiter);
  };
  const statusOf = async (key: string) => (await app.request(`http://h/cache/g/${key}`)).headers.get("cache-status");
  assert.equal(await statusOf("joined"), "n1; fwd=miss; stored; collapsed; detail=origin");
  assert.equal(await statusOf("first"), "n1; fwd=miss; stored; detail=origin");
});
