/** Groups that are added to a node and removed from it while it runs, on every store; with barriers where the order counts. */
import assert from "node:assert/strict";
import { Membership, type MembershipOptions } from "../../lib/registry/membership.ts";
import { MemoryBucket } from "../../lib/registry/store/memory-store.ts";
import { encodeRecord } from "../../lib/registry/record.ts";
import type { PeerStore } from "../../lib/registry/store/store.ts";
import { ManualClock, settle } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { type Defer, test } from "../support/test.ts";
import { memory, nats, pipe } from "./harnesses.ts";
import { type Harness, nodeOn, recordOf, until, Watcher } from "./support.ts";

for (const kind of [memory, pipe, nats]) {
  const contract = (name: string, run: (harness: Harness, defer: Defer) => Promise<void>): void =>
    test(`${kind.name}: ${name}`, { timeoutMs: 90_000 }, async (defer) => run(await kind.start(defer), defer));

  contract("a group that is added is joined, and one that is removed is left", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    const listed: string[] = [];
    const onListed = (group: string, isListed: boolean) => listed.push(`${group} ${isListed}`);
    const b = await nodeOn(harness, defer, recordOf("b"), { groups: [], onListed });
    for (const { membership } of [a, b]) membership.start();
    await until("a is listed, and b is in touch", () => a.membership.joined("dict") && !b.membership.isAway);
    assert.throws(() => b.membership.roster("dict"), RangeError);
    b.membership.addGroup("dict");
    assert.throws(() => b.membership.addGroup("dict"), TypeError);
    await until("both see both", () => a.names() === "a b" && b.names() === "a b" && b.membership.joined("dict"));
    assert.deepEqual(a.membership.roster("dict"), b.membership.roster("dict"));
    assert.equal(await b.membership.removeGroup("dict", 5_000), true);
    await until("a is alone", () => a.names() === "a");
    assert.throws(() => b.membership.joined("dict"), RangeError);
    assert.ok(b.log.lines.includes("info removed myself from the peer list of dict"));
    const rosters = b.rosters.length;
    b.membership.addGroup("other");
    await until("the other one", () => b.membership.joined("other"));
    assert.ok(b.rosters.slice(rosters).every(({ group }) => group === "other"));
    assert.deepEqual(listed, ["dict true", "dict false", "other true"]);
  });

  contract("a group that is removed and added again at once is listed in the end", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    const b = await nodeOn(harness, defer, recordOf("b"));
    for (const { membership } of [a, b]) membership.start();
    await until("both see both", () => a.names() === "a b" && b.names() === "a b" && b.membership.joined("dict"));
    for (let round = 0; round < 20; round++) {
      const removal = b.membership.removeGroup("dict", 5_000);
      // Each round a little later: before the delete, while it is in flight, and after it.
      for (let turn = 0; turn < round * 4; turn++) await Promise.resolve();
      b.membership.addGroup("dict");
      await removal;
      await until(`round ${round}`, () => b.membership.joined("dict") && b.names() === "a b" && a.names() === "a b");
    }
    assert.ok(!b.log.lines.some((line) => line.includes("putting it back")), b.log.lines.join("\n"));
    assert.equal(await b.membership.removeGroup("dict", 5_000), true);
    await until("a is alone", () => a.names() === "a");
  });

  contract(
    "a removal while the registry is away is made up for, unless the group is added again",
    async (harness, defer) => {
      const a = await nodeOn(harness, defer, recordOf("a"), { groups: ["dict", "other"] });
      const b = await nodeOn(harness, defer, recordOf("b"), { groups: ["dict", "other"] });
      for (const { membership } of [a, b]) membership.start();
      const sizes = () => ["dict", "other"].map((group) => a.membership.roster(group).peers.length).join(" ");
      await until("a sees b in both", () => sizes() === "2 2" && !b.membership.isAway && b.membership.joined("other"));
      const { revision } = a.membership.roster("dict");
      await harness.goAway();
      await until("the outage", () => a.membership.isAway && b.membership.isAway);
      assert.equal(await b.membership.removeGroup("dict", 100), false);
      assert.equal(await b.membership.removeGroup("other", 100), false);
      assert.ok(
        b.log.lines.includes("warn could not remove myself from the peer list of other within 100 ms: trying again"),
      );
      b.membership.addGroup("dict");
      await harness.comeBack();
      await until("b is out of the one, and back in the other", () => sizes() === "2 1" && b.membership.joined("dict"));
      assert.equal(a.membership.roster("dict").revision, revision, "nothing was written");
      assert.equal(await b.membership.leave(5_000), true);
      await until("a is alone", () => sizes() === "1 1");
    },
  );

  contract("a hundred changes in a row leave no trace", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    a.membership.start();
    await until("a is listed", () => a.membership.joined("dict") && !a.membership.isAway);
    for (let i = 0; i < 100; i++) {
      const group = `g${i % 10}`;
      a.membership.addGroup(group);
      if (i % 3 === 0) await until("it is listed", () => a.membership.joined(group));
      assert.equal(await a.membership.removeGroup(group, 5_000), true, `${group}, change ${i}`);
    }
    const { store } = await harness.open();
    const watcher = new Watcher(store);
    await until("the operator's connection", () => watcher.isBack);
    for (let i = 0; i < 10; i++) assert.equal((await store.read(`g${i}.a`)).value, undefined);
    assert.equal(a.membership.joined("dict"), true);
    assert.ok(a.rosters.length <= 2 + 34 * 3, `${a.rosters.length} rosters`);
  });
}

/** A store whose deletes wait at a barrier: each reaches the bucket, or is dropped, when the test says so. */
function barred(bucket: MemoryBucket) {
  const store = bucket.open();
  const inner = store.delete.bind(store);
  const barrier = { isDown: false, waiting: [] as (() => void)[] };
  store.delete = async (key, replaces) => {
    if (barrier.isDown) await new Promise<void>((pass) => barrier.waiting.push(pass));
    return await inner(key, replaces);
  };
  return { store, barrier };
}

function nodeIn(store: PeerStore, options: Partial<MembershipOptions> = {}) {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const self = recordOf("a");
  const membership = new Membership({
    store,
    groups: ["dict"],
    self,
    clock,
    log,
    isAlive: async () => false,
    onRoster: () => {},
    random: () => 0,
    ...options,
  });
  return { membership, clock, log, self };
}

const stands = (bucket: MemoryBucket): boolean => bucket.entries.get("dict.a")?.value !== undefined;

test("a group that is added again while its removal's delete is in flight is joined after it", async () => {
  const bucket = new MemoryBucket();
  const { store, barrier } = barred(bucket);
  const { membership, clock, log } = nodeIn(store);
  membership.start();
  await settle(50);
  barrier.isDown = true;
  const removal = membership.removeGroup("dict", 1_000);
  await settle(50);
  assert.equal(barrier.waiting.length, 1);
  membership.addGroup("dict");
  await settle(50);
  assert.equal(membership.joined("dict"), false, "the delete would still take the record out");
  barrier.waiting[0]!();
  await settle(50);
  assert.equal(await removal, true);
  assert.deepEqual([membership.joined("dict"), stands(bucket)], [true, true]);
  assert.ok(!log.lines.some((line) => line.includes("putting it back")));

  // Removed, added, removed: the second removal does the work of the first, which was cut short.
  const first = membership.removeGroup("dict", 1_000);
  await settle(50);
  membership.addGroup("dict");
  const second = membership.removeGroup("dict", 1_000);
  bucket.goAway();
  barrier.isDown = false;
  barrier.waiting[1]!();
  await settle(50);
  assert.equal(await first, false);
  assert.ok(stands(bucket));
  bucket.comeBack();
  await clock.advance(500);
  assert.equal(await second, true);
  assert.ok(!stands(bucket));
  await membership.close();
  assert.equal(clock.pending, 0);
});

test("a removal that waits for the registry ends with the node", async () => {
  const bucket = new MemoryBucket();
  const { membership, clock } = nodeIn(bucket.open());
  membership.start();
  await settle(50);
  bucket.goAway();
  const removal = membership.removeGroup("dict", 200);
  await clock.advance(200);
  assert.equal(await removal, false);
  const leave = membership.leave(200);
  await clock.advance(200);
  assert.equal(await leave, false, "the record still stands");
  membership.addGroup("late");
  await membership.close();
  await settle(50);
  assert.equal(membership.joined("late"), false);
  assert.equal(clock.pending, 0);
});

test("another live node with the same name in a group that is added later is reported, and the node goes on", async () => {
  const bucket = new MemoryBucket();
  const { membership, clock, log, self } = nodeIn(bucket.open(), { isAlive: async () => true });
  membership.start();
  await settle(50);
  const other = recordOf("a");
  bucket.write("other.a", encodeRecord("other", other), 0);
  let hasFailed = false;
  void membership.failed.then(() => hasFailed = true);
  membership.addGroup("other");
  await settle(50);
  const errors = log.lines.filter((line) => line.startsWith("error another live node is listed as a in other"));
  assert.deepEqual([errors.length, hasFailed, membership.joined("other")], [1, false, false]);
  assert.equal(membership.joined("dict"), true);
  bucket.write("other.a", undefined, bucket.entries.get("other.a")!.revision);
  await clock.advance(30_000);
  assert.equal(membership.joined("other"), true);
  assert.equal(membership.roster("other").peers[0]!.incarnation, self.incarnation);
  await membership.close();
});

test("a node reports when it is listed in a group and when it is not", async () => {
  const bucket = new MemoryBucket();
  const told: string[] = [];
  const { membership, clock } = nodeIn(bucket.open(), {
    groups: ["dict", "other"],
    onListed: (group, isListed) => told.push(`${group} ${isListed}`),
  });
  membership.start();
  await settle(50);
  for (let i = 0; i < 2; i++) {
    bucket.write("dict.a", undefined, bucket.entries.get("dict.a")!.revision);
    await settle(50);
  }
  assert.equal(membership.joined("dict"), false);
  await clock.advance(500);
  assert.deepEqual(told, ["dict true", "other true", "dict false", "dict true", "dict false", "dict true"]);
  await membership.leave(1_000);
  assert.deepEqual(told.slice(6).toSorted(), ["dict false", "other false"]);
  await membership.close();
});
