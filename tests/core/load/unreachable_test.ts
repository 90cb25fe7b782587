/** A node that cannot reach the origin speaks for itself only: the next in rank tries, once. */
import assert from "node:assert/strict";
import { NotFoundError, OriginError, OriginUnreachableError } from "../../../lib/core/errors.ts";
import { Reachability } from "../../../lib/core/load/reachability.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { makeCluster, read, text } from "../cluster.ts";
import { keys, keysOfB } from "./support.ts";

/** Keys whose nodes, in their order of rank, are these. */
function keysOf(cluster: ReturnType<typeof makeCluster>, rank: string): string[] {
  const picker = cluster.pickers.get("a")!;
  return keys.filter((key) => picker.ranked(key, 3).map((peer) => peer?.name ?? "a").join("") === rank);
}

test("when the owner cannot reach the origin, the next in rank loads, and one load serves all", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const { groups, origin, inVain, asks } = cluster;
  cluster.cutOff.set("b", 0);
  const [key] = keysOfB(cluster);
  const values = await Promise.all(["a", "b", "c"].map((name) => groups.get(name)!.get(key!)));
  assert.deepEqual(values.map(read), [1, 2, 3].map(() => `value of ${key}`));
  assert.deepEqual(origin.loads, [key]);
  assert.deepEqual(inVain, [`b ${key}`], "asked by three, tried once");
  assert.deepEqual(asks.toSorted(), ["a>b", "a>c", "b>c", "c>b"]);
});

test("the owner keeps what the next in rank has loaded for it, so that later gets are hits", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const { groups, asks } = cluster;
  cluster.cutOff.set("b", 0);
  const [key] = keysOfB(cluster);
  assert.equal((await groups.get("b")!.get(key!)).source, "peer");
  asks.length = 0;
  await groups.get("a")!.get(key!);
  assert.equal((await groups.get("b")!.get(key!)).source, "main");
  assert.deepEqual(asks, ["a>b"]);
  assert.equal(cluster.origin.loads.length, 1);
});

test("the asker may be the next in rank: it loads by itself", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  cluster.cutOff.set("b", 0);
  const [key] = keysOf(cluster, "bac");
  const { source, value } = await cluster.groups.get("a")!.get(key!);
  assert.deepEqual([source, read({ value })], ["origin", `value of ${key}`]);
  assert.deepEqual(cluster.asks, ["a>b"]);
});

test("for each key two nodes try an origin that no node reaches, for any number of askers", async () => {
  const names = ["a", "b", "c", "d", "e"];
  const cluster = makeCluster(names);
  for (const name of names) cluster.cutOff.set(name, 0);
  for (const key of keys.slice(0, 50)) {
    cluster.inVain.length = 0;
    const all = await Promise.allSettled(names.map((name) => cluster.groups.get(name)!.get(key)));
    for (const one of all) assert.ok(one.status === "rejected" && one.reason instanceof OriginUnreachableError);
    const [owner, second] = cluster.pickers.get("a")!.ranked(key, 2).map((peer) => peer?.name ?? "a");
    assert.deepEqual(cluster.inVain.toSorted(), [`${owner} ${key}`, `${second} ${key}`].toSorted());
  }
});

test("an answer of the origin is final, whatever it says", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const [one, two] = keysOfB(cluster);
  for (const [key, fault] of [[one!, new OriginError("500")], [two!, new NotFoundError("404")]] as const) {
    cluster.origin.answer = () => Promise.reject(fault);
    for (const name of ["a", "b"]) await assert.rejects(cluster.groups.get(name)!.get(key), fault.constructor);
  }
  assert.ok(!cluster.asks.some((ask) => ask.endsWith(">c")), cluster.asks.join());
});

test("a stale value of the owner comes before another node's try, and one of the asker after it", async () => {
  const lifetime = { ttlMs: 1_000, staleIfErrorMs: 60_000 };
  const cluster = makeCluster(["a", "b", "c"], { options: { lifetime } });
  const { groups, clock, origin } = cluster;
  const [key, other] = keysOfB(cluster);
  for (const one of [key!, other!]) await groups.get("a")!.get(one);
  await clock.advance(2_000);
  cluster.cutOff.set("b", 0);
  const before = origin.loads.length;
  assert.equal(read(await groups.get("a")!.get(key!)), `value of ${key}`);
  assert.equal(origin.loads.length, before, "the owner's stale value");
  cluster.restart("b", { lifetime });
  cluster.cutOff.set("c", 0);
  await clock.advance(40_000);
  assert.equal(read(await groups.get("a")!.get(other!)), `value of ${other}`, "the asker's own");
  assert.equal(origin.loads.length, before);
});

test("a node that loads in a dead owner's place, and cannot, leaves it to the next", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  cluster.dead.add("b");
  cluster.cutOff.set("a", 0);
  const [key] = keysOf(cluster, "bac");
  assert.equal(read(await cluster.groups.get("a")!.get(key!)), `value of ${key}`);
  assert.deepEqual(cluster.asks, ["a>b", "a>c"]);
  assert.deepEqual(cluster.inVain, [`a ${key}`]);
});

test("a next in rank that is dead passes the try on; it is not used up", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  cluster.cutOff.set("b", 0);
  cluster.dead.add("c");
  const [key] = keysOfB(cluster);
  for (const name of ["a", "b"]) {
    assert.equal(read(await cluster.groups.get(name)!.get(key!)), `value of ${key}`);
  }
  assert.equal(cluster.origin.loads.length, 1);
});

test("nodes that each own a key by their own roster, and reach no origin, do not wait for each other", async () => {
  const rosters = { a: ["a", "b"], b: ["b", "a"] };
  const cluster = makeCluster(["a", "b"], { rosters });
  const key = keys.find((key) => cluster.pickers.get("a")!.pick(key) === undefined)!;
  // b sees a alone as another owner of everything that it does not own: both load for their own clients at once.
  cluster.swap(["b"], ["b"]);
  for (const name of ["a", "b"]) cluster.cutOff.set(name, 200);
  const both = ["a", "b"].map((name) => cluster.groups.get(name)!.get(key).then(() => "value", (error) => error.name));
  // For 2 s the new owner looks for the value at the former one.
  await cluster.clock.advance(5_000);
  assert.deepEqual(await Promise.all(both), ["OriginUnreachableError", "OriginUnreachableError"]);
});

test("while connections time out, one load in a while waits for that; the others go to the next node at once", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const { clock, groups, inVain } = cluster;
  const some = keysOfB(cluster);
  cluster.cutOff.set("b", 3_000);
  const first = groups.get("b")!.get(some[0]!);
  await clock.advance(2_999);
  assert.equal(cluster.origin.loads.length, 0);
  await clock.advance(1);
  assert.equal(read(await first), `value of ${some[0]}`);
  // No time passes: b does not try.
  for (const key of some.slice(1, 5)) assert.equal(read(await groups.get("a")!.get(key)), `value of ${key}`);
  assert.deepEqual(inVain, [`b ${some[0]}`]);
  cluster.cutOff.clear();
  await clock.advance(1_000);
  await groups.get("a")!.get(some[5]!);
  cluster.asks.length = 0;
  await groups.get("a")!.get(some[6]!);
  assert.deepEqual(cluster.asks, ["a>b"], "it reaches the origin again");
});

test("a value that changed while the other node loaded it is not kept", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const { groups, origin, log } = cluster;
  cluster.cutOff.set("b", 0);
  const [key] = keysOfB(cluster);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const early = groups.get("b")!.get(key!);
  await settle();
  assert.deepEqual(origin.loads, [key]);
  log.invalidate({ keys: [key!] });
  for (const view of cluster.logs.values()) view.look();
  origin.answer = () => text("new");
  origin.gate = Promise.resolve();
  const late = groups.get("b")!.get(key!);
  assert.equal(read(await late), "new");
  origin.answer = () => text("old");
  gate.resolve();
  await early;
  assert.equal(read(await groups.get("b")!.get(key!)), "new");
});

test("a request that is lost while others are answered does not keep others from the origin", async () => {
  const clock = new ManualClock();
  const reachability = new Reachability(clock);
  const askedAtMs = clock.nowMs();
  await clock.advance(2_000);
  reachability.answered();
  await clock.advance(1_000);
  reachability.failed(askedAtMs, "no connection");
  assert.equal(reachability.admit(), true);
  assert.equal(reachability.lostAtMs, undefined);
});

test("a node says once that it has lost its way to the origin, and once that it has found it", async () => {
  const clock = new ManualClock();
  const said: string[] = [];
  const reachability = new Reachability(clock, {
    onLost: (reason) => said.push(`lost: ${reason}`),
    onFound: (lostForMs) => said.push(`found after ${lostForMs}`),
  });
  const fail = () => reachability.failed(clock.nowMs(), "refused");
  fail();
  await clock.advance(500);
  fail();
  assert.deepEqual(said, ["lost: refused"]);
  assert.equal(reachability.lostAtMs, clock.nowMs() - 500);
  reachability.answered();
  assert.deepEqual(said, ["lost: refused", "found after 500"]);
  assert.equal(reachability.lostAtMs, undefined);
  // One lost request among many that are answered says nothing.
  await clock.advance(999);
  fail();
  assert.equal(said.length, 2);
  await clock.advance(1);
  fail();
  assert.deepEqual(said.slice(2), ["lost: refused"]);
});
