/** Groups that come and go while nodes are connected. */
import assert from "node:assert/strict";
import { BLIND } from "../../lib/core/invalidation/label.ts";
import { PeerError } from "../../lib/core/errors.ts";
import type { Ask } from "../../lib/core/ports.ts";
import type { Value } from "../../lib/core/value.ts";
import type { PeerHub } from "../../lib/peer/hub.ts";
import type { Link } from "../../lib/peer/link.ts";
import {
  FailureCode,
  MAX_GROUP_ID,
  MAX_GROUPS,
  MessageType,
  PROTOCOL,
  type ReplyVisitor,
} from "../../lib/peer/wire/frames.ts";
import { readAnswer } from "../../lib/peer/wire/greeting.ts";
import { readFrame } from "../../lib/peer/wire/reader.ts";
import { FrameWriter } from "../../lib/peer/wire/writer.ts";
import { type Defer, test } from "../support/test.ts";
import { getFrom, type HubOptions, MemoryNetwork, type MemorySocket, socketPair } from "./memory.ts";
import { record, valueOf } from "./support.ts";

const patient = { signal: new AbortController().signal, timeoutMs: 60_000 };

const text = (body: string) => valueOf(body);
const bodyOf = (value: Value) => new TextDecoder().decode(value.body);
const channelOf = (hub: PeerHub, name: string) => (hub.link(name) as Link).channel!;
const opensOf = (hub: PeerHub) => hub.stats()[0]!.opens;

/** Two hubs that list each other and reply to a get with its group and key. The dial is not delivered yet. */
function pair(defer: Defer, options: HubOptions = {}, optionsOfA: HubOptions = {}) {
  const net = new MemoryNetwork();
  const serve = (group: string, key: string) => text(`${group} ${key}`);
  const a = net.hub("a", { serve, ...options, ...optionsOfA });
  const b = net.hub("b", { serve, ...options });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  const get = async (from: PeerHub, peer: string, group: string, key: string) => {
    const got = getFrom(from.peer(peer)!, group, key, patient).then(bodyOf);
    got.catch(() => {});
    await net.tick();
    return await got;
  };
  return { net, a, b, get };
}

test("a group that is added at both ends can be asked for in both directions, over the connection that is open", async (defer) => {
  const { net, a, b, get } = pair(defer);
  await net.tick();
  for (const [first, second] of [[a, b], [b, a]] as const) {
    const group = first === a ? "wn" : "gcide";
    first.addGroup(group);
    await net.tick();
    second.addGroup(group);
    await net.tick();
    assert.equal(await get(a, "b", group, "x"), `${group} x`);
    assert.equal(await get(b, "a", group, "y"), `${group} y`);
  }
  assert.equal(await get(a, "b", "dict", "x"), "dict x");
  assert.deepEqual([opensOf(a), opensOf(b)], [1, 1]);
});

test("an ask may follow the announcement of its group in the same frame", async (defer) => {
  const { net, a, b, get } = pair(defer);
  await net.tick();
  b.addGroup("wn");
  a.addGroup("wn");
  assert.equal(await get(a, "b", "wn", "x"), "wn x");
  assert.equal(net.dialed[0]!.frames.length, 2, "a hello, and the announcement with the ask");
});

test("a group that only one end has is refused by a reply, and the connection lives on", async (defer) => {
  const { net, a, b, get } = pair(defer);
  await net.tick();
  a.addGroup("wn");
  await assert.rejects(
    get(a, "b", "wn", "x"),
    (error: Error) => error instanceof PeerError && /does not serve group wn/.test(error.message),
  );
  await assert.rejects(get(b, "a", "wn", "x"), PeerError, "this node does not have it itself");
  b.addGroup("wn");
  assert.equal(await get(a, "b", "wn", "x"), "wn x");
  b.removeGroup("wn");
  await assert.rejects(get(a, "b", "wn", "x"), PeerError);
  assert.deepEqual([opensOf(a), opensOf(b)], [1, 1]);
});

test("a group that is added again is a new group, and does not count as empty because the former did", async (defer) => {
  const empty = new Set(["dict", "wn"]);
  const { net, a, b } = pair(defer, { isEmpty: (group) => empty.has(group) });
  await net.tick();
  const openedMs = net.clock.nowMs();
  await net.clock.advance(1_000);
  a.addGroup("wn");
  b.addGroup("gcide");
  await net.tick();
  const addedMs = net.clock.nowMs();
  await net.clock.advance(1_000);
  const emptyAtMs = (hub: PeerHub, peer: string, group: string) => hub.peer(peer)!.emptyAtMs!(group);
  assert.equal(emptyAtMs(b, "a", "dict"), openedMs);
  assert.equal(emptyAtMs(b, "a", "wn"), addedMs);
  assert.equal(emptyAtMs(a, "b", "gcide"), undefined, "it has something");
  a.removeGroup("wn");
  await net.tick();
  assert.equal(emptyAtMs(b, "a", "wn"), undefined, "it does not have the group");
  empty.clear();
  a.addGroup("wn");
  await net.tick();
  assert.equal(emptyAtMs(b, "a", "wn"), undefined);
});

test("changes between a hello and its welcome reach the peer, also a group that was removed and added again", async (defer) => {
  const empty = new Set(["dict", "wn"]);
  const net = new MemoryNetwork();
  const serve = (group: string, key: string) => text(`${group} ${key}`);
  const groups = ["dict", "wn", "gcide"];
  const a = net.hub("a", { groups, serve, isEmpty: (group) => empty.has(group) });
  const b = net.hub("b", { groups: [...groups, "jargon"], serve });
  defer(() => a.close());
  defer(() => b.close());
  b.setPeers([record("a", "http://a")]);
  a.setPeers([record("b", "http://b")]);
  net.dialed[0]!.stalled = true;
  await net.tick();
  assert.equal(net.dialed[0]!.frames.length, 1, "the hello is on its way");
  empty.clear();
  a.removeGroup("wn");
  a.addGroup("wn");
  a.removeGroup("gcide");
  a.addGroup("jargon");
  net.dialed[0]!.deliver();
  await net.tick();
  assert.deepEqual(channelOf(b, "a").groups, { own: 4, remote: 3 });
  assert.deepEqual(channelOf(a, "b").groups, { own: 3, remote: 4 });
  assert.notEqual(b.peer("a")!.emptyAtMs!("dict"), undefined);
  assert.equal(b.peer("a")!.emptyAtMs!("wn"), undefined, "the new one has something");
  for (const group of ["dict", "wn", "jargon"]) {
    const got = getFrom(a.peer("b")!, group, "x", patient);
    await net.tick();
    assert.equal(bodyOf(await got), `${group} x`);
  }
});

test("asks in flight for a group that is removed get their replies, whichever end removes it", async (defer) => {
  for (const removers of [["a"], ["b"], ["a", "b"]]) {
    const asks: Ask[] = [];
    const service = { get: (_group: string, _key: string, ask: Ask) => void asks.push(ask) };
    const { net, a, b } = pair(defer, { groups: ["dict", "wn"], service });
    await net.tick();
    const forth = getFrom(a.peer("b")!, "wn", "x", patient);
    const back = getFrom(b.peer("a")!, "wn", "x", patient);
    const peek = a.peer("b")!.peek("wn", "x", patient);
    const push = a.peer("b")!.push("wn", [{ key: "x", value: text("x") }], patient);
    await net.tick();
    assert.equal(asks.length, 2);
    for (const name of removers) (name === "a" ? a : b).removeGroup("wn");
    await net.tick();
    asks[0]!.resolve(text("first"));
    asks[1]!.resolve(text("second"));
    await net.tick();
    assert.deepEqual(new Set([bodyOf(await forth), bodyOf(await back)]), new Set(["first", "second"]));
    assert.deepEqual([await peek, await push], [undefined, 0]);
    for (const hub of [a, b]) {
      const { asksInFlight, servedInFlight, opens } = hub.stats()[0]!;
      assert.deepEqual([asksInFlight, servedInFlight, opens], [0, 0, 1]);
    }
  }
});

test("asks that cross the removal of their group at the peer fall back, and never reach its service", async (defer) => {
  const reached: string[] = [];
  const { net, a, b } = pair(defer, {
    groups: ["dict", "wn"],
    service: {
      get: (group, _key, ask) => {
        reached.push(group);
        ask.resolve(text(group));
      },
      peek: (group) => void reached.push(group),
      push: (group) => reached.push(group),
    },
  });
  await net.tick();
  const peer = a.peer("b")!;
  const crossing = [
    getFrom(peer, "wn", "x", patient),
    peer.peek("wn", "x", patient),
    peer.push("wn", [{ key: "x", value: text("x") }], patient),
  ].map((ask) => assert.rejects(ask, PeerError));
  b.removeGroup("wn");
  await net.tick();
  await Promise.all(crossing);
  assert.deepEqual(reached, []);
  assert.equal(opensOf(a), 1);
});

test("an ask that waits for the connection falls back when its group is removed meanwhile", async (defer) => {
  const { net, a } = pair(defer, { groups: ["dict", "wn"] });
  const removed = assert.rejects(getFrom(a.peer("b")!, "wn", "x", patient), PeerError);
  const stays = getFrom(a.peer("b")!, "dict", "x", patient);
  a.removeGroup("wn");
  await net.tick();
  await removed;
  assert.equal(bodyOf(await stays), "dict x");
});

test("the link to a peer that drains serves no group that was removed", async (defer) => {
  const held: Ask[] = [];
  const reached: string[] = [];
  const get = (group: string, _key: string, ask: Ask) => {
    reached.push(group);
    held.push(ask);
  };
  const { net, a, b } = pair(defer, { groups: ["dict", "wn"], service: { get } });
  await net.tick();
  const last = getFrom(a.peer("b")!, "dict", "x", patient);
  await net.tick();
  const peer = a.peer("b")!;
  b.setPeers([{ ...record("a", "http://a"), state: "draining" }]);
  b.setPeers([]);
  b.removeGroup("wn");
  await assert.rejects(Promise.all([getFrom(peer, "wn", "x", patient), net.tick()]), PeerError);
  assert.deepEqual(reached, ["dict"]);
  held[0]!.resolve(text("last"));
  await net.tick();
  assert.equal(bodyOf(await last), "last");
});

test("a thousand groups that come and go leave nothing in memory", async (defer) => {
  const { net, a, b, get } = pair(defer);
  await net.tick();
  for (let round = 0; round < 1_000; round++) {
    const group = `group-${round % 3 === 0 ? "again" : round}`;
    a.addGroup(group);
    b.addGroup(group);
    assert.equal(await get(a, "b", group, "x"), `${group} x`);
    b.removeGroup(group);
    a.removeGroup(group);
    await net.tick();
  }
  for (const [hub, peer] of [[a, "b"], [b, "a"]] as const) {
    assert.deepEqual(channelOf(hub, peer).groups, { own: 1, remote: 1 });
    const { asksInFlight, servedInFlight, opens } = hub.stats()[0]!;
    assert.deepEqual([asksInFlight, servedInFlight, opens], [0, 0, 1]);
  }
});

test("a connection that has no group id left is replaced by a new one, at either end", async (defer) => {
  for (const name of ["a", "b"] as const) {
    const { net, a, b, get } = pair(defer);
    await net.tick();
    const hub = name === "a" ? a : b;
    // The greeting has taken one id.
    for (let id = 1; id <= MAX_GROUP_ID; id++) {
      hub.addGroup("brief");
      hub.removeGroup("brief");
      if (id % 5_000 === 0) await net.tick();
    }
    await net.tick();
    assert.deepEqual([opensOf(a), opensOf(b)], [1, 1]);
    b.addGroup("wn");
    a.addGroup("wn");
    await net.tick();
    assert.match(net.dialed[0]!.closedWith!.reason + net.dialed[0]!.other.closedWith!.reason, /no group id is left/);
    await net.clock.advance(100);
    await net.tick();
    assert.deepEqual([opensOf(a), opensOf(b)], [2, 2]);
    assert.equal(await get(a, "b", "wn", "x"), "wn x");
    assert.equal(await get(b, "a", "dict", "x"), "dict x");
  }
});

test("a group that no greeting could hold is refused when it is added, and nothing has changed", async (defer) => {
  const { net, a, b, get } = pair(defer);
  await net.tick();
  let added = 0;
  const name = (i: number) => `a-group-with-a-name-of-some-length-${i}`;
  assert.throws(() => {
    for (;; added++) a.addGroup(name(added));
  }, RangeError);
  assert.ok(added > 100 && added < 250, `${added} groups`);
  await net.tick();
  const before = net.dialed[0]!.frames.length;
  for (const wrong of [name(added), "", "x".repeat(257), "half \ud800"]) {
    assert.throws(() => a.addGroup(wrong), RangeError);
    await assert.rejects(get(a, "b", wrong, "x"), PeerError);
  }
  assert.equal(net.dialed[0]!.frames.length, before, "nothing was said");
  assert.deepEqual(channelOf(b, "a").groups, { own: 1, remote: added + 1 });
  a.removeGroup(name(0));
  a.addGroup(name(added));
  net.dialed[0]!.lose("cable cut");
  net.dialed[0]!.other.lose("cable cut");
  await net.clock.advance(100);
  await net.tick();
  assert.deepEqual(channelOf(b, "a").groups, { own: 1, remote: added + 1 });
  b.addGroup(name(added));
  assert.equal(await get(a, "b", name(added), "x"), `${name(added)} x`);
});

test("adding a group that is there, and removing one that is not, says nothing", async (defer) => {
  const { net, a } = pair(defer);
  await net.tick();
  a.addGroup("dict");
  a.removeGroup("wn");
  await net.tick();
  assert.equal(net.dialed[0]!.frames.length, 1, "the hello");
});

/** `b`, and a socket on which `a` has greeted by hand with the group `dict` under the id 0. */
async function greeted(defer: Defer) {
  const net = new MemoryNetwork();
  const b = net.hub("b", { serve: (group, key) => text(`${group} ${key}`), groups: ["dict", "wn"] });
  defer(() => b.close());
  b.setPeers([record("a")]);
  const connect = async () => {
    const [near, far] = socketPair();
    b.accept(far, { name: "a", incarnation: "01-a" });
    const writer = new FrameWriter();
    const groups = [{ id: 0, name: "dict", revision: 0 }];
    writer.greeting(MessageType.hello, {
      protocol: PROTOCOL,
      name: "a",
      incarnation: "01-a",
      expects: "01-b",
      groups,
    });
    near.send(writer.take());
    await net.tick();
    assert.ok(!("code" in readAnswer(far.frames[0], PROTOCOL)));
    const say = async (write: (writer: FrameWriter) => void) => {
      write(writer);
      near.send(writer.take());
      await net.tick();
    };
    return { near, say, reason: () => near.closedWith?.reason ?? "open" };
  };
  return { connect };
}

/** The failure in the last frame that the other end has sent. */
function lastFailure(near: MemorySocket): string {
  let failure = "none";
  const ignore = () => {};
  const asks = {
    onGet: ignore,
    onPeek: ignore,
    onPush: ignore,
    onCatchUp: ignore,
    onProbe: ignore,
    onIndirectProbe: ignore,
    onCancel: ignore,
    onGroupAdded: ignore,
    onGroupRemoved: ignore,
    onApplied: ignore,
    onTraced: ignore,
  };
  const replies: ReplyVisitor = {
    onFailure: (id, code) => void (failure = `${id} ${code}`),
    onValue: ignore,
    onNothing: ignore,
    onProbed: ignore,
    onIndirectProbed: ignore,
    onTaken: ignore,
    onCaughtUp: ignore,
  };
  const pieces = { onParted: ignore, onPiece: ignore, onPieceTaken: ignore, onDropped: ignore };
  readFrame(near.other.frames.at(-1)!, asks, replies, pieces, 0);
  return failure;
}

test("an ask for a removed group is a race, and one for an id that was never announced is a breach", async (defer) => {
  const { connect } = await greeted(defer);
  const entries = [{ key: "x", value: text("x") }];
  const asks: [string, (writer: FrameWriter, group: number) => void][] = [
    ["get", (writer, group) => writer.get(7, group, 1_000, BLIND, "x")],
    ["peek", (writer, group) => writer.peek(7, group, 1_000, "x")],
    ["push", (writer, group) => writer.push(7, group, entries, false, 0)],
  ];
  for (const [kind, ask] of asks) {
    const { near, say, reason } = await connect();
    await say((writer) => {
      writer.groupAdded({ id: 1, name: "wn", revision: 5 });
      writer.groupRemoved(1);
      ask(writer, 1);
    });
    assert.equal(lastFailure(near), `7 ${FailureCode.unknownGroup}`, kind);
    assert.equal(reason(), "open");
    await say((writer) => ask(writer, 2));
    assert.equal(reason(), `malformed ${kind}: group 2 was never announced`);
  }
});

test("announcements that break the rules end the connection with a reason", async (defer) => {
  const { connect } = await greeted(defer);
  const news = (id: number, name: string) => ({ id, name, revision: 0 });
  const breaches: [RegExp, (writer: FrameWriter) => void][] = [
    [/the id is not new/, (writer) => writer.groupAdded(news(0, "wn"))],
    [/the group is announced already/, (writer) => writer.groupAdded(news(1, "dict"))],
    [/malformed groupRemoved: the group is not announced/, (writer) => writer.groupRemoved(1)],
    [/the id is not new/, (writer) => {
      writer.groupAdded(news(5, "wn"));
      writer.groupRemoved(5);
      writer.groupAdded(news(5, "wn"));
    }],
    [/malformed groupRemoved: the group is not announced/, (writer) => {
      writer.groupRemoved(0);
      writer.groupRemoved(0);
    }],
    [/over 1024 groups/, (writer) => {
      for (let id = 1; id <= MAX_GROUPS; id++) writer.groupAdded(news(id, `group-${id}`));
    }],
  ];
  for (const [expected, write] of breaches) {
    const { say, reason } = await connect();
    await say(write);
    assert.match(reason(), expected);
  }
});

test("when the connection closes in the middle of a frame, the rest of the frame is ignored", async (defer) => {
  const net = new MemoryNetwork();
  const reached: string[] = [];
  const b = net.hub("b", {
    service: {
      get: (_group, key, ask) => {
        reached.push(key);
        b.setPeers([]);
        ask.resolve(text(key));
      },
      peek: (_group, key) => void reached.push(key),
      push: (_group, entries) => reached.push(entries[0]!.key),
      catchUp: (label) => {
        reached.push("catch-up");
        return Promise.resolve(label);
      },
      probeIndirectly: () => Promise.resolve(reached.push("suspect") > 0),
    },
    onProbed: () => reached.push("probe"),
  });
  defer(() => b.close());
  b.setPeers([record("a")]);
  const [near, far] = socketPair();
  b.accept(far, { name: "a", incarnation: "01-a" });
  const writer = new FrameWriter();
  const groups = [{ id: 0, name: "dict", revision: 0 }];
  writer.greeting(MessageType.hello, { protocol: PROTOCOL, name: "a", incarnation: "01-a", expects: "01-b", groups });
  near.send(writer.take());
  await net.tick();
  writer.get(1, 0, 1_000, BLIND, "first");
  writer.get(2, 0, 1_000, BLIND, "second");
  near.send(writer.take());
  await net.tick();
  for (
    const write of [
      () => writer.peek(2, 0, 1_000, "peek"),
      () => writer.push(2, 0, [{ key: "push", value: text("x") }], false, 0),
      () => writer.catchUp(2, 1_000, BLIND),
      () => writer.bare(MessageType.probe, 2),
      () => writer.indirectProbe(2, 1_000, "c", "01-c"),
    ]
  ) {
    b.setPeers([record("a")]);
    const [again, accepted] = socketPair();
    b.accept(accepted, { name: "a", incarnation: "01-a" });
    writer.greeting(MessageType.hello, { protocol: PROTOCOL, name: "a", incarnation: "01-a", expects: "01-b", groups });
    again.send(writer.take());
    await net.tick();
    writer.get(1, 0, 1_000, BLIND, "first");
    write();
    again.send(writer.take());
    await net.tick();
  }
  assert.deepEqual(reached, ["first", "first", "first", "first", "first", "first"]);
});
