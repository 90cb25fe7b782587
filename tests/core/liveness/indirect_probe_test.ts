/** Probes of a suspect for another node. */
import assert from "node:assert/strict";
import { PeerError } from "../../../lib/core/errors.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { recordOf, Stage } from "./stage.ts";

test("a node probes a suspect for others over its own connection, once for all that ask", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  const b = recordOf("b");
  await assert.rejects(stage.liveness.probeIndirectly(b, { timeoutMs: 500 }), PeerError);
  stage.liveness.start();
  await stage.clock.advance(1_000);
  assert.equal(await stage.liveness.probeIndirectly(b, { timeoutMs: 500 }), true);
  assert.equal(await stage.liveness.probeIndirectly(recordOf("a"), { timeoutMs: 500 }), true);
  stage.peer("b").answer = "silent";
  const before = stage.peer("b").probes;
  const answers = [1, 2, 3].map(() => stage.liveness.probeIndirectly(b, { timeoutMs: 60_000 }));
  await stage.clock.advance(250);
  assert.deepEqual(await Promise.all(answers), [false, false, false], "within its own timeout");
  assert.ok(stage.peer("b").probes - before <= 2, "besides the regular one");
  assert.equal(stage.peer("b").mostInFlight, 1);
});

test("a suspect that answers an indirect probe is no suspect any more", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  await stage.play(["kill b", "wait 2000", "heal b"]);
  assert.ok(stage.misses("b")! >= 6);
  assert.equal(await stage.liveness.probeIndirectly(recordOf("b"), { timeoutMs: 500 }), true);
  assert.equal(stage.misses("b"), 0);
});

test("a node cannot say that a peer is dead which listed itself again and was never reached since", async (defer) => {
  const stage = new Stage("b c d");
  defer(() => stage.liveness.stop());
  const ask = () => stage.liveness.probeIndirectly(recordOf("b"), { timeoutMs: 500 });
  await stage.play(["kill b", "returns b"]);
  await assert.rejects(ask(), (error) => error instanceof PeerError && /has not reached it since/.test(error.message));
  await stage.do("heal b");
  assert.equal(await ask(), true);
  await stage.do("kill b");
  assert.equal(await ask(), false, "it was reached");
});

test("a node that cannot say refuses: strangers, other lives, not listed itself, a change meanwhile, too many", async (defer) => {
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
