/** Soft invalidations; and negative values, variants and private answers, of which each is special in its way. */
import assert from "node:assert/strict";
import { NotFoundError, OriginError } from "../../../lib/core/errors.ts";
import { linesOf } from "../../../lib/core/semantics/fields.ts";
import { selectionOf } from "../../../lib/core/semantics/vary.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { read, text } from "../cluster.ts";
import { getFor, requestWith, withFreshness } from "../lifetime/support.ts";
import { got, held, kindsFor, nodes, numbered, shut } from "./support.ts";

const KINDS = kindsFor("k-1").length;

test("a softly invalidated value is served stale at once, and one load refreshes it for all nodes", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, all, a, b, c, clock, origin, invalidate } = nodes({ staleWhileRevalidateMs: 60_000 });
    for (const group of [...all, ...all]) await group.get(key);
    const open = shut(origin);
    invalidate({ ...kindsFor(key)[kind]!, soft: true });
    for (let round = 0; round < 20; round++) {
      for (const group of all) assert.equal(held(group, key), "v1", JSON.stringify(kindsFor(key)[kind]));
      await settle();
    }
    assert.equal(origin.loads.length, 2);
    open();
    await settle(100);
    assert.equal(held(b, key), "v2");
    for (const group of [a, c]) held(group, key);
    await clock.advance(250);
    for (const group of [a, c]) assert.ok(held(group, key), "served all the time");
    await settle(100);
    assert.deepEqual(all.map((group) => held(group, key)), ["v2", "v2", "v2"]);
    assert.equal(origin.loads.length, 2);
  }
});

test("a softly invalidated value that may not be served stale is loaded again", async () => {
  const { key, a, b, origin, invalidate } = nodes();
  for (let i = 0; i < 2; i++) await a.get(key);
  invalidate({ keys: [key], soft: true });
  assert.deepEqual([held(a, key), held(b, key)], [undefined, undefined]);
  assert.equal(await got(a, key), "v2");
  assert.equal(origin.loads.length, 2);
});

test("a softly invalidated value stands in for an origin that fails, and may be validated", async () => {
  const { key, b, origin, invalidate } = nodes({ staleIfErrorMs: 60_000 });
  const fields = [["etag", '"1"']] as const;
  origin.answer = (_key, context) => {
    const { stale } = context;
    const answer = stale === undefined ? text(numbered(origin, context)) : { ...text(""), body: stale.body };
    return withFreshness({ ...answer, fields, tags: ["red"] }, { freshMs: 60_000, staleIfErrorMs: 60_000 });
  };
  await b.get(key);
  invalidate({ tags: ["red"], soft: true });
  assert.equal(await got(b, key), "v1");
  assert.ok(origin.contexts[1]!.stale);
  assert.equal(held(b, key), "v1", "fresh again");
  invalidate({ keys: [key], soft: true });
  origin.answer = () => Promise.reject(new OriginError("down"));
  assert.equal(await got(b, key), "v1");
  assert.equal(origin.loads.length, 3);
});

test("repeated soft invalidations prolong nothing, with or without a get between them", async () => {
  for (const looksBetween of [true, false]) {
    const { key, all, clock, origin, invalidate } = nodes({ staleWhileRevalidateMs: 1_000 });
    for (const group of [...all, ...all]) await group.get(key);
    shut(origin);
    for (let i = 0; i < 9; i++) {
      invalidate({ ...kindsFor(key)[i % KINDS]!, soft: true });
      if (looksBetween) { for (const group of all) assert.equal(held(group, key), "v1"); }
      await clock.advance(100);
    }
    await clock.advance(99);
    assert.deepEqual(all.map((group) => held(group, key)), ["v1", "v1", "v1"]);
    await clock.advance(1);
    assert.deepEqual(all.map((group) => held(group, key)), [undefined, undefined, undefined]);
  }
});

test("a value made stale by a soft invalidation stays stale on its way to another node", async () => {
  const { key, a, b, c, clock, viewA, invalidate } = nodes({ staleWhileRevalidateMs: 60_000 });
  await b.get(key);
  viewA.isHeld = true;
  invalidate({ keys: [key], soft: true });
  const sinceMs = clock.nowMs();
  await clock.advance(1_000);
  for (const group of [a, c]) {
    const { value } = await group.get(key);
    assert.ok(value.freshUntilMs <= sinceMs || read({ value }) === "v2");
  }
  assert.ok(held(a, key));
});

test("a hard invalidation removes the values that a soft one left stale", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, all, b, origin, invalidate } = nodes({ staleWhileRevalidateMs: 60_000 });
    for (const group of [...all, ...all]) await group.get(key);
    const open = shut(origin);
    invalidate({ keys: [key], soft: true });
    for (const group of all) assert.equal(held(group, key), "v1");
    await settle(100);
    invalidate(kindsFor(key)[kind]!);
    assert.deepEqual(all.map((group) => held(group, key)), [undefined, undefined, undefined]);
    open();
    await settle(100);
    assert.equal(held(b, key), undefined, "the refresh in flight is covered as well");
  }
});

test("a refresh in flight that a soft invalidation covers is not stored, and another one follows", async () => {
  const { key, b, origin, invalidate } = nodes({ staleWhileRevalidateMs: 60_000 });
  await b.get(key);
  const open = shut(origin);
  invalidate({ keys: [key], soft: true });
  assert.equal(held(b, key), "v1");
  await settle(100);
  invalidate({ keys: [key], soft: true });
  open();
  await settle(100);
  assert.equal(held(b, key), "v1", "what was loaded between the two is not taken for the newest");
  await settle(100);
  assert.equal(held(b, key), "v3");
  assert.equal(origin.loads.length, 3);
});

test("a remembered 'not found' is invalidated by its key, its prefix, and with all", async () => {
  for (const soft of [false, true]) {
    for (let kind = 0; kind < KINDS; kind++) {
      const { key, all, a, b, origin, invalidate } = nodes({ negativeTtlMs: 60_000 });
      const { answer } = origin;
      origin.answer = () => Promise.reject(new NotFoundError("none"));
      for (const group of [...all, ...all]) await assert.rejects(group.get(key), NotFoundError);
      assert.equal(origin.loads.length, 1);
      origin.answer = answer;
      const message = kindsFor(key)[kind]!;
      invalidate({ ...message, soft });
      if (message.tags !== undefined) await assert.rejects(a.get(key), NotFoundError, "it has no tags");
      else assert.deepEqual([await got(a, key), await got(b, key)], ["v2", "v2"]);
    }
  }
});

test("a 'not found' in flight that an invalidation covers is not remembered", async () => {
  const { key, b, origin, invalidate } = nodes({ negativeTtlMs: 60_000 });
  const { answer } = origin;
  origin.answer = () => Promise.reject(new NotFoundError("none"));
  const open = shut(origin);
  const early = assert.rejects(b.get(key), NotFoundError);
  await settle(100);
  invalidate({ keys: [key] });
  open();
  await early;
  assert.equal(b.lookup(key), undefined);
  origin.answer = answer;
  assert.equal(await got(b, key), "v2");
});

const names = ["accept-language"];
const said = (language: string) => requestWith("accept-language", language);

test("all variants of a key are invalidated with it, on all nodes, and with their tags one by one", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, all, origin, invalidate } = nodes();
    origin.answer = (_key, context) => {
      const fields = context.request?.fields ?? [];
      const language = linesOf(fields, "accept-language").join();
      const selection = { names, says: selectionOf(names, fields) };
      const answer = { ...text(`${language} ${numbered(origin, context)}`), selection };
      return withFreshness({ ...answer, tags: language === "de" ? ["red"] : [] }, { freshMs: 60_000 });
    };
    for (const group of [...all, ...all]) {
      for (const language of ["de", "fr"]) await getFor(group, key, said(language));
    }
    const look = (language: string) => all.map((group) => group.lookup(key, said(language)) !== undefined);
    assert.deepEqual([look("de"), look("fr")], [[true, true, true], [true, true, true]]);
    const message = kindsFor(key)[kind]!;
    invalidate(message);
    const others = message.tags !== undefined;
    assert.deepEqual([look("de"), look("fr")], [[false, false, false], [others, others, others]]);
    for (const group of all) {
      assert.equal(read(await getFor(group, key, said("de"))), "de v3");
      assert.match(read(await getFor(group, key, said("fr"))), others ? /^fr v2/ : /^fr v4/);
    }
  }
});

test("answers that may not be shared go on as before: each request has its own load, covered or not", async () => {
  const { key, a, b, origin, invalidate } = nodes();
  origin.answer = (_key, context) => withFreshness(text(numbered(origin, context)), { isStorable: false });
  assert.equal(await got(a, key), "v1");
  assert.ok(a.passed.has(key));
  const open = shut(origin);
  const early = [got(a, key), got(a, key)];
  await settle(100);
  invalidate({ keys: [key] });
  invalidate({ all: true });
  origin.gate = Promise.resolve();
  assert.equal(await got(a, key), "v4");
  open();
  assert.deepEqual(await Promise.all(early), ["v2", "v3"]);
  assert.deepEqual([held(a, key), held(b, key)], [undefined, undefined]);
  assert.ok(a.passed.has(key), "what it is has not changed");
});
