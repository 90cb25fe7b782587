/** Answers that are not for every request: variants by `Vary`, and private ones. */
import assert from "node:assert/strict";
import { OriginError, PassThroughError } from "../../../lib/core/errors.ts";
import { linesOf } from "../../../lib/core/semantics/fields.ts";
import { selectionOf } from "../../../lib/core/semantics/vary.ts";
import type { LoadContext, RequestHead } from "../../../lib/core/ports.ts";
import type { Answer } from "../../../lib/core/value.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { CountingOrigin, makeCluster, makeGroup, read, record, text } from "../cluster.ts";
import { drainOf } from "../handoff/support.ts";
import { getFor, keys, requestWith, threeNodes, withFreshness } from "./support.ts";

const names = ["accept-language"];
const said = (language: string) => requestWith("accept-language", language);

/** Answers in the language that is asked for. */
function inLanguage(_key: string, { request }: LoadContext): Answer {
  const fields = request?.fields ?? [];
  const selection = { names, says: selectionOf(names, fields) };
  const answer = { ...text(`in ${linesOf(fields, "accept-language").join()}`), selection };
  return withFreshness(answer, { freshMs: 10_000, staleWhileRevalidateMs: 60_000 });
}

test("requests that differ in the fields of Vary get an answer each, and each is loaded once", async () => {
  const { key, a, b, c, origin } = threeNodes({});
  origin.answer = inLanguage;
  for (let round = 0; round < 3; round++) {
    for (const group of [a, b, c]) {
      for (const language of ["de", "fr", "en"]) {
        assert.equal(read(await getFor(group, key, said(language))), `in ${language}`);
      }
    }
  }
  assert.equal(origin.loads.length, 3);
  assert.equal(a.lookup(key, said("de"))!.from, "hot");
  assert.equal(b.lookup(key, said("de"))!.from, "main");
  assert.equal(a.lookup(key, said("it")), undefined);
  assert.equal(a.lookup(key), undefined, "a request that says nothing is another one");
});

test("waiters of one load whose answer is another's get their own", async () => {
  const { key, a, b, origin } = threeNodes({});
  origin.answer = inLanguage;
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const languages = ["de", "fr", "en", "de", "fr"];
  const asked = [a, b].flatMap((group) => languages.map((language) => getFor(group, key, said(language))));
  await settle();
  assert.equal(origin.loads.length, 1, "nothing is known of variants yet");
  gate.resolve();
  const answers = await Promise.all(asked);
  assert.deepEqual(answers.map(read), [...languages, ...languages].map((language) => `in ${language}`));
  assert.equal(origin.loads.length, 3);
});

test("each variant is refreshed for itself", async () => {
  const { key, a, b, clock, origin } = threeNodes({});
  origin.answer = inLanguage;
  for (const language of ["de", "fr"]) for (let i = 0; i < 2; i++) await getFor(a, key, said(language));
  await clock.advance(10_000);
  origin.loads = [];
  origin.contexts = [];
  assert.equal(read(b.lookup(key, said("fr"))!), "in fr");
  await settle();
  assert.deepEqual(origin.contexts.map(({ request, stale }) => [request, stale && read({ value: stale })]), [
    [said("fr"), "in fr"],
  ]);
  assert.ok(b.lookup(key, said("fr"))!.value.freshUntilMs > clock.nowMs());
  assert.ok(b.lookup(key, said("de"))!.value.freshUntilMs <= clock.nowMs());
});

test("variants move with their key: to the next owner of a node that leaves, to a new owner, and as second copies", async () => {
  for (const way of ["drain", "peek", "replica"] as const) {
    const options = { replicas: way === "replica" ? 2 : 1, lifetime: { ttlMs: 1 } };
    const cluster = makeCluster(["a", "b"], { options });
    const { clock, groups, origin, swap, dead, pickers } = cluster;
    origin.answer = inLanguage;
    const key = keys.find((key) => pickers.get("a")!.pick(key)?.name === "b")!;
    for (const language of ["de", "fr"]) await getFor(groups.get("b")!, key, said(language));
    await clock.advance(1_000);
    if (way === "drain") {
      swap([record("a"), { ...record("b"), state: "draining" }]);
      await drainOf(cluster, "b");
    }
    if (way !== "peek") dead.add("b");
    swap(["a"], ["a"]);
    for (const language of ["de", "fr"]) {
      assert.equal(read(await getFor(groups.get("a")!, key, said(language))), `in ${language}`);
    }
    assert.equal(origin.loads.length, 2, way);
    assert.equal(groups.get("a")!.lookup(key, said("de"))!.from, "main");
  }
});

test("a peek at a load for another request starts no load", async () => {
  const origin = new CountingOrigin();
  const { group } = makeGroup({ origin });
  origin.answer = inLanguage;
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const load = getFor(group, "k", said("de"));
  await settle();
  const peeked = group.peek("k", { signal: new AbortController().signal });
  gate.resolve();
  assert.equal(read({ value: (await peeked)! }), "in de");
  await load;
  assert.equal(origin.loads.length, 1);
});

/** Answers each request for itself alone. */
function forOne(_key: string, { request }: LoadContext): Answer {
  return withFreshness(text(`for ${request?.fields[0]?.[1]}`), { isStorable: false });
}

const from = (user: string): RequestHead => requestWith("cookie", user);

test("a private answer goes to the request that it was loaded for, on every node, and to no other", async () => {
  const { key, a, b, c, clock, origin, asks } = threeNodes({});
  origin.answer = forOne;
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const users = Array.from({ length: 30 }, (_, i) => `user-${i}`);
  const asked = users.map((user, i) => getFor([a, b, c][i % 3]!, key, from(user)));
  await settle();
  assert.equal(origin.loads.length, 1);
  gate.resolve();
  const answers = await Promise.all(asked);
  assert.deepEqual(answers.map(read), users.map((user) => `for ${user}`));
  assert.ok(answers.every(({ stored }) => !stored));
  for (const group of [a, b, c]) assert.equal(group.lookup(key, from("user-1")), undefined);

  for (const group of [a, c]) await getFor(group, key, from("again"));
  asks.length = 0;
  origin.loads = [];
  const later = await Promise.all(users.map((user, i) => getFor([a, b, c][i % 3]!, key, from(user))));
  assert.deepEqual(later.map(read), users.map((user) => `for ${user}`));
  assert.deepEqual([asks, origin.loads.length], [[], users.length], "straight to the origin, one by one");
  await clock.advance(119_999);
  assert.ok(a.passed.has(key));
  await clock.advance(1);
  assert.equal(a.passed.has(key), false);
});

test("a key is passed no more once its answer can be kept", async () => {
  const { key, a, origin } = threeNodes({});
  origin.answer = forOne;
  await getFor(a, key, from("x"));
  assert.ok(a.passed.has(key));
  origin.answer = () => text("for all");
  await getFor(a, key, from("x"));
  assert.equal(a.passed.has(key), false);
  await getFor(a, key, from("y"));
  assert.equal(read(a.lookup(key)!), "for all");
});

test("a refresh whose answer is private shares it with nobody", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: { ttlMs: 1_000, staleWhileRevalidateMs: 1_000 } });
  await getFor(group, "k", from("x"));
  await clock.advance(1_999);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  origin.answer = forOne;
  group.lookup("k", from("x"));
  await clock.advance(1);
  const asked = ["y", "z"].map((user) => getFor(group, "k", from(user)));
  await settle();
  gate.resolve();
  assert.deepEqual((await Promise.all(asked)).map(read), ["for y", "for z"]);
});

test("an answer that is too long to keep is passed by from then on", async () => {
  const origin = new CountingOrigin();
  const { group } = makeGroup({ origin });
  origin.answer = () => Promise.reject(new PassThroughError("too long"));
  await assert.rejects(group.get("k"), PassThroughError);
  assert.ok(group.passed.has("k"));
  origin.answer = () => Promise.reject(new OriginError("down"));
  await assert.rejects(group.get("other"), OriginError);
  assert.equal(group.passed.has("other"), false);
});

test("an invalidated value is not served, and no earlier load brings it back", async () => {
  const { key, a, b, clock, origin, log } = threeNodes({});
  origin.answer = (key, context) => ({ ...inLanguage(key, context), ...text(`v${origin.loads.length}`) });
  for (const language of ["de", "fr"]) for (let i = 0; i < 2; i++) await getFor(a, key, said(language));
  await a.get("other");
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const early = getFor(a, key, said("it"));
  await clock.advance(1);
  log.invalidate({ keys: [key] });
  for (const group of [a, b]) {
    for (const language of ["de", "fr"]) assert.equal(group.lookup(key, said(language)), undefined);
  }
  assert.ok(a.lookup("other"));
  const late = getFor(a, key, said("it"));
  await settle();
  const loads = origin.loads.filter((loaded) => loaded === key).length;
  assert.equal(loads, 4, "who comes after it does not get what was asked for before");
  gate.resolve();
  await Promise.all([early, late]);
  const held = b.lookup(key, said("it"))!;
  assert.equal(held.value, (await getFor(b, key, said("it"))).value);
  for (const language of ["de", "fr"]) {
    assert.equal(b.lookup(key, said(language)), undefined, "not even when there is a marker again");
  }
});

test("an answer that comes after an invalidation is not kept", async () => {
  const { key, a, b, origin, log } = threeNodes({});
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const early = a.get(key);
  await settle();
  log.invalidate({ keys: [key] });
  gate.resolve();
  assert.equal(read(await early), "v1");
  assert.deepEqual([a.lookup(key), b.lookup(key)], [undefined, undefined]);
  assert.equal(read(await a.get(key)), "v2");
});
