/** Delays, races and floods, in memory and on a manual clock. */
import { UnavailableError } from "../../lib/core/errors.ts";
import assert from "node:assert/strict";
import type { PeerRecord, Roster } from "../../lib/core/roster.ts";
import { Membership, type MembershipOptions } from "../../lib/registry/membership.ts";
import { MemoryBucket, type MemoryStore } from "../../lib/registry/store/memory-store.ts";
import { encodeRecord } from "../../lib/registry/record.ts";
import { RosterReader } from "../../lib/registry/roster-reader.ts";
import type { Entry, PeerStore } from "../../lib/registry/store/store.ts";
import type { LogCall } from "../../lib/core/base/log.ts";
import { ManualClock, settle } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { test } from "../support/test.ts";
import { bytesOf, recordOf } from "./support.ts";

function nodeIn(bucket: MemoryBucket, name: string, options: Partial<MembershipOptions> = {}) {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const self = recordOf(name);
  const memoryStore = bucket.open();
  const membership = new Membership({
    store: memoryStore,
    groups: ["dict"],
    self,
    clock,
    log,
    isAlive: async () => false,
    onRoster: () => {},
    random: () => 0,
    ...options,
  });
  const names = () => membership.roster("dict").peers.map((peer) => peer.name).join(" ");
  return { membership, clock, log, self, names, memoryStore };
}

const revisionOf = (bucket: MemoryBucket, key: string): number => bucket.entries.get(key)?.revision ?? 0;
const stands = (bucket: MemoryBucket, key: string): boolean => bucket.entries.get(key)?.value !== undefined;

test("a record that is deleted again and again comes back ever more slowly, and at once after a quiet minute", async () => {
  const bucket = new MemoryBucket();
  const { membership, clock } = nodeIn(bucket, "a");
  membership.start();
  await settle(50);
  const remove = async (): Promise<void> => {
    bucket.write("dict.a", undefined, revisionOf(bucket, "dict.a"));
    await settle(50);
  };
  await remove();
  assert.ok(stands(bucket, "dict.a"), "the first time at once");
  for (const delayMs of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    await remove();
    await clock.advance(delayMs - 1);
    assert.ok(!stands(bucket, "dict.a"), `not before ${delayMs} ms`);
    await clock.advance(1);
    await settle(50);
    assert.ok(stands(bucket, "dict.a"), `after ${delayMs} ms`);
  }
  await clock.advance(60_000);
  await remove();
  assert.ok(stands(bucket, "dict.a"), "at once again");
  await membership.close();
  assert.equal(clock.pending, 0);
});

test("peers whose record was lost with the bucket stay for the grace time, unless the store is away", async () => {
  const bucket = new MemoryBucket();
  const { membership, clock, names } = nodeIn(bucket, "a", { lostGraceMs: 10_000 });
  bucket.write("dict.b", encodeRecord("dict", recordOf("b")), 0);
  membership.start();
  await settle(50);
  assert.equal(names(), "a b");
  bucket.loseBucket();
  await settle(50);
  assert.equal(names(), "a b");
  await clock.advance(9_000);
  bucket.goAway();
  await settle();
  await clock.advance(30_000);
  assert.equal(names(), "a b");
  bucket.comeBack();
  await clock.advance(20_000);
  assert.equal(names(), "a");
  await membership.close();
});

test("each lost peer has the whole grace time, though another was lost before it", async () => {
  const bucket = new MemoryBucket();
  const { membership, clock, names } = nodeIn(bucket, "a", { lostGraceMs: 10_000 });
  for (const name of ["b", "c"]) bucket.write(`dict.${name}`, encodeRecord("dict", recordOf(name)), 0);
  membership.start();
  await settle(50);
  bucket.dropPurge("dict.b");
  await settle(50);
  await clock.advance(9_000);
  bucket.loseBucket();
  await settle(50);
  await clock.advance(1_000);
  assert.equal(names(), "a c");
  await clock.advance(8_999);
  assert.equal(names(), "a c");
  await clock.advance(1);
  assert.equal(names(), "a");
  await membership.close();
});

test("a record is read again when its revision belonged to another record before", () => {
  const rosters: Roster[] = [];
  const reader = new RosterReader({
    group: "dict",
    self: recordOf("a"),
    clock: new ManualClock(),
    log: new MemoryLog(),
    lostGraceMs: 10_000,
    onRoster: (roster) => rosters.push(roster),
  });
  const [earlier, later] = [recordOf("b"), recordOf("b")];
  const show = (record: PeerRecord) => {
    const entries = new Map([["dict.b", { value: encodeRecord("dict", record), revision: 2 }]]);
    reader.apply({ group: "dict", epoch: "then", revision: 2, entries });
  };
  show(earlier);
  show(earlier);
  assert.equal(rosters.length, 1);
  // As when nats-server crashed with its machine: it lost its last writes, and gives out their revisions again.
  show(later);
  assert.equal(rosters.at(-1)!.peers[0]!.incarnation, later.incarnation);
  assert.equal(reader.revisionOf(earlier), undefined);
});

test("a peer that returns to a new bucket and is deleted there is not kept", async () => {
  const bucket = new MemoryBucket();
  const { membership, names } = nodeIn(bucket, "a");
  bucket.write("dict.b", encodeRecord("dict", recordOf("b")), 0);
  membership.start();
  await settle(50);
  bucket.loseBucket();
  await settle(50);
  bucket.write("dict.b", encodeRecord("dict", recordOf("b")), 0);
  bucket.write("dict.b", undefined, revisionOf(bucket, "dict.b"));
  await settle(50);
  assert.equal(names(), "a");
  await membership.close();
});

test("a node that leaves before it is back in a new bucket is not kept either", async () => {
  const bucket = new MemoryBucket();
  const { membership, names } = nodeIn(bucket, "a");
  const leaver = nodeIn(bucket, "b").membership;
  for (const each of [membership, leaver]) each.start();
  await settle(50);
  assert.equal(names(), "a b");
  bucket.loseBucket();
  assert.equal(await leaver.leave(1_000), true);
  await settle(50);
  assert.equal(names(), "a");
  for (const each of [membership, leaver]) await each.close();
});

/** A store that holds its puts until the test lets them go: writes that are in flight for long. */
class SlowStore implements PeerStore {
  readonly held: (() => void)[] = [];
  isHolding = false;
  readonly #inner: MemoryStore;
  constructor(inner: MemoryStore) {
    this.#inner = inner;
  }
  read(key: string): Promise<Entry> {
    return this.#inner.read(key);
  }
  put(key: string, value: Uint8Array, replaces: number): Promise<number> {
    if (!this.isHolding) return this.#inner.put(key, value, replaces);
    return new Promise((resolve, reject) => {
      this.held.push(() => {
        this.#inner.put(key, value, replaces).then(resolve, reject);
      });
    });
  }
  delete(key: string, replaces: number): Promise<number> {
    return this.#inner.delete(key, replaces);
  }
  watch(...args: Parameters<PeerStore["watch"]>): void {
    this.#inner.watch(...args);
  }
  follow(group: string): void {
    this.#inner.follow(group);
  }
  unfollow(group: string): void {
    this.#inner.unfollow(group);
  }
  hurry(): void {
    this.#inner.hurry();
  }
  close(): Promise<void> {
    return this.#inner.close();
  }
}

test("a join that is still on its way when the node leaves cannot list it afterwards", async () => {
  for (const [what, prepare] of [["first", () => {}], ["put-back", deleteA]] as const) {
    const bucket = new MemoryBucket();
    const store = new SlowStore(bucket.open());
    const { membership } = nodeIn(bucket, "a", { store });
    store.isHolding = what === "first";
    membership.start();
    await settle(50);
    store.isHolding = true;
    prepare(bucket);
    await settle(50);
    assert.equal(store.held.length, 1, what);
    assert.equal(await membership.leave(1_000), true, what);
    store.held[0]!();
    await settle(50);
    assert.ok(!stands(bucket, "dict.a"), what);
    await membership.close();
  }
});

function deleteA(bucket: MemoryBucket): void {
  bucket.write("dict.a", undefined, revisionOf(bucket, "dict.a"));
}

test("a join that arrives between the leaving node's read and its delete is deleted all the same", async () => {
  const bucket = new MemoryBucket();
  const store = new SlowStore(bucket.open());
  store.isHolding = true;
  const { membership, log } = nodeIn(bucket, "a", { store });
  membership.start();
  await settle(50);
  const read = store.read.bind(store);
  store.read = async (key) => {
    const entry = await read(key);
    store.held.shift()?.();
    await settle(5);
    return entry;
  };
  assert.equal(await membership.leave(1_000), true);
  assert.ok(!stands(bucket, "dict.a"));
  assert.ok(log.lines.includes("info removed myself from the peer list of dict before exiting"));
  await membership.close();
});

test("a question about an earlier life that is never answered counts as no after five seconds", async () => {
  const bucket = new MemoryBucket();
  bucket.write("dict.a", encodeRecord("dict", recordOf("a")), 0);
  const { membership, clock } = nodeIn(bucket, "a", { isAlive: () => new Promise(() => {}) });
  membership.start();
  await settle(50);
  await clock.advance(4_999);
  assert.equal(membership.joined("dict"), false);
  await clock.advance(1);
  await settle(50);
  assert.equal(membership.joined("dict"), true);
  await membership.close();
});

test("the question to an earlier life is given those five seconds, and no time-out of its own", async () => {
  const bucket = new MemoryBucket();
  bucket.write("dict.a", encodeRecord("dict", recordOf("a")), 0);
  const givenMs: number[] = [];
  const { membership } = nodeIn(bucket, "a", {
    isAlive: async (_, timeoutMs) => givenMs.push(timeoutMs) > 1,
  });
  membership.start();
  await settle(50);
  assert.deepEqual(givenMs, [5_000]);
  await membership.close();
});

test("an earlier life that is removed while it is asked about is no race lost for good", async () => {
  const bucket = new MemoryBucket();
  bucket.write("dict.a", encodeRecord("dict", recordOf("a")), 0);
  const asked = Promise.withResolvers<boolean>();
  const { membership, clock } = nodeIn(bucket, "a", { isAlive: () => asked.promise });
  membership.start();
  await settle(50);
  bucket.write("dict.a", undefined, 1);
  asked.resolve(false);
  await settle(50);
  await clock.advance(1_000);
  assert.equal(membership.joined("dict"), true);
  assert.equal(revisionOf(bucket, "dict.a"), 3);
  await membership.close();
});

test("a node does not join where another live one has its name in a group that is not its own", async () => {
  const bucket = new MemoryBucket();
  const other = recordOf("a");
  bucket.write("prices.a", encodeRecord("prices", other), 0);
  bucket.write("prices.ab", encodeRecord("prices", recordOf("ab")), 0);
  bucket.write("more.a", bytesOf("nonsense"), 0);
  const asked: string[] = [];
  const { membership } = nodeIn(bucket, "a", {
    groups: ["dict", "words"],
    isAlive: async ({ incarnation }) => asked.push(incarnation) > 0,
  });
  membership.start();
  await settle(100);
  const { message } = await membership.failed;
  assert.match(message, /^another live node is listed as a in prices: http/);
  assert.ok(!stands(bucket, "dict.a") && !stands(bucket, "words.a"));
  assert.deepEqual(asked, [other.incarnation], "once, whatever the groups of the node");
  await membership.close();
});

test("an earlier life's record in a group no longer served is no namesake, and is checked again when NATS gave no answer", async () => {
  const bucket = new MemoryBucket();
  bucket.write("prices.a", encodeRecord("prices", recordOf("a")), 0);
  const store = bucket.open();
  const tell = store.named.bind(store);
  let looks = 0;
  store.named = (name) => looks++ === 0 ? Promise.reject(new UnavailableError("no answer")) : tell(name);
  const { membership, clock } = nodeIn(bucket, "a", { store });
  membership.start();
  await settle(100);
  assert.equal(membership.joined("dict"), false);
  await clock.advance(200);
  await settle(100);
  assert.equal(membership.joined("dict"), true);
  bucket.write("dict.a", undefined, revisionOf(bucket, "dict.a"));
  await settle(100);
  assert.equal(membership.joined("dict"), true);
  assert.equal(looks, 2, "only before it has stood");
  await membership.close();
});

test("a node that lost its name while it was cut off says so and does not fight for it", async () => {
  const bucket = new MemoryBucket();
  let asked = 0;
  const { membership, clock, log } = nodeIn(bucket, "a", { isAlive: async () => ++asked > 0 });
  membership.start();
  await settle(50);
  const other = encodeRecord("dict", recordOf("a", { url: "http://127.0.0.1:9999" }));
  bucket.write("dict.a", other, 1);
  await settle(50);
  await clock.advance(10_000);
  for (const name of ["b", "c", "d"]) {
    bucket.write(`dict.${name}`, encodeRecord("dict", recordOf(name)), 0);
    await settle(50);
  }
  assert.equal(asked, 1);
  await clock.advance(25_000);
  assert.equal(asked, 2);
  assert.equal(revisionOf(bucket, "dict.a"), 2);
  assert.equal(membership.joined("dict"), false);
  assert.equal(log.lines.filter((line) => line.startsWith("error another live node")).length, 1);
  // When the other one goes, the name is free again.
  bucket.write("dict.a", undefined, 2);
  await settle(50);
  assert.equal(membership.joined("dict"), true);
  await membership.close();
});

test("of two live nodes that are listed at one address the later one stays, and the other says why it is not listed", async () => {
  const bucket = new MemoryBucket();
  // Each finds itself where the other's record says, as on two machines whose nodes listen on their own 127.0.0.1.
  const url = "http://127.0.0.1:8000";
  const [first, second] = [recordOf("a", { url }), recordOf("a", { url })];
  const a = nodeIn(bucket, "a", { self: first, isAlive: async () => false });
  const b = nodeIn(bucket, "a", { self: second, isAlive: async () => false });
  a.membership.start();
  await settle(50);
  assert.equal(a.membership.joined("dict"), true);
  b.membership.start();
  await settle(50);
  for (let i = 0; i < 10; i++) for (const { clock } of [a, b]) await clock.advance(6_000);
  assert.deepEqual([a, b].map(({ membership }) => membership.joined("dict")), [false, true]);
  assert.equal(revisionOf(bucket, "dict.a"), 2);
  const errors = a.log.lines.filter((line) => line.startsWith("error"));
  assert.equal(errors.length, 1);
  assert.match(errors[0]!, /another live node is listed as a .*at that address, too: --advertise/);
  assert.equal(await b.membership.leave(1_000), true);
  await settle(50);
  assert.equal(a.membership.joined("dict"), true);
  for (const { membership } of [a, b]) await membership.close();
});

test("of two live nodes with one name that cannot reach each other one gives way, until the other is gone", async () => {
  const bucket = new MemoryBucket();
  const [first, second] = ["8000", "8001"].map((port) => recordOf("a", { url: `http://127.0.0.1:${port}` }));
  const a = nodeIn(bucket, "a", { self: first!, isAlive: async () => false });
  const b = nodeIn(bucket, "a", { self: second!, isAlive: async () => false });
  for (const { membership } of [a, b]) {
    membership.start();
    await settle(100);
  }
  for (let i = 0; i < 60; i++) for (const { clock } of [a, b]) await clock.advance(10_000);
  assert.equal(revisionOf(bucket, "dict.a"), 3, "a joined, b took the record over, a took it back");
  assert.deepEqual([a, b].map(({ membership }) => membership.joined("dict")), [true, false]);
  const errors = b.log.lines.filter((line) => line.startsWith("error"));
  assert.equal(errors.length, 1);
  assert.match(errors[0]!, /another live node is listed as a .*the two cannot reach each other/);
  // The other nodes evict it.
  await a.membership.close();
  bucket.write("dict.a", undefined, 3);
  await b.clock.advance(31_000);
  await settle(100);
  assert.equal(b.membership.joined("dict"), true);
  await b.membership.close();
});

test("an earlier life's record that a crashed server gives out again is no sign of life", async () => {
  const bucket = new MemoryBucket();
  bucket.write("dict.a", encodeRecord("dict", recordOf("a")), 0);
  const { membership, clock } = nodeIn(bucket, "a");
  membership.start();
  await settle(100);
  assert.equal(membership.joined("dict"), true);
  const { value } = bucket.entries.get("dict.a")!;
  bucket.write("dict.a", undefined, 2);
  await settle(100);
  await clock.advance(120_000);
  assert.deepEqual(bucket.entries.get("dict.a")!.value, value, "this node's own");
  await membership.close();
});

test("a state that changes while the join is on its way ends up in the record", async () => {
  const bucket = new MemoryBucket();
  const store = new SlowStore(bucket.open());
  store.isHolding = true;
  const { membership } = nodeIn(bucket, "a", { store });
  membership.start();
  await settle(50);
  store.isHolding = false;
  const isDone = membership.setState("draining", 1_000);
  store.held[0]!();
  assert.equal(await isDone, true);
  const record: PeerRecord = JSON.parse(new TextDecoder().decode(bucket.entries.get("dict.a")!.value));
  assert.equal(record.state, "draining");
  await membership.close();
});

test("a change of state is given up in time when the store is away, and made up for later", async () => {
  const bucket = new MemoryBucket();
  const { membership, clock, names } = nodeIn(bucket, "a");
  membership.start();
  await settle(50);
  bucket.goAway();
  const isDone = membership.setState("draining", 1_000);
  await clock.advance(1_000);
  assert.equal(await isDone, false);
  bucket.comeBack();
  await clock.advance(5_000);
  assert.deepEqual([names(), membership.roster("dict").peers[0]!.state], ["a", "draining"]);
  await membership.close();
});

test("thousands of hostile records cost a few lines, and the oldest thousand sound ones count", async () => {
  const bucket = new MemoryBucket();
  const { membership, log, names } = nodeIn(bucket, "me");
  membership.start();
  await settle(50);
  for (let i = 0; i < 2_000; i++) bucket.write(`dict.broken${i}`, bytesOf(`nonsense ${i}`), 0);
  await settle(50);
  assert.equal(names(), "me");
  for (let i = 0; i < 2_000; i++) bucket.write(`dict.a${i}`, encodeRecord("dict", recordOf(`a${i}`)), 0);
  await settle(50);
  assert.equal(membership.ignored.length, 20);
  assert.deepEqual(membership.ignored[0], { key: "dict.broken0", fault: "not JSON in UTF-8" });
  const { peers, revision } = membership.roster("dict");
  assert.equal(peers.length, 1_000);
  assert.equal(revision, 4_001);
  assert.ok(peers.some((peer) => peer.name === "me"));
  assert.ok(peers.some((peer) => peer.name === "a998") && !peers.some((peer) => peer.name === "a999"));
  const complaints = log.lines.filter((line) => line.startsWith("warn ignoring"));
  assert.deepEqual(complaints, [
    "warn ignoring dict.broken1999 (revision 2001), which is no peer record: not JSON in UTF-8, " +
    "and at least 1999 more in the peer list of dict likewise",
  ]);
  assert.equal(log.lines.filter((line) => line.includes("records: only the 1000 oldest count")).length, 1);
  await membership.close();
});

test("a store that refuses what it is asked is complained about once", async () => {
  const bucket = new MemoryBucket();
  const inner = bucket.open();
  const store = new SlowStore(inner);
  store.put = () => Promise.reject(new UnavailableError("no permission"));
  const { membership, clock, log } = nodeIn(bucket, "a", { store });
  membership.start();
  await settle(50);
  await clock.advance(120_000);
  const lines = log.lines.filter((line) => line.includes("no permission"));
  assert.deepEqual(lines, ["warn still cannot list myself in dict, trying again: no permission"]);
  await membership.close();
});

test("a listener that throws does not stop the registry", async () => {
  const bucket = new MemoryBucket();
  const { membership, log } = nodeIn(bucket, "a", {
    onRoster: () => {
      throw new Error("not today");
    },
  });
  membership.start();
  await settle(50);
  assert.equal(membership.joined("dict"), true);
  assert.ok(log.lines.some((line) => line.startsWith("error cannot use the new peer list of dict: not today")));
  await membership.close();
});

test("a list that has become empty is said to be empty, and each line hands its facts to machines", async () => {
  const told: [message: string, facts: unknown][] = [];
  const say: LogCall = (message, _fields, facts) => void told.push([message, facts]);
  const log = { debug: say, info: say, warn: say, error: say };
  const reader = new RosterReader({
    group: "dict",
    self: recordOf("a"),
    clock: new ManualClock(),
    log,
    lostGraceMs: 10_000,
    onRoster: () => {},
  });
  const { url } = recordOf("b");
  const show = (revision: number, value: Uint8Array | undefined) =>
    reader.apply({ group: "dict", epoch: "then", revision, entries: new Map([["dict.b", { value, revision }]]) });
  show(7, encodeRecord("dict", recordOf("b", { url })));
  show(8, undefined);
  show(9, encodeRecord("dict", recordOf("b", { url })));
  assert.deepEqual(told, [
    [`got new peer list of dict (revision 7): ${url}`, { group: "dict", revision: 7, peers: [url] }],
    ["got new peer list of dict (revision 8): empty", { group: "dict", revision: 8, peers: [] }],
    [`got new peer list of dict (revision 9): ${url}`, { group: "dict", revision: 9, peers: [url] }],
  ]);
  assert.deepEqual(reader.roster.peers.map(({ name }) => name), ["b"]);
});

test("a list that is only watched has its peers without this node, and its join is its first read", async () => {
  const bucket = new MemoryBucket();
  const told: string[] = [];
  const onListed = (list: string, isListed: boolean) => void told.push(`${list} ${isListed}`);
  const { membership, names, memoryStore } = nodeIn(bucket, "b", { groups: ["=dict"], watched: ["dict"], onListed });
  assert.equal(membership.joined("dict"), false);
  assert.equal(names(), "");
  membership.start();
  await settle(50);
  assert.equal(membership.joined("dict"), true);
  assert.deepEqual(told.toSorted(), ["=dict true", "dict true"]);
  assert.equal(names(), "", "nobody is listed, and this node is not in their place");
  const { membership: server } = nodeIn(bucket, "a", { watched: ["=dict"] });
  server.start();
  await settle(50);
  assert.equal(names(), "a");
  assert.deepEqual(server.roster("=dict").peers.map(({ name }) => name), ["b"]);
  assert.deepEqual([...bucket.entries.keys()].sort(), ["=dict.b", "dict.a"]);
  assert.throws(() => membership.watchList("dict"), /Cannot add the group dict/);
  assert.equal(await membership.removeGroup("dict", 100), true);
  assert.equal(told.at(-1), "dict false");
  assert.ok(stands(bucket, "dict.a"), "it takes out nobody but itself");
  memoryStore.hurry();
  await membership.setState("draining", 100);
  await settle(50);
  assert.equal(server.roster("=dict").peers[0]!.state, "draining");
  assert.equal(await membership.leave(100), true);
  assert.ok(!stands(bucket, "=dict.b"));
});

test("an earlier life's record in a list that is now only watched is removed, a live namesake's is not", async () => {
  for (const isAlive of [false, true]) {
    const bucket = new MemoryBucket();
    const former = recordOf("b");
    bucket.write("dict.b", encodeRecord("dict", former), 0);
    let failure: Error | undefined;
    const { membership } = nodeIn(bucket, "b", {
      groups: ["=dict"],
      watched: ["dict"],
      isAlive: async () => isAlive,
    });
    void membership.failed.then((error) => failure = error);
    membership.start();
    await settle(100);
    assert.equal(stands(bucket, "dict.b"), isAlive);
    assert.equal(failure !== undefined, isAlive, "another live node has the name");
  }
});

test("an earlier life that is seen while NATS is away is taken out when it is back", async () => {
  const bucket = new MemoryBucket();
  const { membership } = nodeIn(bucket, "b", { groups: ["=dict"], watched: ["dict"] });
  membership.start();
  await settle(50);
  bucket.goAway();
  bucket.write("dict.b", encodeRecord("dict", { ...recordOf("b"), incarnation: "01A" }), 0);
  await settle(50);
  bucket.comeBack();
  await settle(100);
  assert.ok(!stands(bucket, "dict.b"));
});
