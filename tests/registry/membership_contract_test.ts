/** The promises of a membership, on any store. */
import assert from "node:assert/strict";
import type { NameTakenError } from "../../lib/core/errors.ts";
import { encodeRecord } from "../../lib/registry/record.ts";
import { type Defer, test } from "../support/test.ts";
import { memory, nats } from "./harnesses.ts";
import { bytesOf, type Harness, type Node, nodeOn, recordOf, textOf, until, Watcher } from "./support.ts";

for (const kind of [memory, nats]) {
  const contract = (name: string, run: (harness: Harness, defer: Defer) => Promise<void>): void =>
    test(`${kind.name}: ${name}`, kind.needs, async (defer) => run(await kind.start(defer), defer));

  /** Another writer: an operator, or a stranger. */
  const handOn = async (harness: Harness) => {
    const { store } = await harness.open();
    const watcher = new Watcher(store);
    await until("the operator's connection", () => watcher.isBack);
    return { store, watcher };
  };

  contract("two nodes find each other and end at the same revision", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    assert.deepEqual(a.membership.roster("dict"), { group: "dict", revision: 0, peers: [a.self], isStandIn: true });
    a.membership.start();
    await until("a is listed", () => a.membership.joined("dict") && a.membership.roster("dict").revision > 0);
    const b = await nodeOn(harness, defer, recordOf("b"));
    b.membership.start();
    await until("both see both", () => a.names() === "a b" && b.names() === "a b");
    assert.deepEqual(a.membership.roster("dict"), b.membership.roster("dict"));
    const { revision } = a.membership.roster("dict");
    assert.ok(b.log.lines.includes(`info added myself to the peer list of dict (revision ${revision})`));
    const line = `info got new peer list of dict (revision ${revision}): ${a.self.url} ${b.self.url}`;
    assert.ok(a.log.lines.includes(line) && b.log.lines.includes(line), a.log.lines.join("\n"));
  });

  contract("a node that leaves is gone from the other's list, and stays away", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    const b = await nodeOn(harness, defer, recordOf("b"));
    for (const { membership } of [a, b]) membership.start();
    await until("both see both", () => a.names() === "a b" && b.names() === "a b");
    assert.equal(await b.membership.leave(2_000), true);
    await until("a is alone", () => a.names() === "a" && b.names() === "a");
    assert.deepEqual(a.membership.roster("dict"), b.membership.roster("dict"));
    assert.equal(b.membership.joined("dict"), false);
    assert.ok(b.log.lines.includes("info removed myself from the peer list of dict before exiting"));
    const late = await nodeOn(harness, defer, recordOf("c"));
    late.membership.start();
    await until("c is listed", () => a.names() === "a c" && late.names() === "a c");
    assert.equal(late.membership.roster("dict").revision, a.membership.roster("dict").revision);
  });

  contract("a record of an earlier life is taken over at its revision", async (harness, defer) => {
    const { store } = await handOn(harness);
    const old = recordOf("a");
    const stale = await store.put("dict.a", encodeRecord("dict", old), 0);
    const asked: string[] = [];
    const a = await nodeOn(harness, defer, recordOf("a", { url: old.url }), {
      isAlive: async (record) => {
        asked.push(record.incarnation);
        return false;
      },
    });
    a.membership.start();
    await until("a is listed", () => a.membership.joined("dict"));
    assert.deepEqual(asked, [old.incarnation]);
    await until("the roster moved on", () => a.membership.roster("dict").revision === stale + 1);
  });

  contract("another live node under the same name is a failure, and keeps its record", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    a.membership.start();
    await until("a is listed", () => a.membership.joined("dict"));
    const double = await nodeOn(harness, defer, recordOf("a"), {
      isAlive: async (record) => record.incarnation === a.self.incarnation,
    });
    double.membership.start();
    const error: NameTakenError = await double.membership.failed;
    assert.match(error.message, /another live node is listed as a in dict/);
    assert.ok(error.message.includes(a.self.url));
    assert.equal(await double.membership.leave(2_000), true);
    const { store } = await handOn(harness);
    assert.equal(JSON.parse(textOf((await store.read("dict.a")).value)!).incarnation, a.self.incarnation);
    assert.ok(!double.log.lines.some((line) => /removed myself|added myself/.test(line)));
  });

  contract("a live node that was deleted puts itself back", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    const b = await nodeOn(harness, defer, recordOf("b"));
    for (const { membership } of [a, b]) membership.start();
    await until("both see both", () => a.names() === "a b" && b.names() === "a b");
    const { store } = await handOn(harness);
    const before = await store.read("dict.b");
    const marker = await store.delete("dict.b", before.revision);
    await until("b is back", () => a.names() === "a b" && a.membership.roster("dict").revision > marker);
    assert.equal(a.membership.roster("dict").revision, marker + 1);
    await until("b knows", () => b.membership.roster("dict").revision === marker + 1);
    assert.ok(b.log.lines.includes("warn my record in the peer list of dict is gone: putting it back"));
  });

  contract("records that are broken or foreign are logged once and ignored", async (harness, defer) => {
    const { store } = await handOn(harness);
    const nonsense = await store.put("dict.x", bytesOf("nonsense"), 0);
    await store.put("dict.y", encodeRecord("dict", recordOf("z")), 0);
    const a = await nodeOn(harness, defer, recordOf("a"));
    a.membership.start();
    await until("a is listed", () => a.names() === "a" && a.membership.joined("dict"));
    // Over the own key: put right at once, as after a delete.
    const own = await store.read("dict.a");
    const broken = await store.put("dict.a", new Uint8Array(5_000), own.revision);
    await until("a is back", () => a.names() === "a" && a.membership.roster("dict").revision > broken);
    const complaints = a.log.lines.filter((line) => line.startsWith("warn ignoring"));
    assert.ok(
      complaints.includes(`warn ignoring dict.x (revision ${nonsense}), which is no peer record: not JSON in UTF-8`),
    );
    assert.equal(complaints.filter((line) => line.includes("dict.x")).length, 1);
    assert.equal(complaints.filter((line) => line.includes("dict.y")).length, 1);
  });

  contract("a change of state is seen by all, and draining peers stay listed", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    const b = await nodeOn(harness, defer, recordOf("b"));
    for (const { membership } of [a, b]) membership.start();
    await until("both see both", () => a.names() === "a b" && b.names() === "a b");
    assert.equal(await b.membership.setState("draining", 2_000), true);
    await until("a knows", () => a.membership.roster("dict").peers[1]?.state === "draining");
    assert.equal(a.names(), "a b");
    assert.equal(await b.membership.leave(2_000), true);
    await until("a is alone", () => a.names() === "a");
  });

  contract("a registry that is away at the start is joined when it comes", async (harness, defer) => {
    await harness.goAway();
    const a = await nodeOn(harness, defer, recordOf("a"));
    const b = await nodeOn(harness, defer, recordOf("b"));
    for (const { membership } of [a, b]) membership.start();
    await until("the outage was said", () => a.log.lines.some((line) => line.startsWith("warn NATS is away")));
    assert.deepEqual([a.names(), a.membership.roster("dict").revision, a.membership.joined("dict")], ["a", 0, false]);
    await harness.comeBack();
    await until("both see both", () => a.names() === "a b" && b.names() === "a b");
    assert.equal(a.log.lines.filter((line) => line.startsWith("warn NATS is away")).length, 1);
  });

  contract("an outage keeps the roster, and a node that joins after it is found", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    const b = await nodeOn(harness, defer, recordOf("b"));
    for (const { membership } of [a, b]) membership.start();
    await until("both see both", () => a.names() === "a b" && b.names() === "a b");
    const before = a.membership.roster("dict");
    await harness.goAway();
    await until("both noticed", () => a.membership.isAway && b.membership.isAway);
    assert.equal(a.membership.roster("dict"), before);
    assert.equal(a.membership.joined("dict"), true);
    await harness.comeBack();
    await until("both are back", () => !a.membership.isAway && !b.membership.isAway);
    assert.equal(a.membership.roster("dict"), before);
    const c = await nodeOn(harness, defer, recordOf("c"));
    c.membership.start();
    await until("all see all", () => [a, b, c].every((node) => node.names() === "a b c"));
    assert.deepEqual(a.membership.roster("dict"), c.membership.roster("dict"));
  });

  contract("after a lost bucket all put themselves back, and nobody was unlisted meanwhile", async (harness, defer) => {
    const nodes: Node[] = [];
    for (const name of ["a", "b", "c"]) nodes.push(await nodeOn(harness, defer, recordOf(name)));
    for (const { membership } of nodes) membership.start();
    await until("all see all", () => nodes.every((node) => node.names() === "a b c"));
    const counts = nodes.map((node) => node.rosters.length);
    await harness.loseBucket();
    const { store, watcher } = await handOn(harness);
    await until("all are back", () => Object.keys(watcher.last?.values ?? {}).length === 3);
    const last = watcher.last!.revision;
    await until(
      "all rosters are at the end",
      () => nodes.every((node) => node.membership.roster("dict").revision === last),
    );
    nodes.forEach((node, index) => {
      for (const roster of node.rosters.slice(counts[index])) assert.equal(roster.peers.length, 3);
    });
    // A peer that is deleted in the new bucket is not kept because of the old one.
    await nodes[2]!.membership.leave(2_000);
    await until("c is gone", () => nodes.every((node) => node.names() === "a b"));
    assert.equal((await store.read("dict.c")).value, undefined);
  });

  contract("a join whose answer is lost is found out and written once", async (harness, defer) => {
    const { watcher } = await handOn(harness);
    const a = await nodeOn(harness, defer, recordOf("a"));
    a.loseNextAnswer();
    a.membership.start();
    await until("a is listed", () => a.membership.joined("dict") && a.membership.roster("dict").revision > 0);
    await until("the operator sees it", () => watcher.last?.revision === a.membership.roster("dict").revision);
    assert.equal(watcher.last!.revision, 1);
  });

  contract("a leave whose answer is lost has left", async (harness, defer) => {
    const { store } = await handOn(harness);
    const a = await nodeOn(harness, defer, recordOf("a"));
    a.membership.start();
    await until("a is listed", () => a.membership.joined("dict") && !a.membership.isAway);
    a.loseNextAnswer();
    assert.equal(await a.membership.leave(5_000), true);
    assert.deepEqual(await store.read("dict.a"), { value: undefined, revision: 2 });
    assert.ok(a.log.lines.includes("info removed myself from the peer list of dict before exiting"));
  });

  contract("a node that leaves while it puts itself back is not listed in the end", async (harness, defer) => {
    const { store } = await handOn(harness);
    for (let round = 0; round < 20; round++) {
      const name = `n${round}`;
      const node = await nodeOn(harness, defer, recordOf(name));
      node.membership.start();
      await until("it is listed", () => node.membership.joined("dict"));
      const { revision } = await store.read(`dict.${name}`);
      const marker = await store.delete(`dict.${name}`, revision);
      // The put-back is under way at some point of these turns; each round leaves a little later.
      await until("the delete was seen", () => node.membership.roster("dict").revision >= marker);
      for (let turn = 0; turn < round; turn++) await Promise.resolve();
      assert.equal(await node.membership.leave(2_000), true);
      await node.membership.close();
      assert.equal((await store.read(`dict.${name}`)).value, undefined, `round ${round}`);
    }
  });

  contract("leaving takes no longer than it may when the registry is away", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"));
    a.membership.start();
    await until("a is listed", () => a.membership.joined("dict"));
    await harness.goAway();
    const startMs = performance.now();
    assert.equal(await a.membership.leave(300), false);
    await a.membership.close();
    assert.ok(performance.now() - startMs < 2_000);
    assert.ok(a.log.lines.includes("warn could not remove myself from the peer list of dict within 300 ms"));
  });

  contract("each group has a list of its own", async (harness, defer) => {
    const a = await nodeOn(harness, defer, recordOf("a"), { groups: ["dict", "other"] });
    const b = await nodeOn(harness, defer, recordOf("b"));
    for (const { membership } of [a, b]) membership.start();
    const namesOf = (group: string) => a.membership.roster(group).peers.map((peer) => peer.name).join(" ");
    await until("both see both", () => a.names() === "a b" && b.names() === "a b" && a.membership.joined("other"));
    await until("other is heard", () => a.membership.roster("other").revision > 0);
    assert.equal(namesOf("other"), "a");
    assert.throws(() => b.membership.roster("other"), RangeError);
  });
}
