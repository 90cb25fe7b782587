/** When a suspect is evicted, and when it is kept. */
import assert from "node:assert/strict";
import { test } from "../../support/test.ts";
import { Stage } from "./stage.ts";

interface Row {
  readonly name: string;
  readonly peers: string;
  readonly steps: readonly string[];
}

/**
 * In each row this node, a, is a prober of the suspects. Ten misses take 2.25 to 2.5 s after the first; a round in which an
 * indirect prober is silent takes 0.5 s.
 */
const rows: readonly Row[] = [
  { name: "a peer that answers is kept", peers: "b c d", steps: ["wait 60000", "evicted", "logged 0 peer"] },
  {
    name: "a killed peer is evicted when the others agree, with one log line for each step",
    peers: "b c d",
    steps: [
      "kill b",
      "wait 3000",
      "evicted b#1",
      "asked b c d",
      "logged 1 warn peer b does not answer: asking other nodes",
      "logged 1 info evicted b (incarnation b#1) from the peer lists: 2 of 3 nodes agree",
    ],
  },
  {
    name: "a silent peer is evicted as well",
    peers: "b c d",
    steps: ["silence b", "wait 3300", "evicted b#1"],
  },
  {
    name: "nine misses and an answer make no suspect",
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
    name: "a failure on this node's side is no miss",
    peers: "b c d",
    steps: ["busy b", "wait 20000", "evicted", "asked b", "logged 0 peer b"],
  },
  {
    name: "a peer is kept when most say that it lives, and they are asked again only after as many further misses",
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
    name: "at most five others are asked",
    peers: "b c d e f g h i j",
    steps: ["kill e", "wait 3000", "evicted e#1", "logged 1 4 of 6 nodes agree"],
  },
  {
    name: "in the first round a silent prober has not said that it is dead",
    peers: "b c d e",
    steps: ["kill d", "says b nothing", "says c nothing", "wait 4000", "evicted", "wait 2000", "evicted d#1"],
  },
  {
    name: "a peer is kept when no indirect prober answers",
    peers: "b c d",
    steps: ["kill b", "says c nothing", "says d nothing", "wait 60000", "evicted"],
  },
  {
    name: "a node that is cut off evicts no peer",
    peers: "b c d e",
    steps: ["silence b c d e", "wait 120000", "evicted", "logged 4 asking other nodes", "heal b c d e", "wait 1000"],
  },
  {
    name:
      "a peer that listed itself again and is out of reach stays listed for 1 minute, then 2, then 4, then 8, then 10",
    peers: "b c d",
    steps: [
      "kill b",
      "wait 3000",
      "evicted b#1",
      ...[60, 120, 240, 480, 600, 600].flatMap((seconds, index) => [
        "forget",
        "returns b",
        `wait ${seconds * 1_000 - 100}`,
        "asked b",
        `evicted${" b#1".repeat(index + 1)}`,
        "wait 1500",
        `evicted${" b#1".repeat(index + 2)}`,
      ]),
      "logged 6 warn peer b does not answer: one of us returned to the lists, so it may only be out of reach",
    ],
  },
  {
    name: "a peer that is reached after its return is evicted as soon as any other, over whatever connection",
    peers: "b c d",
    steps: ["kill b", "wait 3000", "evicted b#1", "returns b", "reaches b", "wait 3000", "evicted b#1 b#1"],
  },
  {
    name: "a peer that answers after its return is evicted as soon as any other, and its returns count from zero",
    peers: "b c d",
    steps: [
      ...["kill b", "wait 3000", "returns b", "wait 61000", "evicted b#1 b#1", "returns b", "heal b", "wait 1000"],
      ...["kill b", "wait 3000", "evicted b#1 b#1 b#1", "returns b", "wait 59900", "evicted b#1 b#1 b#1", "wait 1500"],
      "evicted b#1 b#1 b#1 b#1",
    ],
  },
  {
    name: "a peer that writes its record again is evicted as soon as any other, if this node had reached it",
    peers: "b c d",
    steps: ["rewrites b", "kill b", "wait 3000", "evicted b#1"],
  },
  {
    name: "a record that a silent peer writes again ends the round about it, also if it was never seen to be gone",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "rewrites b", "release", "wait 59000", "evicted"],
  },
  {
    name: "a node that puts itself back has no vote about peers that it does not reach",
    peers: "b c d",
    steps: ["kill b", "wait 1500", "putback", "wait 59900", "evicted", "asked b", "wait 1500", "evicted b#1"],
  },
  {
    name: "a node that puts itself back votes at once about peers that it reaches",
    peers: "b c d",
    steps: ["putback", "kill b", "wait 3000", "evicted b#1"],
  },
  {
    name: "in a pair a peer gets twice the time",
    peers: "b",
    steps: [
      "kill b",
      "wait 4500",
      "evicted",
      "logged 1 no other node lists it, so it gets twice the time",
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
    name: "two survivors of five evict the other three in the later round",
    peers: "b c d e",
    steps: ["kill b c d", "wait 3300", "evicted", "wait 3000", "evicted b#1 c#1 d#1", "logged 3 2 of 2 nodes agree"],
  },
  {
    name: "no peer is evicted while NATS is away; a dead one is after its return",
    peers: "b c d",
    steps: [
      "away",
      "kill b",
      "wait 30000",
      "evicted",
      "asked b",
      "logged 1 peer b does not answer: no peer is evicted while NATS is away",
      "back",
      "wait 300",
      "evicted b#1",
    ],
  },
  {
    name: "NATS that goes away during a round stops the eviction",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "away", "release", "wait 3000", "evicted", "back"]
      .concat(["wait 1500", "evicted b#1"]),
  },
  {
    name: "a suspect that leaves during a round is not evicted",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "leaves b", "release", "wait 9000", "evicted"],
  },
  {
    name: "a suspect that comes back in a new life during a round is kept",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "reborn b", "release", "wait 9000", "evicted"],
  },
  {
    name: "the misses of a suspect that is listed again in its old life count from zero",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "leaves b", "joins b", "kill b", "release", "wait 2000", "evicted"]
      .concat(["wait 1000", "evicted b#1"]),
  },
  {
    name: "a suspect that answers during a round is kept",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "heal b", "says c dead", "says d dead", "wait 300", "release"]
      .concat(["wait 9000", "evicted", "logged 1 peer b answers again"]),
  },
  {
    name: "a round that ends after this node was evicted has no effect",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "unlisted", "release", "wait 9000", "evicted", "listed"]
      .concat(["wait 2000", "evicted", "wait 1000", "evicted b#1"]),
  },
  {
    name: "a round that ends before this node was told of its eviction has no effect",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "off", "release", "wait 9000", "evicted"],
  },
  {
    name: "a node that was evicted and came back during a round counts from zero",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "unlisted", "listed", "release", "wait 2000", "evicted", "wait 1000"]
      .concat(["evicted b#1"]),
  },
  {
    name: "a node that is not listed suspects no peer",
    peers: "b c d",
    steps: ["unlisted", "kill b c d", "wait 60000", "evicted", "logged 0 peer"],
  },
  {
    name: "nothing happens after the stop",
    peers: "b c d",
    steps: ["hold", "kill b", "wait 2600", "asked b c d", "stop", "release", "wait 9000", "evicted"],
  },
  {
    name: "a new peer leaves the misses of others as they are",
    peers: "b c d",
    steps: ["kill b", "wait 2000", "joins e", "wait 200", "evicted", "wait 800", "evicted b#1"],
  },
  {
    name: "an eviction that loses its race is forgotten, and the peer still probed",
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
    for (const peer of stage.peers.values()) assert.ok(peer.mostInFlight <= 1, "probes of one peer do not overlap");
  });
}

test("the first node to start evicts the stale records of a cluster that died whole", async (defer) => {
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

test("a record is not stale if it came later, or was gone and came back", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  stage.evict = ({ name }) => (stage.peers.delete(name), stage.liveness.rosterChanged(), Promise.resolve(true));
  await stage.do("kill b c d");
  await stage.play(["joins e", "kill e", "leaves d", "joins d", "kill d", "wait 60000", "evicted b#1 c#1"]);
});

test("a node that ever had an answer evicts no stale record when it is cut off", async (defer) => {
  const stage = new Stage("b c d e f g h i");
  defer(() => stage.liveness.stop());
  await stage.play(["kill b c d e f g h i", "wait 60000", "evicted"]);
});

test("a record listed before NATS was first reached, or just then, is stale", async (defer) => {
  const stage = new Stage("");
  defer(() => stage.liveness.stop());
  stage.isAway = true;
  await stage.play(["joins b c", "kill b c", "wait 100", "back", "wait 6000", "evicted b#1 c#1"]);
});

test("a round that ends after this node stood still is void", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  await stage.play(["hold", "kill b", "wait 2600", "asked b c d"]);
  // The process is stopped: time passes without timers, and then the old answers come before the timers.
  stage.clock.leap(20_000);
  await stage.do("release");
  await stage.do("evicted");
  await stage.do("wait 3500");
  await stage.do("evicted b#1");
});
