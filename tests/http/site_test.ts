/** A site behind a node, as a client sees it: RFC 9110 and 9111 through the whole path, on the test's own runtime. */
import assert from "node:assert/strict";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { onBun, openSocket, rawRequest } from "./support.ts";
import { siteBehindNode } from "./site_support.ts";

const fresh = { "cache-control": "max-age=60", "content-type": "text/plain" };

test("an answer comes with its status, its fields, its age and its path, and is stored by its freshness", async (defer) => {
  const site = await siteBehindNode(defer, (request, response) => {
    response.writeHead(203, {
      ...fresh,
      "x-own": "1",
      "link": ["<a>", "<b>"],
      connection: "x-hop, close",
      "x-hop": "1",
    });
    response.end(`body of ${request.url}`);
  });
  const first = await fetch(`${site.url}/cache/site/a/b?x=1&y=%2F`);
  assert.equal(await first.text(), "body of /base/a/b?x=1&y=%2F");
  assert.equal(first.status, 203);
  assert.equal(first.headers.get("x-own"), "1");
  assert.equal(first.headers.get("link"), "<a>, <b>");
  assert.equal(first.headers.get("x-hop"), null);
  assert.match(
    first.headers.get("cache-status")!,
    /^n1; fwd=miss; stored; detail=origin; fwd-status=203; ttl=(60|5\d)$/,
  );
  const second = await fetch(`${site.url}/cache/site/a/b?x=1&y=%2F`);
  assert.equal(await second.text(), "body of /base/a/b?x=1&y=%2F");
  assert.equal(second.status, 203);
  assert.match(second.headers.get("cache-status")!, /^n1; hit; ttl=\d+$/);
  assert.match(second.headers.get("age")!, /^\d+$/);
  await (await fetch(`${site.url}/cache/site/a/b?x=2`)).body?.cancel();
  assert.deepEqual(site.asked.map(({ url }) => url), [
    "/base/a/b?x=1&y=%2F",
    "/base/a/b?x=2",
  ]);
});

test("a host of the group reaches the site with its path unchanged, and no route of the node", async (defer) => {
  const site = await siteBehindNode(defer, (request, response) => {
    response.writeHead(200, fresh);
    response.end(`site ${request.url}`);
  });
  for (
    const path of [
      "/stats",
      "/cache/site/x",
      "/_peer",
      "/",
      "/metrics",
      "/healthz?x",
    ]
  ) {
    const { status, body } = await rawRequest(
      site.port,
      path,
      "GET",
      "Host: Site.Test:80\r\n",
    );
    assert.deepEqual([status, body], [200, `site /base${path}`]);
  }
  const { body } = await rawRequest(
    site.port,
    "/healthz",
    "GET",
    "Host: other.test\r\n",
  );
  assert.match(body, /alive/);
});

for (
  const [why, fields, request] of [
    ["no-store", { "cache-control": "no-store" }, {}],
    ["private", { "cache-control": "private, max-age=60" }, {}],
    ["Vary: *", { "cache-control": "max-age=60", vary: "*" }, {}],
    ["Set-Cookie", { "cache-control": "max-age=60", "set-cookie": "a=1" }, {}],
    ["Authorization", { "cache-control": "max-age=60" }, {
      authorization: "Basic x",
    }],
  ] as const
) {
  test(`an answer is not stored and not shared: ${why}`, async (defer) => {
    const opened: (() => void)[] = [];
    const site = await siteBehindNode(defer, (_, response, count) => {
      opened.push(() => {
        response.writeHead(200, fields);
        response.end(`answer ${count}`);
      });
      if (count > 1) opened[count - 1]!();
    });
    const get = async () =>
      await (await fetch(`${site.url}/cache/site/k`, { headers: request }))
        .text();
    const waiting = [get(), get(), get()];
    while (opened.length === 0) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    opened[0]!();
    const bodies = await Promise.all(waiting);
    assert.equal(new Set(bodies).size, 3, bodies.join(", "));
    assert.equal(new Set([...bodies, await get()]).size, 4);
  });
}

test("a stored answer that has expired is validated, and a 304 freshens it", async (defer) => {
  const site = await siteBehindNode(defer, (request, response, count) => {
    if (request.headers["if-none-match"] === '"v1"') {
      response.writeHead(304, {
        "cache-control": "max-age=60",
        "x-turn": String(count),
        etag: '"v1"',
      });
      return response.end();
    }
    response.writeHead(200, {
      "cache-control": "max-age=0",
      etag: '"v1"',
      "x-turn": String(count),
    });
    response.end("the body");
  });
  const get = () => fetch(`${site.url}/cache/site/k`);
  assert.equal(await (await get()).text(), "the body");
  const second = await get();
  assert.equal(await second.text(), "the body");
  assert.equal(second.headers.get("x-turn"), "2");
  const third = await get();
  assert.equal(await third.text(), "the body");
  assert.match(third.headers.get("cache-status")!, /hit/);
  assert.equal(site.asked.length, 2);
});

test("variants by Vary are kept apart", async (defer) => {
  const site = await siteBehindNode(defer, (request, response) => {
    response.writeHead(200, { ...fresh, vary: "Accept-Language" });
    response.end(`in ${request.headers["accept-language"]}`);
  });
  const get = async (language: string) =>
    await (await fetch(`${site.url}/cache/site/k`, {
      headers: { "accept-language": language },
    })).text();
  for (let round = 0; round < 3; round++) {
    assert.equal(await get("de"), "in de");
    assert.equal(await get("fr"), "in fr");
  }
  assert.equal(site.asked.length, 2);
});

test("conditions and ranges are answered from what is stored", async (defer) => {
  const site = await siteBehindNode(defer, (_, response) => {
    response.writeHead(200, {
      ...fresh,
      etag: '"v1"',
      "last-modified": "Tue, 01 Jan 2030 00:00:00 GMT",
    });
    response.end("0123456789");
  });
  const get = async (headers: Record<string, string>, method = "GET") => {
    const response = await fetch(`${site.url}/cache/site/k`, {
      method,
      headers,
    });
    return [
      response.status,
      await response.text(),
      response.headers.get("content-range"),
    ];
  };
  assert.deepEqual(await get({}), [200, "0123456789", null]);
  assert.deepEqual(await get({ "if-none-match": '"x", W/"v1"' }), [
    304,
    "",
    null,
  ]);
  assert.deepEqual(await get({ "if-none-match": "*" }), [304, "", null]);
  assert.deepEqual(await get({ "if-none-match": '"x"' }), [
    200,
    "0123456789",
    null,
  ]);
  assert.deepEqual(
    await get({ "if-modified-since": "Tue, 01 Jan 2030 00:00:00 GMT" }),
    [304, "", null],
  );
  assert.deepEqual(await get({ range: "bytes=2-4" }), [
    206,
    "234",
    "bytes 2-4/10",
  ]);
  assert.deepEqual(await get({ range: "bytes=-3" }), [
    206,
    "789",
    "bytes 7-9/10",
  ]);
  assert.deepEqual(await get({ range: "bytes=20-" }), [416, "", "bytes */10"]);
  assert.deepEqual(await get({ range: "bytes=5-2" }), [
    200,
    "0123456789",
    null,
  ]);
  assert.deepEqual(await get({ range: "bytes=0-0,2-3" }), [
    200,
    "0123456789",
    null,
  ]);
  assert.deepEqual(await get({ range: "bytes=2-4", "if-range": '"other"' }), [
    200,
    "0123456789",
    null,
  ]);
  const manyRanges = Array.from({ length: 200 }, (_, i) => `${i}-${i}`).join(
    ",",
  );
  assert.deepEqual(await get({ range: `bytes=${manyRanges}` }), [
    200,
    "0123456789",
    null,
  ]);
  const head = await fetch(`${site.url}/cache/site/k`, { method: "HEAD" });
  assert.deepEqual([
    head.status,
    head.headers.get("content-length"),
    await head.text(),
  ], [200, "10", ""]);
  assert.equal(site.asked.length, 1);
});

test("other methods go through with their body, are never tried again, and hop-by-hop fields stay behind", async (defer) => {
  const site = await siteBehindNode(defer, (_, response) => {
    response.writeHead(201, { "x-made": "yes" });
    response.end("made");
  });
  for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
    const response = await fetch(`${site.url}/cache/site/k?q`, {
      method,
      body: "sent body",
      headers: { "x-mine": "1", "content-type": "text/x" },
    });
    assert.deepEqual([
      response.status,
      await response.text(),
      response.headers.get("x-made"),
    ], [201, "made", "yes"]);
    assert.equal(
      response.headers.get("cache-status"),
      "n1; fwd=method; fwd-status=201",
    );
  }
  assert.deepEqual(
    site.asked.map(({ method, url, body }) => [method, url, body]),
    [
      ["POST", "/base/k?q", "sent body"],
      ["PUT", "/base/k?q", "sent body"],
      ["PATCH", "/base/k?q", "sent body"],
      ["DELETE", "/base/k?q", "sent body"],
    ],
  );
  for (const { headers } of site.asked) {
    assert.equal(headers["x-mine"], "1");
    assert.match(headers.via as string, /1\.1 muster/);
  }
});

test("fields that a client could poison the cache with do not reach the site on a load", async (defer) => {
  const site = await siteBehindNode(defer, (request, response) => {
    response.writeHead(200, fresh);
    response.end(`host ${request.headers["x-forwarded-host"]}`);
  });
  const headers = {
    "x-forwarded-host": "evil.test",
    "x-original-url": "/admin",
    forwarded: "host=evil.test",
  };
  assert.equal(
    await (await fetch(`${site.url}/cache/site/k`, { headers })).text(),
    "host undefined",
  );
});

test("a body over the longest value is streamed through and not stored", async (defer) => {
  const body = "x".repeat(3_000);
  const site = await siteBehindNode(defer, (_, response) => {
    response.writeHead(200, fresh);
    response.end(body);
  }, { valueBytesMax: 1_000 });
  for (let i = 0; i < 2; i++) {
    const response = await fetch(`${site.url}/cache/site/k`);
    assert.equal(await response.text(), body);
    assert.match(response.headers.get("cache-status")!, /fwd=bypass/);
  }
  assert.equal(site.group.stats().mainCache.items, 0);
});

test("only-if-cached is answered from the store alone", async (defer) => {
  const site = await siteBehindNode(defer, (_, response) => {
    response.writeHead(200, fresh);
    response.end("x");
  });
  const headers = { "cache-control": "only-if-cached" };
  assert.equal(
    (await fetch(`${site.url}/cache/site/k`, { headers })).status,
    504,
  );
  assert.equal(site.asked.length, 0);
});

test("a success of an unsafe method drops what is stored, with all variants; a failure does not", async (defer) => {
  let version = 1;
  let status = 204;
  const site = await siteBehindNode(defer, (request, response) => {
    if (request.method === "GET") {
      response.writeHead(200, { ...fresh, vary: "Accept-Language" });
      return response.end(`v${version} ${request.headers["accept-language"]}`);
    }
    if (status < 400) version++;
    response.writeHead(status);
    response.end();
  });
  const get = async (language: string) =>
    await (await fetch(`${site.url}/cache/site/k`, { headers: { "accept-language": language } })).text();
  const post = async () => await (await fetch(`${site.url}/cache/site/k`, { method: "POST", body: "x" })).text();
  assert.deepEqual([await get("de"), await get("fr")], ["v1 de", "v1 fr"]);
  await post();
  assert.deepEqual([await get("de"), await get("fr"), await get("de")], ["v2 de", "v2 fr", "v2 de"]);
  status = 409;
  await post();
  assert.deepEqual([await get("de"), await get("fr")], ["v2 de", "v2 fr"]);
  assert.equal(site.asked.filter(({ method }) => method === "GET").length, 4);
});

test("PURGE under the site's own host is the site's, as any other method; under the node's it invalidates", async (defer) => {
  const site = await siteBehindNode(defer, (request, response, count) => {
    response.writeHead(200, fresh);
    response.end(`${request.method} ${count}`);
  });
  const get = async (key: string) => (await rawRequest(site.port, `/cache/site/${key}`)).body;
  const purge = (key: string, host = "Host: localhost\r\n") =>
    rawRequest(site.port, `/cache/site/${key}`, "PURGE", host);
  const own = await rawRequest(site.port, "/k", "PURGE", "Host: site.test\r\n");
  assert.equal(own.status, 200);
  assert.match(own.body, /PURGE 1/);

  assert.equal(await get("k?x=1"), "GET 2");
  assert.equal(await get("k?x=1&soft"), "GET 3");
  const answer = await purge("k?x=1&soft&wait");
  assert.equal(answer.status, 200);
  const { sequence, after, applied, behind } = JSON.parse(answer.body);
  assert.deepEqual([applied, behind], [["n1"], []]);
  assert.match(after, new RegExp(`^\\d+-${sequence}$`));
  // Soft: without a time to serve them stale, they are loaded anew. The key with the flag is meant too.
  assert.equal(await get("k?x=1"), "GET 4");
  assert.equal(await get("k?x=1&soft"), "GET 5");
  assert.equal((await purge("k?x=1", "Host: h.test\r\n")).status, 403);
  assert.equal(await get("k?x=1"), "GET 4");
  assert.equal((await purge("k".repeat(1_025))).status, 400);
  assert.equal(site.asked.filter(({ method }) => method === "PURGE").length, 1);
});

test("the page at the top of a site can be purged", async (defer) => {
  const site = await siteBehindNode(defer, (_, response, count) => {
    response.writeHead(200, fresh);
    response.end(`top ${count}`);
  });
  const get = async () => (await rawRequest(site.port, "/cache/site/")).body;
  assert.deepEqual([await get(), await get()], ["top 1", "top 1"]);
  assert.equal((await rawRequest(site.port, "/cache/site/", "PURGE", "Host: localhost\r\n")).status, 200);
  assert.equal(await get(), "top 2");
});

test("answers are invalidated by their tags, and by the groups that the answer to an unsafe request names", async (defer) => {
  const site = await siteBehindNode(defer, (request, response, count) => {
    const isGet = request.method === "GET";
    response.writeHead(200, {
      ...fresh,
      ...(isGet && request.url!.endsWith("/b") && { "surrogate-key": "shelf red" }),
      ...(isGet && request.url!.endsWith("/c") && { "cache-groups": '"red"' }),
      // On the answer to a safe request it must be ignored.
      "cache-group-invalidation": '"red"',
    });
    response.end(`${count}`);
  });
  const get = async (key: string) => await (await fetch(`${site.url}/cache/site/${key}`)).text();
  const all = async () => [await get("a"), await get("b"), await get("c")];
  assert.deepEqual(await all(), ["1", "2", "3"]);
  assert.deepEqual(await all(), ["1", "2", "3"]);
  await (await fetch(`${site.url}/cache/site/other`, { method: "POST" })).text();
  assert.deepEqual(await all(), ["1", "5", "6"]);
  const message = { method: "POST", body: '{"tags":["shelf"]}' };
  assert.equal((await fetch(`${site.url}/_admin/groups/site/invalidate`, message)).status, 200);
  assert.deepEqual(await all(), ["1", "7", "6"]);
});

test("Muster-After holds for a site, and is not sent on to it", async (defer) => {
  const site = await siteBehindNode(defer, (_, response, count) => {
    response.writeHead(200, fresh);
    response.end(`${count}`);
  });
  const get = async (after: string, method = "GET") => {
    const response = await fetch(`${site.url}/cache/site/k`, { method, headers: { "muster-after": after } });
    return [response.status, await response.text(), response.headers.get("cache-status")];
  };
  assert.deepEqual((await get("0")).slice(0, 2), [200, "1"]);
  const purged = await (await fetch(`${site.url}/cache/site/k`, { method: "PURGE" })).json();
  assert.deepEqual((await get(purged.after)).slice(0, 2), [200, "2"]);
  assert.deepEqual((await get(String(purged.sequence))).slice(0, 2), [200, "2"]);
  // Nobody has come so far: the value is the origin's, for this request alone.
  const [status, body, cacheStatus] = await get(`${purged.epoch}-${purged.sequence + 1}`);
  assert.deepEqual([status, body], [200, "3"]);
  assert.match(cacheStatus as string, /^n1; fwd=miss; detail=behind; fwd-status=200/);
  assert.deepEqual((await get(purged.after)).slice(0, 2), [200, "2"]);
  assert.equal((await get("soon"))[0], 400);
  assert.ok(site.asked.every(({ headers }) => headers["muster-after"] === undefined));
});

test("a request that had joined a load in vain says so when it goes through", async (defer) => {
  const opened: (() => void)[] = [];
  const site = await siteBehindNode(defer, (_, response, count) => {
    opened.push(() => {
      response.writeHead(200, { "cache-control": "no-store" });
      response.end("x".repeat(3_000));
    });
    if (count > 1) opened[count - 1]!();
  }, { valueBytesMax: 1_000 });
  const get = async () => {
    const response = await fetch(`${site.url}/cache/site/k`);
    await response.text();
    return response.headers.get("cache-status");
  };
  const waiting = [get(), get()];
  const haveCome = () => opened.length > 0 && site.group.stats().loads === 2;
  await until(haveCome, 5_000, () => `${site.group.stats().loads} wait`);
  opened[0]!();
  const statuses = (await Promise.all(waiting)).sort();
  assert.deepEqual(statuses, [
    "n1; fwd=bypass; collapsed=?0; fwd-status=200",
    "n1; fwd=bypass; fwd-status=200",
  ]);
});

test("a load in flight that an unsafe method overtakes answers who waits, and is not stored", async (defer) => {
  const gate = Promise.withResolvers<void>();
  const site = await siteBehindNode(defer, async (request, response, count) => {
    if (count === 1) await gate.promise;
    response.writeHead(request.method === "GET" ? 200 : 204, fresh);
    response.end(request.method === "GET" ? `load ${count}` : "");
  });
  const get = async () => await (await fetch(`${site.url}/cache/site/k`)).text();
  const early = get();
  while (site.asked.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  await fetch(`${site.url}/cache/site/k`, { method: "DELETE" });
  assert.equal(await get(), "load 3"); // does not join the load that began before
  gate.resolve();
  assert.equal(await early, "load 1");
  assert.equal(await get(), "load 3");
});

test("a GET with a body is refused, and neither stored nor passed on without it", async (defer) => {
  const site = await siteBehindNode(defer, (_, response) => {
    response.writeHead(200, fresh);
    response.end("x");
  });
  const statusOf = (head: string, body: string) =>
    new Promise<string>((answered) => {
      const socket = openSocket(site.port, defer);
      socket.on("data", (data) => answered(data.toString().split(" ")[1]!));
      socket.write(`GET /cache/site/k HTTP/1.1\r\nHost: h.test\r\n${head}\r\n\r\n${body}`);
    });
  assert.equal(await statusOf("Content-Length: 0", ""), "200");
  const asked = site.asked.length;
  assert.equal(await statusOf("Content-Length: 5", "hello"), "400");
  assert.equal(await statusOf("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"), "400");
  assert.equal(site.asked.length, asked);
});

test("an answer without a content type gets none from a node: the browser decides", async (defer) => {
  const body = (path: string) => path.endsWith("long") ? "x".repeat(300_000) : "<p>hello";
  const site = await siteBehindNode(defer, ({ url }, response) => {
    response.writeHead(url!.endsWith("none") ? 204 : 200, { "cache-control": "max-age=60" });
    response.end(body(url!));
  }, { isChunkedTextFaster: !onBun });
  for (const path of ["short", "long", "short?none"]) {
    for (
      const [headers, text] of [[{}, body(path)], [{}, body(path)], [{ range: "bytes=0-3" }, body(path).slice(0, 4)]]
    ) {
      const response = await fetch(`${site.url}/cache/site/${path}`, { headers: headers as Record<string, string> });
      assert.equal(response.headers.get("content-type"), null, path);
      assert.equal(await response.text(), path.endsWith("none") ? "" : text);
    }
    const head = await fetch(`${site.url}/cache/site/${path}`, { method: "HEAD" });
    assert.equal(head.headers.get("content-type"), null, path);
  }
});
