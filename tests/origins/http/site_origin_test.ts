import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { OriginError, PassThroughError } from "../../../lib/core/errors.ts";
import { BLIND } from "../../../lib/core/invalidation/label.ts";
import { invalidationOf } from "../../../lib/core/invalidation/message.ts";
import { DEFAULT_LIFETIME } from "../../../lib/core/lifetime/policy.ts";
import { timesFrom } from "../../../lib/core/lifetime/times.ts";
import { type Fields, linesOf } from "../../../lib/core/semantics/fields.ts";
import { type Answer, PLAIN, type Value } from "../../../lib/core/value.ts";
import type { OriginDeps } from "../../../lib/origins/deps.ts";
import { SiteOrigin } from "../../../lib/origins/http/site-origin.ts";
import { ManualClock } from "../../support/clock.ts";
import { type Defer, test } from "../../support/test.ts";

const never = new AbortController().signal;

interface Seen {
  readonly method: string;
  readonly target: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** A site at `/base/`, its host, and what it was asked. */
async function site(
  defer: Defer,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
  deps: Partial<OriginDeps> = {},
) {
  const seen: Seen[] = [];
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = chunks.join("");
    seen.push({ method: request.method!, target: request.url!, headers: request.headers, body });
    handle(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const clock = new ManualClock();
  const origin = new SiteOrigin({ base: `http://${host}/base/` }, { ...deps, clock });
  defer(() => origin.close());
  return { origin, clock, seen, host };
}

/** An answer as the group would keep it. */
function kept({ body, contentType, status = 200, fields = [] }: Answer): Value {
  const about = { ...PLAIN, status, fields, hasOwnLifetime: true };
  const spans = { ageMs: 0, freshMs: 0, staleWhileRevalidateMs: 0, staleIfErrorMs: 0 };
  return { body, contentType, loadMs: 1, about, ...timesFrom(0, spans), label: BLIND };
}

test("a key is the rest of the path with its query, byte for byte, and every status is an answer", async (defer) => {
  const { origin, seen } = await site(defer, (request, response) => {
    response.writeHead(request.url!.includes("gone") ? 410 : 201, { "x-a": "1", connection: "x-hop", "x-hop": "2" });
    response.end(request.url);
  });
  for (const key of ["a//b/%2f?x=%20&y=+", "", "?q", "gone", "%zz"]) {
    const { status, body, fields } = await origin.load(key, never);
    assert.equal(status, key === "gone" ? 410 : 201);
    assert.equal(new TextDecoder().decode(body), `/base/${key}`);
    assert.deepEqual(linesOf(fields!, "x-a"), ["1"]);
    assert.deepEqual(linesOf(fields!, "x-hop"), []);
  }
  assert.deepEqual(seen.map(({ method }) => method), Array(5).fill("GET"));
});

test("a client's fields go to the site, without its conditions; the group's own take their place", async (defer) => {
  const fields: Fields = [["x-key", "of the group"], ["authorization", "hush"]];
  const { origin, seen, host } = await site(defer, (_, response) => response.end(), { fields });
  const said: Fields = [
    ["x-key", "of the client"],
    ["accept-language", "de"],
    ["host", "elsewhere"],
    ["if-none-match", '"a"'],
    ["range", "bytes=0-1"],
  ];
  await origin.load("k", never, { request: { fields: said } });
  const { headers } = seen[0]!;
  assert.equal(headers["x-key"], "of the group");
  assert.equal(headers["authorization"], "hush");
  assert.equal(headers["accept-language"], "de");
  assert.equal(headers["host"], host);
  assert.equal(headers["if-none-match"], undefined);
  assert.equal(headers["range"], undefined);
});

test("a body over the group's longest value is passed through, one of just that length is kept", async (defer) => {
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    if (request.url!.endsWith("told")) response.setHeader("content-length", 5);
    response.write("123");
    response.end("45");
  };
  const four = await site(defer, handle, { valueBytesMax: 4 });
  for (const key of ["told", "untold"]) await assert.rejects(four.origin.load(key, never), PassThroughError);
  const five = await site(defer, handle, { valueBytesMax: 5 });
  for (const key of ["told", "untold"]) assert.equal((await five.origin.load(key, never)).body.length, 5);
});

test("an answer with a cookie is kept where the group says so", async (defer) => {
  const handle = (_: IncomingMessage, response: ServerResponse) => {
    response.writeHead(200, { "cache-control": "max-age=60", "set-cookie": "a=b" });
    response.end();
  };
  for (const keepsCookies of [false, true]) {
    const { origin } = await site(defer, handle, { keepsCookies });
    assert.equal((await origin.load("k", never)).freshness!.isStorable, keepsCookies);
    const request = { method: "GET", key: "k", fields: [], body: null };
    assert.equal((await origin.forward(request, never)).isStorable, keepsCookies);
  }
});

test("a site has no lifetime of its own; the group may give one, after the site's word", async (defer) => {
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    if (request.url!.endsWith("said")) response.setHeader("cache-control", "max-age=9");
    response.end();
  };
  const freshMs = async (deps: Partial<OriginDeps>, key: string) => {
    const { origin } = await site(defer, handle, deps);
    return (await origin.load(key, never)).freshness!.freshMs;
  };
  assert.ok(await freshMs({}, "silent") <= 0);
  const lifetime = { ...DEFAULT_LIFETIME, ttlMs: 5_000, ttlJitter: 0 };
  assert.equal(await freshMs({ lifetime }, "silent"), 5_000);
  assert.equal(await freshMs({ lifetime }, "said"), 9_000);
  assert.equal(await freshMs({ lifetime: { ...lifetime, honourOrigin: false } }, "said"), 5_000);
});

test("a stale value with a validator is asked about, and a 304 makes it fresh again", async (defer) => {
  let version = 1;
  const { origin, seen } = await site(defer, (request, response) => {
    const etag = `"v${version}"`;
    response.setHeader("cache-control", "max-age=7").setHeader("etag", etag);
    if (request.headers["if-none-match"] === etag) response.writeHead(304, { "x-new": "1" });
    response.end(response.statusCode === 304 ? undefined : `body ${version}`);
  });
  const stale = kept(await origin.load("k", never));
  const again = await origin.load("k", never, { stale });
  assert.equal(seen[1]!.headers["if-none-match"], '"v1"');
  assert.equal(again.body, stale.body);
  assert.deepEqual(linesOf(again.fields!, "x-new"), ["1"]);
  assert.equal(again.freshness!.freshMs, 7_000);
  version = 2;
  assert.equal(new TextDecoder().decode((await origin.load("k", never, { stale })).body), "body 2");
  assert.equal(seen.length, 3);
});

test("any method goes through with its body, and its answer comes as a stream", async (defer) => {
  const { origin, seen } = await site(defer, (_, response) => {
    response.writeHead(207, { "content-type": "text/plain", location: "b" });
    response.end("done");
  }, { fields: [["x-key", "hush"]] });
  const body = new Blob(["some ", "text"]).stream();
  const fields: Fields = [["content-type", "text/x"], ["x-key", "no"]];
  const answer = await origin.forward({ method: "PROPPATCH", key: "a?b", fields, body }, never);
  assert.equal(answer.status, 207);
  assert.equal(await new Response(answer.body).text(), "done");
  const [{ method, target, headers, body: sent }] = seen as [Seen];
  assert.deepEqual([method, target, sent], ["PROPPATCH", "/base/a?b", "some text"]);
  assert.deepEqual([headers["content-type"], headers["x-key"]], ["text/x", "hush"]);
});

test("the body of any method is framed, so that no client can write a second request behind its own", async (defer) => {
  const { origin, seen } = await site(defer, (_, response) => response.end());
  const text = "GET /other HTTP/1.1\r\nHost: a\r\n\r\n";
  // Of two equal lines Bun and Deno make `5, 5`.
  const lengths = [[], ["32", "32"], ["32, 32"], ["+32"], ["0x20"], ["32"]];
  for (const method of ["DELETE", "OPTIONS", "TRACE", "POST"]) {
    for (const lines of lengths) {
      const fields = lines.map((line) => ["content-length", line] as const);
      const answer = await origin.forward({ method, key: "a", fields, body: new Blob([text]).stream() }, never);
      await answer.body.cancel();
      const { body, headers } = seen.at(-1)!;
      const framing = [headers["transfer-encoding"], headers["content-length"]];
      assert.equal(body, text, `${method} ${lines}`);
      assert.deepEqual(framing, lines.join() === "32" ? [undefined, "32"] : ["chunked", undefined]);
    }
  }
  assert.equal(seen.length, 4 * lengths.length);
});

test("an unsafe request changes its key, and what the answer names on the same site", async (defer) => {
  const { origin, host } = await site(defer, (_, response) => response.end());
  const changed = (key: string, ...fields: [string, string][]) => origin.changedBy(key, fields)?.keys;
  assert.deepEqual(changed("a/b?c"), ["a/b?c"]);
  assert.deepEqual(changed("a/b", ["location", "c?d"], ["content-location", "/base/e"]), ["a/b", "a/c?d", "e"]);
  assert.deepEqual(changed("a", ["location", `http://${host}/base/x#y`]), ["a", "x"]);
  assert.deepEqual(changed("a", ["location", "/base/a"]), ["a"]);
  const elsewhere = ["/other", "http://elsewhere/base/x", `https://${host}/base/x`, "http://[", "../../x"];
  for (const place of elsewhere) assert.deepEqual(changed("a", ["location", place]), ["a"], place);
});

test("an unsafe request invalidates the groups that the answer names, or everything where these are too many", async (defer) => {
  const { origin } = await site(defer, (_, response) => response.end());
  const changed = (key: string, groups: string) => origin.changedBy(key, [["cache-group-invalidation", groups]]);
  assert.deepEqual(changed("a", '"one", "two";x=1'), invalidationOf({ keys: ["a"], tags: ["one", "two"] }));
  assert.deepEqual(changed("a", "one"), invalidationOf({ keys: ["a"] }), "a token is no string");
  const many = Array.from({ length: 1_000 }, (_, i) => `"${i}"`).join(", ");
  assert.deepEqual(changed("a", many), invalidationOf({ all: true }));
  const tooLong = "k".repeat(1_025);
  assert.deepEqual(changed(tooLong, '"one"'), invalidationOf({ tags: ["one"] }));
  assert.equal(origin.changedBy(tooLong, []), undefined);
  assert.deepEqual(origin.changedBy("", [])?.keys, [""], "the site's own page");
});

test("an answer has its tags, and after a 304 those that count then", async (defer) => {
  const { origin } = await site(defer, (request, response) => {
    const isAsked = request.headers["if-none-match"] !== undefined;
    if (request.url!.includes("plain")) response.writeHead(200, { etag: '"1"' });
    else if (!isAsked) response.writeHead(200, { etag: '"1"', "cache-groups": '"a", "b"', "surrogate-key": "s" });
    else if (request.url!.includes("new")) response.writeHead(304, { etag: '"1"', "cache-groups": '"c"' });
    else response.writeHead(304, { etag: '"1"' });
    response.end();
  });
  const tagsOf = async (key: string) => {
    const first = await origin.load(key, never);
    const second = await origin.load(key, never, { stale: kept(first) });
    return [first.tags, second.tags];
  };
  assert.deepEqual(await tagsOf("same"), [["a", "b", "s"], ["a", "b", "s"]]);
  assert.deepEqual(await tagsOf("new"), [["a", "b", "s"], ["c", "s"]]);
  assert.deepEqual(await tagsOf("plain"), [undefined, undefined]);
});

test("a site that does not end in time, breaks off or is closed has failed; a query stands in no message", async (defer) => {
  let begin = () => {};
  const { origin, clock } = await site(defer, (request, response) => {
    if (request.url!.includes("broken")) response.destroy();
    begin();
  }, { loadTimeoutMs: 1_000 });
  await assert.rejects(origin.load("broken?hush", never), (error: Error) => {
    assert.ok(error instanceof OriginError && !error.message.includes("hush"), error.message);
    return true;
  });
  const begun = () => new Promise<void>((resolve) => begin = resolve);
  for (const end of [() => clock.advance(1_000), () => origin.close()]) {
    const asked = begun();
    const load = origin.load("slow?hush", never);
    load.catch(() => {});
    await asked;
    await end();
    await assert.rejects(load, (error: Error) => {
      assert.ok(error instanceof OriginError && !error.message.includes("hush"), error.message);
      return true;
    });
  }
  await assert.rejects(origin.load("k", never), OriginError);
  assert.equal(clock.pending, 0);
});

test("an answer to a POST is kept where it says for how long, and that it is its URI's new state (9110 8.7, 9.3.3)", async (defer) => {
  let status = 200;
  let fields: Record<string, string | string[]> = {};
  const { origin, host } = await site(defer, (_, response) => {
    response.writeHead(status, { "content-type": "text/x", ...fields });
    response.end("new state");
  });
  const send = async (method: string, headers: Fields = []) => {
    const answer = await origin.forward({ method, key: "a?b", fields: headers, body: null }, never);
    await answer.body.cancel();
    return answer.kept;
  };
  const good = { "cache-control": "max-age=60", "content-location": "/base/a?b" };
  const rows: [why: string, status: number, fields: Record<string, string | string[]>, asked?: Fields][] = [
    ["8.7: no Content-Location", 200, { "cache-control": "max-age=60" }],
    ["8.7: another URI", 200, { ...good, "content-location": "/base/a?c" }],
    ["8.7: another site", 200, { ...good, "content-location": "http://other.test/base/a?b" }],
    ["two of them", 200, { ...good, "content-location": ["/base/a?b", "/base/a?c"] }],
    ["no lifetime", 200, { "content-location": "/base/a?b" }],
    ["a heuristic one", 200, { "content-location": "/base/a?b", "last-modified": "Tue, 01 Jan 2019 00:00:00 GMT" }],
    ["no time at all", 200, { ...good, "cache-control": "max-age=0" }],
    ["no-store", 200, { ...good, "cache-control": "max-age=60, no-store" }],
    ["of one user", 200, { ...good, "cache-control": "private, max-age=60" }],
    ["a cookie", 200, { ...good, "set-cookie": "a=b" }],
    ["with Authorization", 200, good, [["authorization", "Basic x"]]],
    ["another status than 200", 201, good],
    ["an error", 404, good],
    ["longer fields than are kept", 200, { ...good, "x-long": "x".repeat(32 * 1_024) }],
  ];
  for (const [why, ...row] of rows) {
    [status, fields] = row;
    assert.equal(await send("POST", row[2]), undefined, why);
  }
  status = 200;
  const spelt = ["?b", "/base/a?b", "a?b", `http://${host}/base/a?b`, "../base/./a?b"];
  for (const location of spelt) {
    fields = { ...good, "content-location": location, vary: "x-a", "surrogate-key": "t" };
    const answer = await send("POST", [["x-a", "1"], ["if-match", "*"]]);
    assert.equal(answer?.freshness?.freshMs, 60_000, location);
    assert.deepEqual([answer?.contentType, answer?.tags, answer?.selection?.names], ["text/x", ["t"], ["x-a"]]);
  }
  fields = {
    "content-location": "?b",
    date: "Tue, 01 Jan 2030 00:00:00 GMT",
    expires: "Tue, 01 Jan 2030 00:01:00 GMT",
  };
  assert.notEqual(await send("POST"), undefined, "Expires is a lifetime, too");
  for (const method of ["PUT", "DELETE", "PATCH", "GET"]) assert.equal(await send(method), undefined, method);
});
