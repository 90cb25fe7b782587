import assert from "node:assert/strict";
import { PrefixHash } from "../../../lib/core/base/hash.ts";
import { Rendezvous } from "../../../lib/core/placement/rendezvous.ts";
import type { AskOptions, Peer } from "../../../lib/core/ports.ts";
import type { Value } from "../../../lib/core/value.ts";
import { NoPeers } from "../../../lib/core/ports.ts";
import { Peeks } from "../../../lib/core/handoff/peek.ts";
import { DEFAULT_LIFETIME } from "../../../lib/core/lifetime/policy.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { makeCluster, read, record } from "../cluster.ts";
import { valueOf } from "../support.ts";
import { askAll, keys } from "./support.ts";

test("a node that joins asks the former owner before the origin, so a join costs no load", async () => {
  const cluster = makeCluster(["a", "b", "c", "d"], {
    rosters: { a: ["a", "b", "c"], b: ["a", "b", "c"], c: ["a", "b", "c"], d: [] },
  });
  await askAll(cluster, ["a"]);
  cluster.swap(["a", "b", "c", "d"]);
  await askAll(cluster, ["d", "a", "b", "c"]);
  assert.equal(cluster.origin.loads.length, keys.length);
  assert.ok(cluster.groups.get("d")!.stats().peekHits > 20, "it owns a quarter of them");
});

test("three nodes that join one after another find values of three rosters back", async () => {
  const names = ["a", "b", "c", "x", "y", "z"];
  const first = ["a", "b", "c"];
  const cluster = makeCluster(names, { rosters: Object.fromEntries(names.map((name) => [name, first])) });
  await askAll(cluster, ["a"]);
  const joined = (name: string, second: number) => ({ ...record(name), joined: `2026-01-01T00:00:0${second}.000Z` });
  const [x, y, z] = [joined("x", 1), joined("y", 2), joined("z", 3)];
  cluster.swap([...first, x], [...first, "x"]);
  cluster.swap([...first, x, y], [...first, "x", "y"]);
  cluster.swap([...first, x, y, z], names);
  await askAll(cluster, names);
  assert.equal(cluster.origin.loads.length, keys.length);
});

test("a value is found at the first of twelve owners that a key has had since its last get", async () => {
  const records = Array.from({ length: 40 }, (_, i) => ({
    ...record(`n${i}`),
    joined: new Date(Date.UTC(2026, 0, 1, 0, 0, i)).toISOString(),
  }));
  const hash = new PrefixHash("dict\0");
  const ownerOf = (key: string, count: number) => new Rendezvous(records.slice(0, count)).owner(hash.hash(key));
  let key = "";
  let owners: number[] = [];
  for (let i = 0; owners.length !== 12; i++) {
    key = `key-${i}`;
    owners = [...new Set(records.map((_, last) => ownerOf(key, last + 1)))];
  }
  const names = records.map(({ name }) => name);
  const cluster = makeCluster(names, { rosters: Object.fromEntries(names.map((name) => [name, []])) });
  for (let count = 1; count <= records.length; count++) {
    cluster.swap(records.slice(0, count), names.slice(0, count));
    if (count === 1) await cluster.groups.get("n0")!.get(key);
  }
  const last = await cluster.groups.get(names[owners.at(-1)!]!)!.get(key);
  assert.equal(read(last), `value of ${key}`);
  assert.deepEqual(cluster.origin.loads, [key]);
});

test("a wrong eviction costs no load, neither when it happens nor when it is undone", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  await askAll(cluster, ["a"]);
  cluster.swap(["a", "b"], ["a", "b"]);
  await askAll(cluster, ["a", "b"]);
  cluster.swap(["a", "b", "c"]);
  await askAll(cluster, ["a", "b", "c"]);
  assert.equal(cluster.origin.loads.length, keys.length);
});

test("a load in flight at the former owner is joined, not made again", async () => {
  const cluster = makeCluster(["a", "b", "c"], { rosters: { a: ["a", "b"], b: ["a", "b"], c: [] } });
  const gate = Promise.withResolvers<void>();
  cluster.origin.gate = gate.promise;
  const early = keys.map((key) => cluster.groups.get("a")!.get(key));
  await settle(100);
  cluster.swap(["a", "b", "c"]);
  const late = keys.map((key) => cluster.groups.get("c")!.get(key));
  await settle(100);
  gate.resolve();
  await Promise.all([...early, ...late]);
  assert.equal(cluster.origin.loads.length, keys.length);
});

test("keys of a killed node that others hold as hot copies cost no load, before its eviction and after it", async () => {
  const cluster = makeCluster(["a", "b", "c", "d"]);
  // Twice: a value fetched for the second time is kept as a hot copy.
  await askAll(cluster, ["a"]);
  await askAll(cluster, ["a"]);
  const isOf = (name: string) => (key: string) => cluster.pickers.get("a")!.pick(key)?.name === name;
  const [lost, others] = [keys.filter(isOf("d")), ["b", "c"]];
  cluster.dead.add("d");
  for (const name of others) for (const key of lost.slice(0, 20)) await cluster.groups.get(name)!.get(key);
  assert.equal(cluster.origin.loads.length, keys.length, "not yet evicted");
  cluster.swap(["a", "b", "c"], ["a", "b", "c"]);
  for (const name of others) for (const key of lost) await cluster.groups.get(name)!.get(key);
  assert.equal(cluster.origin.loads.length, keys.length, "evicted");
});

test("keys of a killed node that no other node holds are loaded once, by their new owner", async () => {
  const cluster = makeCluster(["a", "b", "c", "d"]);
  const lost = keys.filter((key) => cluster.pickers.get("a")!.pick(key)?.name === "d");
  await Promise.all(lost.map((key) => cluster.groups.get("d")!.get(key)));
  cluster.dead.add("d");
  cluster.swap(["a", "b", "c"], ["a", "b", "c"]);
  for (const name of ["a", "b", "c"]) await Promise.all(lost.map((key) => cluster.groups.get(name)!.get(key)));
  assert.equal(cluster.origin.loads.length, 2 * lost.length);
});

test("in a cold start no node is asked for values that none holds", async () => {
  const cluster = makeCluster(["a", "b"], { rosters: { a: ["a"], b: ["a", "b"] } });
  cluster.swap(["a", "b"]);
  for (const name of ["a", "b"]) cluster.greet(name);
  for (const name of ["a", "b"]) await Promise.all(keys.map((key) => cluster.groups.get(name)!.get(key)));
  assert.deepEqual([cluster.peeks, cluster.origin.loads.length], [[], keys.length]);
});

test("a former owner is asked if it holds values, or if its greeting is older than the last change of owners", async () => {
  for (const isGreetingLate of [true, false]) {
    const cluster = makeCluster(["a", "b"], { rosters: { a: ["a"], b: ["a"] } });
    const moved = keys.filter((key) => cluster.pickers.get("b")!.pick(key)?.name === "a").slice(0, 20);
    if (!isGreetingLate) cluster.greet("a");
    await cluster.clock.advance(1);
    await Promise.all(moved.map((key) => cluster.groups.get("a")!.get(key)));
    cluster.swap(["a", "b"]);
    if (isGreetingLate) cluster.greet("a");
    for (const name of ["a", "b"]) await Promise.all(moved.map((key) => cluster.groups.get(name)!.get(key)));
    assert.ok(cluster.peeks.includes("b>a"));
    assert.equal(cluster.origin.loads.length, moved.length, "each was loaded once, by its first owner");
  }
});

test("a node that stood aside also asks nodes that were empty: they may have loaded in its place", async () => {
  const cluster = makeCluster(["a", "b"], { rosters: { a: ["a"], b: ["a", "b"] } });
  cluster.swap(["a", "b"]);
  cluster.greet("a");
  const key = keys.find((key) => cluster.pickers.get("b")!.pick(key) === undefined)!;
  await cluster.clock.advance(1);
  cluster.pickers.get("b")!.standAside();
  // A node that b has passed on asks a as owner.
  await cluster.groups.get("a")!.getAsOwner(key);
  await cluster.groups.get("b")!.get(key);
  assert.deepEqual(cluster.origin.loads, [key]);
});

/** After a miss whose former owner is silent, the origin is asked after `delayMs` and not before. */
async function asksOriginAfter(loadTimeoutMs: number, delayMs: number): Promise<void> {
  const rosters = { a: ["a", "b"], b: ["a", "b"] };
  const cluster = makeCluster(["a", "b"], { rosters, options: { loadTimeoutMs } });
  cluster.swap(["a"], ["a"]);
  cluster.stalled.add("b");
  const key = keys.find((key) => cluster.pickers.get("b")!.pick(key) === undefined)!;
  const asked = cluster.groups.get("a")!.get(key);
  await cluster.clock.advance(delayMs - 1);
  assert.deepEqual(cluster.origin.loads, []);
  await cluster.clock.advance(1);
  assert.equal(read(await asked), `value of ${key}`);
}

test("a silent former owner delays a miss by two seconds at most", () => asksOriginAfter(10_000, 2_000));

test("peeks take at most a quarter of a load's time", () => asksOriginAfter(2_000, 500));

test("a former owner that is silent twice is passed over by the misses that follow, until it answers", async () => {
  const cluster = makeCluster(["a", "b"], { rosters: { a: ["a", "b"], b: ["a", "b"] } });
  const { clock, groups, origin, peeks } = cluster;
  const a = groups.get("a")!;
  cluster.swap(["a"], ["a"]);
  const bs = keys.filter((key) => cluster.pickers.get("b")!.pick(key) === undefined);
  cluster.stalled.add("b");
  // Two misses at once count as one silence.
  const first = [a.get(bs[0]!), a.get(bs[1]!)];
  await clock.advance(2_000);
  await Promise.all(first);
  const second = a.get(bs[2]!);
  await settle();
  assert.equal(peeks.length, 3);
  await clock.advance(2_000);
  await second;
  assert.equal(read(await a.get(bs[3]!)), `value of ${bs[3]}`);
  assert.equal(peeks.length, 3, "no miss waits for it now");
  // After the pause one miss asks it again; meanwhile the others pass it over.
  await clock.advance(250);
  const probe = a.get(bs[4]!);
  assert.equal(read(await a.get(bs[5]!)), `value of ${bs[5]}`);
  assert.equal(peeks.length, 4);
  await clock.advance(2_000);
  await probe;
  cluster.stalled.delete("b");
  await clock.advance(500);
  for (const key of bs.slice(6, 8)) await a.get(key);
  assert.equal(peeks.length, 6, "it answers again");
  assert.equal(origin.loads.length, 8);
});

test("one slow load at a node is no reason to pass the node over", async () => {
  const cluster = makeCluster(["a", "b"], { rosters: { a: ["a", "b"], b: ["a", "b"] } });
  const { clock, groups, origin, peeks } = cluster;
  const bs = keys.filter((key) => cluster.pickers.get("b")!.pick(key) === undefined);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const slow = groups.get("b")!.get(bs[0]!);
  await settle();
  cluster.swap(["a"], ["a"]);
  const waits = groups.get("a")!.get(bs[0]!);
  await clock.advance(1);
  const quick = groups.get("a")!.get(bs[1]!);
  await clock.advance(2_000);
  const next = groups.get("a")!.get(bs[2]!);
  await settle();
  assert.deepEqual(peeks.filter((peek) => peek === "a>b").length, 3);
  gate.resolve();
  await Promise.all([slow, waits, quick, next]);
});

test("a node that stood still reads its sockets before it gives up a peek", async () => {
  const cluster = makeCluster(["a", "b"], { rosters: { a: ["a", "b"], b: ["a", "b"] } });
  const { clock, groups, origin } = cluster;
  const [key, other] = keys.filter((key) => cluster.pickers.get("b")!.pick(key) === undefined);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const loads = [groups.get("b")!.get(key!), groups.get("b")!.get(other!)];
  await settle();
  cluster.swap(["a"], ["a"]);
  const asked = [groups.get("a")!.get(key!), groups.get("a")!.get(other!)];
  await settle();
  clock.standStill(3_000);
  await clock.advance(0);
  gate.resolve();
  await Promise.all([...loads, ...asked]);
  assert.deepEqual(origin.loads, [key, other]);
});

test("an abandoned load that ends late does not hide the next load from peeks", async () => {
  const cluster = makeCluster(["a", "b"], { rosters: { a: ["a"], b: ["a"] } });
  const { groups, origin } = cluster;
  const key = keys.find((key) => makeCluster(["a", "b"]).pickers.get("b")!.pick(key) === undefined)!;
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  origin.gate = gates[0]!.promise;
  const client = new AbortController();
  const left = assert.rejects(groups.get("a")!.get(key, { signal: client.signal }), /gone/);
  await settle();
  client.abort(new Error("gone"));
  await left;
  origin.gate = gates[1]!.promise;
  const again = groups.get("a")!.get(key);
  await settle();
  gates[0]!.reject(new Error("aborted"));
  await settle();
  assert.equal(origin.loads.length, 2);
  cluster.swap(["a", "b"]);
  const joined = groups.get("b")!.get(key);
  await settle();
  gates[1]!.resolve();
  await Promise.all([again, joined]);
  assert.equal(origin.loads.length, 2, "the new owner waited for the load at the old one");
});

test("former rosters are forgotten after five minutes: then a miss goes straight to the origin", async () => {
  const cluster = makeCluster(["a", "b"]);
  cluster.swap(["a"], ["a"]);
  await cluster.clock.advance(300_000);
  await cluster.groups.get("a")!.get("k");
  assert.deepEqual(cluster.peeks, []);
});

test("in a cluster that does not change no node peeks", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  await cluster.clock.advance(300_000);
  await askAll(cluster, ["a", "b", "c"]);
  assert.deepEqual(cluster.peeks, []);
});

test("a former owner's value that arrives in parts is waited for, and when it stops, the origin is asked", async () => {
  for (const parts of [5, 2]) {
    const clock = new ManualClock();
    let asked: AskOptions | undefined;
    const found = Promise.withResolvers<Value>();
    const peek: Peer["peek"] = (_group, _key, options) => (asked = options, found.promise);
    const former = { name: "b", peek } as Peer;
    const picker = { ...NoPeers, holders: () => [former] };
    const stats = { peeks: 0, peekHits: 0, entriesPushed: 0, entriesTaken: 0 };
    const lifetime = DEFAULT_LIFETIME;
    // Peeks use no cache.
    const caches = undefined as never;
    const options = { group: "g", picker, caches, clock, lifetime, loadTimeoutMs: 10_000, replicas: 1, stats };
    let result: Value | undefined | null = null;
    const round = new Peeks(options).ask("x", new AbortController().signal)!.then((value) => result = value);
    await settle();
    for (let i = 0; i < parts; i++) {
      asked!.arriving!(clock.nowMs() + 5_000);
      await clock.advance(1_000);
    }
    assert.equal(result, null);
    if (parts === 5) found.resolve(valueOf(1));
    else await clock.advance(4_000);
    await round;
    assert.deepEqual([result !== undefined, stats.peekHits], parts === 5 ? [true, 1] : [false, 0]);
    assert.equal(clock.pending, 0);
  }
});
