/** From the attacker's side: what strangers and web pages can reach, and what a browser is told of foreign content. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { PLAIN, type Value } from "../../lib/core/value.ts";
import { bothRuntimes, startNode, temporaryDirectory } from "../support/node.ts";
import { ManualClock } from "../support/clock.ts";
import { askRaw } from "../support/raw-client.ts";
import { test } from "../support/test.ts";
import { siteBehindNode } from "./site_support.ts";
import { appWith, MemoryGroup, onBun, serve, valueOf } from "./support.ts";

const PAGE = "<script>fetch('/_admin/groups/g/invalidate',{method:'POST',body:'{\"all\":true}'})</script>";

test("a page among the values gets an origin of its own, whatever its group and its headers say", async (defer) => {
  const { app, g, dict } = appWith({ isLoopbackOnly: true });
  const fields = [["content-security-policy", "default-src *"], ["x-content-type-options", "none"]] as const;
  const withFields: Value = { ...valueOf(PAGE, "text/html"), about: { ...PLAIN, fields } };
  g.main.set("plain", valueOf(PAGE, "text/html"));
  g.main.set("fields", withFields);
  g.onLoad = () => Promise.resolve({ value: withFields, source: "origin", stored: true });
  dict.main.set("word", valueOf(PAGE, "text/html"));
  const port = serve(app.fetch, defer);
  const targets: [target: string, lines?: string[]][] = [
    ["/cache/g/plain"],
    ["/cache/g/fields"],
    ["/cache/g/fields", ["Range: bytes=0-3"]],
    ["/cache/g/loaded"],
    ["/define/word"],
    ["/_groupcache/g/plain"],
  ];
  for (const [target, lines] of targets) {
    for (const method of ["GET", "HEAD"]) {
      const headers = await headersOf(port, method, target, "h.test", lines);
      // Of several policies each counts.
      assert.match(headers.get("content-security-policy") ?? "", /(^|, )sandbox$/, `${method} ${target}`);
      assert.equal(headers.get("x-content-type-options"), "nosniff", `${method} ${target}`);
    }
  }
  const batch = await askRaw(`http://127.0.0.1:${port}`, {
    method: "POST",
    target: "/cache/g/_get",
    lines: ["Content-Length: 18"],
    body: '{"keys":["plain"]}',
  });
  assert.equal(batch.headers.get("content-security-policy"), "sandbox");
});

test("a site keeps its own policy under its own host, and is sandboxed under /cache, hit or not", async (defer) => {
  const { port } = await siteBehindNode(defer, (request, response) => {
    response.setHeader("content-type", "text/html");
    response.setHeader("x-content-type-options", "none");
    if (!request.url!.endsWith("/bare")) response.setHeader("content-security-policy", "img-src *");
    if (request.method === "GET") response.setHeader("cache-control", "max-age=60");
    response.end(PAGE);
  });
  const policyOf = async (target: string, host = "h.test", method = "GET") => {
    const headers = await headersOf(port, method, target, host);
    return [headers.get("content-security-policy"), headers.get("x-content-type-options")];
  };
  for (let i = 0; i < 3; i++) {
    // In turn: the stored value has two forms.
    assert.deepEqual(await policyOf("/cache/site/page"), ["img-src *, sandbox", "nosniff"]);
    assert.deepEqual(await policyOf("/page", "site.test"), ["img-src *", "none"]);
    assert.deepEqual(await policyOf("/cache/site/bare"), ["sandbox", "nosniff"]);
    assert.deepEqual(await policyOf("/cache/site/page", undefined, "POST"), ["img-src *, sandbox", "nosniff"]);
    assert.deepEqual(await policyOf("/page", "site.test", "POST"), ["img-src *", "none"]);
  }
});

test("the page runs its own script alone, stands in no frame, and neither it nor the figures reach another origin", async () => {
  const { app } = appWith();
  for (const path of ["/", "/stats", "/metrics", "/events"]) {
    const { headers, body } = await app.request(`http://h${path}`);
    await body?.cancel();
    assert.equal(headers.get("x-content-type-options"), "nosniff", path);
    assert.equal(headers.get("cross-origin-resource-policy"), "same-origin", path);
    assert.equal(headers.get("referrer-policy"), "no-referrer", path);
    assert.equal(headers.get("cache-control"), "no-store", path);
    assert.equal(headers.get("access-control-allow-origin"), null, path);
  }
  const page = await app.request("http://h/");
  const policy = page.headers.get("content-security-policy")!;
  for (const rule of ["default-src 'none'", "frame-ancestors 'none'", "form-action 'none'", "base-uri 'none'"]) {
    assert.ok(policy.includes(rule), rule);
  }
  assert.doesNotMatch(policy, /unsafe|\*|http/);
  assert.match(policy, /; script-src 'sha256-[^' ]+'; connect-src 'self';/);
  assert.equal(page.headers.get("cross-origin-opener-policy"), "same-origin");
  // The only style and the only script that may be used are those that stand there.
  const text = await page.text();
  for (const element of ["style", "script"]) {
    const [, content] = new RegExp(`<${element}>(.*?)</${element}>`, "s").exec(text)!;
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(content));
    assert.ok(policy.includes(`${element}-src 'sha256-${btoa(String.fromCharCode(...new Uint8Array(digest)))}'`));
  }
});

test("without a token nobody but this machine sees the figures, on either runtime's server", async (defer) => {
  const closed = serve(appWith({ isStatsPublic: false }).app.fetch, defer);
  const local = serve(appWith({ isStatsPublic: false, isLoopbackOnly: true }).app.fetch, defer);
  const statusOf = async (port: number, target: string, lines: string[] = []) =>
    (await askRaw(`http://127.0.0.1:${port}`, { target, lines })).status;
  for (const target of ["/stats", "/metrics", "/", "/events", "http://localhost/stats"]) {
    assert.equal(await statusOf(closed, target), 403, target);
    // An allowed answer of the events has no end.
    if (target !== "/events") assert.equal(await statusOf(local, target), 200, target);
    for (
      const line of ["Origin: http://evil.test", "Via: 1.1 x", "X-Forwarded-For: ::1", "Sec-Fetch-Site: cross-site"]
    ) {
      assert.equal(await statusOf(local, target, [line]), 403, `${target} ${line}`);
    }
  }
  // Deno reads a path out of this Host.
  for (const host of ["localhost/stats?", "localhost/stats#", "evil.test"]) {
    const head = `GET /stats HTTP/1.1\r\nHost: ${host}\r\n`;
    assert.notEqual((await asTyped(local, head)).slice(9, 12), "200", host);
    assert.doesNotMatch(await asTyped(local, head.replace("/stats H", "/cache/g/k H")), /"groups"/);
  }
  assert.equal(await statusOf(closed, "/healthz"), 200);
  assert.equal(await statusOf(closed, "/readyz"), 200);
  assert.equal(await statusOf(closed, "/cache/g/k"), 200);
  // No other answer tells what is inside.
  for (const target of ["/healthz", "/nosuch", "/cache/nosuch/k", "/cache/g/", "/_peer", "/_admin/x", "/stats"]) {
    const { body } = await askRaw(`http://127.0.0.1:${closed}`, { target });
    assert.doesNotMatch(body, /"groups"|"gets"|roster|http:\/\/127|dict/, target);
  }
});

/** The headers of an answer, whatever its body; lines of one name as one list. */
async function headersOf(
  port: number,
  method: string,
  target: string,
  host: string,
  lines: readonly string[] = [],
): Promise<ReadonlyMap<string, string>> {
  const head = [`${method} ${target} HTTP/1.1`, `Host: ${host}`, "Content-Length: 0", ...lines, ""].join("\r\n");
  const [answer] = (await asTyped(port, head)).split("\r\n\r\n");
  const found = new Map<string, string>();
  for (const line of answer!.split("\r\n").slice(1)) {
    const name = line.slice(0, line.indexOf(":")).toLowerCase();
    const value = line.slice(name.length + 1).trim();
    found.set(name, found.has(name) ? `${found.get(name)}, ${value}` : value);
  }
  return found;
}

/** Sends the head with a `Connection: close`, and returns all of the answer. */
function asTyped(port: number, head: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let text = "";
    socket.on("data", (data) => text += data.toString("latin1")).on("error", reject).on("close", () => resolve(text));
    socket.write(Buffer.from(`${head}Connection: close\r\n\r\n`, "latin1"));
  });
}

test("a content type that no header can carry is refused when it is written", async (defer) => {
  const { app, g } = appWith({ isLoopbackOnly: true });
  g.isWritable = true;
  const port = serve(app.fetch, defer);
  for (const byte of [0x01, 0x08, 0x0b, 0x1f, 0x7f]) {
    const head = `PUT /cache/g/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/${String.fromCharCode(byte)}b\r\n` +
      "Content-Length: 0\r\n";
    assert.match(await asTyped(port, head), /^HTTP\/1\.1 400 /, String(byte));
  }
  assert.equal(g.written.length, 0);
  // What Latin-1 has is carried as it came.
  const put = await asTyped(
    port,
    "PUT /cache/g/k HTTP/1.1\r\nHost: localhost\r\nContent-Type: a/\xe4\r\nContent-Length: 0\r\n",
  );
  assert.match(put, /^HTTP\/1\.1 200 /);
  assert.equal(g.written[0]!.contentType, "a/\xe4");
});

test("a header that no server takes is refused before a site is asked", async (defer) => {
  const { port, asked, log } = await siteBehindNode(defer, (_request, response) => void response.end("ok"));
  for (const method of ["GET", "POST", "HEAD"]) {
    const head = `${method} /cache/site/x HTTP/1.1\r\nHost: localhost\r\nX-A: a\x7fb\r\nContent-Length: 0\r\n`;
    assert.match(await asTyped(port, head), /^HTTP\/1\.1 400 /, method);
  }
  assert.deepEqual([asked, log.lines], [[], []]);
});

test("clients whose requests fail inside the node cannot flood its log", async () => {
  const clock = new ManualClock();
  const { app, g, log } = appWith({ clock, isLoopbackOnly: true });
  g.onLoad = () => Promise.reject(new RangeError("x".repeat(10_000)));
  g.onChange = () => Promise.reject(new RangeError("y"));
  for (let i = 0; i < 500; i++) {
    assert.equal((await app.request(`http://localhost/cache/g/${i}`)).status, 500);
    assert.equal((await app.request(`http://localhost/cache/g/${i}`, { method: "PURGE" })).status, 500);
  }
  assert.equal(log.lines.length, 60);
  assert.ok(log.lines.every((line) => line.length < 1_100));
  await clock.advance(60_000);
  assert.equal(log.lines.at(-1), "warn 940 more lines about requests of clients were left out");
});

test("a site under its own host answers 500 when the node fails, and shows no stack", async () => {
  const group = new MemoryGroup("s");
  group.lookup = () => {
    throw new RangeError("secret");
  };
  const site = Object.assign(group, { site: { isPassing: () => false } });
  // deno-lint-ignore no-explicit-any
  const { app } = appWith({ hosts: new Map([["s.test", site as any]]) });
  const response = await app.request("http://s.test/x");
  assert.equal(response.status, 500);
  assert.doesNotMatch(await response.text(), /secret|\.ts/);
});

const TOKEN = "a-token-of-this-test";

test("with a token only its owner changes and sees, from this machine too", { timeoutMs: 60_000 }, async (defer) => {
  const file = join(temporaryDirectory(defer), "token");
  writeFileSync(file, `${TOKEN}\n`, { mode: 0o600 });
  const kind = bothRuntimes[onBun ? 0 : 1]!;
  const node = await startNode(defer, kind, ["--nats", "off", "--admin-token-file", file]);
  const ask = async (method: string, target: string, token?: string, body = "") => {
    const lines = [`Content-Length: ${body.length}`];
    if (token !== undefined) lines.push(`Authorization: Bearer ${token}`);
    return await askRaw(node.url, { method, target, lines, body });
  };
  assert.match(await asTyped(Number(new URL(node.url).port), "HEAD /stats HTTP/1.1\r\nHost: localhost\r\n"), / 401 /);
  const guarded: [method: string, target: string, body?: string][] = [
    ["GET", "/stats"],
    ["GET", "/metrics"],
    ["GET", "/"],
    ["PURGE", "/cache/dict/roster"],
    ["POST", "/_admin/groups/dict/invalidate", '{"all":true}'],
    ["GET", "/_admin/groups/dict/invalidate"],
    ["POST", "/_admin/nosuch"],
    ["POST", "/_admin"],
  ];
  for (const [method, target, body] of guarded) {
    const [missing, wrong] = [
      await ask(method, target, undefined, body),
      await ask(method, target, "x".repeat(20), body),
    ];
    assert.deepEqual([missing.status, wrong.status, wrong.body], [401, 401, missing.body], `${method} ${target}`);
    assert.equal(missing.headers.get("www-authenticate"), "Bearer");
    assert.ok(![401, 403].includes((await ask(method, target, TOKEN, body)).status), `${method} ${target}`);
  }
  for (const target of ["/healthz", "/readyz", "/cache/dict/roster", "/define/roster"]) {
    assert.equal((await ask("GET", target)).status, 200, target);
  }
  assert.doesNotMatch(node.lines.join("\n"), new RegExp(TOKEN));
  const commandLine = readFileSync(`/proc/${node.child.pid}/cmdline`, "utf8");
  assert.doesNotMatch(commandLine, new RegExp(TOKEN));
});
