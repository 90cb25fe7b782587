/** Loads that are in flight when something is invalidated. */
import assert from "node:assert/strict";
import { NotFoundError, OriginError } from "../../../lib/core/errors.ts";
import type { Label } from "../../../lib/core/invalidation/label.ts";
import { invalidationOf } from "../../../lib/core/invalidation/message.ts";
import type { Group } from "../../../lib/core/group/group.ts";
import { asked } from "../../../lib/core/ports.ts";
import type { Value } from "../../../lib/core/value.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { text } from "../cluster.ts";
import { withFreshness } from "../lifetime/support.ts";
import { got, held, kindsFor, nodes, now, numbered, shut } from "./support.ts";

const KINDS = kindsFor("k-1").length;
const signal = new AbortController().signal;

/** As a peer asks the owner. */
function askedAsOwner(owner: Group, key: string, after: Label): Promise<Value> {
  return asked({ signal, timeoutMs: 0, after }, (ask) => owner.loadAsOwner(key, ask));
}

test("callers before the message get the load, callers after it get another, for each kind of message", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    for (const soft of [false, true]) {
      for (const asker of ["a", "b"] as const) {
        const cluster = nodes();
        const { key, b, origin, invalidate } = cluster;
        const open = shut(origin);
        const early = [got(cluster[asker], key), got(cluster[asker], key)];
        await settle(100);
        const message = { ...kindsFor(key)[kind]!, soft };
        invalidate(message);
        origin.gate = Promise.resolve();
        const late = got(cluster[asker], key);
        await settle(100);
        const what = `${JSON.stringify(message)} at ${asker}`;
        // Which tags a load has is not known before its end; it is not waited for in vain by anybody else.
        assert.equal(origin.loads.length, message.tags === undefined ? 2 : 1, what);
        if (message.tags === undefined) assert.equal(await now(late), "v2", what);
        open();
        assert.deepEqual(await Promise.all(early), ["v1", "v1"], what);
        assert.equal(await late, "v2", what);
        assert.equal(held(b, key), "v2", what);
        assert.equal(origin.loads.length, 2);
      }
    }
  }
});

test("a covered load without later callers is not stored, neither at the owner nor at the asker", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, all, a, origin, invalidate } = nodes();
    const open = shut(origin);
    const early = a.get(key);
    await settle(100);
    invalidate(kindsFor(key)[kind]!);
    open();
    assert.equal((await early).stored, false);
    assert.deepEqual(all.map((group) => held(group, key)), [undefined, undefined, undefined]);
  }
});

test("a load that a tag does not cover is joined and stored, though tags were invalidated", async () => {
  const { key, a, b, origin, invalidate } = nodes();
  const open = shut(origin);
  const early = got(a, key);
  await settle(100);
  invalidate({ tags: ["green"] });
  invalidate({ keys: ["other"] });
  const late = [got(a, key), got(b, key)];
  await settle(100);
  open();
  assert.deepEqual(await Promise.all([early, ...late]), ["v1", "v1", "v1"]);
  assert.deepEqual([held(b, key), origin.loads.length], ["v1", 1]);
});

test("when a load's tag is invalidated, its later waiters share one new load", async () => {
  const { key, a, b, origin, invalidate } = nodes();
  const open = shut(origin);
  const ask = (count: number) => Array.from({ length: count }, (_, i) => got(i % 2 === 0 ? a : b, key));
  const before = ask(10);
  await settle(100);
  invalidate({ tags: ["red"] });
  const between = ask(10);
  await settle(100);
  invalidate({ tags: ["red"] });
  const after = ask(10);
  await settle(100);
  open();
  assert.deepEqual(new Set(await Promise.all(before)), new Set(["v1"]));
  assert.deepEqual(new Set(await Promise.all([...between, ...after])), new Set(["v2"]));
  assert.equal(origin.loads.length, 2);
});

test("a peer does not get a load that began before the label in its ask", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, b, viewB, origin, invalidate } = nodes();
    const open = shut(origin);
    const early = askedAsOwner(b, key, viewB.position.label);
    await settle(100);
    viewB.isHeld = true;
    const label = invalidate(kindsFor(key)[kind]!);
    origin.gate = Promise.resolve();
    const late = askedAsOwner(b, key, label);
    await settle(100);
    open();
    assert.equal(new TextDecoder().decode((await early).body), "v1");
    assert.equal(new TextDecoder().decode((await late).body), "v2");
  }
});

test("an asker that applied the invalidation meanwhile gives the answer to its caller, and does not keep it", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    for (const soft of [false, true]) {
      const { key, a, b, viewB, origin, invalidate } = nodes({}, { hotAfterFetches: 1 });
      await b.get(key);
      viewB.isHeld = true;
      // The owner answers from its memory; the answer is on its way.
      const asked = a.get(key);
      invalidate({ ...kindsFor(key)[kind]!, soft });
      const loaded = await asked;
      assert.deepEqual([new TextDecoder().decode(loaded.value.body), loaded.stored], ["v1", false]);
      assert.equal(held(a, key), undefined);
      assert.deepEqual([await got(a, key), held(b, key)], ["v2", "v2"]);
      assert.equal(origin.loads.length, 2);
    }
  }
});

test("a value from an owner that is ahead is kept, and checked when the asker has caught up", async () => {
  const { key, a, viewA, origin, invalidate } = nodes();
  viewA.isHeld = true;
  invalidate({ keys: [key] });
  for (let i = 0; i < 2; i++) assert.equal(await got(a, key), "v1");
  assert.equal(held(a, key), "v1");
  viewA.look();
  assert.equal(held(a, key), "v1", "it was loaded after that");
  viewA.isHeld = false;
  invalidate({ keys: [key] });
  assert.equal(held(a, key), undefined);
  assert.equal(origin.loads.length, 1);
});

test("a refresh in the background that an invalidation covers is not stored", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, b, clock, origin, invalidate } = nodes({ ttlMs: 1_000, staleWhileRevalidateMs: 60_000 });
    await b.get(key);
    await clock.advance(1_000);
    const open = shut(origin);
    assert.equal(held(b, key), "v1");
    await settle(100);
    assert.equal(origin.loads.length, 2);
    invalidate(kindsFor(key)[kind]!);
    open();
    await settle(100);
    assert.equal(held(b, key), undefined);
    assert.equal(await got(b, key), "v3");
  }
});

test("a validation that an invalidation covers brings no old body back", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, b, clock, origin, invalidate } = nodes();
    const fields = [["etag", '"1"']] as const;
    origin.answer = (_key, context) => {
      const { stale } = context;
      const answer = stale === undefined ? text(numbered(origin, context)) : { ...text(""), body: stale.body };
      return withFreshness({ ...answer, fields, tags: ["red"] }, { freshMs: 1_000 });
    };
    await b.get(key);
    await clock.advance(1_000);
    const open = shut(origin);
    const early = got(b, key);
    await settle(100);
    assert.ok(origin.contexts[1]!.stale);
    invalidate(kindsFor(key)[kind]!);
    const late = got(b, key);
    await settle(100);
    open();
    assert.deepEqual([await early, await late], ["v1", "v3"]);
    assert.equal(origin.contexts[2]!.stale, undefined);
    assert.equal(held(b, key), "v3");
  }
});

test("a load that fails after an invalidation does no harm to the next load", async () => {
  for (const error of [new OriginError("down"), new NotFoundError("gone")]) {
    const { key, b, origin, invalidate } = nodes({ staleIfErrorMs: 60_000 });
    const open = shut(origin);
    const early = got(b, key);
    await settle(100);
    invalidate({ keys: [key] });
    origin.gate = Promise.resolve();
    assert.equal(await got(b, key), "v2");
    origin.answer = () => Promise.reject(error);
    open();
    if (error instanceof NotFoundError) await assert.rejects(early, error);
    else assert.equal(await early, "v2", "what is good stands in for it");
    assert.equal(held(b, key), "v2");
  }
});

test("a load that is covered while its waiters leave is cancelled, and the later one goes on", async () => {
  const { key, b, origin, invalidate } = nodes();
  const open = shut(origin);
  const leaves = new AbortController();
  const early = b.get(key, { signal: leaves.signal });
  await settle(100);
  invalidate({ keys: [key] });
  const late = got(b, key);
  await settle(100);
  leaves.abort(new Error("left"));
  await assert.rejects(early, new Error("left"));
  assert.deepEqual(origin.signals.map(({ aborted }) => aborted), [true, false]);
  open();
  assert.equal(await late, "v2");
});

test("a covered load still ends at its deadline", async () => {
  const { key, b, clock, origin, invalidate } = nodes({}, { loadTimeoutMs: 5_000 });
  shut(origin);
  const early = got(b, key);
  await settle(100);
  invalidate({ all: true });
  const failed = assert.rejects(early, { name: "OriginTimeoutError" });
  await clock.advance(5_000);
  await failed;
  assert.ok(origin.signals[0]!.aborted);
});

test("loads that may not be joined any more still count against the limit of loads in flight", async () => {
  const { key, b, origin, invalidate } = nodes({}, { maxFlights: 3 });
  const open = shut(origin);
  const early: Promise<string>[] = [];
  for (let i = 0; i < 3; i++) {
    early.push(got(b, key));
    await settle(100);
    invalidate({ keys: [key] });
  }
  assert.equal(await now(got(b, key).catch(({ name }) => name)), "OverloadedError");
  open();
  assert.deepEqual(await Promise.all(early), ["v1", "v2", "v3"]);
  assert.equal(await got(b, key), "v4");
});

test("a pending change also covers a load in flight, by key, prefix or tag", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, b, origin } = nodes();
    const open = shut(origin);
    const early = got(b, key);
    await settle(100);
    const message = kindsFor(key)[kind]!;
    b.validity.addPending(invalidationOf(message));
    origin.gate = Promise.resolve();
    const late = got(b, key);
    await settle(100);
    open();
    assert.deepEqual([await early, await late], ["v1", "v2"], JSON.stringify(message));
    assert.equal(held(b, key), undefined);
  }
});

test("a peek is not given a load that an invalidation covers", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, b, origin, invalidate } = nodes();
    const open = shut(origin);
    const early = got(b, key);
    await settle(100);
    const peeked = b.peek(key, { signal });
    invalidate(kindsFor(key)[kind]!);
    open();
    assert.equal(await peeked, undefined);
    await early;
    assert.equal(await b.peek(key, { signal }), undefined);
  }
});
