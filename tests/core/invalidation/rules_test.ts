/** The rules of section "The rules" in lib/core/invalidation/README.md, one by one. */
import assert from "node:assert/strict";
import { OriginError } from "../../../lib/core/errors.ts";
import type { Invalidation } from "../../../lib/core/invalidation/message.ts";
import { PLAIN } from "../../../lib/core/value.ts";
import { test } from "../../support/test.ts";
import { text } from "../cluster.ts";
import { withFreshness } from "../lifetime/support.ts";
import { valueOf } from "../support.ts";
import { at, got, held, kindsFor, nodes, now, numbered, shut } from "./support.ts";

test("rule 1: no node answers with a value that it knows to be bad, and one load serves all again", async () => {
  const count = kindsFor("k-1").length;
  for (let kind = 0; kind < count; kind++) {
    const { key, all, a, origin, invalidate } = nodes();
    // Twice, as a copy of another's value is kept then.
    for (const group of [...all, ...all]) await group.get(key);
    assert.deepEqual(all.map((group) => held(group, key)), ["v1", "v1", "v1"]);
    const message = kindsFor(key)[kind]!;
    invalidate(message);
    assert.deepEqual(all.map((group) => held(group, key)), [undefined, undefined, undefined], JSON.stringify(message));
    for (const group of all) assert.equal(await got(group, key), "v2");
    assert.equal(origin.loads.length, 2);
    assert.equal(a.stats().behindPeers, 0);
  }
});

test("rule 1: other keys, prefixes, tags and groups touch nothing", async () => {
  const { key, all, origin, log, invalidate } = nodes();
  for (const group of [...all, ...all]) await group.get(key);
  const others: readonly Partial<Invalidation>[] = [
    { keys: [`${key}0`, key.slice(0, -1)] },
    { prefixes: [`${key}0`, "x"] },
    { tags: ["Red", "blue"] },
  ];
  for (const message of others) invalidate(message);
  log.invalidate({ all: true }, "another group");
  log.add("dict", new TextEncoder().encode("nonsense"));
  assert.deepEqual(all.map((group) => held(group, key)), ["v1", "v1", "v1"]);
  for (const group of all) assert.equal(await got(group, key), "v1");
  assert.equal(origin.loads.length, 1);
});

test("rule 2: an owner that is behind the asker catches up before it answers", async () => {
  for (let kind = 0; kind < kindsFor("k-1").length; kind++) {
    const { key, a, b, viewB, origin, invalidate } = nodes();
    await a.get(key);
    viewB.isHeld = true;
    invalidate(kindsFor(key)[kind]!);
    assert.equal(held(b, key), "v1", "it has not heard of it");
    assert.equal(await got(a, key), "v2");
    assert.equal(held(b, key), "v2");
    assert.equal(viewB.position.label.sequence, 1);
    assert.equal(origin.loads.length, 2);
    assert.equal(a.stats().behindPeers, 0);
  }
});

test("rule 2: an owner that is behind answers with a value that no invalidation touched", async () => {
  const { key, a, viewB, origin, invalidate } = nodes();
  await a.getAsOwner("other");
  await a.get(key);
  viewB.isHeld = true;
  invalidate({ keys: ["other"] });
  invalidate({ tags: ["green"] });
  assert.equal(await got(a, key), "v2");
  assert.equal(origin.loads.length, 2);
});

test("rule 2: the asker takes nothing from an owner that cannot catch up, and keeps nothing", async () => {
  const { key, a, b, clock, viewB, origin, asks, invalidate } = nodes();
  await a.get(key);
  await a.get(key);
  viewB.cut();
  invalidate({ keys: [key] });
  assert.equal(held(a, key), undefined);
  asks.length = 0;
  const asked = a.get(key);
  await clock.advance(249);
  assert.equal(await now(asked), "waits", "the owner tries for 250 ms");
  await clock.advance(1);
  const loaded = await asked;
  assert.deepEqual([new TextDecoder().decode(loaded.value.body), loaded.source, loaded.stored], [
    "v2",
    "origin",
    false,
  ]);
  assert.deepEqual(asks, ["a>b"], "no other node is asked in the owner's place");
  assert.equal(held(a, key), undefined);
  assert.equal(a.stats().behindPeers, 1);
  assert.equal(a.stats().peerErrors, 0);
  assert.equal(held(b, key), "v1", "by what the owner has applied it is good");
  assert.ok(b.isBehind && !a.isBehind);
  const again = a.get(key);
  await clock.advance(250);
  assert.equal((await again).stored, false);
  viewB.heal();
  assert.equal(await got(a, key), "v4");
  assert.equal(held(b, key), "v4");
  assert.equal(origin.loads.length, 4);
});

test("rule 2: no get waits for a message about another group", async () => {
  const { key, a, viewB, origin, log } = nodes();
  await a.get(key);
  viewB.cut();
  log.invalidate({ all: true }, "another group");
  a.lookup("nothing");
  assert.equal(await got(a, key), "v1");
  assert.equal(origin.loads.length, 1);
});

test("rule 3: a covered load answers earlier callers, is not stored, and is not joined by later ones", async () => {
  const { key, a, b, origin, invalidate } = nodes();
  const open = shut(origin);
  const early = [a, b, a].map((group) => got(group, key));
  assert.equal(await now(early[0]!), "waits");
  assert.equal(origin.loads.length, 1);
  invalidate({ keys: [key] });
  const openLate = shut(origin);
  const late = [a, b, a].map((group) => got(group, key));
  assert.equal(await now(late[0]!), "waits");
  assert.equal(origin.loads.length, 2, "one more load for all who come later");
  openLate();
  assert.deepEqual(await Promise.all(late), ["v2", "v2", "v2"], "it waits for no load that began before");
  assert.equal(await now(early[0]!), "waits");
  open();
  assert.deepEqual(await Promise.all(early), ["v1", "v1", "v1"]);
  assert.deepEqual([a, b].map((group) => held(group, key)), ["v2", "v2"]);
});

test("rule 4: a value with a later label is not displaced, whatever the other's age and lifetime", async () => {
  const { key, b, clock, invalidate, viewB } = nodes();
  const nowMs = clock.nowMs();
  const times = { bornAtMs: nowMs - 60_000, freshUntilMs: nowMs + 60_000, staleIfErrorMs: 60_000 };
  const later = valueOf("later", { label: at(2, 1), ...times, about: { ...PLAIN, hasOwnStale: true } });
  const earlier = valueOf("earlier", { label: at(1, 1), bornAtMs: nowMs, freshUntilMs: Infinity });
  viewB.isHeld = true;
  assert.equal(b.accept([{ key, value: { ...later } }], "a"), 1);
  for (const isWritten of [false, true]) {
    assert.equal(b.accept([{ key, value: { ...earlier } }], "a", isWritten), 0);
    assert.equal(held(b, key), "later");
  }
  // The node's own load is as good as where the node was when it began.
  await clock.advance(60_000);
  assert.equal(held(b, key), undefined);
  const loaded = await b.get(key);
  assert.deepEqual([loaded.source, loaded.stored], ["origin", false]);
  invalidate({ keys: ["x"] });
  invalidate({ keys: [key] });
  viewB.look();
  assert.equal((await b.get(key)).stored, true, "the invalidation at 2 covers neither, the next load is later");
});

test("rule 5: after a hard invalidation neither the stale value nor its validators are used", async () => {
  for (let kind = 0; kind < kindsFor("k-1").length; kind++) {
    const { key, b, clock, origin, invalidate } = nodes({ softTimeoutMs: 10 });
    const spans = { freshMs: 1_000, staleWhileRevalidateMs: 60_000, staleIfErrorMs: 60_000 };
    const fields = [["etag", '"1"']] as const;
    origin.answer = (_key, context) =>
      withFreshness({ ...text(numbered(origin, context)), fields, tags: ["red"] }, spans);
    await b.get(key);
    await clock.advance(1_000);
    assert.equal(held(b, key), "v1", "stale, and it is refreshed");
    await now(undefined);
    assert.ok(origin.contexts[1]!.stale, "the origin may say that it is still good");
    await clock.advance(1_000);
    invalidate(kindsFor(key)[kind]!);
    assert.equal(held(b, key), undefined);
    const open = shut(origin);
    const asked = got(b, key);
    await clock.advance(100);
    assert.equal(await now(asked), "waits", "no stale value comes after the soft time-out");
    assert.equal(origin.contexts[2]!.stale, undefined);
    origin.answer = () => Promise.reject(new OriginError("down"));
    open();
    await assert.rejects(asked, new OriginError("down"), "nor in the place of an error");
  }
});

test("rule 5: a soft invalidation after a hard one brings nothing back", async () => {
  const { key, a, b, origin, invalidate } = nodes({ staleWhileRevalidateMs: 60_000, staleIfErrorMs: 60_000 });
  for (let i = 0; i < 2; i++) await a.get(key);
  invalidate({ keys: [key] });
  for (const soft of kindsFor(key)) invalidate({ ...soft, soft: true });
  origin.answer = () => Promise.reject(new OriginError("down"));
  for (const group of [a, b]) {
    assert.equal(held(group, key), undefined);
    await assert.rejects(group.get(key), new OriginError("down"));
  }
});

test("rule 6: after the log was made again no value of its earlier life counts", async () => {
  const { key, all, a, b, clock, log, logs, origin, viewB, invalidate } = nodes();
  invalidate({ keys: ["x"] });
  for (const group of [...all, ...all]) await group.get(key);
  log.lose();
  for (const view of logs.values()) if (view !== viewB) view.look();
  assert.deepEqual(all.map((group) => held(group, key)), [undefined, "v1", undefined], "b has not seen it yet");
  assert.equal(await got(a, key), "v2", "it looks when it is asked");
  assert.equal(held(b, key), "v2");
  assert.equal(origin.loads.length, 2);

  // A node that sees the earlier life only neither gives its values nor gets the new ones for good.
  viewB.cut();
  log.lose();
  for (const view of logs.values()) view.look();
  assert.equal(held(b, key), "v2");
  const asked = a.get(key);
  await clock.advance(250);
  assert.deepEqual([(await asked).source, held(a, key)], ["origin", undefined]);
  viewB.heal();
  assert.equal(held(b, key), undefined);
});

test("rule 6: a node that was away longer than the log keeps messages drops all values", async () => {
  const { key, a, b, c, log, origin, viewB, viewC, invalidate } = nodes();
  for (const group of [a, b, c, a, c]) await group.get(key);
  viewB.cut();
  viewC.cut();
  for (let i = 0; i < 3; i++) invalidate({ keys: [`x${i}`] });
  // b's next message is gone; c's is not.
  viewC.heal();
  log.forget(2);
  viewB.heal();
  assert.equal(viewB.position.label.sequence, 3);
  assert.deepEqual([a, b, c].map((group) => held(group, key)), ["v1", undefined, "v1"]);
  assert.equal(await got(b, key), "v1", "from a node that has missed nothing");
  assert.equal(origin.loads.length, 1);
});

test("rule 6: a node that was away and missed nothing keeps all values", async () => {
  const { key, b, viewB, invalidate } = nodes();
  await b.get(key);
  viewB.cut();
  invalidate({ keys: ["x"] });
  viewB.heal();
  assert.equal(held(b, key), "v1");
});

test("rule 9: a get after a label gives nothing older, on any node", async () => {
  for (const lagging of [["a"], ["b"], ["a", "b"]]) {
    const { key, a, b, logs, origin, invalidate } = nodes();
    for (let i = 0; i < 2; i++) await a.get(key);
    for (const name of lagging) logs.get(name)!.isHeld = true;
    const label = invalidate({ keys: [key] });
    if (lagging.includes("a")) assert.equal(held(a, key), "v1", "a get that does not say so is answered at once");
    assert.equal(await got(a, key, label), "v2", `behind: ${lagging}`);
    assert.equal(await got(b, key, label), "v2");
    assert.equal(origin.loads.length, 2);
  }
});

test("rule 9: a node that cannot reach the label asks the origin, and keeps nothing", async () => {
  const { key, a, clock, viewA, origin, asks, invalidate } = nodes();
  for (let i = 0; i < 2; i++) await a.get(key);
  viewA.cut();
  const label = invalidate({ keys: [key] });
  asks.length = 0;
  const asked = a.get(key, { after: label });
  await clock.advance(249);
  assert.equal(origin.loads.length, 1);
  await clock.advance(1);
  const loaded = await asked;
  assert.deepEqual([loaded.source, loaded.stored, origin.loads.length], ["origin", false, 2]);
  assert.deepEqual(asks, []);
  assert.equal(held(a, key), "v1");
  // A label of another life is one that it does not have.
  const other = a.get(key, { after: at(0, 9) });
  await clock.advance(250);
  assert.equal((await other).source, "origin");
});

test("rule 9: with maxBlindMs a node uses its caches only while it is in touch with the log", async () => {
  const { key, a, b, clock, viewA, viewB, origin } = nodes({}, { maxBlindMs: 1_000 });
  for (let i = 0; i < 2; i++) await a.get(key);
  viewA.cut();
  await clock.advance(1_000);
  assert.equal(held(a, key), "v1");
  viewB.look();
  await clock.advance(1);
  assert.equal(held(a, key), undefined);
  assert.equal(await got(a, key), "v1", "the owner is in touch");
  viewB.cut();
  await clock.advance(1_001);
  assert.deepEqual([held(b, key), await got(a, key), origin.loads.length], [undefined, "v2", 2]);
  viewA.heal();
  viewB.heal();
  assert.ok(held(a, key) && held(b, key), "they have missed nothing");
});

test("rule 9: without maxBlindMs a node that is out of touch serves on, and says so", async () => {
  const { key, a, clock, viewA } = nodes();
  for (let i = 0; i < 2; i++) await a.get(key);
  assert.equal(a.isBehind, false);
  viewA.cut();
  await clock.advance(10_000_000);
  assert.equal(held(a, key), "v1");
  assert.ok(a.isBehind);
  viewA.heal();
  assert.equal(a.isBehind, false);
});
