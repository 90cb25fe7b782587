/** The event that tells a node when its links have stopped connecting. */
import assert from "node:assert/strict";
import { settle } from "../support/clock.ts";
import { type Defer, test } from "../support/test.ts";
import { type HubOptions, MemoryNetwork } from "./memory.ts";
import { record } from "./support.ts";

/** A hub `m` whose events are noted; `others` list it and are open to it. */
function watched(defer: Defer, options: HubOptions = {}, others: readonly string[] = []) {
  const net = new MemoryNetwork();
  const events: boolean[] = [];
  const hub = net.hub("m", { ...options, onSettled: (isWhole) => events.push(isWhole) });
  defer(() => hub.close());
  const peers = others.map((name) => {
    const peer = net.hub(name);
    defer(() => peer.close());
    peer.setPeers([record("m", "http://m")]);
    return peer;
  });
  const setPeers = (...names: string[]) => hub.setPeers(names.map((name) => record(name, `http://${name}`)));
  return { net, events, hub, peers, setPeers };
}

test("a node without peers has settled after each list of peers, and not within the call", async (defer) => {
  const { events, hub, setPeers } = watched(defer);
  assert.equal(hub.isSettled, false, "no list yet");
  for (let calls = 1; calls <= 3; calls++) {
    setPeers();
    assert.deepEqual([events.length, hub.isSettled], [calls - 1, false]);
    await settle();
    assert.deepEqual([events.length, hub.isSettled], [calls, true]);
  }
  setPeers("m");
  await settle();
  assert.deepEqual(events, [true, true, true, true], "this node alone is no link");
});

test("links settle once when the last one opens, whichever end dials, and not again when a list changes nothing", async (defer) => {
  const { net, events, hub, setPeers } = watched(defer, {}, ["b", "z"]);
  setPeers("b", "z");
  assert.equal(hub.isSettled, false);
  await net.tick();
  assert.deepEqual([events, hub.isSettled], [[true], true]);
  setPeers("b", "z");
  setPeers("z", "b");
  await net.clock.advance(60_000);
  assert.deepEqual(events, [true]);
});

test("a peer that cannot be reached settles as down, and its later connection is no event", async (defer) => {
  const { net, events, hub, setPeers } = watched(defer, {}, ["b"]);
  setPeers("b", "nowhere");
  await net.tick();
  assert.deepEqual(events, [false]);
  const late = net.hub("nowhere");
  defer(() => late.close());
  late.setPeers([record("m", "http://m")]);
  await net.clock.advance(10_000);
  await net.tick();
  assert.ok(hub.stats().every(({ state }) => state === "open"));
  assert.deepEqual(events, [false]);
});

test("a peer that does not dial is given up after a while, and then the links have settled", async (defer) => {
  const { net, events, setPeers } = watched(defer, { limits: { firstOpenMs: 1_000 } }, ["z"]);
  net.hosts.set("b", () => {});
  setPeers("b", "z");
  await net.clock.advance(999);
  assert.deepEqual(events, []);
  await net.clock.advance(1);
  assert.deepEqual(events, [false]);
});

test("a peer that is alive and does not list this node is waited for within a bound", async (defer) => {
  const { net, events, hub, setPeers } = watched(defer, { limits: { unknownMs: 10_000, firstOpenMs: 3_000 } });
  const blind = net.hub("z");
  defer(() => blind.close());
  setPeers("z");
  await net.clock.advance(9_999);
  assert.deepEqual([events, hub.isSettled], [[], false]);
  await net.clock.advance(1);
  assert.deepEqual([events, hub.isSettled], [[false], true]);
  blind.setPeers([record("m", "http://m")]);
  await net.clock.advance(5_000);
  assert.deepEqual(events, [false]);
});

test("once a peer has welcomed this node, one that lives and does not list it is waited for for 2 s only", async (defer) => {
  const { net, events, hub, setPeers } = watched(defer, { limits: { firstOpenMs: 3_000 } }, ["b"]);
  const blind = net.hub("z");
  defer(() => blind.close());
  setPeers("z");
  await net.clock.advance(4_000);
  assert.deepEqual([events, hub.isSettled], [[], false], "nobody has welcomed it yet: NATS may be slow for all");
  setPeers("b", "z");
  await net.clock.advance(1_999);
  assert.deepEqual([events, hub.isSettled], [[], false]);
  await net.clock.advance(1);
  assert.deepEqual([events, hub.isSettled], [[false], true]);
  assert.equal(hub.stats().find(({ name }) => name === "z")!.state, "down");
  const later = net.hub("zz");
  defer(() => later.close());
  setPeers("b", "z", "zz");
  await net.clock.advance(2_999);
  assert.deepEqual([events, hub.isSettled], [[false], false], "a new peer has the time of every new peer");
  await net.clock.advance(1);
  assert.deepEqual([events, hub.isSettled], [[false, false], true]);
  blind.setPeers([record("m", "http://m")]);
  await net.clock.advance(5_000);
  assert.equal(hub.stats().find(({ name }) => name === "z")!.state, "open", "it is dialed on");
});

test("a new peer makes the hub connect again, and its end is one more event", async (defer) => {
  const { net, events, hub, setPeers } = watched(defer, {}, ["b", "z"]);
  setPeers("b");
  await net.tick();
  setPeers("b", "z");
  assert.equal(hub.isSettled, false);
  await net.tick();
  assert.deepEqual([events, hub.isSettled], [[true, true], true]);
  net.dialed[0]!.lose("cable cut");
  await net.clock.advance(5_000);
  assert.deepEqual(events, [true, true], "a lost connection is not a new peer");
  setPeers("b", "z", "nonsense:");
  await net.tick();
  assert.deepEqual(events, [true, true, false], "also one that fails within the call");
});

test("the last peer that was connecting may leave the list instead", async (defer) => {
  const { net, events, setPeers } = watched(defer, {}, ["b"]);
  net.hosts.set("c", () => {});
  setPeers("b", "c");
  await net.tick();
  assert.deepEqual(events, []);
  setPeers("b");
  assert.deepEqual(events, []);
  await net.tick();
  assert.deepEqual(events, [true]);
});

test("a hub that closes or drains tells of nothing more, and leaves no timer behind", async (defer) => {
  for (const end of ["close", "drain"] as const) {
    const { net, events, hub, setPeers } = watched(defer, { limits: { firstOpenMs: 3_000 } });
    const blind = net.hub("z");
    setPeers("z");
    await net.clock.advance(4_000);
    setPeers();
    void hub[end]();
    blind.close();
    await net.clock.advance(60_000);
    assert.deepEqual(events, []);
    hub.close();
    assert.equal(net.clock.pending, 0);
  }
});
