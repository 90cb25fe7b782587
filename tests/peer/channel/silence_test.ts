/** Connections whose path drops all packets: TCP tells nothing for 15 minutes. */
import assert from "node:assert/strict";
import { PeerError } from "../../../lib/core/errors.ts";
import type { PeerHub } from "../../../lib/peer/hub.ts";
import { PEER_LIMITS } from "../../../lib/peer/limits.ts";
import { Silence } from "../../../lib/peer/channel/silence.ts";
import { CloseCode } from "../../../lib/peer/socket/socket.ts";
import { type Defer, test } from "../../support/test.ts";
import { getFrom, MemoryNetwork, type MemorySocket, type Serve } from "../memory.ts";
import { record, valueOf } from "../support.ts";

const { silentMisses } = PEER_LIMITS;
/** The pace of liveness: it probes a silent peer so often, for so long. */
const PROBE_EVERY_MS = 400;
const PROBE_TIMEOUT_MS = 250;
const never = new AbortController().signal;

const value = valueOf(new Uint8Array(1));

/** `a` has dialed `b`, and has had a reply. */
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

/** Probes once, and moves on to the time of the next probe. @returns whether there was a reply */
async function probed(net: MemoryNetwork, hub: PeerHub, name: string): Promise<boolean> {
  const outcome = hub.link(name)!.probe({ timeoutMs: PROBE_TIMEOUT_MS }).then(() => true, () => false);
  await net.tick();
  await net.clock.advance(PROBE_TIMEOUT_MS);
  await net.tick();
  await net.clock.advance(PROBE_EVERY_MS - PROBE_TIMEOUT_MS);
  await net.tick();
  return await outcome;
}

test("a connection over which nothing comes is given up after many probes, its asks fail, and it is dialed again", async (defer) => {
  const { net, a, b, near } = await pair(defer);
  dropAll(near);
  let failures = 0;
  const asked = getFrom(a.peer("b")!, "dict", "x", { signal: never, timeoutMs: 120_000 });
  const failed = assert.rejects(asked, PeerError).then(() => failures++);
  // The first probe finds that a frame came since the connection was opened.
  for (let i = 0; i < silentMisses; i++) {
    assert.equal(await probed(net, a, "b"), false);
    assert.deepEqual([a.stats()[0]!.state, failures, net.dialed.length], ["open", 0, 1], `after ${i} misses`);
  }
  assert.equal(await probed(net, a, "b"), false);
  assert.equal(near.closedWith?.code, CloseCode.silent);
  await failed;
  assert.equal(failures, 1);
  assert.equal(net.dialed.length, 2);
  assert.deepEqual([a.stats()[0]!.state, a.stats()[0]!.opens], ["open", 2]);
  // The other end has noticed nothing, and replaces the old connection by the new one.
  assert.deepEqual([b.stats()[0]!.state, b.stats()[0]!.opens], ["open", 2]);
  assert.equal(near.other.closedWith?.code, CloseCode.replaced);
  assert.equal(await probed(net, a, "b"), true);
  assert.equal(await probed(net, b, "a"), true);
});

test("the end that does not dial gives up as well, asks fail there at once, and both are open again when the other dials", async (defer) => {
  const { net, a, b, near } = await pair(defer);
  dropAll(near);
  for (let i = 0; i <= silentMisses; i++) assert.equal(await probed(net, b, "a"), false);
  assert.equal(near.other.closedWith?.code, CloseCode.silent);
  assert.equal(b.stats()[0]!.state, "down");
  assert.equal(net.dialed.length, 1);
  await assert.rejects(getFrom(b.peer("a")!, "dict", "x", { signal: never, timeoutMs: 1_000 }), /down/);
  for (let i = 0; i <= silentMisses; i++) assert.equal(await probed(net, a, "b"), false);
  assert.equal(await probed(net, b, "a"), true);
  assert.deepEqual([a.stats()[0]!.opens, b.stats()[0]!.opens, net.dialed.length], [2, 2, 2]);
});

test("both ends may give up in the same moment", async (defer) => {
  const { net, a, b, near } = await pair(defer);
  dropAll(near);
  for (let i = 0; i <= silentMisses; i++) {
    const both = await Promise.all([
      probed(net, a, "b"),
      b.link("a")!.probe({ timeoutMs: PROBE_TIMEOUT_MS }).catch(() => false),
    ]);
    assert.deepEqual(both, [false, false]);
  }
  await net.clock.advance(100);
  await net.tick();
  assert.deepEqual([a.stats()[0]!.state, b.stats()[0]!.state], ["open", "open"]);
  assert.deepEqual([a.stats()[0]!.opens, b.stats()[0]!.opens, net.dialed.length], [2, 2, 2]);
});

test("a connection over which anything comes is not given up, though all its asks are overdue", async (defer) => {
  const { net, a, b, near } = await pair(defer);
  near.isBlackHole = true;
  let answered = 0;
  const asksAt = silentMisses - 1;
  for (let i = 0; i < 5 * silentMisses; i++) {
    // The asks of the other end arrive; the replies to it do not.
    if (i % asksAt === 0) {
      const ask = getFrom(b.peer("a")!, "dict", "x", { signal: never, timeoutMs: 100 });
      const lost = assert.rejects(ask, PeerError);
      await net.tick();
      await net.clock.advance(100);
      await lost;
    }
    // A probe in whose time one comes is answered by it.
    if (await probed(net, a, "b")) answered++;
    assert.equal(near.closedWith, undefined);
  }
  assert.equal(answered, Math.ceil(5 * silentMisses / asksAt));
  assert.equal(a.stats()[0]!.opens, 1);
});

test("without probes, overdue gets tell that a connection is dead", async (defer) => {
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

test("many asks of one moment are one miss, and so are the asks that were overdue while this node stood still", async (defer) => {
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

test("a full socket that drains is slow; one that does not drain is dead", () => {
  const limits = { silentMisses: 3, silentMissMs: 250 };
  const silence = new Silence(limits);
  let nowMs = 0;
  const missed = (bytesOut: number, unsentBytes: number, framesIn = 0) =>
    silence.missed(nowMs += 250, { framesIn, bytesOut, unsentBytes });
  for (let i = 1; i < 20; i++) assert.equal(missed(5_000, 5_000 - 10 * i), false);
  assert.deepEqual([missed(5_000, 4_810), missed(6_000, 5_810), missed(7_000, 6_810)], [false, false, true]);
  // Bytes that the system takes at once show nothing: it has a buffer of its own.
  const other = new Silence(limits);
  const ends = [1, 2, 3].map((i) => other.missed(1_000 * i, { framesIn: 0, bytesOut: 1_000 * i, unsentBytes: 0 }));
  assert.deepEqual(ends, [false, false, true]);
  const brief = new Silence(limits);
  for (let at = 0; at < 500; at += 10) {
    assert.equal(brief.missed(at, { framesIn: 0, bytesOut: 0, unsentBytes: 0 }), false);
  }
  assert.equal(brief.missed(500, { framesIn: 1, bytesOut: 0, unsentBytes: 0 }), false);
});
