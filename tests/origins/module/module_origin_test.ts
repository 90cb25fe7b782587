import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import {
  ConfigError,
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OverloadedError,
} from "../../../lib/core/errors.ts";
import { BLIND } from "../../../lib/core/invalidation/label.ts";
import { DEFAULT_LIFETIME } from "../../../lib/core/lifetime/policy.ts";
import { PLAIN, type Value } from "../../../lib/core/value.ts";
import type { OriginDeps } from "../../../lib/origins/deps.ts";
import { createOrigin, parseOrigin } from "../../../lib/origins/origin.ts";
import { UnansweredError } from "../../../lib/origins/unanswered.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { temporaryDirectory } from "../../support/node.ts";
import { type Defer, test } from "../../support/test.ts";

const patient = new AbortController().signal;

/** An origin with this source; runtimes remember a module, so each has a file of its own. */
function originOf(defer: Defer, source: string, deps: Partial<OriginDeps> = {}, name = "origin.ts") {
  const path = join(temporaryDirectory(defer), name);
  writeFileSync(path, source);
  const clock = new ManualClock();
  const origin = createOrigin(parseOrigin(`module:${path}`), { clock, ...deps });
  return { origin, clock, path };
}

const text = (body: Uint8Array) => new TextDecoder().decode(body);

/** An expired value of ten seconds ago. */
function held(clock: ManualClock, about: Partial<Value["about"]> = {}): Value {
  const bornAtMs = clock.nowMs() - 10_000;
  return {
    body: new TextEncoder().encode("old"),
    contentType: "text/x-old",
    bornAtMs,
    freshUntilMs: bornAtMs + 1,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 0,
    loadMs: 1,
    about: { ...PLAIN, ...about },
    label: BLIND,
  };
}

test("a module is named by a relative path, an absolute one, or a file URL", async (defer) => {
  const { path } = originOf(defer, `export const load = (key: string) => "value of " + key;`, {}, "a b#é.ts");
  for (const name of [path, relative(process.cwd(), path), pathToFileURL(path).href]) {
    const origin = createOrigin(parseOrigin(`module:${name}`), { clock: new ManualClock() });
    assert.equal(await origin.check(), undefined, name);
    const answer = await origin.load("a/b ü", patient);
    assert.equal(text(answer.body), "value of a/b ü");
    assert.equal(answer.contentType, "text/plain; charset=utf-8");
    assert.equal(answer.freshness, undefined);
  }
});

test("load may be a named export, the default export, or a method of it", async (defer) => {
  for (
    const source of [
      `export async function load(key: string) { return key; }`,
      `export default function (key: string) { return key; }`,
      `export default { own: "", load(key: string) { return this.own + key; } };`,
    ]
  ) {
    const { origin } = originOf(defer, source);
    assert.equal(text((await origin.load("k", patient)).body), "k");
  }
});

test("a body is text, bytes, a buffer, a stream or a response, and is copied", async (defer) => {
  const { origin } = originOf(
    defer,
    `const pool = new Uint8Array([120, 104, 105, 120]);
    const stream = (...chunks: unknown[]) => new ReadableStream({ start(to) { for (const chunk of chunks) to.enqueue(chunk); to.close(); } });
    export const pooled = pool;
    const results: Record<string, () => unknown> = {
      bytes: () => pool.subarray(1, 3),
      buffer: () => pool.buffer,
      stream: () => stream(new Uint8Array([104]), "i ü"),
      later: () => ({ body: Promise.resolve("hi") }),
      response: () => new Response("{}", { headers: { "content-type": "application/json" } }),
      empty: () => "",
    };
    export const load = async (key: string) => { const result = results[key]!(); setTimeout(() => pool.fill(0), 0); return result; };`,
  );
  const loaded = async (key: string) => {
    const { body, contentType } = await origin.load(key, patient);
    return [text(body), contentType];
  };
  const [bytes, octets] = await loaded("bytes");
  assert.deepEqual([bytes, octets], ["hi", "application/octet-stream"]);
  assert.deepEqual(await loaded("stream"), ["hi ü", octets]);
  assert.deepEqual(await loaded("later"), ["hi", "text/plain; charset=utf-8"]);
  assert.deepEqual(await loaded("response"), ["{}", "application/json"]);
  assert.deepEqual(await loaded("empty"), ["", "text/plain; charset=utf-8"]);
  assert.equal((await origin.load("buffer", patient)).body.length, 4);
});

test("a value says how long it lives, its tags and its etag", async (defer) => {
  const lifetime = { ...DEFAULT_LIFETIME, ttlMs: 50_000, ttlJitter: 0, staleIfErrorMs: 7 };
  const source = `export const load = (key: string) => ({ body: "x", ...JSON.parse(key) });`;
  const { origin } = originOf(defer, source, { lifetime });
  const load = async (more: Record<string, unknown>) => await origin.load(JSON.stringify(more), patient);
  const byPolicy = {
    isStorable: true,
    ageMs: 0,
    freshMs: 50_000,
    staleWhileRevalidateMs: 0,
    staleIfErrorMs: 7,
    hasOwnLifetime: false,
    hasOwnStale: false,
  };
  const own = { ...byPolicy, hasOwnLifetime: true };
  assert.deepEqual((await load({ ttlMs: 1_000 })).freshness, { ...own, freshMs: 1_000 });
  assert.deepEqual((await load({ ttlMs: null })).freshness, { ...own, freshMs: Infinity });
  assert.deepEqual((await load({ etag: "v1" })).freshness, byPolicy);
  assert.deepEqual((await load({ etag: "v1" })).fields, [["etag", '"v1"']]);
  assert.deepEqual((await load({ etag: 'W/"v1"' })).fields, [["etag", 'W/"v1"']]);
  const staleness = { staleWhileRevalidateMs: 5, staleIfErrorMs: 6 };
  assert.deepEqual((await load(staleness)).freshness, { ...byPolicy, ...staleness, hasOwnStale: true });
  const tagged = await load({ tags: ["a", "b", "a"], contentType: "text/html" });
  assert.deepEqual([tagged.tags, tagged.contentType, tagged.freshness], [["a", "b"], "text/html", undefined]);
  assert.equal((await load({ tags: Array.from({ length: 1_001 }, (_, at) => `t${at}`) })).tags, "any");
  const deaf = originOf(defer, source, { lifetime: { ...lifetime, honourOrigin: false } });
  const ignored = await deaf.origin.load('{"ttlMs":1,"staleIfErrorMs":1}', patient);
  assert.deepEqual(ignored.freshness, byPolicy);
});

test("nothing, status 404 and an error of that name mean that there is no such value", async (defer) => {
  const { origin } = originOf(
    defer,
    `class NotFoundError extends Error { name = "NotFoundError"; }
    const results: Record<string, () => unknown> = {
      undefined: () => undefined,
      null: () => null,
      status: () => ({ status: 404, tags: ["t"], ttlMs: 5 }),
      response: () => new Response("no such page", { status: 404 }),
    };
    export const load = async (key: string) => { if (key === "thrown") throw new NotFoundError("gone"); return results[key]!(); };`,
  );
  for (const key of ["undefined", "null", "response"]) {
    const { status, body, freshness } = await origin.load(key, patient);
    assert.deepEqual([status, body.length, freshness], [404, 0, undefined], key);
  }
  const { tags, freshness } = await origin.load("status", patient);
  assert.deepEqual([tags, freshness?.freshMs], [["t"], 5]);
  await assert.rejects(origin.load("thrown", patient), (error) => error instanceof NotFoundError);
});

test("other errors are told by their name, with the place in the module", async (defer) => {
  const { origin } = originOf(
    defer,
    `class Named extends Error { constructor(public name: string) { super("why"); } }
`.replace("public name: string", "name: string").replace('super("why");', 'super("why"); this.name = name;') +
      `export function load(key: string) {
  if (key === "text") throw "only text";
  throw new Named(key);
}`,
  );
  const classes: [string, new () => Error][] = [
    ["OverloadedError", OverloadedError],
    ["TimeoutError", OriginTimeoutError],
    ["TypeError", UnansweredError],
    ["text", UnansweredError],
  ];
  for (const [name, wanted] of classes) {
    await assert.rejects(origin.load(name, patient), (error: Error) => {
      assert.equal(error.constructor, wanted);
      assert.match(
        error.message,
        name === "text" ? /^origin\.ts: only text$/ : /^origin\.ts: why \(line 4, column \d+\)$/,
      );
      return true;
    });
  }
});

test("what is no value is refused, and says why", async (defer) => {
  const { origin } = originOf(
    defer,
    `const results: Record<string, unknown> = {
      number: 5, list: [1], object: { name: "x" }, noBody: { body: undefined, ttlMs: 1 }, status: { body: "x", status: 500 },
      response: new Response("x", { status: 503 }), type: { body: "x", contentType: "a\\r\\nb" }, etag: { body: "x", etag: "a b" },
      ttl: { body: "x", ttlMs: -1 }, tags: { body: "x", tags: "t" }, long: "x".repeat(11),
      stream: new ReadableStream({ pull(to) { to.enqueue(new Uint8Array(4)); } }),
      chunks: new ReadableStream({ start(to) { to.enqueue(5); } }),
      broken: new ReadableStream({ pull(to) { to.error(new Error("cut")); } }),
    };
    export const load = (key: string) => results[key];`,
    { valueBytesMax: 10 },
  );
  const reasons: Record<string, RegExp> = {
    number: /must return a body or \{ body \}: it returned a number/,
    list: /it returned an array/,
    object: /it returned an object without a body/,
    noBody: /its body must be text, bytes or a stream: it is undefined/,
    status: /its status must be 200 or 404: current value is 500/,
    response: /response with status 503/,
    type: /its contentType must be/,
    etag: /its etag must be/,
    ttl: /its ttlMs must be .* -1/,
    tags: /its tags must be a list/,
    long: /longer than the longest value, which has 10 bytes/,
    stream: /longer than the longest value/,
    broken: /its stream broke off: cut/,
    chunks: /its stream must hold text or bytes: it holds a number/,
  };
  for (const [key, reason] of Object.entries(reasons)) {
    await assert.rejects(origin.load(key, patient), (error: Error) => {
      assert.equal(error.constructor, OriginError, key);
      assert.match(error.message, reason);
      return true;
    });
  }
});

test("a stale value is given as a copy, and returning it freshens it", async (defer) => {
  const { origin, clock } = originOf(
    defer,
    `export function load(key: string, { stale }: { stale?: any }) {
      if (stale === undefined) return "new";
      if (key === "seen") return JSON.stringify({ ...stale, body: new TextDecoder().decode(stale.body) });
      stale.body.fill(120);
      return key === "longer" ? { ...stale, ttlMs: 9 } : stale;
    }`,
  );
  const value = held(clock, { etag: '"v1"', tags: ["t"] });
  const seen = JSON.parse(text((await origin.load("seen", patient, { stale: value })).body));
  assert.deepEqual(seen, { body: "old", contentType: "text/x-old", ageMs: 10_000, etag: '"v1"', tags: ["t"] });
  for (const key of ["same", "longer"]) {
    const answer = await origin.load(key, patient, { stale: value });
    assert.equal(answer.body, value.body);
    assert.equal(text(answer.body), "old");
    assert.deepEqual([answer.contentType, answer.tags, answer.fields], ["text/x-old", ["t"], [["etag", '"v1"']]]);
    assert.equal(answer.freshness?.freshMs, key === "longer" ? 9 : Infinity);
  }
  const nothing = { ...value, about: { ...PLAIN, status: 404 } };
  assert.equal(text((await origin.load("k", patient, { stale: nothing })).body), "new");
});

test("an abort and the end of the time reach the module, and end a load that goes on regardless", async (defer) => {
  const { origin, clock } = originOf(
    defer,
    `export const seen: unknown[] = [];
    (globalThis as any).seenByModule = seen;
    export const load = (key: string, { signal }: { signal: AbortSignal }) => new Promise((_, reject) => {
      signal.addEventListener("abort", () => { seen.push(signal.reason); if (key === "heeds") reject(new Error("late")); });
      if (key === "stream") _(new ReadableStream({ cancel(reason) { seen.push(reason); } }));
    });`,
    { loadTimeoutMs: 1_000 },
  );
  const leaving = new AbortController();
  const reason = new Error("left");
  const loads = ["heeds", "regardless", "stream"].map((key) => origin.load(key, leaving.signal));
  const rejected = loads.map((load) => assert.rejects(load, (error) => error === reason));
  await until(clock);
  leaving.abort(reason);
  await Promise.all(rejected);
  await settle();
  const seen = (globalThis as { seenByModule?: unknown[] }).seenByModule!;
  assert.deepEqual(seen.splice(0), [reason, reason, reason, reason]);
  const late = assert.rejects(origin.load("regardless", patient), (error) => error instanceof OriginTimeoutError);
  await clock.advance(1_000);
  await late;
  assert.ok(seen[0] instanceof OriginTimeoutError);
  const closed = assert.rejects(origin.load("regardless", patient), OriginError);
  await settle();
  await origin.close();
  await closed;
  await assert.rejects(origin.load("heeds", patient), OriginError);
  assert.equal(clock.pending, 0);
});

/** The module is imported by a real turn of the event loop. */
async function until(clock: ManualClock): Promise<void> {
  for (let turns = 0; turns < 50; turns++) await new Promise((turned) => setTimeout(turned, 1));
  assert.equal(clock.pending, 3);
}

test("a module that cannot be used is refused in one line that names it and the reason", async (defer) => {
  const sources: [string, RegExp][] = [
    ["export function load( {", /: .*[Ee]xpected.* \(.*:?1.*:? ?\d+\)$/],
    ['throw new RangeError("no database\\nat all");', /: RangeError: no database$/],
    ['import "./nowhere.ts"; export const load = 1;', /nowhere\.ts/],
    ["export const load = 1;", /: it must export load: export function load\(key, \{ signal, stale \}\) \{ … \}$/],
    ["export default { load: 1 };", /: it must export load/],
  ];
  for (const [source, reason] of sources) {
    const { origin, path } = originOf(defer, source);
    await assert.rejects(origin.check(), (error: Error) => {
      assert.ok(error instanceof ConfigError, source);
      assert.ok(error.message.startsWith(`Cannot use the module ${path}: `), error.message);
      assert.match(error.message, reason);
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(error.message, /[\n\x1b]/);
      return true;
    });
    // Loads that came before the check has failed.
    await assert.rejects(origin.load("k", patient), OriginError);
  }
  const folder = temporaryDirectory(defer);
  for (const path of [folder, join(folder, "missing.ts")]) {
    const origin = createOrigin(parseOrigin(`module:${path}`), { clock: new ManualClock() });
    await assert.rejects(origin.check(), (error: Error) => {
      assert.equal(error.message, `Cannot use the module ${path}: there is no such file`);
      return error instanceof ConfigError;
    });
  }
});

test("a module that takes long to import is doubted, and its loads wait", async (defer) => {
  const source = `await new Promise((go) => (globalThis as any).goOn = go); export const load = () => "x";`;
  const { origin, clock } = originOf(defer, source, { loadTimeoutMs: 1_000 });
  const checked = origin.check();
  const load = origin.load("k", patient);
  for (let turns = 0; turns < 50; turns++) await new Promise((turned) => setTimeout(turned, 1));
  const late = assert.rejects(load, OriginTimeoutError);
  await clock.advance(1_000);
  assert.match(await checked ?? "", /^origin\.ts has not been imported within 1000 ms: its loads wait for that$/);
  await late;
  (globalThis as unknown as { goOn: () => void }).goOn();
  assert.equal(text((await origin.load("k", patient)).body), "x");
});

test("a name that is no path of a file is refused", () => {
  for (const name of ["", "npm:chalk", "https://h/o.ts", "file:o.ts", "file://host/o.ts", "a\nb"]) {
    assert.throws(() => parseOrigin(`module:${name}`), /must be module: and the path of a file, or a file:\/\/\/ URL/);
  }
  assert.deepEqual(parseOrigin("module:./o.ts"), { kind: "module", specifier: "./o.ts" });
  assert.deepEqual(parseOrigin("module:o.ts"), { kind: "module", specifier: "o.ts" });
});
