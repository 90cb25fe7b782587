/** Bodies whose end nobody tells, and fields that are none: from raw sockets, the same on both runtimes. */
import assert from "node:assert/strict";
import { OriginError, OriginUnreachableError } from "../../../lib/core/errors.ts";
import { collect, HttpClient, streamOf } from "../../../lib/origins/http/client.ts";
import { SiteOrigin } from "../../../lib/origins/http/site-origin.ts";
import { TemplateOrigin } from "../../../lib/origins/http/template-origin.ts";
import { systemClock } from "../../../lib/runtime/process.ts";
import { type Piece, startBadOrigin } from "../../support/bad-origin.ts";
import { type Defer, test } from "../../support/test.ts";

const never = new AbortController().signal;
const FRESH = 'Cache-Control: max-age=60, stale-while-revalidate=60, stale-if-error=60\r\nETag: "x"\r\n' +
  "Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT\r\n";

/** Both kinds of origin, at a server that answers so. */
async function origins(defer: Defer, pieces: readonly Piece[]) {
  const { url, seen } = await startBadOrigin(defer, () => pieces);
  const site = new SiteOrigin({ base: `${url}/` }, { clock: systemClock });
  const template = new TemplateOrigin({ template: `${url}/{key}` }, { clock: systemClock });
  const client = new HttpClient(new URL(url), systemClock);
  defer(async () => {
    await site.close();
    await template.close();
    client.close();
  });
  return { site, template, client, seen };
}

const heads: Readonly<Record<string, string>> = {
  "HTTP/1.0": `HTTP/1.0 200 OK\r\n${FRESH}\r\n`,
  "HTTP/1.1": `HTTP/1.1 200 OK\r\n${FRESH}Connection: close\r\n\r\n`,
  "another coding": `HTTP/1.1 200 OK\r\n${FRESH}Transfer-Encoding: x-own\r\n\r\n`,
};

test("a body that only a reset ends is a failure: before it is read, while it is read, and streamed", async (defer) => {
  for (const [what, head] of Object.entries(heads)) {
    for (const pieces of [[`${head}hi`, "RESET"], [head, "hi", "RESET"], [head + "x".repeat(200_000), "RESET"]]) {
      const { site, template, client } = await origins(defer, pieces);
      for (const origin of [site, template]) {
        await assert.rejects(origin.load("a", never), OriginError, what);
      }
      const answer = await client.exchange({ method: "GET", target: "/a", fields: [] }, null, never).catch(() =>
        undefined
      );
      if (answer !== undefined) await assert.rejects(new Response(streamOf(answer.body)).bytes(), what);
    }
  }
});

test("a body that is read after the reset has come fails, too", async (defer) => {
  const { client } = await origins(defer, [`${heads["HTTP/1.0"]}hi`, "RESET"]);
  const answer = await client.exchange({ method: "GET", target: "/a", fields: [] }, null, never).catch(() => undefined);
  if (answer === undefined) return;
  await new Promise((later) => setTimeout(later, 50));
  await assert.rejects(collect(answer, 100));
});

test("a body that an orderly end ends may have been cut: it is served for ten seconds, and never freshened", async (defer) => {
  for (const head of [heads["HTTP/1.0"]!, heads["HTTP/1.1"]!]) {
    const { site, template } = await origins(defer, [`${head}hi`, "END"]);
    for (const origin of [site, template]) {
      const { body, freshness, fields = [] } = await origin.load("a", never);
      assert.equal(new TextDecoder().decode(body), "hi");
      const { freshMs, staleWhileRevalidateMs, staleIfErrorMs, isStorable } = freshness!;
      assert.deepEqual([freshMs, staleWhileRevalidateMs, staleIfErrorMs, isStorable], [10_000, 0, 0, true]);
      assert.deepEqual(fields.filter(([name]) => name === "etag" || name === "last-modified"), []);
    }
  }
});

test("a length, chunks, or a status without a body leave no doubt", async (defer) => {
  const chunked = `HTTP/1.1 200 OK\r\n${FRESH}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n`;
  for (const answer of [`HTTP/1.1 200 OK\r\n${FRESH}Content-Length: 2\r\n\r\nhi`, chunked]) {
    const { site, template } = await origins(defer, [answer, "END"]);
    for (const origin of [site, template]) {
      const { freshness, fields = [] } = await origin.load("a", never);
      assert.ok(freshness!.freshMs > 50_000);
      assert.ok(fields.some(([name]) => name === "etag"));
    }
  }
  const { site } = await origins(defer, [`HTTP/1.1 204 No Content\r\n${FRESH}\r\n`, "END"]);
  assert.ok((await site.load("a", never)).freshness!.freshMs > 50_000);
});

test("no control character of an origin's fields comes to a value", async (defer) => {
  const codes = [...Array(0x20).keys(), 0x7f].filter((code) => code !== 0x09);
  for (const name of ["Content-Type", "X-Any", "ETag"]) {
    for (const code of codes) {
      const line = `${name}: a${String.fromCharCode(code)}b\r\n`;
      const { site } = await origins(defer, [`HTTP/1.1 200 OK\r\n${line}Content-Length: 2\r\n\r\nhi`]);
      await site.load("a", never).then(({ contentType, fields = [] }) => {
        const all = [contentType, ...fields.flat()].join("");
        // deno-lint-ignore no-control-regex
        assert.doesNotMatch(all, /[\x00-\x08\x0a-\x1f\x7f]/, `${name} ${code}`);
        // Those that end a line begin another one, which is the origin's own.
        assert.ok(code === 0x0a || code === 0x0d, `${name} ${code}`);
      }, (error) => assert.ok(error instanceof OriginError, `${error}`));
    }
  }
  const { site } = await origins(defer, ["HTTP/1.1 200 OK\r\nX-A: tab\there, caf\xe9\r\nContent-Length: 2\r\n\r\nhi"]);
  assert.deepEqual((await site.load("a", never)).fields, [["x-a", "tab\there, café"]]);
});

test("an end before the first byte of an answer is no word of the origin; one after it is", async (defer) => {
  for (const end of ["END", "RESET"] as const) {
    const cases: [readonly Piece[], boolean][] = [
      [[end], true],
      [["HTTP/1.1 200", end], false],
      [["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", end], false],
      [["hello\r\n\r\n", end], false],
    ];
    for (const [pieces, isUnreachable] of cases) {
      const { site, template } = await origins(defer, pieces);
      for (const origin of [site, template]) {
        await assert.rejects(origin.load("a", never), (error) => {
          assert.ok(error instanceof OriginError, `${error}`);
          assert.equal(error instanceof OriginUnreachableError, isUnreachable, `${pieces.join()}: ${error}`);
          return true;
        });
      }
    }
  }
});

test("a site's key that leads out of the site is refused, in any spelling; one that stays inside goes as it is", async (defer) => {
  const { url, seen } = await startBadOrigin(defer, () => ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
  for (const base of ["/", "/base/"]) {
    const site = new SiteOrigin({ base: url + base }, { clock: systemClock });
    defer(() => site.close());
    const out = [
      "..",
      "../a",
      "..%2Fa",
      "%2e%2e/a",
      "%2E.%5ca",
      "..\\a",
      "%252e%252e%252fa",
      "a/../../b",
      "a//../../b",
      "./../a",
      "a%2f../../b",
      "a/..%2f../b",
      "..;x/a",
      "%2e%2e%3bx/a",
      "../a?b",
    ];
    for (const key of out) {
      await assert.rejects(site.load(key, never), { name: "BadKeyError" }, key);
      const request = { method: "POST", key, fields: [], body: null };
      await assert.rejects(site.forward(request, never), { name: "BadKeyError" }, key);
    }
    assert.deepEqual(seen.splice(0), []);
    const inside = [
      "a/../b",
      "a/%2e%2e/b",
      "a/..%2Fb",
      "./a",
      "...",
      "..a",
      "a/b/../../c",
      "a?x=../..",
      "a%2Fb",
      "%252e",
    ];
    for (const key of inside) await site.load(key, never);
    assert.deepEqual(seen.splice(0).map(({ path }) => path), inside.map((key) => base + key));
  }
});

test("a key that no request line can carry is refused, and the site hears nothing of it", async (defer) => {
  const { url, seen } = await startBadOrigin(defer, () => ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
  const site = new SiteOrigin({ base: `${url}/` }, { clock: systemClock });
  defer(() => site.close());
  // U+010D U+010A would be CR LF to a client that writes the low byte of each unit.
  for (const key of ["a HTTP/1.0", "a\r\nX: 1", "\u010d\u010aX:", "caf\xe9", "a#b", "a\tb", "a\x7f"]) {
    await assert.rejects(site.load(key, never), { name: "BadKeyError" }, key);
    await assert.rejects(site.forward({ method: "POST", key, fields: [], body: null }, never), { name: "BadKeyError" });
  }
  assert.deepEqual(seen, []);
});
