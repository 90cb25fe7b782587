/** Values that move between nodes of which one has applied more than the other. */
import assert from "node:assert/strict";
import { OriginError } from "../../../lib/core/errors.ts";
import { invalidationOf } from "../../../lib/core/invalidation/message.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { makeCluster, read, record, text } from "../cluster.ts";
import { drainOf } from "../handoff/support.ts";
import { valueOf } from "../support.ts";
import { at, got, held, kindsFor, nodes, shut } from "./support.ts";

const KINDS = kindsFor("k-1").length;

test("a node that lags serves a hot copy by what it has applied, and drops it when it has applied more", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, a, b, c, viewA, invalidate } = nodes();
    for (const group of [a, c, a, c]) await group.get(key);
    viewA.isHeld = true;
    invalidate(kindsFor(key)[kind]!);
    assert.deepEqual([a, b, c].map((group) => held(group, key)), ["v1", undefined, undefined]);
    assert.equal(a.lookup(key)!.from, "hot");
    viewA.look();
    assert.equal(held(a, key), undefined);
    assert.equal(await got(a, key), "v2");
  }
});

test("a node that lags applies the messages one by one, and each counts from there", async () => {
  const { key, a, viewA, invalidate } = nodes();
  for (let i = 0; i < 2; i++) await a.get(key);
  viewA.isHeld = true;
  invalidate({ keys: ["x"] });
  invalidate({ keys: [key] });
  viewA.look(1);
  assert.equal(held(a, key), "v1");
  viewA.look(1);
  assert.equal(held(a, key), undefined);
});

test("a second copy is invalidated in its place, and an old one is not accepted", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, b, c, clock, viewB, viewC, invalidate } = nodes({}, { replicas: 2 });
    await b.get(key);
    await settle(100);
    assert.equal(c.lookup(key)!.from, "main");
    viewC.isHeld = true;
    invalidate(kindsFor(key)[kind]!);
    assert.deepEqual([held(b, key), held(c, key)], [undefined, "v1"]);
    await clock.advance(1);
    assert.equal(await got(b, key), "v2");
    await settle(100);
    assert.equal(held(c, key), "v2", "the new one takes its place before c has heard of the invalidation");
    viewC.look();
    assert.equal(held(c, key), "v2", "it was loaded after that");

    // The owner lags: what it loads then is older than what c has applied.
    viewB.isHeld = true;
    viewC.isHeld = false;
    invalidate(kindsFor(key)[kind]!);
    assert.deepEqual([held(b, key), held(c, key)], ["v2", undefined]);
    const { entriesTaken } = c.stats();
    await b.ownersChanged();
    assert.equal(c.accept([{ key, value: { ...b.lookup(key)!.value } }], "b"), 0);
    assert.deepEqual([held(c, key), c.stats().entriesTaken], [undefined, entriesTaken]);
  }
});

/** b leaves in order: the others see it draining. */
async function drainB(cluster: ReturnType<typeof nodes>): Promise<void> {
  cluster.swap([record("a"), { ...record("b"), state: "draining" }, record("c")]);
  await drainOf(cluster, "b");
}

test("a draining node that lags hands over all values, except those that the receiver knows to be bad", async () => {
  for (let kind = 0; kind < KINDS - 1; kind++) {
    const cluster = nodes();
    const { key, b, c, viewB, pickers, origin, invalidate } = cluster;
    const others = Array.from({ length: 100 }, (_, i) => `other-${i}`)
      .filter((key) => pickers.get("b")!.pick(key) === undefined);
    // Their tags differ, and no prefix of the key begins them.
    const { answer } = origin;
    origin.answer = async (key, context) => ({
      ...await answer(key, context),
      tags: key.startsWith("other") ? ["green"] : ["red"],
    });
    for (const one of [key, ...others]) await b.get(one);
    viewB.isHeld = true;
    invalidate(kindsFor(key)[kind]!);
    await drainB(cluster);
    assert.equal(held(b, key), "v1");
    assert.equal(held(c, key), undefined);
    const { loads } = origin;
    const before = loads.length;
    for (const one of others) await c.get(one);
    for (const one of others) await cluster.a.get(one);
    assert.equal(loads.length, before, "what was not covered has been handed over");
    assert.equal(await got(c, key), `v${before + 1}`, "nor is it fetched from b, which still has it");
  }
});

test("a draining node sends no value that it knows to be bad, even if the receiver lags", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const cluster = nodes();
    const { key, b, c, viewC, invalidate } = cluster;
    await b.get(key);
    viewC.isHeld = true;
    invalidate(kindsFor(key)[kind]!);
    await drainB(cluster);
    assert.equal(held(c, key), undefined);
    assert.equal(b.stats().entriesPushed, 0);
  }
});

test("a value unread for long is checked before it is handed over to a new node", async () => {
  const cluster = nodes();
  const { key, b, groups, origin, restart, swap, invalidate } = cluster;
  await b.get(key);
  for (let i = 0; i < 5; i++) invalidate({ keys: [`x${i}`] });
  restart("c");
  swap([record("a"), record("b"), { ...record("c"), incarnation: "2" }]);
  await drainB(cluster);
  assert.equal(held(groups.get("c")!, key), "v1");
  assert.equal(origin.loads.length, 1);
});

test("a pushed value that a soft invalidation made useless is not accepted", () => {
  const { key, b, clock, invalidate } = nodes();
  invalidate({ keys: [key], soft: true });
  const value = (staleIfErrorMs: number) =>
    valueOf("old", { label: at(0, 1), bornAtMs: clock.nowMs() - 1_000, staleIfErrorMs });
  assert.equal(b.accept([{ key, value: value(0) }], "a"), 0);
  assert.equal(b.accept([{ key, value: value(1_000) }], "a"), 1, "it may stand in for an error");
  assert.equal(held(b, key), undefined);
});

test("a draining node that is ahead hands over values newer than the receiver's own", async () => {
  const cluster = nodes();
  const { key, b, c, viewC, origin, invalidate } = cluster;
  for (let i = 0; i < 2; i++) await c.get(key);
  assert.equal(c.lookup(key)!.from, "hot");
  viewC.isHeld = true;
  invalidate({ keys: [key] });
  assert.deepEqual([await got(b, key), held(c, key)], ["v2", "v1"]);
  await cluster.clock.advance(1_000);
  await drainB(cluster);
  assert.equal(held(c, key), "v2");
  viewC.look();
  assert.deepEqual([held(c, key), origin.loads.length], ["v2", 2]);
});

test("values invalidated during a drain are not handed over; values loaded during it are", async () => {
  const cluster = nodes();
  const { key, b, c, origin, invalidate, swap } = cluster;
  await b.get(key);
  swap([record("a"), { ...record("b"), state: "draining" }, record("c")], ["a", "b"]);
  const unasked = Promise.withResolvers<void>();
  const drained = drainOf(cluster, "b", unasked.promise);
  invalidate({ keys: [key] });
  await settle(100);
  assert.equal(held(c, key), undefined);
  // c does not know yet that it is the owner now.
  assert.equal(await got(c, key), "v2");
  unasked.resolve();
  await drained;
  swap(["a", "c"], ["a", "c"]);
  assert.deepEqual([held(c, key), origin.loads.length], ["v2", 2]);
});

test("a former owner that missed an invalidation brings no old value back, and is still asked for others", async () => {
  for (let kind = 0; kind < KINDS - 1; kind++) {
    const { key, b, c, viewB, pickers, peeks, origin, swap, invalidate } = nodes();
    const other = Array.from({ length: 500 }, (_, i) => `other-${i}`)
      .find((key) => pickers.get("a")!.ranked(key, 2).map((peer) => peer?.name).join() === "b,c")!;
    const { answer } = origin;
    origin.answer = async (key, context) => ({ ...await answer(key, context), tags: key === other ? [] : ["red"] });
    for (const one of [key, other]) await b.get(one);
    viewB.cut();
    invalidate(kindsFor(key)[kind]!);
    peeks.length = 0;
    swap(["a", "c"], ["a", "c"]);
    assert.equal(await got(c, key), "v3");
    assert.ok(peeks.includes("c>b"), "it was asked");
    assert.equal(held(c, key), "v3");
    assert.equal(await got(c, other), "v2", "taken over");
    assert.equal(origin.loads.length, 3);
  }
});

test("newer values of a former owner that is ahead are taken over", async () => {
  const { key, b, c, viewC, origin, swap, invalidate } = nodes();
  viewC.isHeld = true;
  invalidate({ keys: [key] });
  await b.get(key);
  swap(["a", "c"], ["a", "c"]);
  assert.equal(await got(c, key), "v1");
  assert.equal(c.lookup(key)!.value.label.sequence, 1, "its label is not lowered");
  viewC.look();
  assert.deepEqual([held(c, key), origin.loads.length], ["v1", 1]);
});

test("the next in rank answers for a lost owner up to the asker's position", async () => {
  const { key, a, c, clock, viewC, dead, origin, invalidate } = nodes();
  for (const group of [a, c, a, c]) await group.get(key);
  dead.add("b");
  viewC.isHeld = true;
  invalidate({ keys: [key] });
  assert.equal(held(c, key), "v1");
  assert.equal(await got(a, key), "v2", "c has caught up");
  assert.equal(held(c, key), "v2");
  viewC.cut();
  invalidate({ keys: [key] });
  const asked = a.get(key);
  await clock.advance(250);
  assert.deepEqual([(await asked).source, (await asked).stored], ["origin", false]);
  assert.deepEqual([a.stats().behindPeers, origin.loads.length], [1, 3]);
});

test("a node in the place of a lost owner takes no old copy from another node", async () => {
  const { key, a, c, viewA, dead, origin, peeks, invalidate } = nodes();
  for (const group of [a, c, a, c]) await group.get(key);
  dead.add("b");
  viewA.cut();
  invalidate({ keys: [key] });
  peeks.length = 0;
  assert.equal(await got(c, key), "v2");
  assert.ok(peeks.includes("c>a"));
  assert.deepEqual([held(a, key), held(c, key), origin.loads.length], ["v1", "v2", 2]);
});

test("a joining node holds nothing older than its start, and takes over values checked since", async () => {
  const cluster = nodes();
  const { key, a, b, groups, origin, swap, restart, invalidate } = cluster;
  await b.get(key);
  invalidate({ keys: ["x"] });
  restart("c");
  swap(["a", "c"], ["a", "c"]);
  const c = groups.get("c")!;
  const old = valueOf("old", { label: at(0, 1), bornAtMs: cluster.clock.nowMs() });
  assert.equal(c.accept([{ key, value: old }], "b"), 0);
  assert.equal(await got(a, key), "v1", "b has checked it up to there");
  assert.equal(c.lookup(key)!.from, "main");
  assert.equal(origin.loads.length, 1);
});

test("with the owner behind and the origin down, a copy that may be served is served", async () => {
  const { key, a, clock, viewB, origin, invalidate } = nodes({ ttlMs: 1_000, staleIfErrorMs: 60_000 });
  for (let i = 0; i < 2; i++) await a.get(key);
  viewB.cut();
  invalidate({ keys: ["x"] });
  await clock.advance(1_000);
  origin.answer = () => Promise.reject(new OriginError("down"));
  const asked = got(a, key);
  await clock.advance(250);
  assert.equal(await asked, "v1");
});

test("a change that is pending at a node is not answered there with the owner's old value", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, a, b, viewA, origin, invalidate } = nodes();
    for (let i = 0; i < 2; i++) await a.get(key);
    viewA.cut();
    const message = invalidationOf(kindsFor(key)[kind]!);
    a.validity.addPending(message);
    assert.equal(held(a, key), undefined);
    assert.equal(held(b, key), "v1", "nobody else knows of it");
    const loaded = await a.get(key);
    assert.equal(new TextDecoder().decode(loaded.value.body), "v2", JSON.stringify(message));
    assert.equal(loaded.stored, false);
    assert.equal(held(a, key), undefined);
    viewA.heal();
    invalidate(message);
    a.validity.settlePending(message);
    assert.equal(await got(a, key), "v3");
    assert.deepEqual([held(b, key), origin.loads.length], ["v3", 3]);
  }
});

test("a change that is pending at the owner is bad there until it is settled", async () => {
  for (let kind = 0; kind < KINDS; kind++) {
    const { key, a, b, viewB, invalidate } = nodes();
    await a.get(key);
    viewB.cut();
    const message = invalidationOf(kindsFor(key)[kind]!);
    b.validity.addPending(message);
    assert.deepEqual(b.validity.pending, [message]);
    for (const loaded of [await b.get(key), await b.get(key)]) assert.equal(loaded.stored, false);
    assert.equal(held(b, key), undefined);
    viewB.heal();
    invalidate(message);
    b.validity.settlePending(message);
    assert.equal((await b.get(key)).stored, true);
    assert.equal(held(b, key), "v4");
  }
});

test("a load that began before a pending change is not stored when that is settled", async () => {
  const { key, b, viewB, origin, invalidate } = nodes();
  viewB.cut();
  const open = shut(origin);
  const early = got(b, key);
  await settle(100);
  const message = invalidationOf({ keys: [key] });
  b.validity.addPending(message);
  viewB.heal();
  invalidate(message);
  b.validity.settlePending(message);
  open();
  assert.equal(await early, "v1");
  assert.equal(held(b, key), undefined);
});

test("a node that has seen no log does not take an old value of an owner that is out of touch with it", async () => {
  const { groups, log, logs, origin, pickers, restart, clock } = makeCluster(["a", "b"]);
  const key = ["k1", "k2", "k3", "k4", "k5", "k6"].find((one) => pickers.get("b")!.pick(one) === undefined)!;
  origin.answer = () => text(`v${origin.loads.length}`);
  log.invalidate({ keys: ["another"] });
  assert.equal(read(await groups.get("a")!.get(key)), "v1");
  logs.get("b")!.cut();
  log.invalidate({ keys: [key] });
  log.isDown = true;
  restart("a");
  const late = groups.get("a")!.get(key);
  await clock.advance(250);
  assert.equal(read(await late), "v2", "b is behind what stands in the log, and says so");
  assert.equal(groups.get("a")!.lookup(key), undefined, "nothing of it is kept");
  log.isDown = false;
  for (const view of logs.values()) view.heal();
  assert.equal(read(await groups.get("a")!.get(key)), "v3");
});
