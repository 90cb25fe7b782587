import assert from "node:assert/strict";
import { NotFoundError, OriginTimeoutError, OverloadedError } from "../../lib/core/errors.ts";
import { RouteAnswers } from "../../lib/http/counted.ts";
import { settle } from "../support/clock.ts";
import { test } from "../support/test.ts";
import { siteBehindNode } from "./site_support.ts";
import { appWith, rawRequest, valueOf } from "./support.ts";

function countingApp() {
  const routeAnswers = new RouteAnswers();
  const made = appWith({ routeAnswers });
  const get = async (path: string, init?: RequestInit) => {
    const { status } = await made.app.request(`http://h${path}`, init);
    await settle();
    return status;
  };
  const ofGroup = (name: "g" | "dict") => made[name].answers.statuses.figures();
  const byRoute = () =>
    Object.fromEntries(Object.entries(routeAnswers.figures()).filter(([, counts]) => Object.keys(counts).length > 0));
  return { ...made, get, ofGroup, byRoute };
}

test("each answer of a group is counted once by its status, whichever way it came about", async () => {
  const { g, dict, get, ofGroup, byRoute } = countingApp();
  g.main.set("hit", valueOf("hit"));
  const wanted: [path: string, status: number, fault?: Error][] = [
    ["/cache/g/hit", 200],
    ["/cache/g/miss", 200],
    ["/_groupcache/g/hit", 200],
    ["/_groupcache/g/miss", 200],
    ["/cache/g/none", 404, new NotFoundError("none")],
    ["/cache/g/slow", 504, new OriginTimeoutError("slow")],
    ["/cache/g/many", 503, new OverloadedError("many")],
    ["/_groupcache/g/many", 503, new OverloadedError("many")],
    ["/cache/g/fault", 500, new Error("fault")],
    ["/cache/g/", 400],
    ["/cache/g/%zz", 400],
    ["/cache/g/a?query", 400],
  ];
  const answer = g.onLoad;
  for (const [path, status, fault] of wanted) {
    g.onLoad = fault === undefined ? answer : () => Promise.reject(fault);
    assert.equal(await get(path), status, path);
  }
  assert.equal(await get("/cache/g/hit", { method: "HEAD" }), 200);
  assert.equal(await get("/cache/g/hit", { method: "PUT", body: "x" }), 405);
  const expected = { "200": 5, "400": 3, "404": 1, "405": 1, "500": 1, "503": 2, "504": 1 };
  assert.deepEqual(ofGroup("g"), expected);
  assert.equal(g.answers.took.figures().count, Object.values(expected).reduce((sum, count) => sum + count));
  assert.deepEqual([ofGroup("dict"), byRoute()], [{}, {}]);

  dict.main.set("piston", valueOf("a part"));
  assert.equal(await get("/define/piston"), 200);
  assert.deepEqual(ofGroup("dict"), { "200": 1 });
});

test("a batch is one answer of its group", async () => {
  const { g, get, ofGroup } = countingApp();
  g.main.set("a", valueOf("a"));
  const body = JSON.stringify({ keys: ["a", "b", "c"] });
  const status = await get("/cache/g/_get", {
    method: "POST",
    body,
    headers: { "content-type": "application/json" },
  });
  assert.equal(status, 200);
  assert.deepEqual(ofGroup("g"), { "200": 1 });
});

test("answers that no group has given are counted by their route", async () => {
  const { state, get, byRoute } = countingApp();
  state.ready = false;
  const paths: [path: string, status: number][] = [
    ["/cache/nogroup/a", 404],
    ["/_groupcache/nogroup/a", 404],
    ["/healthz", 200],
    ["/readyz", 503],
    ["/stats", 200],
    ["/metrics", 200],
    ["/", 200],
    ["/_admin/nothing", 403],
    ["/nothing", 404],
  ];
  for (const [path, status] of paths) assert.equal(await get(path), status, path);
  assert.equal(await get("/stats", { method: "POST" }), 405);
  assert.equal(await get("/define/a", { method: "POST" }), 405);
  assert.deepEqual(byRoute(), {
    cache: { "404": 2, "405": 1 },
    admin: { "403": 1 },
    health: { "200": 1, "503": 1 },
    status: { "200": 3 },
    none: { "404": 1, "405": 1 },
  });
});

test("what a site answers counts by the site's own status, also where it goes through", async (defer) => {
  const site = await siteBehindNode(defer, (request, response) => {
    response.writeHead(request.method === "GET" ? 200 : 418, { "cache-control": "max-age=60" });
    response.end("x");
  });
  for (let i = 0; i < 2; i++) await (await fetch(`${site.url}/cache/site/a`)).text();
  assert.equal((await rawRequest(site.port, "/a", "GET", "Host: site.test\r\n")).status, 200);
  await (await fetch(`${site.url}/cache/site/a`, { method: "POST", body: "x" })).text();
  const { "200": ok, "4xx": teapots } = site.group.stats().answers;
  assert.deepEqual([ok, teapots], [3, 1]);
  assert.equal(site.group.stats().latency.client.count, 4);
});
