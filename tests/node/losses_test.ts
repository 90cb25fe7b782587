/** Which nodes count as lost: dead ones, and none that left, moved or only lost its record. */
import assert from "node:assert/strict";
import { type PeerRecord, rosterOf } from "../../lib/core/roster.ts";
import { Losses } from "../../lib/node/peers/losses.ts";
import { record } from "../core/cluster.ts";
import { ManualClock } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { test } from "../support/test.ts";

function made(reached: string[] = []) {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const lists = new Map<string, readonly PeerRecord[]>();
  const losses = new Losses({
    selfName: "a",
    isListed: (name) => [...lists.values()].some((peers) => peers.some((peer) => peer.name === name)),
    isReached: (name) => reached.includes(name),
    clock,
    log,
  });
  let revision = 0;
  const see = (list: string, ...peers: (string | PeerRecord)[]) => {
    const records = peers.map((peer) => typeof peer === "string" ? record(peer) : peer);
    lists.set(list, records);
    losses.see(rosterOf(list, ++revision, records));
  };
  const lost = () => losses.lost.map(({ name }) => name);
  return { clock, log, losses, lists, see, lost };
}

test("a node that goes off all lists while it should serve is lost, until it is back or 15 minutes have passed", async () => {
  const { clock, log, see, lost, losses } = made();
  see("dict", "a", "b", "c");
  see("api", "a", "b", "c");
  await clock.advance(10);
  const atMs = clock.nowMs();
  see("dict", "a", "b");
  assert.deepEqual(lost(), [], "the other list still has it");
  see("api", "a", "b");
  assert.deepEqual(losses.lost, [{ name: "c", atMs }]);
  assert.deepEqual(log.lines, ["warn peer c is off the lists: it did not answer"]);
  see("api", "a", "b", "c");
  assert.deepEqual(lost(), []);
  see("api", "a", "b");
  await clock.advance(15 * 60_000);
  assert.deepEqual(lost(), ["c"]);
  await clock.advance(1);
  assert.deepEqual(lost(), []);
});

test("a node that drains, one that answers, this node, and a list that is followed no more are no losses", () => {
  const { see, lost, losses, lists } = made(["d"]);
  see("dict", "a", { ...record("b"), state: "draining" as const }, "d");
  see("dict");
  assert.deepEqual(lost(), []);
  see("api", "a", "e");
  losses.forget("api");
  lists.delete("api");
  see("api", "a");
  assert.deepEqual(lost(), []);
});

test("a bucket that is lost is no loss of nodes, and of many losses the latest 20 are kept", () => {
  const { losses, see, lost } = made();
  const names = Array.from({ length: 25 }, (_, i) => `n${i}`);
  see("dict", "a", ...names);
  losses.see({ ...rosterOf("dict", 0, [record("a")]), isStandIn: true });
  assert.deepEqual(lost(), []);
  see("dict", "a");
  assert.equal(lost().length, 20);
});
