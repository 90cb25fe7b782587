/** A record that is deleted or overwritten while its node lives, on a manual clock. */
import { UnavailableError } from "../../lib/core/errors.ts";
import assert from "node:assert/strict";
import type { PeerRecord } from "../../lib/core/roster.ts";
import { Complaints } from "../../lib/registry/complaints.ts";
import { Membership, type MembershipOptions } from "../../lib/registry/membership.ts";
import { MemoryBucket } from "../../lib/registry/store/memory-store.ts";
import { PutBackPace } from "../../lib/registry/put-back-pace.ts";
import { encodeRecord } from "../../lib/registry/record.ts";
import type { PeerStore } from "../../lib/registry/store/store.ts";
import { ManualClock, settle } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { test } from "../support/test.ts";
import { bytesOf, recordOf } from "./support.ts";

async function listed(
  bucket: MemoryBucket,
  name: string,
  store: PeerStore = bucket.open(),
  options: Partial<MembershipOptions> = {},
) {
  const putBacks: string[] = [];
  const clock = new ManualClock();
  const log = new MemoryLog();
  const self = recordOf(name);
  const membership = new Membership({
    store,
    groups: ["dict"],
    self,
    clock,
    log,
    isAlive: async () => false,
    onRoster: () => {},
    random: () => 0,
    onPutBack: (group) => {
      assert.equal(membership.joined(group), false);
      putBacks.push(group);
    },
    ...options,
  });
  membership.start();
  await settle(50);
  assert.ok(membership.joined("dict"));
  return { membership, clock, log, self, putBacks };
}

function overwrite(bucket: MemoryBucket, key: string, value: Uint8Array | undefined): void {
  bucket.write(key, value, bucket.entries.get(key)!.revision);
}

function recordIn(bucket: MemoryBucket, key: string): PeerRecord {
  return JSON.parse(new TextDecoder().decode(bucket.entries.get(key)!.value));
}

test("a live node's record that is replaced by anything is put back ever more slowly, and the node is not joined meanwhile", async () => {
  const bucket = new MemoryBucket();
  const { membership, clock, self } = await listed(bucket, "a");
  const changed = { ...self, weight: 7 };
  const drained = { ...self, state: "draining" } as const;
  const others: [delayMs: number, value: Uint8Array | undefined][] = [
    [0, bytesOf("nonsense")],
    [500, encodeRecord("dict", changed)],
    // A stranger that writes this node's own next state must not get a faster answer than others.
    [1_000, encodeRecord("dict", drained)],
    [2_000, undefined],
    [4_000, encodeRecord("dict", drained)],
  ];
  for (const [delayMs, value] of others) {
    overwrite(bucket, "dict.a", value);
    await settle(50);
    if (delayMs > 0) {
      assert.equal(membership.joined("dict"), false, `before ${delayMs} ms`);
      await clock.advance(delayMs - 1);
      assert.equal(membership.joined("dict"), false, `before ${delayMs} ms`);
      await clock.advance(1);
      await settle(50);
    }
    assert.equal(membership.joined("dict"), true, `after ${delayMs} ms`);
    assert.deepEqual(recordIn(bucket, "dict.a"), self);
  }
  await membership.close();
});

test("a record that cannot be written back is reported once for each loss, however often the node tries", async () => {
  const bucket = new MemoryBucket();
  const store = bucket.open();
  const write = store.put.bind(store);
  let isFull = false;
  let tries = 0;
  store.put = (key, value, replaces) => {
    tries++;
    return isFull ? Promise.reject(new UnavailableError("maximum bytes exceeded")) : write(key, value, replaces);
  };
  const { membership, clock, log } = await listed(bucket, "a", store);
  const told = (): number => log.lines.filter((line) => line.includes("putting it back")).length;
  for (const loss of [1, 2]) {
    isFull = true;
    tries = 0;
    overwrite(bucket, "dict.a", undefined);
    await clock.advance(60_000);
    assert.ok(tries > 20, `${tries} tries`);
    assert.equal(told(), loss);
    isFull = false;
    await clock.advance(2_500);
    assert.equal(membership.joined("dict"), true);
  }
  assert.equal(log.lines.filter((line) => line.includes("still cannot list myself")).length, 2);
  await membership.close();
});

test("a node that starts to drain while it waits to put itself back comes back as draining", async () => {
  const bucket = new MemoryBucket();
  const { membership, clock } = await listed(bucket, "a");
  overwrite(bucket, "dict.a", undefined);
  await settle(50);
  overwrite(bucket, "dict.a", undefined);
  await settle(50);
  assert.equal(membership.joined("dict"), false);
  const isDone = membership.setState("draining", 200);
  await clock.advance(200);
  assert.equal(await isDone, false);
  await clock.advance(300);
  await settle(50);
  assert.equal(recordIn(bucket, "dict.a").state, "draining");
  assert.equal(membership.joined("dict"), true);
  await membership.close();
});

test("a wait to put the record back ends when a peer is reached again, once in 5 s, and the log says so before the write", async () => {
  const bucket = new MemoryBucket();
  const { membership, clock, putBacks } = await listed(bucket, "a");
  const lose = async () => {
    overwrite(bucket, "dict.a", undefined);
    await settle(50);
  };
  membership.reachedPeer();
  await lose();
  assert.equal(membership.joined("dict"), true, "at once the first time");
  await lose();
  assert.equal(membership.joined("dict"), false);
  membership.reachedPeer();
  await settle(50);
  assert.equal(membership.joined("dict"), true);
  await lose();
  membership.reachedPeer();
  await settle(50);
  assert.equal(membership.joined("dict"), false, "it was so a moment ago");
  await clock.advance(1_000);
  await settle(50);
  assert.equal(membership.joined("dict"), true);
  assert.equal(putBacks.length, 3);
  await membership.close();
});

/** The times, in seconds, at which a node puts itself back while its path is cut and repaired again and again. */
function putBacksWhile(seconds: number, { cut, whole }: { cut: number; whole: number }, pace = new PutBackPace()) {
  const putBacks: number[] = [];
  let [isListed, dueMs] = [true, Infinity];
  for (let second = 0; second < seconds; second++) {
    const nowMs = second * 1_000;
    const phase = second % (cut + whole);
    // The others evict it after 3 s, and connect as soon as they can.
    if (phase === 3 && isListed) [isListed, dueMs] = [false, nowMs + pace.restMs(nowMs, () => 0)];
    if (phase === cut && !isListed && pace.endRest(nowMs)) dueMs = nowMs + pace.restMs(nowMs, () => 0);
    if (isListed || dueMs > nowMs) continue;
    pace.wrote(nowMs, true);
    putBacks.push(second);
    isListed = true;
  }
  return putBacks;
}

test("peers that reach a node again and again do not make it come back again and again", () => {
  for (const cycle of [{ cut: 5, whole: 2 }, { cut: 4, whole: 4 }, { cut: 10, whole: 1 }]) {
    const pace = new PutBackPace();
    const putBacks = putBacksWhile(600, cycle, pace);
    const note = `${JSON.stringify(cycle)}: ${putBacks}`;
    assert.ok(putBacks.filter((second) => second < 30).length >= 2, note);
    assert.ok(putBacks.filter((second) => second >= 300).length <= 16, note);
    const nowMs = 700_000;
    assert.equal(pace.restMs(nowMs, () => 0), 0, "at once after a quiet minute");
    pace.wrote(nowMs, true);
    assert.equal(pace.restMs(nowMs + 100, () => 0), 400);
    assert.equal(pace.endRest(nowMs + 100), true);
  }
});

test("a peer that writes its record again is reported after the list, even if its loss was never seen; no other peer is", async () => {
  const bucket = new MemoryBucket();
  const store = bucket.open();
  const again: string[] = [];
  const { membership } = await listed(bucket, "a", store, {
    onWroteAgain: ({ name, incarnation }) => {
      assert.ok(membership.roster("dict").peers.some((peer) => peer.incarnation === incarnation));
      again.push(name);
    },
  });
  const [b, reborn] = [recordOf("b"), recordOf("b")];
  const put = async (...values: (PeerRecord | undefined)[]) => {
    for (const value of values) {
      const bytes = value && encodeRecord("dict", value);
      bucket.write("dict.b", bytes, bucket.entries.get("dict.b")?.revision ?? 0);
    }
    await settle(50);
  };
  await put(b);
  assert.deepEqual(again, [], "a first record");
  await put(undefined);
  assert.deepEqual(again, []);
  await put(b);
  assert.deepEqual(again, ["b"]);
  await put(undefined, b);
  assert.deepEqual(again, ["b", "b"]);
  await put({ ...b, state: "draining" });
  assert.deepEqual(again, ["b", "b", "b"]);
  await put(undefined);
  await put(reborn);
  assert.equal(again.length, 3, "another life");
  await membership.close();
});

test("a node that leaves while it waits to put itself back stays away", async () => {
  const bucket = new MemoryBucket();
  const { membership, clock } = await listed(bucket, "a");
  for (let i = 0; i < 2; i++) {
    overwrite(bucket, "dict.a", undefined);
    await settle(50);
  }
  assert.equal(await membership.leave(1_000), true);
  await clock.advance(60_000);
  assert.equal(bucket.entries.get("dict.a")!.value, undefined);
  assert.equal(await membership.setState("serving", 1_000), false);
  await membership.close();
  assert.equal(clock.pending, 0);
});

test("a change of state is written at once, and a second one while the first is on its way wins", async () => {
  const bucket = new MemoryBucket();
  const { membership, self } = await listed(bucket, "a");
  const changes = [membership.setState("draining", 1_000), membership.setState("serving", 1_000)];
  await settle(100);
  assert.equal((await Promise.all(changes))[1], true);
  assert.deepEqual(recordIn(bucket, "dict.a"), self);
  assert.equal(await membership.setState("draining", 1_000), true);
  assert.equal(recordIn(bucket, "dict.a").state, "draining");
  await membership.close();
});

test("an eviction decided while the registry is away, or after the end, is never sent", async () => {
  const bucket = new MemoryBucket();
  const dead = recordOf("dead");
  bucket.write("dict.dead", encodeRecord("dict", dead), 0);
  const store = bucket.open();
  const deleted: string[] = [];
  const remove = store.delete.bind(store);
  store.delete = (key, replaces) => {
    deleted.push(key);
    return remove(key, replaces);
  };
  const { membership } = await listed(bucket, "a", store);
  bucket.goAway();
  await settle();
  assert.equal(membership.isAway, true);
  assert.equal(await membership.evict(dead), false);
  // The server is there again, but this node has not heard what happened meanwhile.
  bucket.comeBack();
  assert.equal(await membership.evict(dead), false);
  assert.deepEqual(deleted, []);
  await settle();
  assert.equal(await membership.evict(dead), true);
  assert.deepEqual(deleted, ["dict.dead"]);
  await membership.close();
  assert.equal(await membership.evict(dead), false);
  assert.equal(deleted.length, 1);
});

test("a kind of fault that comes and goes is logged once a minute, and again when it is a hundred times as frequent", async () => {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const complaints = new Complaints("dict", clock, log);
  const say = (count: number): number => {
    const keys = Array.from(
      { length: count },
      (_, i) => [`dict.k${i}`, { revision: i + 1, fault: "no good" }] as const,
    );
    complaints.say(new Map(keys));
    return log.lines.length;
  };
  assert.deepEqual([say(1), say(0), say(1), say(99), say(100), say(100), say(0)], [1, 1, 1, 1, 2, 2, 2]);
  await clock.advance(60_000);
  assert.deepEqual([say(1), say(0), say(1)], [2, 2, 3]);
});
