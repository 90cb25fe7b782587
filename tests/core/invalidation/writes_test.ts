/** Values that clients write: each has the sequence of its own message as its label. */
import assert from "node:assert/strict";
import { NotFoundError, OverloadedError } from "../../../lib/core/errors.ts";
import type { Label } from "../../../lib/core/invalidation/label.ts";
import type { Value } from "../../../lib/core/value.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { record } from "../cluster.ts";
import { drainOf } from "../handoff/support.ts";
import { valueOf } from "../support.ts";
import { at, got, held, nodes, now, shut } from "./support.ts";

function written(body: string, label: Label, bornAtMs: number): Value {
  return valueOf(body, { label: { ...label }, bornAtMs });
}

test("two writes end in the order of their labels, whatever the order of arrival", async () => {
  const orders = ["w1 w2 look", "w1 look w2", "look w1 w2", "w2 w1 look", "w2 look w1", "look w2 w1"];
  for (const order of orders) {
    for (const most of [1, 2]) {
      for (const way of ["pushed", "kept"]) {
        const { key, b, clock, viewB, invalidate } = nodes();
        await b.get(key);
        viewB.isHeld = true;
        const labels = { w1: invalidate({ keys: [key] }), w2: invalidate({ keys: [key] }) };
        for (const step of order.split(" ")) {
          await clock.advance(1);
          if (step === "look") {
            viewB.look(most);
            continue;
          }
          const value = written(step, labels[step as "w1" | "w2"], clock.nowMs());
          if (way === "kept") b.keepWritten(key, value);
          else b.accept([{ key, value }], "a", true);
        }
        assert.equal(held(b, key), "w2", `${order}, ${most} applied in between, ${way}`);
        viewB.look();
        assert.equal(held(b, key), "w2");
      }
    }
  }
});

test("a write displaces a load of its key, even if the load's value was born later", async () => {
  const { key, b, clock, invalidate } = nodes();
  const value = written("written", invalidate({ keys: [key] }), clock.nowMs());
  await clock.advance(1_000);
  // Loaded after the message of the write, before the write itself has come.
  await b.get(key);
  assert.equal(b.accept([{ key, value: { ...value } }], "a"), 0, "what is handed over does not");
  assert.equal(b.accept([{ key, value }], "a", true), 1);
  assert.equal(held(b, key), "written");
});

test("a write makes room for itself", async () => {
  const { key, b, clock, pickers, invalidate } = nodes({}, { budgetBytes: 60 });
  const value = written("written", invalidate({ keys: [key] }), clock.nowMs());
  const others = Array.from({ length: 100 }, (_, i) => `k${i}`).filter((key) =>
    pickers.get("b")!.pick(key) === undefined
  );
  for (const other of others.slice(0, 20)) await b.get(other);
  const { evictions } = b.stats().mainCache;
  assert.ok(evictions > 0, "it is full");
  assert.equal(b.accept([{ key, value: { ...value } }], "a"), 0, "a handed-over value displaces nothing");
  assert.equal(b.accept([{ key, value }], "a", true), 1);
  assert.equal(held(b, key), "written");
});

test("a load that began before a write is not stored after it, whether the message was applied or not", async () => {
  for (const isApplied of [true, false]) {
    for (const way of ["pushed", "kept"]) {
      const { key, a, b, clock, viewB, origin, invalidate } = nodes();
      const open = shut(origin);
      const early = got(b, key);
      await settle(100);
      viewB.isHeld = !isApplied;
      const label = invalidate({ keys: [key] });
      // It was under way for long: by its age it is older than the load.
      const value = written("written", label, clock.nowMs() - 5_000);
      if (way === "kept") assert.ok(b.keepWritten(key, value));
      else assert.equal(b.accept([{ key, value }], "a", true), 1);
      assert.equal(held(b, key), "written");
      open();
      assert.equal(await early, "v1", "who asked before may get it");
      assert.equal(held(b, key), "written");
      viewB.look();
      assert.equal(held(b, key), "written");
      assert.equal(await got(a, key), "written");
      assert.equal(origin.loads.length, 1);
    }
  }
});

test("a load that began before a write and finds nothing does not remove the written value", async () => {
  for (const isApplied of [true, false]) {
    for (const negativeTtlMs of [0, 60_000]) {
      const { key, b, clock, viewB, origin, invalidate } = nodes({ negativeTtlMs });
      const open = shut(origin);
      origin.answer = () => Promise.reject(new NotFoundError("none"));
      const early = assert.rejects(b.get(key), NotFoundError);
      await settle(100);
      viewB.isHeld = !isApplied;
      const value = written("written", invalidate({ keys: [key] }), clock.nowMs() - 5_000);
      assert.equal(b.accept([{ key, value }], "a", true), 1);
      open();
      await early;
      assert.equal(held(b, key), "written", `applied: ${isApplied}, negativeTtlMs ${negativeTtlMs}`);
    }
  }
});

test("an invalidation after a write drops its value, and an earlier write that arrives later is too late", async () => {
  const { key, a, b, clock, invalidate } = nodes();
  const first = written("first", invalidate({ keys: [key] }), clock.nowMs());
  assert.ok(b.keepWritten(key, first));
  invalidate({ prefixes: [key] });
  assert.equal(held(b, key), undefined);
  const late = written("late", at(1, 1), clock.nowMs());
  invalidate({ all: true });
  assert.equal(b.keepWritten(key, late), false);
  assert.equal(b.accept([{ key, value: late }], "a", true), 0);
  assert.ok(b.validity.isCovered(key, late), "whoever has written it is told that it is over");
  assert.equal(await got(a, key), "v1");
});

test("a written value is the one that all nodes get, and no old copy comes back", async () => {
  const { key, all, a, b, c, clock, viewC, origin, invalidate } = nodes();
  for (const group of [...all, ...all]) await group.get(key);
  viewC.isHeld = true;
  const label = invalidate({ keys: [key] });
  b.keepWritten(key, written("written", label, clock.nowMs()));
  assert.deepEqual([await got(a, key), await got(b, key), held(c, key)], ["written", "written", "v1"]);
  assert.equal(await got(c, key, label), "written");
  assert.equal(origin.loads.length, 1);
});

test("a written value is kept at the key's second owner too, whichever node took the write", async () => {
  for (const way of ["kept", "pushed"]) {
    const { key, b, c, clock, dead, origin, invalidate, a } = nodes({}, { replicas: 2 });
    for (const group of [b, c]) await group.get(key);
    await settle(100);
    await clock.advance(10);
    const value = written("written", invalidate({ keys: [key] }), clock.nowMs());
    if (way === "kept") b.keepWritten(key, value);
    else b.accept([{ key, value }], "a", true);
    await settle(100);
    assert.equal(held(c, key), "written", way);
    dead.add("b");
    assert.equal(await got(a, key), "written");
    assert.equal(origin.loads.length, 1);
  }
});

test("a written value moves with its key, and an older one that comes after it is not taken", async () => {
  const cluster = nodes();
  const { key, b, c, clock, viewC, swap, invalidate } = cluster;
  const old = written("old", invalidate({ keys: [key] }), clock.nowMs() + 5_000);
  viewC.isHeld = true;
  b.keepWritten(key, written("written", invalidate({ keys: [key] }), clock.nowMs()));
  swap([record("a"), { ...record("b"), state: "draining" }, record("c")]);
  await drainOf(cluster, "b");
  assert.equal(held(c, key), "written");
  for (const isWritten of [false, true]) assert.equal(c.accept([{ key, value: { ...old } }], "a", isWritten), 0);
  assert.equal(held(c, key), "written");
});

test("a group that is only written to asks no origin: a node that is behind says so", async () => {
  const { key, a, b, clock, viewA, viewB, origin, invalidate } = nodes({}, { isWriteOnly: true });
  origin.answer = () => Promise.reject(new NotFoundError("only written to"));
  await assert.rejects(a.get(key), NotFoundError);
  b.keepWritten(key, written("w1", invalidate({ keys: [key] }), clock.nowMs()));
  assert.equal(await got(a, key), "w1");
  const loads = origin.loads.length;

  viewB.cut();
  const label = invalidate({ keys: [key] });
  const behind = a.get(key).catch((error) => error);
  await clock.advance(250);
  assert.ok(await now(behind) instanceof OverloadedError, "the owner cannot tell whether its value is the latest");
  assert.equal(held(b, key), "w1");

  viewB.heal();
  b.keepWritten(key, written("w2", label, clock.nowMs()));
  assert.equal(await got(a, key), "w2");
  viewA.cut();
  const next = invalidate({ keys: [key] });
  const after = a.get(key, { after: next }).catch((error) => error);
  await clock.advance(250);
  assert.ok(await now(after) instanceof OverloadedError, "nor can this node");
  assert.equal(origin.loads.length, loads);
});
