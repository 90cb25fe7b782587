/** Catch-ups and announcements: what nodes tell each other of how far along the log of invalidations they are. */
import assert from "node:assert/strict";
import { BadKeyError, BehindError, OverloadedError, PeerError } from "../../lib/core/errors.ts";
import { BLIND, type Label } from "../../lib/core/invalidation/label.ts";
import type { AskOptions } from "../../lib/core/ports.ts";
import type { Value } from "../../lib/core/value.ts";
import { FrameWriter } from "../../lib/peer/wire/writer.ts";
import type { PeerHub } from "../../lib/peer/hub.ts";
import type { PeerService } from "../../lib/peer/service.ts";
import { MemoryLog } from "../support/log.ts";
import { type Defer, test } from "../support/test.ts";
import { getFrom, type HubOptions, MemoryNetwork } from "./memory.ts";
import { record, valueOf } from "./support.ts";

/** A catch-up that the test replies to by hand. */
interface Pending extends AskOptions {
  readonly label: Label;
  readonly resolve: (label: Label) => void;
  readonly reject: (error: unknown) => void;
}

const EPOCH = 1_700_000_000_000_000;
const never = new AbortController().signal;
const patient = { signal: never, timeoutMs: 1_000 };

const at = (sequence: number, epoch = EPOCH): Label => ({ epoch, sequence });
const bodyOf = (value: Value) => new TextDecoder().decode(value.body);
const appliedOf = (hub: PeerHub) => Object.fromEntries(hub.applied());
const statsOf = (hub: PeerHub) => hub.stats()[0]!;

/** Two hubs that list each other, `b` with the service of the test. The dial is not delivered yet. */
function pair(defer: Defer, service: Partial<PeerService> = {}, options: HubOptions = {}) {
  const net = new MemoryNetwork();
  const a = net.hub("a", options);
  const b = net.hub("b", {
    ...options,
    service: { get: (_group, _key, ask) => ask.resolve(valueOf("loaded")), ...service },
  });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  return { net, a, b };
}

/** As `pair`; the test replies by hand to the catch-ups that reach `b`. */
function byHand(defer: Defer, options: HubOptions = {}, service: Partial<PeerService> = {}) {
  const pending: Pending[] = [];
  const catchUp = (label: Label, { signal, timeoutMs }: AskOptions) =>
    new Promise<Label>((resolve, reject) => pending.push({ label, signal, timeoutMs, resolve, reject }));
  return { ...pair(defer, { catchUp, ...service }, options), pending };
}

test("a catch-up reaches the peer with its label and time, and resolves to where the peer says that it is", async (defer) => {
  const { net, a, pending } = byHand(defer);
  await net.tick();
  const peer = a.peer("b")!;
  const [near, far] = [peer.catchUp(at(7), patient), peer.catchUp(at(2 ** 53 - 1), { ...patient, timeoutMs: 4_000 })];
  await net.tick();
  assert.deepEqual(pending.map(({ label }) => label), [at(7), at(2 ** 53 - 1)]);
  assert.deepEqual(pending.map(({ timeoutMs }) => timeoutMs), [900, 3_750], "a part is kept for the way back");
  // Replies come in any order.
  pending[1]!.resolve(at(9));
  await net.tick();
  assert.deepEqual(await far, at(9), "short of what was asked for");
  assert.equal(statsOf(a).asksInFlight, 1);
  pending[0]!.resolve(at(8));
  await net.tick();
  assert.deepEqual(await near, at(8));
  assert.deepEqual([statsOf(a).asked, statsOf(a).asksInFlight], [0, 0], "it is no question for a value");
});

test("a node without the service has applied nothing: it says so at once", async (defer) => {
  const { net, a, b } = pair(defer);
  await net.tick();
  const told = b.peer("a")!.catchUp(at(7), patient);
  await net.tick();
  assert.equal(await told, BLIND);
  const back = a.peer("b")!.catchUp(at(7), patient);
  await net.tick();
  assert.equal(await back, BLIND);
});

test("in one frame gets and catch-ups are taken in their order, and a get does not wait for the catch-up before it", async (defer) => {
  const order: string[] = [];
  const { net, a, pending } = byHand(defer, {}, {
    lookup: (_, key, __, after) => {
      order.push(`${key} after ${after.sequence}, with ${pending.length} catch-ups`);
      return valueOf(key);
    },
  });
  await net.tick();
  const peer = a.peer("b")!;
  const frames = net.dialed[0]!.frames.length;
  const before = getFrom(peer, "dict", "x", { ...patient, after: at(6) });
  const told = peer.catchUp(at(7), patient);
  const after = getFrom(peer, "dict", "y", { ...patient, after: at(7) });
  await net.tick();
  assert.equal(net.dialed[0]!.frames.length, frames + 1);
  assert.deepEqual([await before, await after].map(bodyOf), ["x", "y"]);
  assert.deepEqual(order, ["x after 6, with 0 catch-ups", "y after 7, with 1 catch-ups"]);
  pending[0]!.resolve(at(7));
  await net.tick();
  assert.deepEqual(await told, at(7));
});

test("a peer that is behind a get and cannot catch up says so, and the link stays", async (defer) => {
  const { net, a } = pair(defer, { get: (_, __, ask) => ask.reject(new BehindError(`behind ${ask.after.sequence}`)) });
  await net.tick();
  const got = getFrom(a.peer("b")!, "dict", "x", { ...patient, after: at(7) });
  const refused = assert.rejects(got, (error) => error instanceof BehindError && /behind 7/.test(error.message));
  await net.tick();
  await refused;
  assert.equal(statsOf(a).state, "open");
});

test("a catch-up that the service fails is rejected with a PeerError, whatever the error", async (defer) => {
  const log = new MemoryLog();
  const errors = [
    new PeerError("cannot tell"),
    new BadKeyError("odd"),
    new TypeError("secret"),
    new TypeError("late secret"),
  ];
  const { net, a, b } = pair(defer, {
    catchUp({ sequence }) {
      if (sequence === 2) throw errors[sequence];
      return Promise.reject(errors[sequence]);
    },
  }, { log });
  await net.tick();
  const told = errors.map((_, i) => assert.rejects(a.peer("b")!.catchUp(at(i), patient), PeerError));
  await net.tick();
  await Promise.all(told);
  assert.equal(log.lines.filter((line) => line.startsWith("error") && line.includes("secret")).length, 2);
  assert.deepEqual([statsOf(a).state, statsOf(a).asksInFlight, statsOf(b).servedInFlight], ["open", 0, 0]);
});

test("a reply that no frame can hold is a defect of the service: its asker falls back, and the link stays", async (defer) => {
  const log = new MemoryLog();
  const { net, a } = pair(defer, { catchUp: () => Promise.resolve(at(-1)) }, { log });
  await net.tick();
  const told = assert.rejects(a.peer("b")!.catchUp(at(7), patient), PeerError);
  await net.tick();
  await told;
  assert.equal(log.lines.filter((line) => line.startsWith("error") && line.includes("must be whole")).length, 1);
  await assert.rejects(a.peer("b")!.catchUp(at(0.5), patient), RangeError);
  await assert.rejects(getFrom(a.peer("b")!, "dict", "x", { ...patient, after: at(NaN) }), RangeError);
  const request = { fields: [] };
  await assert.rejects(getFrom(a.peer("b")!, "dict", "x", { ...patient, after: at(NaN), request }), RangeError);
  assert.throws(() => a.announceApplied(at(-1)), RangeError);
  await net.tick();
  assert.deepEqual([statsOf(a).state, statsOf(a).asksInFlight], ["open", 0]);
});

test("a service may reply up to the end of its time; only beyond it does the channel fail the ask in its place", async (defer) => {
  const { net, a, b, pending } = byHand(defer);
  await net.tick();
  const inTime = a.peer("b")!.catchUp(at(7), patient);
  const late = a.peer("b")!.catchUp(at(8), patient);
  await net.tick();
  let failed = false;
  const refused = assert.rejects(late, /b: cannot tell in time/).then(() => failed = true);
  net.clock.after(pending[0]!.timeoutMs, () => pending[0]!.resolve(at(3)));
  await net.clock.advance(900);
  await net.tick();
  assert.deepEqual(await inTime, at(3));
  assert.deepEqual([failed, pending[1]!.signal.aborted], [false, false]);
  await net.clock.advance(44);
  await net.tick();
  assert.equal(failed, false);
  await net.clock.advance(1);
  await net.tick();
  await refused;
  assert.equal(pending[1]!.signal.aborted, true);
  assert.deepEqual([statsOf(a).asksInFlight, statsOf(b).servedInFlight], [0, 0]);
  pending[1]!.resolve(at(8));
  await net.tick();
  assert.deepEqual(appliedOf(a), { b: at(3) }, "the late reply is dropped");
});

test("a peer works on a catch-up for 10 seconds at most, whatever the asker says", async (defer) => {
  const { net, a, pending } = byHand(defer);
  await net.tick();
  const refused = assert.rejects(a.peer("b")!.catchUp(at(7), { ...patient, timeoutMs: 1e9 }), /cannot tell in time/);
  await net.tick();
  assert.equal(pending[0]!.timeoutMs, 10_000);
  await net.clock.advance(10_500);
  await net.tick();
  await refused;
});

test("a catch-up fails at its time when the peer is silent, tells the peer so, and its late reply counts as an announcement", async (defer) => {
  const { net, a, pending } = byHand(defer);
  await net.tick();
  const far = net.dialed[0]!.other;
  far.stalled = true;
  let ended = false;
  const overdue = assert.rejects(a.peer("b")!.catchUp(at(7), patient), /did not answer in time/).then(() =>
    ended = true
  );
  await net.tick();
  pending[0]!.resolve(at(7));
  await net.clock.advance(999);
  assert.equal(ended, false);
  await net.clock.advance(1);
  await overdue;
  assert.deepEqual(appliedOf(a), {});
  far.deliver();
  await net.tick();
  assert.deepEqual(appliedOf(a), { b: at(7) });
  assert.deepEqual([statsOf(a).state, statsOf(a).asksInFlight], ["open", 0]);
});

test("a catch-up that is aborted is rejected with the signal's reason, and its work at the peer is aborted", async (defer) => {
  const { net, a, b, pending } = byHand(defer);
  await net.tick();
  const leaver = new AbortController();
  const bored = { ...patient, signal: leaver.signal };
  const left = assert.rejects(a.peer("b")!.catchUp(at(7), bored), /bored/);
  await net.tick();
  assert.equal(pending[0]!.signal.aborted, false);
  leaver.abort(new Error("bored"));
  await left;
  await net.tick();
  assert.equal(pending[0]!.signal.aborted, true);
  const frames = net.dialed[0]!.frames.length;
  await assert.rejects(a.peer("b")!.catchUp(at(7), bored), /bored/);
  await net.tick();
  assert.equal(net.dialed[0]!.frames.length, frames, "the second one was not sent");
  pending[0]!.resolve(at(7));
  await net.tick();
  assert.deepEqual([statsOf(a).asksInFlight, statsOf(b).servedInFlight], [0, 0]);
  assert.deepEqual(appliedOf(a), {}, "no reply follows a cancel");
});

test("a catch-up fails at once with the connection, and on a link that is down; it waits for one that is new", async (defer) => {
  const { net, a, pending } = byHand(defer);
  const early = a.peer("b")!.catchUp(at(1), patient);
  const impatient = a.peer("b")!.catchUp(at(2), { ...patient, timeoutMs: 100 });
  await net.tick();
  for (const { label, resolve } of pending) resolve(label);
  await net.tick();
  assert.deepEqual([await early, await impatient], [at(1), at(2)]);
  const lost = assert.rejects(a.peer("b")!.catchUp(at(3), patient), /b was lost: .*cable cut/);
  await net.tick();
  const near = net.dialed[0]!;
  near.other.lose("cable cut");
  near.lose("cable cut");
  await lost;
  assert.equal(pending[2]!.signal.aborted, true);
  await assert.rejects(a.peer("b")!.catchUp(at(4), patient), /b is down: .*cable cut/);
  // The work for the lost connection ends after all; the new one is not told.
  await net.clock.advance(50);
  await net.tick();
  pending[2]!.resolve(at(3));
  await net.tick();
  assert.deepEqual([statsOf(a).opens, appliedOf(a)], [2, {}]);
});

test("catch-ups are bounded together with gets and peeks, so that probes and pushes go on", async (defer) => {
  const limits = { asksInFlight: 2, membershipInFlight: 1 };
  const { net, a, pending } = byHand(defer, { limits }, { push: () => 1 });
  await net.tick();
  const peer = a.peer("b")!;
  const told = [1, 2].map((sequence) => peer.catchUp(at(sequence), patient));
  await assert.rejects(peer.catchUp(at(3), patient), PeerError);
  await assert.rejects(getFrom(peer, "dict", "x", patient), OverloadedError);
  const push = peer.push("dict", [{ key: "x", value: valueOf("1") }], patient);
  await net.tick();
  assert.equal(await push, 1);
  for (const { label, resolve } of pending) resolve(label);
  await net.tick();
  await Promise.all(told);
  const again = peer.catchUp(at(3), patient);
  await net.tick();
  pending[2]!.resolve(at(3));
  await net.tick();
  assert.deepEqual(await again, at(3));
});

test("a peer works on 64 catch-ups at a time, abandoned ones included, and refuses more", async (defer) => {
  const { net, a, pending } = byHand(defer);
  await net.tick();
  const peer = a.peer("b")!;
  const leaver = new AbortController();
  const told = Array.from({ length: 63 }, (_, i) => peer.catchUp(at(i), patient));
  const left = assert.rejects(peer.catchUp(at(63), { ...patient, signal: leaver.signal }), /bored/);
  const refused = assert.rejects(peer.catchUp(at(64), patient), /b: catches up for 64 asks already/);
  await net.tick();
  await refused;
  leaver.abort(new Error("bored"));
  await left;
  const stillRefused = assert.rejects(peer.catchUp(at(65), patient), /b: catches up for 64 asks already/);
  await net.tick();
  await stillRefused;
  pending[63]!.reject(new DOMException("aborted", "AbortError"));
  await net.tick();
  const taken = peer.catchUp(at(66), patient);
  // A get is no catch-up.
  const got = getFrom(peer, "dict", "x", patient);
  await net.tick();
  for (const { label, resolve } of pending) resolve(label);
  await net.tick();
  assert.deepEqual(await taken, at(66));
  assert.equal(bodyOf(await got), "loaded");
  assert.equal((await Promise.all(told)).length, 63);
  assert.equal(pending.length, 65);
});

test("two catch-ups under one id are a breach", async (defer) => {
  const { net, a, b, pending } = byHand(defer);
  await net.tick();
  const told = assert.rejects(a.peer("b")!.catchUp(at(1), patient), PeerError);
  await net.tick();
  const writer = new FrameWriter();
  writer.catchUp(1, 1_000, at(2));
  net.dialed[0]!.send(writer.take());
  await net.tick();
  await told;
  assert.match(net.dialed[0]!.other.closedWith!.reason, /malformed catchUp: the id is in flight/);
  assert.equal(pending.length, 1);
  assert.equal(statsOf(b).state, "down");
});

test("a node that drains replies to the catch-ups in flight before its links close", async (defer) => {
  const { net, a, b, pending } = byHand(defer);
  await net.tick();
  const told = a.peer("b")!.catchUp(at(7), patient);
  await net.tick();
  let drained = false;
  const drain = b.drain().then(() => drained = true);
  await net.tick();
  assert.equal(drained, false);
  pending[0]!.resolve(at(7));
  await net.tick();
  await drain;
  assert.deepEqual(await told, at(7));
});

test("an announcement reaches all connected peers, and each that connects later; the same again is not sent", async (defer) => {
  const net = new MemoryNetwork();
  const names = ["a", "b", "c"];
  const [a, b, c] = names.map((name) => net.hub(name));
  for (const hub of [a, b, c]) defer(() => hub!.close());
  const list = (hub: PeerHub, listed: string[]) => hub.setPeers(listed.map((name) => record(name, `http://${name}`)));
  list(a!, ["a", "b"]);
  list(b!, ["a", "b", "c"]);
  await net.tick();
  assert.deepEqual([appliedOf(a!), appliedOf(b!)], [{}, {}], "nothing was announced yet");
  b!.announceApplied(at(0));
  a!.announceApplied(at(5));
  a!.announceApplied(at(6));
  await net.tick();
  assert.deepEqual([appliedOf(a!), appliedOf(b!)], [{ b: at(0) }, { a: at(6) }]);
  const frames = net.dialed[0]!.frames.length;
  a!.announceApplied(at(6));
  await net.tick();
  assert.equal(net.dialed[0]!.frames.length, frames);
  list(a!, names);
  list(c!, names);
  await net.tick();
  assert.deepEqual(appliedOf(c!), { a: at(6), b: at(0) }, "each is told as it connects");
  assert.deepEqual(appliedOf(a!), { b: at(0) }, "c has announced nothing");
  list(a!, ["a", "c"]);
  assert.deepEqual(appliedOf(a!), {});
});

test("a peer's announcement ends with its connection, and comes again with the next one", async (defer) => {
  const { net, a, b } = pair(defer);
  await net.tick();
  b.announceApplied(at(5));
  await net.tick();
  assert.deepEqual(appliedOf(a), { b: at(5) });
  net.dialed[0]!.lose("cable cut");
  assert.deepEqual(appliedOf(a), {}, "a link that is down has told nothing");
  b.announceApplied(at(6));
  await net.clock.advance(50);
  await net.tick();
  assert.deepEqual(appliedOf(a), { b: at(6) });
  assert.equal(statsOf(a).opens, 2);
});

test("the last announcement counts, also from a new log with a smaller epoch; a reply only moves forward", async (defer) => {
  const { net, a, b, pending } = byHand(defer);
  await net.tick();
  /** Where `a` takes the peer to be, after a reply. */
  const afterReply = async (label: Label) => {
    const told = a.peer("b")!.catchUp(at(1), patient);
    await net.tick();
    pending.pop()!.resolve(label);
    await net.tick();
    assert.deepEqual(await told, label);
    return a.applied().get("b");
  };
  const afterNews = async (label: Label) => {
    b.announceApplied(label);
    await net.tick();
    return a.applied().get("b");
  };
  assert.deepEqual(await afterReply(at(3)), at(3));
  assert.deepEqual(await afterReply(at(2)), at(3), "it was made before");
  assert.deepEqual(await afterNews(at(5)), at(5));
  assert.deepEqual(await afterReply(at(4)), at(5));
  assert.deepEqual(await afterReply(at(9, EPOCH - 1)), at(5));
  assert.deepEqual(await afterReply(at(1, EPOCH + 1)), at(1, EPOCH + 1));
  assert.deepEqual(await afterNews(at(2, EPOCH - 2)), at(2, EPOCH - 2));
});

test("when the connection closes in the middle of a frame, a later announcement in it is ignored", async (defer) => {
  const { net, a, b } = pair(defer, { lookup: () => void b.setPeers([]) });
  await net.tick();
  const link = b.link("a") as unknown as { channel: { applied: Label | undefined } };
  const { channel } = link;
  const got = assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), PeerError);
  a.announceApplied(at(5));
  await net.tick();
  await got;
  assert.equal(channel.applied, undefined);
});
