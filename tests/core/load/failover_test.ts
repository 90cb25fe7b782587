import assert from "node:assert/strict";
import { settle } from "../../support/clock.ts";
import { NotFoundError } from "../../../lib/core/errors.ts";
import { test } from "../../support/test.ts";
import { makeCluster, read } from "../cluster.ts";
import { keys, keysOfB } from "./support.ts";

test("a load in the place of a peer is counted once, and not as a peer's", async () => {
  for (const fault of ["stalled", "dead"] as const) {
    const cluster = makeCluster(["a", "b"]);
    const { clock, groups, pickers } = cluster;
    const a = groups.get("a")!;
    const key = keys.find((key) => pickers.get("b")!.pick(key) === undefined)!;
    cluster[fault].add("b");
    const asked = a.get(key);
    await clock.advance(3_000);
    const { source, stored } = await asked;
    assert.deepEqual([source, stored], ["origin", true]);
    const { loads, loadsDeduped, peerLoads, localLoads, originLoads } = a.stats();
    assert.deepEqual([loads, loadsDeduped, peerLoads, localLoads, originLoads], [1, 1, 0, 1, 1], fault);
  }
});

test("an owner that refuses is asked again by the next request; one that kept a caller waiting is passed over for a while", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const [one, two, three, four, five] = keysOfB(cluster);
  const a = cluster.groups.get("a")!;
  cluster.dead.add("b");
  await a.get(one!);
  cluster.dead.delete("b");
  await a.get(two!);
  assert.deepEqual(cluster.asks, ["a>b", "a>c", "a>b"]);

  // From now on the connection to b is lost 200 ms after each ask.
  cluster.asks.length = 0;
  cluster.lateDeath("b", 200);
  const waits = a.get(three!);
  await cluster.clock.advance(200);
  await waits;
  assert.deepEqual(cluster.asks, ["a>b", "a>c"]);
  await a.get(four!);
  assert.deepEqual(cluster.asks, ["a>b", "a>c", "a>c"], "passed over");
  await cluster.clock.advance(250);
  const again = a.get(five!);
  await settle();
  assert.deepEqual(cluster.asks, ["a>b", "a>c", "a>c", "a>b"], "asked again");
  await cluster.clock.advance(200);
  await again;
});

test("however many nodes are dead, one load serves all that are left", async () => {
  const names = Array.from({ length: 10 }, (_, i) => `n${i}`);
  const cluster = makeCluster(names);
  const dead = names.slice(0, 7);
  for (const name of dead) cluster.dead.add(name);
  const left = names.slice(7);
  await Promise.all(left.flatMap((name) => keys.map((key) => cluster.groups.get(name)!.get(key))));
  assert.equal(cluster.origin.loads.length, keys.length);
});

test("after three peers that kept a request waiting, this node loads by itself", async () => {
  const names = ["a", "b", "c", "d", "e", "f"];
  const cluster = makeCluster(names);
  for (const name of names.slice(1)) cluster.lateDeath(name, 200);
  const key = keys.find((key) => {
    return cluster.pickers.get("a")!.ranked(key, 6).findIndex((peer) => peer === undefined) === 5;
  });
  const asked = cluster.groups.get("a")!.get(key!);
  await cluster.clock.advance(600);
  assert.equal(read(await asked), `value of ${key}`);
  assert.equal(cluster.asks.length, 3);
});

test("when an owner's pause is over, one request asks it again, and the others pass it over until that one has ended", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const keys = keysOfB(cluster);
  const a = cluster.groups.get("a")!;
  cluster.lateDeath("b", 200);
  const first = a.get(keys[0]!);
  await cluster.clock.advance(200);
  await first;
  await cluster.clock.advance(250);
  cluster.asks.length = 0;
  const three = keys.slice(1, 4).map((key) => a.get(key));
  await settle();
  assert.deepEqual(cluster.asks, ["a>b", "a>c", "a>c"]);
  await cluster.clock.advance(200);
  await Promise.all(three);
  // The owner kept that one waiting too, so the pause is twice as long.
  await cluster.clock.advance(499);
  cluster.asks.length = 0;
  await a.get(keys[4]!);
  assert.deepEqual(cluster.asks, ["a>c"]);
  cluster.late.delete("b");
  await cluster.clock.advance(1);
  await a.get(keys[5]!);
  await a.get(keys[6]!);
  assert.deepEqual(cluster.asks, ["a>c", "a>b", "a>b"]);
});

test("an owner that was slow once and then answers 'no value' is alive: it is asked again", async () => {
  const cluster = makeCluster(["a", "b", "c"]);
  const a = cluster.groups.get("a")!;
  const [lost, missing, next] = keysOfB(cluster);
  cluster.lateDeath("b", 200);
  const first = a.get(lost!);
  await cluster.clock.advance(200);
  await first;
  cluster.late.delete("b");
  await cluster.clock.advance(1_000);
  cluster.origin.answer = () => Promise.reject(new NotFoundError("there is none"));
  await assert.rejects(a.get(missing!), NotFoundError);
  cluster.asks.length = 0;
  await assert.rejects(a.get(next!), NotFoundError);
  assert.deepEqual(cluster.asks, ["a>b"], "and not the next in rank");
});
