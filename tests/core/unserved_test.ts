/** A group on a node that does not serve it: every value comes from the peers that do, or there is none. */
import assert from "node:assert/strict";
import {
  BehindError,
  OriginUnreachableError,
  OverloadedError,
  PeerError,
  UnservedError,
} from "../../lib/core/errors.ts";
import type { GroupOptions } from "../../lib/core/group/options.ts";
import { RosterPicker } from "../../lib/core/placement/picker.ts";
import type { Peer } from "../../lib/core/ports.ts";
import { rosterOf } from "../../lib/core/roster.ts";
import { PLAIN, type Value } from "../../lib/core/value.ts";
import { ManualClock, settle } from "../support/clock.ts";
import { test } from "../support/test.ts";
import { askBy, CountingOrigin, makeGroup, read, record } from "./cluster.ts";
import { valueOf } from "./support.ts";

function asker(answer: (key: string) => Promise<Value>, servers: string[], options: Partial<GroupOptions> = {}) {
  const clock = new ManualClock();
  const asks: string[] = [];
  const fail = () => Promise.reject(new PeerError("lost"));
  const peerOf = (name: string): Peer => ({
    name,
    ask: askBy((key) => {
      asks.push(`${name} ${key}`);
      return answer(key);
    }),
    peek: fail,
    push: fail,
    catchUp: fail,
  });
  const origin = new CountingOrigin();
  origin.answer = () => Promise.reject(new UnservedError("nobody serves it"));
  const peers = new Map(servers.map((name) => [name, peerOf(name)]));
  const picker = new RosterPicker("dict", "z", (name) => peers.get(name), clock, { isOwner: false });
  picker.swap(rosterOf("dict", 1, servers.map(record)));
  const { group } = makeGroup({ ...options, origin, picker, clock, isServed: false });
  return { group, clock, asks, picker };
}

test("a slow owner is waited for: this node has nothing to ask in its place", async () => {
  const gate = Promise.withResolvers<void>();
  const { group, clock, asks } = asker(async () => {
    await gate.promise;
    return valueOf("late");
  }, ["a"]);
  const got = group.get("k");
  await clock.advance(5_000);
  gate.resolve();
  assert.equal(read(await got), "late");
  assert.deepEqual(asks, ["a k"]);
  const { hedges, originLoads, localLoadErrs } = group.stats();
  assert.deepEqual({ hedges, originLoads, localLoadErrs }, { hedges: 0, originLoads: 0, localLoadErrs: 0 });
});

test("a slow owner is hedged by the next that serves the group", async () => {
  const { group, clock, asks } = asker(
    (key) => asks.length === 1 ? new Promise(() => {}) : Promise.resolve(valueOf(key)),
    ["a", "b"],
  );
  const got = group.get("k");
  await clock.advance(600);
  assert.equal(read(await got), "k");
  assert.equal(asks.length, 2);
});

test("when all that serve the group are lost the get fails at once, and a stale copy stands in where it may", async () => {
  let isLost = true;
  const bornAtMs = new ManualClock().nowMs();
  const about = { ...PLAIN, hasOwnStale: true };
  const value = valueOf("v", { bornAtMs, freshUntilMs: bornAtMs + 1_000, staleIfErrorMs: 9_000, about });
  const { group, clock, asks } = asker(
    () => isLost ? Promise.reject(new PeerError("lost")) : Promise.resolve(value),
    ["a", "b"],
  );
  await assert.rejects(group.get("k"), UnservedError);
  assert.equal(asks.length, 2, "each was tried");
  isLost = false;
  assert.equal(read(await group.get("k")), "v");
  isLost = true;
  await clock.advance(5_000);
  assert.equal(read(await group.get("k")), "v", "it was fresh until 1 s");
  await clock.advance(5_000);
  await assert.rejects(group.get("k"), UnservedError);
  assert.equal(group.stats().originLoads, 0);
});

test("an owner that stays behind is asked once, not forever", async () => {
  const { group, asks } = asker(() => Promise.reject(new BehindError("behind")), ["a"]);
  await assert.rejects(group.get("k"), OverloadedError);
  assert.deepEqual(asks, ["a k"]);
});

test("a value that may not be shared is fetched for each get, and once for all when it may be shared again", async () => {
  let isPrivate = true;
  let fetched = 0;
  const { group, asks } = asker(
    async () => {
      const value = valueOf(`v${++fetched}`);
      await settle();
      return { ...value, about: { ...value.about, isPrivate } };
    },
    ["a"],
    { hotAfterFetches: 1 },
  );
  const both = async () => (await Promise.all([group.get("k"), group.get("k")])).map(read);
  assert.deepEqual(new Set(await both()).size, 2);
  assert.deepEqual(new Set(await both()).size, 2);
  isPrivate = false;
  await group.get("k");
  const asked = asks.length;
  assert.deepEqual(new Set(await both()).size, 1);
  assert.ok(asks.length <= asked + 1);
  assert.equal(group.stats().originLoads, 0);
});

test("when the only node that serves the group cannot reach the origin, that is the answer", async () => {
  const { group, asks } = asker(() => Promise.reject(new OriginUnreachableError("refused")), ["a"]);
  await assert.rejects(group.get("k"), OriginUnreachableError);
  assert.deepEqual(asks, ["a k"]);
});
