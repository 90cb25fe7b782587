import assert from "node:assert/strict";
import { PeerError } from "../../../lib/core/errors.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { recordOf, Stage } from "./stage.ts";

interface Row {
  readonly name: string;
  readonly peers: string;
  readonly steps: readonly string[];
}

/** In each row this node, a, is a poller of the suspects. Times: ten misses take 2.25 to 2.5 s after the first, a vote in which somebody is silent 0.5 s. */
const rows: readonly Row[] = [
  { name: "who answers is let be", peers: "b c d", steps: ["wait 60000", "evicted", "logged 0 peer"] },
  {
    name: "a killed peer is evicted when the others agree, with one line each",
    peers: "b c d",
    steps: [
      "kill b",
      "wait 3000",
      "evicted b#1",
      "asked b c d",
      "logged 1 warn peer b does not answer: asking others",
      "logged 1 info evicted b (incarnation b#1) from the peer lists: 2 of 3 agree",
    ],
  },
  {
    name: "a peer that is silent is evicted as well",
    peers: "b c d",
    steps: ["silence b", "wait 3300", "evicted b#1"],
  },
  {
    name: "nine misses and an answer are nothing",
    peers: "b c d",
    steps: [
      "silence b",
      "wait 2000",
      "heal b",
      "wait 1000",
      "silence b",
      "wait 2000",
      "heal b",
      "wait 9000",
      "evicted",
    ],
  },
  {
    name: "what fails on this node's side is no miss",
    peers: "b c d",
    steps: ["busy b", "wait 20000", "evicted", "asked b", "logged 0 peer b"],
  },
  {
    name: "when most say that it lives it is kept, and they are asked again after a pause only",
    peers: "b c d",
    steps: [
      "kill b",
      "says c alive",
      "says d alive",
      "wait 3000",
      "asked b c d",
      "forget",
      "wait 1500",
      "asked b",
      "wait 900",
      "asked b c d",
      "wait 30000",
      "evicted",
      "logged 1 peer b does not answer",
      "heal b",
      "wait 300",
      "logged 1 info peer b answers again",
    ],
  },
  {
    name: "half is no majority",
    peers: "b c d e",
    steps: ["kill d", "says b alive", "says c alive", "wait 3000", "asked d b c e", "wait 30000", "evicted"],
  },
  {
    name: "five at most are asked",
    peers: "b c d e f g h i j",
    steps: ["kill e", "wait 3000", "evicted e#1", "logged 1 4 of 6 agree"],
  },
  {
    name: "who is silent has not said that it is dead, at first",
    peers: "b c d e",
    steps: ["kill d", "says b nothing", "says c nothing", "wait 4000", "evicted", "wait 2000", "evicted d#1"],
  },
  {
    name: "when nobody answers the question it is kept",
    peers: "b c d",
    steps: ["kill b", "says c nothing", "says d nothing", "wait 60000", "evicted"],
  },
  {
    name: "a node that can reach nobody evicts nobody",
    peers: "b c d e",
    steps: ["silence b c d e", "wait 120000", "evicted", "logged 4 asking others", "heal b c d e", "wait 1000"],
  },
  {
    name: "in a pair it has twice the patience",
    peers: "b",
    steps: [
      "kill b",
      "wait 4500",
      "evicted",
      "logged 1 nobody else to ask, so it has twice the time",
      "wait 700",
      "evicted b#1",
    ],
  },
  {
    name: "two suspects at once are both evicted",
    peers: "b c d e",
    steps: ["kill d e", "wait 3000", "evicted d#1 e#1"],
  },
  {
    name: "two survivors of five evict the other three, one vote being enough after twice the patience",
    peers: "b c d e",
    steps: ["kill b c d", "wait 3300", "evicted", "wait 3000", "evicted b#1 c#1 d#1", "logged 3 2 of 2 agree"],
  },
  {
    name: "while NATS is away nobody is evicted, and after its return it is",
    peers: "b c d",
    steps: [
      "away",
      "kill b",
      "wait 30000",
      "evicted",
      "asked b",
      "logged 1 peer b does not answer: nobody is evicted while NATS is away",
      "back",
      "wait 300",
      "evicted b#1",
    ],
  },
  {
    name: "NATS that goes away between the question and the answer stops the eviction",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "away", "release", "wait 3000", "evicted", "back"]
      .concat(["wait 1500", "evicted b#1"]),
  },
  {
    name: "a suspect that leaves meanwhile is not evicted",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "leaves b", "release", "wait 9000", "evicted"],
  },
  {
    name: "a suspect that comes back in a new life meanwhile is not touched",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "reborn b", "release", "wait 9000", "evicted"],
  },
  {
    name: "a suspect that is listed again in its old life is counted from the start",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "leaves b", "joins b", "kill b", "release", "wait 2000", "evicted"]
      .concat(["wait 1000", "evicted b#1"]),
  },
  {
    name: "a suspect that answers while others are asked is kept",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "heal b", "says c dead", "says d dead", "wait 300", "release"]
      .concat(["wait 9000", "evicted", "logged 1 peer b answers again"]),
  },
  {
    name: "an answer that comes after this node itself was struck off has no effect",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "unlisted", "release", "wait 9000", "evicted", "listed"]
      .concat(["wait 2000", "evicted", "wait 1000", "evicted b#1"]),
  },
  {
    name: "nor has one that comes when it was struck off, and polling has not been told yet",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "off", "release", "wait 9000", "evicted"],
  },
  {
    name: "struck off and back between question and answer counts anew",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "unlisted", "listed", "release", "wait 2000", "evicted", "wait 1000"]
      .concat(["evicted b#1"]),
  },
  {
    name: "a node that is not listed suspects nobody",
    peers: "b c d",
    steps: ["unlisted", "kill b c d", "wait 60000", "evicted", "logged 0 peer"],
  },
  {
    name: "after the stop nothing happens any more",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "stop", "release", "wait 9000", "evicted"],
  },
  {
    name: "a new peer starts without the misses of others",
    peers: "b c d",
    steps: ["kill b", "wait 2000", "joins e", "wait 200", "evicted", "wait 800", "evicted b#1"],
  },
  {
    name: "an eviction that loses its race is forgotten, and the peer watched on",
    peers: "b c d",
    steps: ["loses", "kill b", "wait 2600", "evicted b#1", "wait 1800", "evicted b#1", "wait 1000"]
      .concat(["evicted b#1 b#1", "logged 0 evicted", "logged 1 peer b does not answer"]),
  },
  {
    name: "an eviction that fails is forgotten as well",
    peers: "b c d",
    steps: ["fails", "kill b", "wait 2600", "evicted b#1", "wait 3000", "evicted b#1 b#1", "logged 0 evicted"],
  },
  {
    name: "an eviction that never ends is given up",
    peers: "b c d",
    steps: ["hangs", "kill b", "wait 2600", "evicted b#1", "wait 5000", "evicted b#1", "wait 3000", "evicted b#1 b#1"],
  },
];

for (const { name, peers, steps } of rows) {
  test(name, async (defer) => {
    const stage = new Stage(peers);
    defer(() => stage.liveness.stop());
    await stage.play(steps);
    stage.liveness.stop();
    await stage.clock.advance(10_000);
    assert.equal(stage.clock.pending, 0, "no timer is left");
    for (const peer of stage.peers.values()) assert.ok(peer.mostInFlight <= 1, "polls of one peer do not overlap");
  });
}

test("the leftovers of a cluster that died whole are swept by the first node to start", async (defer) => {
  const stage = new Stage("b c d e f g h i");
  defer(() => stage.liveness.stop());
  await stage.do("kill b c d e f g h i");
  stage.liveness.start();
  await stage.do("wait 4500");
  await stage.do("evicted");
  stage.evict = ({ name }) => (stage.peers.delete(name), stage.liveness.rosterChanged(), Promise.resolve(true));
  await stage.do("wait 10000");
  await stage.do("evicted b#1 c#1 d#1 e#1 f#1 g#1 h#1 i#1");
});

test("no leftover is who came later, or was struck off and came back", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  stage.evict = ({ name }) => (stage.peers.delete(name), stage.liveness.rosterChanged(), Promise.resolve(true));
  await stage.do("kill b c d");
  await stage.play(["joins e", "kill e", "leaves d", "joins d", "kill d", "wait 60000", "evicted b#1 c#1"]);
});

test("who has ever had an answer sweeps nobody when it is cut off", async (defer) => {
  const stage = new Stage("b c d e f g h i");
  defer(() => stage.liveness.stop());
  await stage.play(["kill b c d e f g h i", "wait 60000", "evicted"]);
});

test("whoever is listed before NATS was first reached, or just then, is a leftover", async (defer) => {
  const stage = new Stage("");
  defer(() => stage.liveness.stop());
  stage.isAway = true;
  await stage.play(["joins b c", "kill b c", "wait 100", "back", "wait 6000", "evicted b#1 c#1"]);
});

test("polling shows its figures", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  await stage.play(["kill b", "wait 1000"]);
  const { polled, votes, evictions } = stage.liveness.stats();
  const b = polled.find(({ name }) => name === "b")!;
  const c = polled.find(({ name }) => name === "c")!;
  assert.equal(b.incarnation, "b#1");
  assert.ok(b.misses >= 3 && b.misses <= 5 && b.lastAnsweredAtMs! < stage.clock.nowMs() - 900, JSON.stringify(b));
  assert.ok(c.misses === 0 && c.lastAnsweredAtMs! > stage.clock.nowMs() - 550, JSON.stringify(c));
  assert.deepEqual([votes, evictions], [0, 0]);
  await stage.do("wait 2000");
  assert.deepEqual([stage.liveness.stats().votes, stage.liveness.stats().evictions], [1, 1]);
});

test("all who answer are polled in one tick, at every interval", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  await stage.play(["wait 9000"]);
  const beats = stage.peer("b").polledAtMs;
  for (const name of ["c", "d"]) assert.deepEqual(stage.peer(name).polledAtMs, beats, name);
  for (const [i, atMs] of beats.slice(1).entries()) assert.equal(atMs - beats[i]!, 475);
  assert.ok(beats.length >= 21, `${beats.length} in 10 s`);
});

test("each answer is told, with the life that it came from", async (defer) => {
  const stage = new Stage("b c");
  defer(() => stage.liveness.stop());
  stage.peer("c").answer = "silent";
  await stage.play(["wait 700"]);
  const { polls } = stage.peer("b");
  assert.ok(polls > 0);
  assert.deepEqual(stage.answers, Array(polls).fill("b#1"));
  for (const step of ["reborn b", "wait 700"]) await stage.do(step);
  assert.deepEqual(stage.answers.slice(polls), Array(stage.peer("b").polls).fill("b#2"));
});

test("who does not answer is polled twice as often, and is back at the beat with its answer", async (defer) => {
  const stage = new Stage("b c d", { pollTimeoutMs: 100 });
  defer(() => stage.liveness.stop());
  await stage.play([]);
  const [b, c] = [stage.peer("b"), stage.peer("c")];
  await stage.do("silence b");
  await stage.clock.advance(1_500);
  const silentMs = b.polledAtMs.slice(-4);
  assert.deepEqual(silentMs.map((atMs) => Math.round(atMs - silentMs[0]!)), [0, 238, 475, 713]);
  await stage.do("heal b");
  await stage.clock.advance(1_100);
  assert.equal(b.polledAtMs.at(-1), c.polledAtMs.at(-1));
});

test("who answers so late that a beat has passed is polled again before the next", async (defer) => {
  const stage = new Stage("b c d", { pollIntervalMs: 250 });
  defer(() => stage.liveness.stop());
  await stage.play([]);
  const b = stage.peer("b");
  // Between the next beat, after 237.5 ms, and the end of its time.
  b.answersAfterMs = 245;
  await stage.clock.advance(250);
  const sentAtMs = b.polledAtMs.at(-1)!;
  await stage.clock.advance(sentAtMs + 246 - stage.clock.nowMs());
  assert.equal(stage.misses("b"), 0);
  assert.equal(b.polledAtMs.at(-1), sentAtMs + 245);
});

test("a node that is alone has no timer, and one that others join begins to poll", async (defer) => {
  const stage = new Stage("");
  defer(() => stage.liveness.stop());
  await stage.play([]);
  assert.equal(stage.clock.pending, 0);
  await stage.do("joins b");
  await stage.clock.advance(300);
  assert.ok(stage.peer("b").polls > 0);
  await stage.do("leaves b");
  await stage.clock.advance(300);
  assert.equal(stage.clock.pending, 0);
});

test("a vote that ends after this node stood still is void", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  await stage.play(["hold", "kill b", "wait 2600", "asked b c d"]);
  // The process is stopped: time goes on without timers, then the old answers come before them.
  stage.clock.leap(20_000);
  await stage.do("release");
  await stage.do("evicted");
  await stage.do("wait 3500");
  await stage.do("evicted b#1");
});

test("a poll that ends after this node stood still is no miss", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  await stage.play(["silence b", "wait 260"]);
  const before = stage.misses("b")!;
  stage.clock.leap(20_000);
  await stage.do("wait 0");
  assert.equal(stage.misses("b"), before);
});

test("a node polls a suspect for another over its own link, once for all who ask", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  const b = recordOf("b");
  await assert.rejects(stage.liveness.probeIndirectly(b, { timeoutMs: 500 }), PeerError);
  stage.liveness.start();
  await stage.clock.advance(1_000);
  assert.equal(await stage.liveness.probeIndirectly(b, { timeoutMs: 500 }), true);
  assert.equal(await stage.liveness.probeIndirectly(recordOf("a"), { timeoutMs: 500 }), true);
  stage.peer("b").answer = "silent";
  const before = stage.peer("b").polls;
  const answers = [1, 2, 3].map(() => stage.liveness.probeIndirectly(b, { timeoutMs: 60_000 }));
  await stage.clock.advance(250);
  assert.deepEqual(await Promise.all(answers), [false, false, false], "within its own timeout");
  assert.ok(stage.peer("b").polls - before <= 2, "beside the regular one");
  assert.equal(stage.peer("b").mostInFlight, 1);
});

test("a suspect that answers a poll for another is no suspect any more", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  await stage.play(["kill b", "wait 2000", "heal b"]);
  assert.ok(stage.misses("b")! >= 6);
  assert.equal(await stage.liveness.probeIndirectly(recordOf("b"), { timeoutMs: 500 }), true);
  assert.equal(stage.misses("b"), 0);
});

test("a node that cannot say says so: strangers, other lives, not listed itself, a change meanwhile, too many", async (defer) => {
  const stage = new Stage(Array.from({ length: 70 }, (_, i) => `b${i}`).join(" "));
  defer(() => stage.liveness.stop());
  stage.liveness.start();
  const ask = (name: string, life = 1) => stage.liveness.probeIndirectly(recordOf(name, life), { timeoutMs: 500 });
  await assert.rejects(ask("z"), PeerError);
  await assert.rejects(ask("b1", 2), PeerError);
  await assert.rejects(ask("a", 2), PeerError);
  await stage.do("busy b1");
  await assert.rejects(ask("b1"), PeerError);
  await stage.do("kill b1");
  stage.isListed = false;
  await assert.rejects(ask("b1"), PeerError);
  stage.isListed = true;
  await stage.do("silence b2");
  const late = ask("b2");
  late.catch(() => {});
  await stage.do("reborn b2");
  await stage.clock.advance(300);
  await assert.rejects(late, PeerError);
  for (const peer of stage.peers.values()) peer.answer = "silent";
  const all = Promise.allSettled([...stage.peers.keys()].filter((name) => name !== "b2").map((name) => ask(name)));
  await settle();
  await stage.clock.advance(300);
  const said = (await all).map(({ status }) => status);
  assert.equal(said.filter((status) => status === "fulfilled").length, 64);
  assert.equal(said.filter((status) => status === "rejected").length, 5);
});

test("the peers of a poller that does not answer are polled in its place, and let go when it answers", async (defer) => {
  const stage = new Stage(Array.from({ length: 30 }, (_, i) => `b${i}`).join(" "));
  defer(() => stage.liveness.stop());
  await stage.play([]);
  const polled = () => stage.liveness.stats().polled.map(({ name }) => name);
  const own = polled();
  assert.ok(own.length > 0 && own.length < 12);
  const first = own[0]!;
  await stage.do(`kill ${first}`);
  await stage.clock.advance(300);
  const others = [...stage.peers.keys()].filter((name) => !own.includes(name));
  const before = new Map(others.map((name) => [name, stage.peer(name).polls]));
  await stage.clock.advance(1_000);
  const adopted = others.filter((name) => stage.peer(name).polls - before.get(name)! >= 3);
  assert.ok(adopted.length > 0, "its wards are polled about as often as it is");
  await stage.do(`heal ${first}`);
  await stage.clock.advance(300);
  assert.deepEqual(polled().sort(), own.sort());
});

test("each peer is polled in turn, so that who lost all its pollers is found", async (defer) => {
  const stage = new Stage(Array.from({ length: 20 }, (_, i) => `b${i}`).join(" "));
  defer(() => stage.liveness.stop());
  await stage.play(["wait 25000"]);
  for (const peer of stage.peers.values()) assert.ok(peer.polls > 0, peer.record.name);
  const own = stage.liveness.stats().polled.map(({ name }) => name);
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

test("a hundred dead peers cost a bounded number of polls", async (defer) => {
  const stage = new Stage(Array.from({ length: 200 }, (_, i) => `b${i}`).join(" "));
  defer(() => stage.liveness.stop());
  await stage.play([`kill ${Array.from({ length: 200 }, (_, i) => `b${i}`).join(" ")}`, "wait 10000", "evicted"]);
  assert.ok(stage.liveness.stats().polled.length <= 64 + 20);
});

test("options that are no durations, counts and shares are refused", () => {
  const bad = [{ pollIntervalMs: 0 }, { pollTimeoutMs: NaN }, { pollMisses: 0 }, { pollJitter: 1.1 }, {
    pollJitter: -1,
  }];
  for (const options of bad) assert.throws(() => new Stage("b", options), RangeError);
});
