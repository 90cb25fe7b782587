import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { version } from "../../../lib/config/config.ts";
import { NotFoundError, OriginError, OriginTimeoutError } from "../../../lib/core/errors.ts";
import { DEFAULT_LIFETIME, type LifetimePolicy } from "../../../lib/core/lifetime/policy.ts";
import type { OriginDeps } from "../../../lib/origins/deps.ts";
import { TemplateOrigin } from "../../../lib/origins/http/template-origin.ts";
import { ManualClock } from "../../support/clock.ts";
import { freePort } from "../../support/free-port.ts";
import { type Defer, test } from "../../support/test.ts";

const never = new AbortController().signal;
const MIB = 1024 * 1024;

interface Setting {
  origin: TemplateOrigin;
  clock: ManualClock;
  /** The targets of the requests, as they were on the wire. */
  targets: string[];
}

async function setting(
  defer: Defer,
  path: string,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
  deps: Partial<OriginDeps> = {},
): Promise<Setting> {
  const targets: string[] = [];
  const server = createServer((request, response) => {
    targets.push(request.url!);
    handle(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const { port } = server.address() as { port: number };
  const clock = new ManualClock();
  const origin = new TemplateOrigin({ template: `http://127.0.0.1:${port}${path}` }, { ...deps, clock });
  defer(() => origin.close());
  return { origin, clock, targets };
}

test("200 is a value with its bytes and its content type", async (defer) => {
  const { origin, clock } = await setting(defer, "/{key}", (request, response) => {
    if (request.url === "/typed") response.setHeader("content-type", "image/png");
    response.end(Uint8Array.from([0, 255, 10, 13]));
  });
  const typed = await origin.load("typed", never);
  assert.deepEqual([...typed.body], [0, 255, 10, 13]);
  assert.equal(typed.contentType, "image/png");
  assert.equal((await origin.load("plain", never)).contentType, "application/octet-stream");
  assert.equal(clock.pending, 0);
});

test("a server sees the same request headers from both runtimes", async (defer) => {
  let seen: Record<string, unknown> = {};
  const { origin } = await setting(defer, "/{key}", (request, response) => {
    seen = request.headers;
    response.end("ok");
  }, { version });
  await origin.load("a", never);
  // Which way a runtime keeps its connections is its own.
  const { host: _host, connection: _connection, ...headers } = seen;
  assert.deepEqual(headers, {
    accept: "*/*",
    "accept-encoding": "identity",
    "user-agent": `muster/${version}`,
  });
});

test("a body in an encoding that was not asked for is a failure, and an empty content type is none", async (defer) => {
  const asked = new Set<unknown>();
  const { origin } = await setting(defer, "/{key}", (request, response) => {
    asked.add(request.headers["accept-encoding"]);
    const encoding = request.url!.slice(1);
    const body = encoding === "gzip" ? gzipSync("text") : encoding === "br" ? brotliCompressSync("text") : "text";
    response.writeHead(200, { "content-type": "", ...(encoding === "none" ? {} : { "content-encoding": encoding }) });
    response.end(body);
  });
  for (const encoding of ["none", "identity", "gzip", "br"]) {
    const { body, contentType } = await origin.load(encoding, never);
    assert.equal(new TextDecoder().decode(body), "text", encoding);
    assert.equal(contentType, "application/octet-stream");
  }
  for (const encoding of ["zstd", "unheard-of", "x-none"]) {
    await assert.rejects(origin.load(encoding, never), new RegExp(`encoded as ${encoding}`), encoding);
  }
  assert.deepEqual([...asked], ["identity"]);
});

test("a content type that no peer would take is a failure for all", async (defer) => {
  const { origin } = await setting(defer, "/{key}", (request, response) => {
    response.setHeader("content-type", `text/${"a".repeat(Number(request.url!.slice(1)) - 5)}`);
    response.end();
  });
  assert.equal((await origin.load("1024", never)).contentType.length, 1_024);
  await assert.rejects(origin.load("1025", never), /content type of more than 1024 bytes/);
});

test("what may be a secret in the query is in no message, though the runtime's own has it", async (defer) => {
  const { origin } = await setting(defer, "/{key}?token=secret", (_, response) => {
    response.writeHead(200, { "content-encoding": "gzip" });
    response.end("this is not gzip");
  });
  const told = (error: unknown): boolean => {
    assert.ok(error instanceof OriginError);
    assert.ok(!`${error.message} ${error.cause}`.includes("secret"), error.message);
    return true;
  };
  await assert.rejects(origin.load("a", never), told);
});

test("an empty body is a value", async (defer) => {
  const { origin } = await setting(defer, "/{key}", (_, response) => response.end());
  assert.equal((await origin.load("a", never)).body.length, 0);
});

test("a key arrives as it is, in the path and in the query", async (defer) => {
  const keys = [
    "a",
    "a b",
    "a/b",
    "ä",
    "日本",
    "a?b#c",
    "100%",
    "%2F",
    "a+b&c=d",
    "o'clock!*()",
    "...",
    ".a",
    "a\\b",
    "a\n",
  ];
  for (const path of ["/x/{key}", "/x?key={key}&y=1", "/x/{key}/y.txt", "/{key}?again={key}"]) {
    const { origin, targets } = await setting(defer, path, (_, response) => response.end("x"));
    for (const key of keys) {
      await origin.load(key, never);
      const encoded = [...new TextEncoder().encode(key)]
        .map((byte) => /[\w.~-]/.test(String.fromCharCode(byte)) ? String.fromCharCode(byte) : percent(byte)).join("");
      assert.equal(targets.pop(), path.replaceAll("{key}", encoded), key);
    }
  }
});

function percent(byte: number): string {
  return "%" + byte.toString(16).toUpperCase().padStart(2, "0");
}

test("a key that would step out of its place in the path is not found, and nothing is asked", async (defer) => {
  const { origin, targets } = await setting(defer, "/private/{key}", (_, response) => response.end("x"));
  for (const key of [".", "..", "\ud800", "a\udfff"]) {
    await assert.rejects(origin.load(key, never), NotFoundError, JSON.stringify(key));
  }
  assert.deepEqual(targets, []);
  const query = await setting(defer, "/x?key={key}", (_, response) => response.end("x"));
  await query.origin.load("..", never);
  assert.deepEqual(query.targets, ["/x?key=.."]);
});

test("404 and 410 are not found, every other status is a failure", async (defer) => {
  const { origin } = await setting(defer, "/{key}", (request, response) => {
    response.statusCode = Number(request.url!.slice(1));
    response.end(response.statusCode === 204 || response.statusCode === 304 ? undefined : "text");
  });
  for (const status of ["404", "410"]) assert.equal((await origin.load(status, never)).status, 404, status);
  for (const status of ["201", "204", "206", "304", "400", "401", "403", "429", "500", "503"]) {
    await assert.rejects(origin.load(status, never), OriginError, status);
  }
});

test("a redirect is followed, and a circle of them is a failure", async (defer) => {
  const { origin } = await setting(defer, "/{key}", (request, response) => {
    if (request.url === "/there") return void response.end("here");
    response.statusCode = 302;
    response.setHeader("location", request.url === "/away" ? "/there" : request.url!);
    response.end();
  });
  assert.equal(new TextDecoder().decode((await origin.load("away", never)).body), "here");
  await assert.rejects(origin.load("circle", never), OriginError);
});

test("the group's own headers go to its host, in the place of the usual ones, and to no other", async (defer) => {
  const seen: Record<string, unknown>[] = [];
  const elsewhere = await setting(defer, "/{key}", (request, response) => {
    seen.push(request.headers);
    response.end("elsewhere");
  });
  await elsewhere.origin.load("x", never);
  const place = `http://${seen.pop()!.host}/y`;
  const fields = [["authorization", "Bearer hush"], ["x-any", "hush"], ["user-agent", "mine/1"]] as const;
  const { origin } = await setting(defer, "/{key}", (request, response) => {
    seen.push(request.headers);
    if (request.url === "/a") response.writeHead(302, { location: "/b" });
    else if (request.url === "/b") response.writeHead(302, { location: place });
    response.end();
  }, { fields });
  await origin.load("a", never);
  const told = seen.map((headers) => [headers["authorization"], headers["x-any"], headers["user-agent"]]);
  const own = ["Bearer hush", "hush", "mine/1"];
  assert.deepEqual(told, [own, own, [undefined, undefined, "muster"]]);
});

test("what the group says of lengths and cookies counts", async (defer) => {
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    response.writeHead(200, { "cache-control": "max-age=60", ...(request.url === "/c" && { "set-cookie": "a=b" }) });
    response.end("12345");
  };
  const one = await setting(defer, "/{key}", handle, { valueBytesMax: 4 });
  await assert.rejects(one.origin.load("k", never), /has a body of more than 4 bytes/);
  for (const keepsCookies of [false, true]) {
    const { origin } = await setting(defer, "/{key}", handle, { valueBytesMax: 5, keepsCookies });
    assert.equal((await origin.load("k", never)).freshness?.isStorable, true);
    assert.equal((await origin.load("c", never)).freshness?.isStorable, keepsCookies);
  }
});

test("the group's lifetimes count where the origin says none, or is not to be heard", async (defer) => {
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    if (request.url === "/said") response.setHeader("cache-control", "max-age=60, stale-while-revalidate=7");
    response.statusCode = request.url === "/gone" ? 410 : 200;
    response.end();
  };
  const policy = { ...DEFAULT_LIFETIME, ttlMs: 5_000, ttlJitter: 0, staleIfErrorMs: 3_000, negativeTtlMs: 500 };
  const freshness = async (lifetime: LifetimePolicy, key: string) => {
    const { origin } = await setting(defer, "/{key}", handle, { lifetime });
    const { freshMs, staleWhileRevalidateMs, staleIfErrorMs } = (await origin.load(key, never)).freshness!;
    return [freshMs, staleWhileRevalidateMs, staleIfErrorMs];
  };
  assert.deepEqual(await freshness(policy, "unsaid"), [5_000, 0, 3_000]);
  assert.deepEqual(await freshness(policy, "said"), [60_000, 7_000, 3_000]);
  assert.deepEqual(await freshness({ ...policy, honourOrigin: false }, "said"), [5_000, 0, 3_000]);
  assert.equal((await freshness(policy, "gone"))[0], 500);
});

test("a body over 16 MiB is a failure, whether announced, unannounced or packed", async (defer) => {
  const closed: Promise<unknown>[] = [];
  const { origin } = await setting(defer, "/{key}", (request, response) => {
    response.on("error", () => {});
    closed.push(once(response, "close"));
    if (request.url === "/exact") return void response.end(new Uint8Array(16 * MIB));
    if (request.url === "/announced") {
      response.setHeader("content-length", 16 * MIB + 1);
      return void response.write("begin");
    }
    if (request.url === "/packed") {
      response.setHeader("content-encoding", "gzip");
      return void response.end(gzipSync(new Uint8Array(17 * MIB)));
    }
    for (let i = 0; i < 17; i++) response.write(new Uint8Array(MIB));
  });
  assert.equal((await origin.load("exact", never)).body.length, 16 * MIB);
  for (const key of ["announced", "unannounced", "packed"]) {
    await assert.rejects(origin.load(key, never), /more than 16777216 bytes|too long/, key);
  }
  await Promise.all(closed);
});

test("a server that is not there or breaks off is a failure", async (defer) => {
  const { origin } = await setting(defer, "/{key}", (request, response) => {
    if (request.url === "/headers") return void response.destroy();
    response.setHeader("content-length", 1000);
    response.write("half of it", () => response.destroy());
  });
  for (const key of ["headers", "body"]) {
    await assert.rejects(origin.load(key, never), (error: Error) => {
      assert.ok(error instanceof OriginError && !(error instanceof OriginTimeoutError), String(error));
      return true;
    }, key);
  }
  const nowhere = new TemplateOrigin({ template: "http://127.0.0.1:1/{key}?secret=1" }, { clock: new ManualClock() });
  await assert.rejects(nowhere.load("a", never), (error: Error) => {
    assert.ok(error instanceof OriginError);
    assert.match(error.message, /^http:\/\/127\.0\.0\.1:1\/a cannot be fetched/);
    assert.doesNotMatch(error.message, /secret/);
    return true;
  });
});

test("the reason why nothing could be fetched is told, and no secret or advice with it", async (defer) => {
  const broken = await setting(defer, "/{key}?token=hush", (_, response) => response.destroy());
  await assert.rejects(broken.origin.load("a", never), /cannot be fetched: .*(closed|reset)/i);
  const refused = new TemplateOrigin({ template: `http://127.0.0.1:${await freePort()}/{key}?token=a')"hush` }, {
    clock: new ManualClock(),
  });
  await assert.rejects(refused.load("a", never), /cannot be fetched: .*refused/i);
  for (const origin of [broken.origin, refused]) {
    await assert.rejects(origin.load("a", never), (error: Error) => !/hush|token|verbose/.test(error.message));
  }
});

test("ten seconds without an end are a timeout, before the headers and within the body", async (defer) => {
  const began = new Map<string, () => void>();
  const { origin, clock } = await setting(defer, "/{key}", (request, response) => {
    if (request.url === "/body") response.write("begin", () => began.get(request.url!)!());
    else began.get(request.url!)!();
  });
  for (const key of ["headers", "body"]) {
    const begin = new Promise<void>((resolve) => began.set(`/${key}`, resolve));
    const load = origin.load(key, never);
    load.catch(() => {});
    await begin;
    await clock.advance(9_999);
    assert.equal(clock.pending, 1);
    await clock.advance(1);
    await assert.rejects(load, OriginTimeoutError, key);
    assert.equal(clock.pending, 0);
  }
});

test("a cancelled load ends with the reason, and the server sees its request go", async (defer) => {
  const gone: Promise<unknown>[] = [];
  let began = () => {};
  const begin = new Promise<void>((resolve) => began = resolve);
  const { origin } = await setting(defer, "/{key}", (_, response) => {
    gone.push(once(response, "close"));
    response.write("begin", () => began());
  });
  const controller = new AbortController();
  const load = origin.load("a", controller.signal);
  load.catch(() => {});
  await begin;
  controller.abort(new Error("nobody waits"));
  await assert.rejects(load, /nobody waits/);
  await Promise.all(gone);
  await assert.rejects(origin.load("a", controller.signal), /nobody waits/);
});

test("close fails the requests in flight, and nothing is fetched after it", async (defer) => {
  let began = () => {};
  const begin = new Promise<void>((resolve) => began = resolve);
  const { origin } = await setting(defer, "/{key}", () => began());
  const load = origin.load("a", never);
  load.catch(() => {});
  await begin;
  await origin.close();
  await assert.rejects(load, OriginError);
  await assert.rejects(origin.load("b", never), OriginError);
});
