/** A hedge for a value that has expired: the next in rank does not try the origin as well, where the owner is there. */
import assert from "node:assert/strict";
import { OriginError } from "../../../lib/core/errors.ts";
import { test } from "../../support/test.ts";
import { read, text } from "../cluster.ts";
import { threeNodes } from "../lifetime/support.ts";

const POLICY = { ttlMs: 10_000, staleIfErrorMs: 600_000 };

/** b owns the key and holds its expired value; c is next in rank and holds nothing. */
async function expired(policy: Parameters<typeof threeNodes>[0]) {
  const cluster = threeNodes(policy);
  await cluster.b.get(cluster.key);
  await cluster.clock.advance(10_000);
  cluster.origin.loads = [];
  return cluster;
}

test("while the origin fails slowly, a hedge costs no second try", async () => {
  const { key, a, asks, clock, origin } = await expired(POLICY);
  origin.answer = () => new Promise((_, fail) => clock.after(700, () => fail(new OriginError("down"))));
  const asked = a.get(key);
  await clock.advance(600);
  assert.deepEqual(asks, ["a>b", "a>c"], "b is silent, as its load is slow");
  await clock.advance(100);
  assert.equal(read(await asked), "v1");
  await clock.advance(899);
  assert.equal(read(await a.get(key)), "v1");
  assert.deepEqual(origin.loads, [key]);
});

test("in the place of an owner that backs off, the next in rank serves the owner's stale value", async () => {
  const { key, b, c, clock, origin } = await expired(POLICY);
  origin.answer = () => Promise.reject(new OriginError("down"));
  assert.equal(read(await b.get(key)), "v1");
  assert.equal(read(await c.getAsOwner(key)), "v1");
  await clock.advance(999);
  assert.equal(read(await c.getAsOwner(key)), "v1");
  assert.deepEqual(origin.loads, [key]);
});

test("a peek that overtakes the ask of the owner does not make two tries", async () => {
  const { key, b, c, origin } = await expired(POLICY);
  origin.answer = () => Promise.reject(new OriginError("down"));
  assert.equal(read(await c.getAsOwner(key)), "v1");
  assert.deepEqual(origin.loads, []);
  assert.equal(read(await b.get(key)), "v1");
  assert.deepEqual(origin.loads, [key]);
});

test("the next in rank loads in place of an owner that is gone, or whose stale value may not be served", async () => {
  for (const [policy, isGone] of [[POLICY, true], [{ ttlMs: 10_000 }, false]] as const) {
    const { key, c, dead, origin } = await expired(policy);
    if (isGone) dead.add("b");
    origin.answer = () => text("new");
    assert.equal(read(await c.getAsOwner(key)), "new");
    assert.deepEqual(origin.loads, [key]);
  }
});

test("a new owner refreshes its former owner's value, and no old copy at another node is used", async () => {
  const moved = await expired(POLICY);
  moved.swap(["a", "c"], ["a", "c"]);
  moved.origin.answer = () => text("new");
  assert.equal(read(await moved.c.get(moved.key)), "new");

  const { key, a, c, clock, dead, origin } = threeNodes(POLICY);
  for (let i = 0; i < 2; i++) await a.get(key);
  await clock.advance(10_000);
  dead.add("b");
  origin.answer = () => text("new");
  assert.equal(read(await c.getAsOwner(key)), "new");
});
