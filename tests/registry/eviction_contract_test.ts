/** The promises of a membership about evicting, draining and leaving, on any store. */
import assert from "node:assert/strict";
import type { PeerRecord } from "../../lib/core/roster.ts";
import { encodeRecord } from "../../lib/registry/record.ts";
import { type Defer, test } from "../support/test.ts";
import { memory, nats } from "./harnesses.ts";
import { type Harness, nodeOn, recordOf, textOf, until, Watcher } from "./support.ts";

for (const kind of [memory, nats]) {
  const contract = (name: string, run: (harness: Harness, defer: Defer) => Promise<void>): void =>
    test(`${kind.name}: ${name}`, kind.needs, async (defer) => run(await kind.start(defer), defer));

  /** Another writer: an operator, or a peer that is gone. */
  const handOn = async (harness: Harness) => {
    const { store } = await harness.open();
    const watcher = new Watcher(store);
    await until("the operator's connection", () => watcher.isBack);
    return store;
  };

  /** A node, and a listed peer that is gone. */
  const withDeadPeer = async (harness: Harness, defer: Defer) => {
    const store = await handOn(harness);
    const dead = recordOf("dead");
    const revision = await store.put("dict.dead", encodeRecord("dict", dead), 0);
    const a = await nodeOn(harness, defer, recordOf("a"));
    a.membership.start();
    await until("a sees both", () => a.names() === "a dead" && a.membership.joined("dict") && !a.membership.isAway);
    return { store, dead, revision, a };
  };

  const recordIn = async (harness: Harness, key: string): Promise<PeerRecord | undefined> => {
    const value = textOf((await (await handOn(harness)).read(key)).value);
    return value === undefined ? undefined : JSON.parse(value);
  };

  contract("a dead peer is evicted at the revision of its record, once", async (harness, defer) => {
    const { store, dead, revision, a } = await withDeadPeer(harness, defer);
    assert.equal(await a.membership.evict(dead), true);
    assert.ok(a.log.lines.includes(`warn evicted ${dead.url} from the peer list of dict (revision ${revision})`));
    await until("a is alone", () => a.names() === "a");
    assert.equal((await store.read("dict.dead")).value, undefined);
    assert.equal(await a.membership.evict(dead), false, "a peer that is not listed is not evicted");
    assert.equal(a.log.lines.filter((line) => line.includes("evicted")).length, 1);
  });

  contract("of two nodes that evict the same peer one does it, and the other lost a race", async (harness, defer) => {
    const { dead, a } = await withDeadPeer(harness, defer);
    const b = await nodeOn(harness, defer, recordOf("b"));
    b.membership.start();
    await until("b sees all", () => b.names() === "a b dead" && a.names() === "a b dead" && !b.membership.isAway);
    const results = await Promise.all([a, b].map(({ membership }) => membership.evict(dead)));
    assert.deepEqual(results.toSorted(), [false, true]);
    await until("it is gone", () => a.names() === "a b" && b.names() === "a b");
  });

  contract("a peer that came back before the eviction survives it", async (harness, defer) => {
    const { store, dead, revision, a } = await withDeadPeer(harness, defer);
    const reborn = recordOf("dead", { url: dead.url });
    const back = await store.put("dict.dead", encodeRecord("dict", reborn), revision);
    // The decision rests on what was read; the view of the new life may or may not have come.
    assert.equal(await a.membership.evict(dead), false);
    await until("a knows", () => a.membership.roster("dict").revision === back);
    assert.equal(await a.membership.evict(dead), false, "this life is not the one that is meant");
    assert.equal((await recordIn(harness, "dict.dead"))?.incarnation, reborn.incarnation);
    assert.ok(!a.log.lines.some((line) => line.includes("evicted")));
    assert.equal(await a.membership.evict(reborn), true);
  });

  contract(
    "a peer is evicted from every group that both serve, and a node never evicts itself",
    async (harness, defer) => {
      const store = await handOn(harness);
      const dead = recordOf("dead");
      for (const group of ["dict", "other", "third"]) {
        await store.put(`${group}.dead`, encodeRecord(group, dead), 0);
      }
      const a = await nodeOn(harness, defer, recordOf("a"), { groups: ["dict", "other"] });
      a.membership.start();
      const isSeen = (group: string) => a.membership.roster(group).peers.length === 2;
      await until("a sees it", () => isSeen("dict") && isSeen("other") && !a.membership.isAway);
      assert.equal(await a.membership.evict(dead), true);
      assert.equal(await a.membership.evict(a.self), false);
      assert.equal(a.log.lines.filter((line) => line.includes("evicted")).length, 2);
      assert.deepEqual((await store.read("other.dead")).value, undefined);
      assert.ok((await store.read("third.dead")).value !== undefined);
    },
  );

  contract(
    "a peer that came back without a group is taken out of it, in its earlier life only",
    async (harness, defer) => {
      const store = await handOn(harness);
      const [earlier, later] = [recordOf("b"), recordOf("b")];
      const [stale, own] = [recordOf("c"), recordOf("c")];
      await store.put("dict.b", encodeRecord("dict", later), 0);
      const revision = await store.put("other.b", encodeRecord("other", earlier), 0);
      // Of a list that this node has not heard of lately, whichever life is the later one.
      await store.put("dict.c", encodeRecord("dict", stale), 0);
      await store.put("other.c", encodeRecord("other", own), 0);
      const a = await nodeOn(harness, defer, recordOf("a"), { groups: ["dict", "other"] });
      a.membership.start();
      const sizes = () => ["dict", "other"].map((group) => a.membership.roster(group).peers.length).join(" ");
      await until("a sees all", () => sizes() === "3 3" && !a.membership.isAway);
      await a.membership.evictEarlierLives(earlier);
      await a.membership.evictEarlierLives(stale);
      assert.equal(a.log.lines.filter((line) => line.includes("evicted")).length, 0);
      await a.membership.evictEarlierLives(later);
      assert.deepEqual(a.log.lines.filter((line) => line.includes("evicted")), [
        `warn evicted ${earlier.url} from the peer list of other (revision ${revision})`,
      ]);
      await until("it is gone", () => sizes() === "3 2");
      assert.equal((await recordIn(harness, "dict.b"))?.incarnation, later.incarnation);
      assert.equal(await recordIn(harness, "other.b"), undefined);
      assert.equal((await recordIn(harness, "dict.c"))?.incarnation, stale.incarnation);
    },
  );

  contract(
    "the earlier of two live nodes with one name is not taken for a life that is over",
    async (harness, defer) => {
      const store = await handOn(harness);
      const [earlier, later] = [recordOf("b"), recordOf("b")];
      await store.put("dict.b", encodeRecord("dict", later), 0);
      await store.put("other.b", encodeRecord("other", earlier), 0);
      const asked: string[] = [];
      const answer = Promise.withResolvers<boolean>();
      const a = await nodeOn(harness, defer, recordOf("a"), {
        groups: ["dict", "other"],
        isAlive: ({ incarnation }) => {
          asked.push(incarnation);
          return answer.promise;
        },
      });
      a.membership.start();
      const sizes = () => ["dict", "other"].map((group) => a.membership.roster(group).peers.length).join(" ");
      await until("a sees all", () => sizes() === "2 2" && !a.membership.isAway);
      const first = a.membership.evictEarlierLives(later);
      await a.membership.evictEarlierLives(later);
      answer.resolve(true);
      await first;
      await a.membership.evictEarlierLives(later);
      assert.deepEqual(asked, [earlier.incarnation], "once, while it is asked and when it has answered");
      assert.deepEqual(a.log.lines.filter((line) => /evicted|two live/.test(line)), [
        `warn two live nodes are called b: ${earlier.url} of other, and ${later.url}`,
      ]);
      assert.equal((await recordIn(harness, "other.b"))?.incarnation, earlier.incarnation);
    },
  );

  contract("an eviction whose answer is lost says no, and the next view tells", async (harness, defer) => {
    const { dead, a } = await withDeadPeer(harness, defer);
    a.loseNextAnswer();
    assert.equal(await a.membership.evict(dead), false);
    await until("it is gone", () => a.names() === "a");
  });

  contract("while the registry is away nobody is evicted, at once", async (harness, defer) => {
    const { dead, a } = await withDeadPeer(harness, defer);
    await harness.goAway();
    await until("a noticed", () => a.membership.isAway);
    const startMs = performance.now();
    assert.equal(await a.membership.evict(dead), false);
    // Not only after 1 s, when a question to NATS times out.
    assert.ok(performance.now() - startMs < 900);
    assert.equal(a.names(), "a dead");
  });

  contract("a live node that is evicted comes back in the state that it wants now", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    const b = await nodeOn(harness, defer, recordOf("b"));
    for (const { membership } of [a, b]) membership.start();
    await until("both see both", () => a.names() === "a b" && b.names() === "a b" && !a.membership.isAway);
    assert.equal(await b.membership.setState("draining", 2_000), true);
    await until("a knows", () => a.membership.roster("dict").peers[1]!.state === "draining");
    const { revision } = a.membership.roster("dict");
    assert.equal(await a.membership.evict(b.self), true);
    await until("b is back", () => a.membership.roster("dict").revision === revision + 2 && a.names() === "a b");
    assert.equal(a.membership.roster("dict").peers[1]!.state, "draining");
    assert.equal((await recordIn(harness, "dict.b"))?.state, "draining");
    await until("b stands", () => b.membership.joined("dict"));
  });

  contract("a node that is evicted while it drains and leaves is not listed in the end", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    a.membership.start();
    await until("a is listed", () => a.membership.joined("dict") && !a.membership.isAway);
    for (let round = 0; round < 12; round++) {
      const b = await nodeOn(harness, defer, recordOf(`b${round}`));
      b.membership.start();
      await until("both see both", () => a.names() === `a b${round}` && b.membership.joined("dict"));
      const isDraining = b.membership.setState("draining", 2_000);
      for (let turn = 0; turn < round * 3; turn++) await Promise.resolve();
      const evicted = a.membership.evict(b.self);
      if (round % 2 === 0) await isDraining;
      for (let turn = 0; turn < round; turn++) await Promise.resolve();
      assert.equal(await b.membership.leave(5_000), true);
      await Promise.all([evicted, isDraining]);
      await b.membership.close();
      assert.equal(await recordIn(harness, `dict.b${round}`), undefined, `round ${round}`);
      await until("a is alone", () => a.names() === "a");
    }
  });

  contract(
    "a node that cannot write that it drains is told so in time, and can still leave",
    async (harness, defer) => {
      const a = await nodeOn(harness, defer, recordOf("a"));
      const b = await nodeOn(harness, defer, recordOf("b"));
      for (const { membership } of [a, b]) membership.start();
      await until("both see both", () => a.names() === "a b" && b.names() === "a b");
      await harness.goAway();
      const startMs = performance.now();
      assert.equal(await b.membership.setState("draining", 300), false);
      assert.ok(performance.now() - startMs < 2_000);
      const isGone = b.membership.leave(10_000);
      await harness.comeBack();
      assert.equal(await isGone, true);
      await until("a is alone", () => a.names() === "a");
      assert.equal(
        await b.membership.setState("serving", 5_000),
        false,
        "a node that has left changes nothing any more",
      );
      assert.equal(await recordIn(harness, "dict.b"), undefined);
    },
  );

  contract("a node that leaves while its state is being written is not listed in the end", async (harness, defer) => {
    const store = await handOn(harness);
    for (let round = 0; round < 10; round++) {
      const b = await nodeOn(harness, defer, recordOf(`b${round}`));
      b.membership.start();
      await until("it is listed", () => b.membership.joined("dict"));
      const isDraining = b.membership.setState("draining", 2_000);
      for (let turn = 0; turn < round * 2; turn++) await Promise.resolve();
      assert.equal(await b.membership.leave(5_000), true);
      await isDraining;
      await b.membership.close();
      assert.equal((await store.read(`dict.b${round}`)).value, undefined, `round ${round}`);
    }
  });
}
