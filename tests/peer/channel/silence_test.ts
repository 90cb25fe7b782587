/** Connections whose path drops all packets, of which TCP tells nothing for a quarter of an hour. */
import assert from "node:assert/strict";
import { PeerError } from "../../../lib/core/errors.ts";
import type { Value } from "../../../lib/core/value.ts";
import type { PeerHub } from "../../../lib/peer/hub.ts";
import { PEER_LIMITS } from "../../../lib/peer/limits.ts";
import { Silence } from "../../../lib/peer/channel/silence.ts";
import { CloseCode } from "../../../lib/peer/socket/socket.ts";
import { type Defer, test } from "../../support/test.ts";
import { getFrom, MemoryNetwork, type MemorySocket, type Serve } from "../memory.ts";
import { record } from "../support.ts";

const { silentMisses } = PEER_LIMITS;
/** As polling does it: who does not answer is polled so often, for so long. */
const POLL_EVERY_MS = 400;
const POLL_TIMEOUT_MS = 250;
const never = new AbortController().signal;

const value: Value = { body: new Uint8Array(1), contentType: "text/plain", bornAtMs: 0, expiresAtMs: Infinity };

/** `a` has dialed `b`, and has an answer of it. */
async function pair(defer: Defer, serve: Serve = () => value) {
  const net = new MemoryNetwork();
  const [a, b] = [net.hub("a", { serve }), net.hub("b", { serve })];
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  await net.tick();
  const peer = a.peer("b")!;
  const warmUp = getFrom(peer, "dict", "warm-up", { signal: never, timeoutMs: 1_000 });
  await net.tick();
  await warmUp;
  return { net, a, b, near: net.dialed[0]! };
}

function dropAll(near: MemorySocket): void {
  near.isBlackHole = near.other.isBlackHole = true;
}

/** Polls once, and moves on to the time of the next poll. @returns whether there was an answer */
async function polled(net: MemoryNetwork, hub: PeerHub, name: string): Promise<boolean> {
  const outcome = hub.link(name)!.probe({ timeoutMs: POLL_TIMEOUT_MS }).then(() => true, () => false);
  await net.tick();
  await net.clock.advance(POLL_TIMEOUT_MS);
  await net.tick();
  await net.clock.advance(POLL_EVERY_MS - POLL_TIMEOUT_MS);
  await net.tick();
  return await outcome;
}

test("a connection over which nothing comes is given up after many polls, what it owes fails, and it is dialed anew", async (defer) => {
  const { net, a, b, near } = await pair(defer);
  dropAll(near);
  let failures = 0;
  const asked = getFrom(a.peer("b")!, "dict", "x", { signal: never, timeoutMs: 120_000 });
  const failed = assert.rejects(asked, PeerError).then(() => failures++);
  // The first finds that something came since the connection was opened.
  for (let i = 0; i < silentMisses; i++) {
    assert.equal(await polled(net, a, "b"), false);
    assert.deepEqual([a.stats()[0]!.state, failures, net.dialed.length], ["open", 0, 1], `after ${i} misses`);
  }
  assert.equal(await polled(net, a, "b"), false);
  assert.equal(near.closedWith?.code, CloseCode.silent);
  await failed;
  assert.equal(failures, 1);
  assert.equal(net.dialed.length, 2);
  assert.deepEqual([a.stats()[0]!.state, a.stats()[0]!.opens], ["open", 2]);
  // The other end has heard of nothing, and lets go of the old one for the new one.
  assert.deepEqual([b.stats()[0]!.state, b.stats()[0]!.opens], ["open", 2]);
  assert.equal(near.other.closedWith?.code, CloseCode.replaced);
  assert.equal(await polled(net, a, "b"), true);
  assert.equal(await polled(net, b, "a"), true);
});

test("the end that does not dial gives up as well, asks fail there at once, and both are open again when the other dials", async (defer) => {
  const { net, a, b, near } = await pair(defer);
  dropAll(near);
  for (let i = 0; i <= silentMisses; i++) assert.equal(await polled(net, b, "a"), false);
  assert.equal(near.other.closedWith?.code, CloseCode.silent);
  assert.equal(b.stats()[0]!.state, "down");
  assert.equal(net.dialed.length, 1);
  await assert.rejects(getFrom(b.peer("a")!, "dict", "x", { signal: never, timeoutMs: 1_000 }), /down/);
  for (let i = 0; i <= silentMisses; i++) assert.equal(await polled(net, a, "b"), false);
  assert.equal(await polled(net, b, "a"), true);
  assert.deepEqual([a.stats()[0]!.opens, b.stats()[0]!.opens, net.dialed.length], [2, 2, 2]);
});

test("both ends may give up in the same moment", async (defer) => {
  const { net, a, b, near } = await pair(defer);
  dropAll(near);
  for (let i = 0; i <= silentMisses; i++) {
    const both = await Promise.all([
      polled(net, a, "b"),
      b.link("a")!.probe({ timeoutMs: POLL_TIMEOUT_MS }).catch(() => false),
    ]);
    assert.deepEqual(both, [false, false]);
  }
  await net.clock.advance(100);
  await net.tick();
  assert.deepEqual([a.stats()[0]!.state, b.stats()[0]!.state], ["open", "open"]);
  assert.deepEqual([a.stats()[0]!.opens, b.stats()[0]!.opens, net.dialed.length], [2, 2, 2]);
});

test("a connection over which anything comes is not given up, whatever goes unanswered", async (defer) => {
  const { net, a, b, near } = await pair(defer);
  near.isBlackHole = true;
  for (let i = 0; i < 5 * silentMisses; i++) {
    // What the other asks does arrive; the answers do not.
    if (i % (silentMisses - 1) === 0) {
      const ask = getFrom(b.peer("a")!, "dict", "x", { signal: never, timeoutMs: 100 });
      const lost = assert.rejects(ask, PeerError);
      await net.tick();
      await net.clock.advance(100);
      await lost;
    }
    assert.equal(await polled(net, a, "b"), false);
    assert.equal(near.closedWith, undefined);
  }
  assert.equal(a.stats()[0]!.opens, 1);
});

test("where nobody polls the other, asks without an answer tell that a connection is dead", async (defer) => {
  const { net, a, near } = await pair(defer);
  dropAll(near);
  const errors: unknown[] = [];
  for (let i = 0; near.closedWith === undefined; i++) {
    assert.ok(i < 2 * silentMisses, "it is still open");
    getFrom(a.peer("b")!, "dict", `${i}`, { signal: never, timeoutMs: 1_000 }).catch((error) => errors.push(error));
    await net.tick();
    await net.clock.advance(300);
  }
  assert.equal(near.closedWith?.code, CloseCode.silent);
  assert.ok(errors.every((error) => error instanceof PeerError));
  await net.clock.advance(100);
  await net.tick();
  assert.deepEqual([a.stats()[0]!.state, a.stats()[0]!.opens], ["open", 2]);
});

test("many questions of one moment are one miss, and so is all that was overdue while this node stood still", async (defer) => {
  const { net, a, near } = await pair(defer);
  dropAll(near);
  const asks: Promise<void>[] = [];
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 100; i++) {
      const ask = getFrom(a.peer("b")!, "dict", `${i}`, { signal: never, timeoutMs: 1_000 + 2 * i });
      asks.push(assert.rejects(ask, /did not answer in time/));
    }
    await net.tick();
    await net.clock.advance(20_000);
  }
  await Promise.all(asks);
  assert.equal(near.closedWith, undefined);
  assert.equal(a.stats()[0]!.state, "open");
});

test("a full socket that goes on being taken is slow, not dead; one that is not is dead", () => {
  const limits = { silentMisses: 3, silentMissMs: 250 };
  const silence = new Silence(limits);
  let nowMs = 0;
  const missed = (bytesOut: number, unsentBytes: number, framesIn = 0) =>
    silence.missed(nowMs += 250, { framesIn, bytesOut, unsentBytes });
  for (let i = 1; i < 20; i++) assert.equal(missed(5_000, 5_000 - 10 * i), false);
  assert.deepEqual([missed(5_000, 4_810), missed(6_000, 5_810), missed(7_000, 6_810)], [false, false, true]);
  // What the system takes at once shows nothing: it has room of its own.
  const other = new Silence(limits);
  const ends = [1, 2, 3].map((i) => other.missed(1_000 * i, { framesIn: 0, bytesOut: 1_000 * i, unsentBytes: 0 }));
  assert.deepEqual(ends, [false, false, true]);
  const brief = new Silence(limits);
  for (let at = 0; at < 500; at += 10) {
    assert.equal(brief.missed(at, { framesIn: 0, bytesOut: 0, unsentBytes: 0 }), false);
  }
  assert.equal(brief.missed(500, { framesIn: 1, bytesOut: 0, unsentBytes: 0 }), false);
});
