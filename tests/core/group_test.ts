import assert from "node:assert/strict";
import { BLIND } from "../../lib/core/invalidation/label.ts";
import { NotFoundError, OriginError, OriginTimeoutError, PeerError } from "../../lib/core/errors.ts";
import { Waiter } from "../../lib/core/load/flights.ts";
import type { Loaded } from "../../lib/core/group/loaded.ts";
import { asked, type Peer, type PeerPicker } from "../../lib/core/ports.ts";
import { rosterOf } from "../../lib/core/roster.ts";
import { settle } from "../support/clock.ts";
import { test } from "../support/test.ts";
import { askBy, CountingOrigin, makeCluster, makeGroup, read, record, text } from "./cluster.ts";
import { valueOf } from "./support.ts";

const hundred = Array.from({ length: 100 }, (_, i) => `key-${i}`);

test("the second get is a hit, and the origin is asked once", async () => {
  const origin = new CountingOrigin();
  const { group } = makeGroup({ origin });
  const first = await group.get("piston");
  assert.deepEqual([read(first), first.source, first.stored], ["value of piston", "origin", true]);
  assert.equal(group.lookup("piston")!.from, "main");
  assert.deepEqual(origin.loads, ["piston"]);
  const { gets, cacheHits, loads, loadsDeduped, localLoads, originLoads } = group.stats();
  assert.deepEqual([gets, cacheHits, loads, loadsDeduped, localLoads, originLoads], [2, 1, 1, 1, 1, 1]);
});

test("one load serves all callers at once, on all nodes", async () => {
  const { origin, groups } = makeCluster(["a", "b", "c", "d", "e"]);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const asked = [...groups.values()].flatMap((group) => Array.from({ length: 40 }, () => group.get("cold")));
  await settle();
  gate.resolve();
  for (const loaded of await Promise.all(asked)) assert.equal(read(loaded), "value of cold");
  assert.deepEqual(origin.loads, ["cold"]);
});

test("a peer that waits for a load is answered before the callers of this node, though they came first", async () => {
  const origin = new CountingOrigin();
  const { group } = makeGroup({ origin });
  const heard: string[] = [];
  class Caller extends Waiter<Loaded> {
    resolve({ value }: Loaded): void {
      heard.push(`caller ${new TextDecoder().decode(value.body)}`);
    }

    reject(error: unknown): void {
      heard.push(`caller ${error}`);
    }
  }
  group.load("k", new Caller(undefined));
  group.load("k", new Caller(undefined));
  const { signal } = new AbortController();
  const peer = asked({ signal, timeoutMs: 0 }, (question) =>
    group.loadAsOwner("k", {
      signal,
      timeoutMs: 0,
      after: BLIND,
      resolve: (value) => {
        heard.push(`peer ${new TextDecoder().decode(value.body)}`);
        question.resolve(value);
      },
      reject: (error) => question.reject(error),
    }));
  await peer;
  await settle();
  assert.deepEqual(heard, ["peer value of k", "caller value of k", "caller value of k"]);
  assert.equal(origin.loads.length, 1);
});

test("every key has one owner: a hundred keys asked on every node cost a hundred loads and one hop each", async () => {
  const { origin, groups, asks } = makeCluster(["a", "b", "c"]);
  for (const group of groups.values()) await Promise.all(hundred.map((key) => group.get(key)));
  assert.deepEqual([...origin.loads].sort(), [...hundred].sort());
  assert.equal(asks.length, 200, "two of three nodes ask for each key");
});

test("a node that answers as owner asks no other, though their rosters differ", async () => {
  // a takes b for the owner of all keys, and b takes a for it: the classic deadlock.
  const { groups, asks, origin } = makeCluster(["a", "b"], { rosters: { a: ["b"], b: ["a"] } });
  const answers = await Promise.all([groups.get("a")!.get("k"), groups.get("b")!.get("k")]);
  assert.deepEqual(answers.map(read), ["value of k", "value of k"]);
  assert.deepEqual(asks.sort(), ["a>b", "b>a"]);
  assert.equal(origin.loads.length, 2);
});

test("when the owner cannot be reached every node asks the same next in rank, so one load still serves all", async () => {
  const { groups, dead, origin } = makeCluster(["a", "b", "c", "d"]);
  dead.add("a");
  const living = ["b", "c", "d"].map((name) => groups.get(name)!);
  for (const key of hundred) {
    const answers = await Promise.all(living.map((group) => group.get(key)));
    assert.deepEqual(new Set(answers.map(read)), new Set([`value of ${key}`]));
  }
  assert.deepEqual([...origin.loads].sort(), [...hundred].sort());
});

test("with all others dead a node loads by itself", async () => {
  const { groups, dead, origin } = makeCluster(["a", "b", "c", "d", "e", "f"]);
  for (const name of ["b", "c", "d", "e", "f"]) dead.add(name);
  for (const key of hundred) assert.equal(read(await groups.get("a")!.get(key)), `value of ${key}`);
  assert.equal(origin.loads.length, 100);
});

test("after a failure the rank is taken from the latest roster: a node that has left is not asked", async () => {
  const { groups, pickers, dead, asks } = makeCluster(["a", "b", "c"]);
  const self = groups.get("a")!;
  const key = hundred.find((key) => pickers.get("a")!.ranked(key, 3).map((peer) => peer?.name).join() === "b,c,")!;
  dead.add("b");
  const asked = self.get(key);
  pickers.get("a")!.swap(rosterOf("dict", 2, ["a", "c"].map(record)));
  assert.equal(read(await asked), `value of ${key}`);
  assert.deepEqual(asks, ["a>b", "a>c"]);
});

test("not found and a failed origin are final: no other node is asked", async () => {
  for (const error of [new NotFoundError("no"), new OriginError("broken"), new OriginTimeoutError("slow")]) {
    const { groups, origin } = makeCluster(["a", "b", "c"]);
    origin.answer = () => {
      throw error;
    };
    await assert.rejects(groups.get("a")!.get("k"), (thrown) => thrown === error);
    assert.equal(origin.loads.length, 1);
  }
});

/** A hundred keys: those that this node owns, and the others. */
function sharedOut(picker: PeerPicker): { own: string[]; others: string[] } {
  const isOwn = (key: string) => picker.pick(key) === undefined;
  return { own: hundred.filter(isOwn), others: hundred.filter((key) => !isOwn(key)) };
}

test("a value fetched from its owner is kept at once while there is room, and not reported as stored", async () => {
  const { groups, pickers, asks } = makeCluster(["a", "b"]);
  const key = hundred.find((key) => pickers.get("a")!.pick(key)?.name === "b")!;
  const a = groups.get("a")!;
  const first = await a.get(key);
  assert.deepEqual([first.source, first.stored], ["peer", false]);
  assert.deepEqual([(await a.get(key)).source, asks.length], ["hot", 1]);
  assert.notEqual(
    a.lookup(key)!.value.body.buffer,
    first.value.body.buffer,
    "a copy: the rest of its frame is let go",
  );
});

test("when there is no room, a key is kept as a hot copy after its second fetch, not before", async () => {
  const { groups, pickers, asks } = makeCluster(["a", "b"], { options: { budgetBytes: 100 } });
  const { own, others } = sharedOut(pickers.get("a")!);
  const a = groups.get("a")!;
  // The cache is full of keys that a owns.
  while (a.stats().mainCache.evictions === 0) await a.get(own.shift()!);
  const key = others[0]!;
  assert.deepEqual([(await a.get(key)).source, a.lookup(key)], ["peer", undefined]);
  const second = await a.get(key);
  assert.deepEqual([second.source, second.stored], ["peer", true]);
  const third = await a.get(key);
  assert.deepEqual([third.source, asks.length], ["hot", 2]);
  assert.equal(a.stats().hotCache.items, 1);
});

test("concurrent callers count as one fetch", async () => {
  const { groups, pickers } = makeCluster(["a", "b"], { options: { budgetBytes: 100 } });
  const { own, others } = sharedOut(pickers.get("a")!);
  const a = groups.get("a")!;
  while (a.stats().mainCache.evictions === 0) await a.get(own.shift()!);
  await Promise.all(Array.from({ length: 50 }, () => a.get(others[0]!)));
  assert.equal(a.stats().hotCache.items, 0);
  assert.equal(a.stats().peerLoads, 1);
});

test("hot copies in spare room give way to values that peers hand over; owned values do not", async () => {
  const { groups, pickers } = makeCluster(["a", "b"], { options: { budgetBytes: 1_000 } });
  const { own, others } = sharedOut(pickers.get("a")!);
  const a = groups.get("a")!;
  for (const key of others) await a.get(key);
  assert.equal(a.stats().hotCache.evictions, 0, "none displaces another");
  const hotBefore = a.stats().hotCache.items;
  const entries = own.map((key) => ({
    key,
    value: valueOf(`value of ${key}`),
  }));
  const taken = a.accept(entries, "b");
  const { mainCache, hotCache } = a.stats();
  assert.ok(hotBefore > hotCache.items && taken === mainCache.items);
  assert.ok(taken === entries.length || hotCache.items === 0);
  assert.deepEqual([a.accept(entries, "b"), a.stats().mainCache.evictions], [0, 0], "what is here stays");
});

test("a load that all its callers left is no error of the origin; a load that is too slow is", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, loadTimeoutMs: 1_000 });
  origin.load = (_key, signal) =>
    new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  const client = new AbortController();
  const left = assert.rejects(group.get("left", { signal: client.signal }), /gone/);
  await settle();
  client.abort(new Error("gone"));
  await left;
  assert.equal(group.stats().localLoadErrs, 0);
  const slow = assert.rejects(group.get("slow"), OriginTimeoutError);
  await clock.advance(1_000);
  await slow;
  assert.equal(group.stats().localLoadErrs, 1);
});

test("a caller that leaves cancels nothing for the others; the last one cancels the load", async () => {
  const origin = new CountingOrigin();
  const { group } = makeGroup({ origin });
  origin.gate = new Promise(() => {});
  const [one, two] = [new AbortController(), new AbortController()];
  const asked = [one, two].map(({ signal }) => group.get("k", { signal }));
  one.abort(new Error("left"));
  await assert.rejects(asked[0]!, /left/);
  assert.equal(origin.signals[0]!.aborted, false);
  two.abort(new Error("left"));
  await assert.rejects(asked[1]!, /left/);
  assert.equal(origin.signals[0]!.aborted, true);
});

test("a load times out when the origin never answers", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, loadTimeoutMs: 1_000 });
  origin.gate = new Promise(() => {});
  const fails = assert.rejects(group.get("k"), OriginTimeoutError);
  await clock.advance(1_000);
  await fails;
});

test("an answer after the deadline does not replace the value of a later load", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, loadTimeoutMs: 1_000 });
  const slow = Promise.withResolvers<void>();
  origin.gate = slow.promise;
  const late = assert.rejects(group.get("k"), OriginTimeoutError);
  origin.answer = () => text("old");
  await clock.advance(1_000);
  await late;
  origin.gate = Promise.resolve();
  const answers = [text("new"), text("old")];
  origin.answer = () => answers.shift()!;
  assert.equal(read(await group.get("k")), "new");
  slow.resolve();
  await settle();
  assert.equal(answers.length, 0, "the late answer did come");
  assert.equal(read(group.lookup("k")!), "new");
});

test("values live as long as the group says, and no longer", async () => {
  const origin = new CountingOrigin();
  const { group, clock } = makeGroup({ origin, lifetime: { ttlMs: 10_000 } });
  await group.get("k");
  await clock.advance(9_999);
  assert.ok(group.lookup("k"));
  await clock.advance(1);
  assert.equal(group.lookup("k"), undefined);
  await group.get("k");
  assert.equal(origin.loads.length, 2);
});

test("a value over the budget is served, not stored", async () => {
  const origin = new CountingOrigin();
  const { group } = makeGroup({ origin, budgetBytes: 10 });
  assert.equal((await group.get("piston")).stored, false);
  assert.equal(group.lookup("piston"), undefined);
});

test("a value that came while an owner was asked in vain is not loaded again", async () => {
  const gate = Promise.withResolvers<void>();
  const origin = new CountingOrigin();
  const failing: Peer = {
    name: "b",
    ask: askBy(async () => {
      await gate.promise;
      throw new PeerError("lost");
    }),
    peek: () => Promise.reject(new PeerError("lost")),
    push: () => Promise.reject(new PeerError("lost")),
    catchUp: () => Promise.reject(new PeerError("lost")),
  };
  const picker: PeerPicker = {
    pick: () => failing,
    ranked: (_key, count) => [failing, undefined].slice(0, count),
    rankedBefore: () => [],
    holders: () => [],
  };
  const { group } = makeGroup({ origin, picker });
  const asked = group.get("k");
  await group.getAsOwner("k");
  gate.resolve();
  const loaded = await asked;
  assert.deepEqual([read(loaded), loaded.source], ["value of k", "main"]);
  assert.deepEqual(origin.loads, ["k"]);
});

test("a group is empty while nothing is stored and nothing is in flight", async () => {
  const origin = new CountingOrigin();
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const { group } = makeGroup({ origin });
  assert.equal(group.isEmpty, true);
  const loading = group.get("a");
  assert.equal(group.isEmpty, false, "in flight");
  gate.resolve();
  await loading;
  assert.equal(group.isEmpty, false, "stored");
});
