/** Which peers are probed, and when. */
import assert from "node:assert/strict";
import { test } from "../../support/test.ts";
import { Stage } from "./stage.ts";

test("liveness tells its figures", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  await stage.play(["kill b", "wait 1000"]);
  const { probed, rounds, evictions } = stage.liveness.stats();
  const b = probed.find(({ name }) => name === "b")!;
  const c = probed.find(({ name }) => name === "c")!;
  assert.equal(b.incarnation, "b#1");
  assert.ok(b.misses >= 3 && b.misses <= 5 && b.lastAnsweredAtMs! < stage.clock.nowMs() - 900, JSON.stringify(b));
  assert.ok(c.misses === 0 && c.lastAnsweredAtMs! > stage.clock.nowMs() - 550, JSON.stringify(c));
  assert.deepEqual([rounds, evictions], [0, 0]);
  await stage.do("wait 2000");
  assert.deepEqual([stage.liveness.stats().rounds, stage.liveness.stats().evictions], [1, 1]);
});

test("all peers that answer are probed in one tick, at every interval", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  await stage.play(["wait 9000"]);
  const ticksMs = stage.peer("b").probedAtMs;
  for (const name of ["c", "d"]) assert.deepEqual(stage.peer(name).probedAtMs, ticksMs, name);
  for (const [i, atMs] of ticksMs.slice(1).entries()) assert.equal(atMs - ticksMs[i]!, 475);
  assert.ok(ticksMs.length >= 21, `${ticksMs.length} in 10 s`);
});

test("each answer is told, with the life of the peer", async (defer) => {
  const stage = new Stage("b c");
  defer(() => stage.liveness.stop());
  stage.peer("c").answer = "silent";
  await stage.play(["wait 700"]);
  const { probes } = stage.peer("b");
  assert.ok(probes > 0);
  assert.deepEqual(stage.answers, Array(probes).fill("b#1"));
  for (const step of ["reborn b", "wait 700"]) await stage.do(step);
  assert.deepEqual(stage.answers.slice(probes), Array(stage.peer("b").probes).fill("b#2"));
});

test("a silent peer is probed twice as often, and again at the tick after its answer", async (defer) => {
  const stage = new Stage("b c d", { pollTimeoutMs: 100 });
  defer(() => stage.liveness.stop());
  await stage.play([]);
  const [b, c] = [stage.peer("b"), stage.peer("c")];
  await stage.do("silence b");
  await stage.clock.advance(1_500);
  const silentMs = b.probedAtMs.slice(-4);
  assert.deepEqual(silentMs.map((atMs) => Math.round(atMs - silentMs[0]!)), [0, 238, 475, 713]);
  await stage.do("heal b");
  await stage.clock.advance(1_100);
  assert.equal(b.probedAtMs.at(-1), c.probedAtMs.at(-1));
});

test("a peer that answers after the next tick is probed again at once", async (defer) => {
  const stage = new Stage("b c d", { pollIntervalMs: 250 });
  defer(() => stage.liveness.stop());
  await stage.play([]);
  const b = stage.peer("b");
  // After the next tick, which comes after 237.5 ms, and before the time-out.
  b.answersAfterMs = 245;
  await stage.clock.advance(250);
  const sentAtMs = b.probedAtMs.at(-1)!;
  await stage.clock.advance(sentAtMs + 246 - stage.clock.nowMs());
  assert.equal(stage.misses("b"), 0);
  assert.equal(b.probedAtMs.at(-1), sentAtMs + 245);
});

test("a node alone has no timer, and begins to probe when a peer joins", async (defer) => {
  const stage = new Stage("");
  defer(() => stage.liveness.stop());
  await stage.play([]);
  assert.equal(stage.clock.pending, 0);
  await stage.do("joins b");
  await stage.clock.advance(300);
  assert.ok(stage.peer("b").probes > 0);
  await stage.do("leaves b");
  await stage.clock.advance(300);
  assert.equal(stage.clock.pending, 0);
});

test("a probe that ends after this node stood still is no miss", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  await stage.play(["silence b"]);
  while (stage.peer("b").inFlight === 0) await stage.clock.advance(10);
  const before = stage.misses("b")!;
  stage.clock.leap(20_000);
  await stage.do("wait 250");
  assert.equal(stage.misses("b"), before);
  await stage.do("wait 250");
  assert.equal(stage.misses("b"), before + 1, "the next probe, which begins at once, counts");
});

test("the targets of a silent prober are probed in its place, until it answers", async (defer) => {
  const stage = new Stage(Array.from({ length: 30 }, (_, i) => `b${i}`).join(" "));
  defer(() => stage.liveness.stop());
  await stage.play([]);
  const probed = () => stage.liveness.stats().probed.map(({ name }) => name);
  const own = probed();
  assert.ok(own.length > 0 && own.length < 12);
  const first = own[0]!;
  await stage.do(`kill ${first}`);
  await stage.clock.advance(300);
  const others = [...stage.peers.keys()].filter((name) => !own.includes(name));
  const before = new Map(others.map((name) => [name, stage.peer(name).probes]));
  await stage.clock.advance(1_000);
  const adopted = others.filter((name) => stage.peer(name).probes - before.get(name)! >= 3);
  assert.ok(adopted.length > 0, "its targets are probed about as often as it is");
  await stage.do(`heal ${first}`);
  await stage.clock.advance(300);
  assert.deepEqual(probed().sort(), own.sort());
});

test("each peer is probed in turn, so that a peer that lost all its probers is found", async (defer) => {
  const stage = new Stage(Array.from({ length: 20 }, (_, i) => `b${i}`).join(" "));
  defer(() => stage.liveness.stop());
  await stage.play(["wait 25000"]);
  for (const peer of stage.peers.values()) assert.ok(peer.probes > 0, peer.record.name);
  const own = stage.liveness.stats().probed.map(({ name }) => name);
  const stranger = [...stage.peers.keys()].find((name) => !own.includes(name))!;
  await stage.do(`kill ${stranger}`);
  await stage.do("wait 25000");
  await stage.do(
    `asked ${stranger} ${
      [...stage.peers.values()].filter((p) => p.asked.length > 0).map((p) => p.record.name).join(" ")
    }`,
  );
  assert.ok(stage.evictions.includes(`${stranger}#1`));
});

test("two hundred dead peers cost a bounded number of probes", async (defer) => {
  const stage = new Stage(Array.from({ length: 200 }, (_, i) => `b${i}`).join(" "));
  defer(() => stage.liveness.stop());
  await stage.play([`kill ${Array.from({ length: 200 }, (_, i) => `b${i}`).join(" ")}`, "wait 10000", "evicted"]);
  assert.ok(stage.liveness.stats().probed.length <= 64 + 20);
});

test("options that are not times, counts or shares are refused", () => {
  const bad = [{ pollIntervalMs: 0 }, { pollTimeoutMs: NaN }, { pollMisses: 0 }, { pollJitter: 1.1 }, {
    pollJitter: -1,
  }];
  for (const options of bad) assert.throws(() => new Stage("b", options), RangeError);
});
