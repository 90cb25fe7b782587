import assert from "node:assert/strict";
import { BadKeyError, NotFoundError, OriginError, OriginTimeoutError, OverloadedError } from "../../lib/core/errors.ts";
import type { Loaded } from "../../lib/core/group/loaded.ts";
import type { CancelSignal } from "../../lib/core/base/cancel.ts";
import { ManualClock } from "../support/clock.ts";
import { test } from "../support/test.ts";
import { appWith, LINK, MemoryGroup, plainValue, valueOf } from "./support.ts";

test("a hit is answered without a promise, and without asking the request for its signal", () => {
  const { app, dict, g } = appWith();
  dict.main.set("piston", valueOf("a disk"));
  g.hot.set("a/b c", valueOf("{}", "application/json"));
  const request = (url: string) =>
    ({
      url,
      method: "GET",
      headers: new Headers(),
      get signal() {
        throw new Error("a hit has nothing to cancel");
      },
    }) as unknown as Request;

  const main = app.fetch(request("http://h/define/piston"));
  assert.ok(main instanceof Response);
  assert.equal(main.status, 200);
  assert.equal(main.headers.get("cache-status"), "n1; hit");
  assert.equal(main.headers.get("content-type"), "text/plain; charset=utf-8");
  assert.equal(main.headers.get("x-content-type-options"), "nosniff");

  const hot = app.fetch(request("http://h/cache/g/a/b%20c"));
  assert.ok(hot instanceof Response);
  assert.equal(hot.headers.get("cache-status"), "n1; hit; detail=hot");
  assert.equal(hot.headers.get("content-type"), "application/json");
  assert.deepEqual([...dict.calls, ...g.calls], ["lookup piston", "lookup a/b c"]);
});

test("with strings as bodies, every body still arrives byte for byte", async () => {
  const { app, g } = appWith({ isChunkedTextFaster: true });
  const bodies = {
    ascii: new TextEncoder().encode("plain\u0000\u007f"),
    utf8: new TextEncoder().encode("caf\u00e9 \ud83d\ude42"),
    bom: Uint8Array.of(0xef, 0xbb, 0xbf, 0x61),
    broken: Uint8Array.of(0xff, 0x61, 0xc3),
    empty: new Uint8Array(0),
    chunk: new Uint8Array(1_000).fill(0x61),
    long: new Uint8Array(20_000).fill(0x61),
  };
  for (const [key, body] of Object.entries(bodies)) {
    g.main.set(key, plainValue(body, "x/y"));
    for (let i = 0; i < 2; i++) {
      const response = await app.fetch(new Request(`http://h/cache/g/${key}`));
      assert.deepEqual(new Uint8Array(await response.arrayBuffer()), body, key);
      assert.equal(response.headers.get("content-type"), "x/y");
    }
  }
});

test("a miss is loaded once, after one lookup, and says where the value came from", async () => {
  const { app, g } = appWith();
  const cases: [Omit<Loaded, "value">, string][] = [
    [{ source: "origin", stored: true }, "n1; fwd=miss; stored; detail=origin"],
    [{ source: "origin", stored: false }, "n1; fwd=miss; detail=origin"],
    [{ source: "peer", stored: false }, "n1; fwd=miss; detail=peer"],
    [{ source: "peer", stored: true }, "n1; fwd=miss; stored; detail=peer"],
    [{ source: "main", stored: true }, "n1; hit"],
    [{ source: "hot", stored: true }, "n1; hit; detail=hot"],
  ];
  for (const [loaded, cacheStatus] of cases) {
    g.calls.length = 0;
    g.onLoad = (key) => Promise.resolve({ value: valueOf(key, "image/png"), ...loaded });
    const response = await app.request("http://h/cache/g/k");
    assert.equal(response.headers.get("cache-status"), cacheStatus);
    assert.equal(response.headers.get("content-type"), "image/png");
    assert.equal(await response.text(), "k");
    assert.deepEqual(g.calls, ["lookup k", "load k"]);
  }
});

test("each error of a load has its status, as a problem that tells no secrets", async () => {
  const { app, dict, log } = appWith();
  const cases: [Error, number, string, string][] = [
    [new NotFoundError("secret"), 404, "no such word in dict", "not-found"],
    [new BadKeyError("the origin takes no quotes"), 400, "the origin takes no quotes", "bad-key"],
    [new OriginError("secret"), 502, "the origin of dict failed", "origin-failed"],
    [new OriginTimeoutError("secret"), 504, "the origin of dict took too long", "origin-timeout"],
    [new OverloadedError("secret"), 503, "too many requests are waiting: try again later", "overloaded"],
    [new TypeError("secret"), 500, "something went wrong inside this node", "internal"],
    ["secret" as unknown as Error, 500, "something went wrong inside this node", "internal"],
  ];
  for (const [error, status, detail, code] of cases) {
    dict.onLoad = () => Promise.reject(error);
    for (const path of ["/define/piston", "/cache/dict/piston", "/_groupcache/dict/piston"]) {
      const response = await app.request(`http://h${path}`);
      const text = await response.text();
      const { title, ...rest } = JSON.parse(text);
      const expected = path.startsWith("/define/") ? detail : detail.replace("word", "key");
      assert.deepEqual(rest, { type: "about:blank", status, detail: expected });
      assert.ok(title.length > 0);
      assert.equal(response.status, status);
      assert.equal(response.headers.get("content-type"), "application/problem+json");
      assert.equal(response.headers.get("cache-status"), `n1; fwd=miss; detail=${code}`);
      assert.equal(response.headers.get("retry-after"), status === 503 ? "1" : null);
      assert.doesNotMatch(text, /secret|\.ts/);
    }
  }
  assert.deepEqual(
    [...new Set(log.lines)],
    ["error cannot answer from dict: TypeError: secret", "error cannot answer from dict: secret"],
    "only the unexpected errors are logged",
  );
});

for (const method of ["lookup", "load"] as const) {
  test(`a cache that throws in ${method} is a logged 500 that names this node`, async () => {
    const { app, g, log } = appWith();
    g[method] = () => {
      throw new RangeError("secret");
    };
    const response = await app.request("http://h/cache/g/k");
    assert.equal(response.status, 500);
    assert.match(response.headers.get("cache-status") ?? "", /^n1; /);
    assert.doesNotMatch(await response.text(), /secret/);
    assert.deepEqual(log.lines, ["error cannot answer from g: RangeError: secret"]);
  });
}

test("a server is given a promise of a miss, and HEAD has the status and headers of GET", async () => {
  const { app, g } = appWith();
  g.onLoad = (key) => Promise.resolve({ value: valueOf(key, "image/png"), source: "origin", stored: true });
  const [get, head] = ["GET", "HEAD"].map((method) => app.fetch(new Request("http://h/cache/g/k", { method })));
  assert.ok(get instanceof Promise && head instanceof Promise, "neither runtime's server takes another thenable");
  const [whole, bare] = [await get, await head];
  assert.deepEqual([await whole.text(), await bare.text()], ["k", ""]);
  assert.equal(bare.headers.get("content-length"), "1");
  for (const name of ["cache-status", "content-type"]) assert.equal(bare.headers.get(name), whole.headers.get(name));
});

test("an unknown group is another 404 than an unknown word, and a bad key is a 400 that asks no cache", async () => {
  const { app, g } = appWith();
  const unknown = await app.request("http://h/cache/nosuch/k");
  assert.equal(unknown.status, 404);
  assert.equal(unknown.headers.get("cache-status"), "n1; detail=no-group");
  assert.equal((await unknown.json()).detail, "this node serves no group called nosuch");

  for (const path of ["/cache/g/", "/cache/g", "/cache/", "/cache", "/define/", "/cache/g/%", "/cache/g/a%0ab"]) {
    const response = await app.request(`http://h${path}`);
    assert.equal(response.status, 400, path);
    assert.equal(response.headers.get("cache-status"), "n1; detail=bad-key");
    assert.equal(response.headers.get("content-type"), "application/problem+json");
  }
  assert.deepEqual(g.calls, []);

  const { app: other } = appWith({ groups: new Map([["g", g]]) });
  const define = await other.request("http://h/define/piston");
  assert.equal(define.status, 404);
  assert.equal((await define.json()).detail, "this node serves no group called dict");
});

test("a client that goes away ends its load through the signal, and writes no line to the log", async () => {
  const clock = new ManualClock();
  const { app, g, log } = appWith({ clock });
  const started = Promise.withResolvers<CancelSignal>();
  g.onLoad = (_key, signal) => {
    started.resolve(signal);
    return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  };
  const client = new AbortController();
  const response = app.fetch(new Request("http://h/cache/g/k", { signal: client.signal }));
  assert.equal((await started.promise).aborted, false);
  client.abort();
  await clock.advance(200);
  assert.equal((await response).status, 499);
  assert.deepEqual(log.lines, []);
});

test("a request is asked for its signal only after it has waited a while", async () => {
  const clock = new ManualClock();
  const { app, g } = appWith({ clock });
  let asked = 0;
  const request = (key: string) =>
    ({
      url: `http://h/cache/g/${key}`,
      method: "GET",
      headers: new Headers(),
      get signal() {
        asked++;
        return new AbortController().signal;
      },
    }) as unknown as Request;
  const gates = ["quick", "slow"].map(() => Promise.withResolvers<Loaded>());
  g.onLoad = (key, signal) => {
    const { promise } = gates[key === "quick" ? 0 : 1]!;
    const left = () => {};
    signal.addEventListener("abort", left);
    return promise.finally(() => signal.removeEventListener("abort", left));
  };
  const loaded: Loaded = { value: valueOf("v"), source: "peer", stored: false };
  const answers = ["quick", "slow"].map((key) => app.fetch(request(key)));
  await clock.advance(99);
  gates[0]!.resolve(loaded);
  assert.equal(await (await answers[0]!).text(), "v");
  await clock.advance(101);
  assert.equal(asked, 1, "only the request that still waits");
  gates[1]!.resolve(loaded);
  assert.equal(await (await answers[1]!).text(), "v");
  await clock.advance(400);
  assert.deepEqual([asked, clock.pending], [1, 0]);
});

test("the probes tell a live node from a ready one", async () => {
  const { app, state } = appWith();
  const health = await app.request("http://h/healthz");
  assert.equal(health.status, 200);
  assert.deepEqual(await health.json(), { status: "alive", name: "n1", incarnation: "01JABC" });

  assert.equal((await app.request("http://h/readyz")).status, 200);
  state.ready = false;
  const unready = await app.request("http://h/readyz");
  assert.equal(unready.status, 503);
  assert.equal(unready.headers.get("content-type"), "application/problem+json");
  assert.equal(unready.headers.get("retry-after"), "1");
  assert.equal((await app.request("http://h/healthz")).status, 200);
});

test("a node that is ready says in numbers which ways to its peers are lost, and no names", async () => {
  const { app, state } = appWith();
  const told = async () => {
    const response = await app.request("http://h/readyz");
    assert.equal(response.status, 200);
    const { peers, reach } = await response.json();
    return [peers, reach];
  };
  assert.deepEqual(await told(), [undefined, undefined]);
  state.links = ["open", "connecting", "down", "down"].map((state, i) => ({ ...LINK, name: `n${i}`, state }));
  assert.deepEqual(await told(), ["2 of 4 cannot be reached", undefined]);
  state.outOfReach = { url: "http://n1:8000", since: "2026-01-01T00:00:00.000Z", peers: ["n2"], count: 1 };
  assert.equal((await told())[1], "1 peers have no connection to this node since 2026-01-01T00:00:00.000Z");
});

test("statistics are those of the node and of each group, in JSON that no cache may store", async () => {
  const { app } = appWith();
  await app.request("http://h/cache/g/k");
  const response = await app.request("http://h/stats");
  assert.equal(response.headers.get("content-type"), "application/json");
  assert.equal(response.headers.get("cache-control"), "no-store");
  assert.deepEqual(await response.json(), {
    ready: true,
    uptimeMs: 5,
    name: "n1",
    incarnation: "01JABC",
    version: "0.1.0",
    runtime: "test 1",
    groups: { dict: { gets: 0 }, g: { gets: 2 } },
    findings: [],
  });
});

test("other methods are refused with a list of the allowed ones, and other paths are not found", async () => {
  const { app, g } = appWith();
  for (
    const path of [
      "/cache/g/k",
      "/define/k",
      "/_groupcache/g/k",
      "/healthz",
      "/readyz",
      "/stats",
      "/metrics",
      "/",
      "/events",
    ]
  ) {
    for (const method of ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"]) {
      const response = await app.request(`http://h${path}`, { method });
      assert.equal(response.status, 405, `${method} ${path}`);
      assert.equal(response.headers.get("allow"), path.startsWith("/cache/") ? "GET, HEAD, PURGE" : "GET, HEAD");
      assert.equal(response.headers.get("content-type"), "application/problem+json");
    }
  }
  for (const path of ["/nosuch", "/cachex/g/k", "/healthz/", "//cache/g/k", "/%63ache/g/k", "/_peer"]) {
    for (const method of ["GET", "HEAD", "POST"]) {
      const response = await app.request(`http://h${path}`, { method });
      assert.equal(response.status, 404, `${method} ${path}`);
      assert.equal(response.headers.get("content-type"), "application/problem+json");
    }
  }
  assert.deepEqual(g.calls, []);
});

test("a group that is added while the app runs is served at once, and one that is removed is a 404 at once", async () => {
  const { app, groups, dict } = appWith();
  const statusOf = async (path: string) => (await app.request(`http://h${path}`)).status;
  const paths = ["/cache/late/k", "/_groupcache/late/k"];
  const served = async () => Object.keys((await (await app.request("http://h/stats")).json()).groups);
  for (const path of paths) assert.equal(await statusOf(path), 404);

  groups.set("late", new MemoryGroup("late"));
  for (const path of paths) assert.equal(await statusOf(path), 200);
  assert.deepEqual(await served(), ["dict", "g", "late"]);

  groups.delete("late");
  const gone = await app.request("http://h/cache/late/k");
  assert.equal(gone.status, 404);
  assert.equal(gone.headers.get("cache-status"), "n1; detail=no-group");
  assert.equal(await statusOf("/_groupcache/late/k"), 404);

  assert.equal(await statusOf("/define/piston"), 200);
  groups.delete("dict");
  dict.calls.length = 0;
  assert.equal(await statusOf("/define/piston"), 404);
  assert.deepEqual([await served(), dict.calls], [["g"], []]);
});

test("a group called like a property of every object is no group, and one called __proto__ has its statistics", async () => {
  const { app } = appWith();
  assert.equal((await app.request("http://h/cache/constructor/k")).status, 404);
  const { app: other } = appWith({ groups: new Map([["__proto__", new MemoryGroup("__proto__")]]) });
  const stats = await (await other.request("http://h/stats")).text();
  assert.match(stats, /"groups":\{"__proto__":\{"gets":0\}\}/);
});

test("a handler of another part that throws is a logged 500 without its message", async () => {
  const { app, log } = appWith({
    peers: {
      door: { challenge: () => Promise.reject(new Error("secret")), admit: () => Promise.resolve(undefined) },
      upgrade: () => assert.fail("nothing was admitted"),
    },
  });
  const response = await app.request("http://h/_peer");
  assert.equal(response.status, 500);
  assert.doesNotMatch(await response.text(), /secret/);
  assert.deepEqual(log.lines, ["error cannot answer GET /_peer: Error: secret"]);
});
