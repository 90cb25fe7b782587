/** Invalidates: a node tells its peers that what they hold under a key is no longer good. */
import assert from "node:assert/strict";
import { NotFoundError, OverloadedError, PeerError } from "../../lib/core/errors.ts";
import type { Value } from "../../lib/core/value.ts";
import { MAX_CACHE_KEY_BYTES } from "../../lib/peer/wire/frames.ts";
import type { PeerHub } from "../../lib/peer/hub.ts";
import type { PeerService } from "../../lib/peer/service.ts";
import { MemoryLog } from "../support/log.ts";
import { type Defer, test } from "../support/test.ts";
import { getFrom, type HubOptions, MemoryNetwork } from "./memory.ts";
import { record, valueOf } from "./support.ts";

const never = new AbortController().signal;
const patient = { signal: never, timeoutMs: 1_000 };

const bodyOf = (value: Value) => new TextDecoder().decode(value.body);
const namesOf = (hub: PeerHub, group: string) => hub.peersOf(group).map(({ name }) => name);

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

test("an invalidate reaches the peer with its group and key, and its promise resolves after the peer has acted", async (defer) => {
  const events: string[] = [];
  const { net, a, b } = pair(
    defer,
    { invalidate: (group, key) => void events.push(`${group} ${key}`) },
    { groups: ["dict", "wn"] },
  );
  await net.tick();
  const longest = "ü".repeat(MAX_CACHE_KEY_BYTES / 2);
  const told = Promise.all([
    a.peer("b")!.invalidate("dict", "x", patient).then(() => events.push("resolved")),
    a.peer("b")!.invalidate("wn", longest, patient),
  ]);
  assert.deepEqual(events, []);
  await net.tick();
  await told;
  assert.deepEqual(events, ["dict x", `wn ${longest}`, "resolved"]);
  assert.equal(a.stats()[0]!.asked, 0, "it is no question for a value");
  assert.equal(a.stats()[0]!.asksInFlight, 0);
  const back = b.peer("a")!.invalidate("dict", "x", patient);
  await net.tick();
  assert.equal(await back, undefined, "a node without the service holds nothing: it says that it is done");
});

test("in one frame a get ahead of an invalidate finds the old value, and a get behind it does not", async (defer) => {
  const held = new Map([["x", valueOf("old")]]);
  const { net, a } = pair(defer, {
    lookup: (_, key) => held.get(key),
    invalidate: (_, key) => void held.delete(key),
  });
  await net.tick();
  const peer = a.peer("b")!;
  const frames = net.dialed[0]!.frames.length;
  const before = getFrom(peer, "dict", "x", patient);
  const told = peer.invalidate("dict", "x", patient);
  const after = getFrom(peer, "dict", "x", patient);
  await net.tick();
  assert.equal(net.dialed[0]!.frames.length, frames + 1);
  assert.deepEqual([await before, await after].map(bodyOf), ["old", "loaded"]);
  await told;
});

test("an invalidate stays ahead of the gets that follow it behind a full socket", async (defer) => {
  const held = new Map([["x", valueOf("old")]]);
  const service = {
    lookup: (_: string, key: string) => held.get(key),
    push: () => 1,
    invalidate: (_: string, key: string) => void held.delete(key),
  };
  const { net, a } = pair(defer, service, { limits: { socketBytes: 10_000, batchBytes: 1_000 } });
  await net.tick();
  const peer = a.peer("b")!;
  const near = net.dialed[0]!;
  near.stalled = true;
  const push = peer.push("dict", [{ key: "y", value: valueOf(new Uint8Array(12_000)) }], patient);
  const told = peer.invalidate("dict", "x", patient);
  const got = getFrom(peer, "dict", "x", patient);
  await net.tick();
  assert.equal(held.size, 1, "the socket is full");
  near.deliver();
  await net.clock.advance(10);
  await net.tick();
  assert.equal(bodyOf(await got), "loaded");
  assert.deepEqual([await push, await told], [1, undefined]);
});

test("an invalidate that the peer fails, of a group that one end does not have, or of no key, is rejected", async (defer) => {
  const log = new MemoryLog();
  const net = new MemoryNetwork();
  const errors: Record<string, Error> = { bug: new TypeError("broken"), final: new NotFoundError("final") };
  const a = net.hub("a", { groups: ["dict", "other"] });
  const b = net.hub("b", {
    log,
    service: {
      get: () => assert.fail("nothing is to be loaded"),
      invalidate: (_, key) => {
        throw errors[key];
      },
    },
  });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  await net.tick();
  const peer = a.peer("b")!;
  const rejected = [
    assert.rejects(peer.invalidate("dict", "bug", patient), PeerError),
    assert.rejects(peer.invalidate("dict", "final", patient), PeerError),
    assert.rejects(peer.invalidate("other", "x", patient), /does not serve group other/),
    assert.rejects(peer.invalidate("other", "x", patient), PeerError),
    assert.rejects(peer.invalidate("nobody's", "x", patient), PeerError),
    assert.rejects(peer.invalidate("dict", "", patient), { name: "BadKeyError" }),
    assert.rejects(peer.invalidate("dict", "x".repeat(MAX_CACHE_KEY_BYTES + 1), patient), { name: "BadKeyError" }),
  ];
  await net.tick();
  await Promise.all(rejected);
  assert.equal(log.lines.filter((line) => line.startsWith("error") && line.includes("broken")).length, 1);
  assert.deepEqual([a.stats()[0]!.state, a.stats()[0]!.asksInFlight], ["open", 0]);
});

test("an invalidate fails at its time when the peer is silent, and its late reply is ignored", async (defer) => {
  const reached: string[] = [];
  const { net, a } = pair(defer, { invalidate: (_, key) => void reached.push(key) });
  await net.tick();
  const near = net.dialed[0]!;
  near.stalled = true;
  let ended = false;
  const overdue = assert.rejects(a.peer("b")!.invalidate("dict", "x", patient), /did not answer in time/)
    .then(() => ended = true);
  await net.tick();
  await net.clock.advance(999);
  assert.equal(ended, false);
  await net.clock.advance(1);
  await overdue;
  const frames = near.frames.length;
  await net.tick();
  assert.equal(near.frames.length, frames, "no cancel: it would spare the peer nothing");
  near.deliver();
  await net.tick();
  assert.deepEqual(reached, ["x"]);
  const next = a.peer("b")!.invalidate("dict", "y", patient);
  await net.tick();
  await next;
});

test("an invalidate that is aborted is rejected with the signal's reason, before and after it was sent", async (defer) => {
  const { net, a } = pair(defer);
  await net.tick();
  const leaver = new AbortController();
  const left = assert.rejects(a.peer("b")!.invalidate("dict", "x", { ...patient, signal: leaver.signal }), /bored/);
  leaver.abort(new Error("bored"));
  await left;
  const frames = net.dialed[0]!.frames.length;
  const late = assert.rejects(a.peer("b")!.invalidate("dict", "x", { ...patient, signal: leaver.signal }), /bored/);
  await late;
  await net.tick();
  assert.equal(net.dialed[0]!.frames.length, frames + 1, "only the first one was sent");
  assert.equal(a.stats()[0]!.asksInFlight, 0);
});

test("an invalidate fails at once with the connection, and on a link that is down; it waits for one that is new", async (defer) => {
  const reached: string[] = [];
  const { net, a } = pair(defer, { invalidate: (_, key) => void reached.push(key) });
  const early = a.peer("b")!.invalidate("dict", "early", patient);
  await net.tick();
  await early;
  const near = net.dialed[0]!;
  near.isBlackHole = true;
  const lost = assert.rejects(a.peer("b")!.invalidate("dict", "lost", patient), /b was lost: .*cable cut/);
  await net.tick();
  near.lose("cable cut");
  await lost;
  await assert.rejects(a.peer("b")!.invalidate("dict", "down", patient), /b is down: .*cable cut/);
  assert.deepEqual(reached, ["early"]);
});

test("invalidates are bounded together with gets and peeks, so that probes and pushes go on", async (defer) => {
  const { net, a } = pair(defer, { push: () => 1 }, { limits: { asksInFlight: 2, membershipInFlight: 1 } });
  await net.tick();
  const peer = a.peer("b")!;
  const told = [1, 2].map((key) => peer.invalidate("dict", `${key}`, patient));
  await assert.rejects(peer.invalidate("dict", "3", patient), PeerError);
  await assert.rejects(getFrom(peer, "dict", "x", patient), OverloadedError);
  const push = peer.push("dict", [{ key: "x", value: valueOf("1") }], patient);
  await net.tick();
  await Promise.all(told);
  assert.equal(await push, 1);
  const again = peer.invalidate("dict", "3", patient);
  await net.tick();
  await again;
});

test("the peers of a group are those that are connected now and have announced it", async (defer) => {
  const net = new MemoryNetwork();
  const hubs = { a: ["dict", "wn"], b: ["dict"], c: ["wn"], d: ["dict", "wn"] };
  const [a, b, c, d] = Object.entries(hubs).map(([name, groups]) => net.hub(name, { groups }));
  const names = Object.keys(hubs);
  for (const hub of [a, b, c, d]) {
    defer(() => hub!.close());
    // `e` is listed and cannot be reached.
    hub!.setPeers([...names, "e"].map((name) => record(name, `http://${name}`)));
  }
  assert.deepEqual(namesOf(a!, "dict"), [], "no link is open yet");
  await net.tick();
  assert.deepEqual(namesOf(a!, "dict"), ["b", "d"]);
  assert.deepEqual(namesOf(d!, "wn"), ["a", "c"]);
  assert.deepEqual(namesOf(a!, "none"), []);
  c!.addGroup("dict");
  d!.removeGroup("dict");
  await net.tick();
  assert.deepEqual(namesOf(a!, "dict"), ["b", "c"]);
  // The first dial was that of `a` to `b`.
  net.dialed[0]!.lose("cable cut");
  assert.deepEqual(namesOf(a!, "dict"), ["c"]);
  await net.clock.advance(50);
  await net.tick();
  assert.deepEqual(namesOf(a!, "dict"), ["b", "c"]);
  a!.setPeers(["a", "c"].map((name) => record(name, `http://${name}`)));
  assert.deepEqual(namesOf(a!, "dict"), ["c"]);
});
