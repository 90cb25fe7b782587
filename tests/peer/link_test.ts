import assert from "node:assert/strict";
import { Cancel } from "../../lib/core/base/cancel.ts";
import {
  BadKeyError,
  BehindError,
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OverloadedError,
  PassThroughError,
  PeerError,
} from "../../lib/core/errors.ts";
import { BLIND } from "../../lib/core/invalidation/label.ts";
import type { Ask, AskOptions } from "../../lib/core/ports.ts";
import { type About, NOTHING_HERE, PLAIN, type Value } from "../../lib/core/value.ts";
import type { PeerHub } from "../../lib/peer/hub.ts";
import type { PeerService } from "../../lib/peer/service.ts";
import { settle } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { type Defer, test } from "../support/test.ts";
import { getFrom, type HubOptions, MemoryNetwork, type MemorySocket } from "./memory.ts";
import { record, valueOf } from "./support.ts";

/** An ask that the test replies to by hand. */
interface Pending extends AskOptions {
  readonly group: string;
  readonly key: string;
  readonly resolve: (value: Value) => void;
  readonly reject: (error: unknown) => void;
}

const text = (body: string, bornAtMs = 0, freshUntilMs = Infinity) => valueOf(body, { bornAtMs, freshUntilMs });

const bodyOf = (value: Value) => new TextDecoder().decode(value.body);
const never = new AbortController().signal;
const patient = { signal: never, timeoutMs: 1_000 };

/** Two hubs that list each other; the test replies by hand to the asks of `a`. The dial is not delivered yet. */
function pair(defer: Defer, options: Parameters<MemoryNetwork["hub"]>[1] = {}) {
  const net = new MemoryNetwork();
  const incoming: Pending[] = [];
  const serve = (group: string, key: string, { signal, timeoutMs }: AskOptions) =>
    new Promise<Value>((resolve, reject) => incoming.push({ group, key, signal, timeoutMs, resolve, reject }));
  const a = net.hub("a", { ...options, serve: options.serve ?? (() => text("from a")) });
  const b = net.hub("b", { ...options, serve: options.serve ?? serve });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("a", "http://a"), record("b", "http://b")]);
  b.setPeers([record("a", "http://a"), record("b", "http://b")]);
  return { net, a, b, incoming };
}

/** Two connected hubs; `b` answers gets as told. */
async function connected(defer: Defer, get: PeerService["get"], options: HubOptions = {}) {
  const net = new MemoryNetwork();
  const a = net.hub("a", { limits: options.limits });
  const b = net.hub("b", { ...options, service: { get } });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  await net.tick();
  return { net, a, b, peer: a.peer("b")! };
}

const stateOf = (hub: PeerHub, name: string) => hub.stats().find((link) => link.name === name)?.state;

/** Frames that the dialing end of the last connection has sent, the hello left out. */
const asksOf = (net: MemoryNetwork) => net.dialed.at(-1)!.frames.length - 1;

test("each end learns from the greeting whether the other has anything of a group, again on each connection", async (defer) => {
  const net = new MemoryNetwork();
  const empty = new Set(["a"]);
  const [a, b] = ["a", "b"].map((name) => net.hub(name, { isEmpty: () => empty.has(name) }));
  defer(() => a!.close());
  defer(() => b!.close());
  for (const hub of [a!, b!]) hub.setPeers([record("a", "http://a"), record("b", "http://b")]);
  assert.equal(b!.peer("a")!.emptyAtMs!("dict"), undefined, "not connected");
  await net.tick();
  const openedMs = net.clock.nowMs();
  await net.clock.advance(5_000);
  assert.equal(b!.peer("a")!.emptyAtMs!("dict"), openedMs);
  assert.equal(b!.peer("a")!.emptyAtMs!("other"), undefined);
  assert.equal(a!.peer("b")!.emptyAtMs!("dict"), undefined, "it has something");
  empty.clear();
  net.dialed.at(-1)!.lose("cable cut");
  net.dialed.at(-1)!.other.lose("cable cut");
  await net.clock.advance(5_000);
  await net.tick();
  assert.equal(stateOf(b!, "a"), "open");
  assert.equal(b!.peer("a")!.emptyAtMs!("dict"), undefined);
});

test("the peer with the smaller name dials, and both ends ask over that one connection", async (defer) => {
  const { net, a, b, incoming } = pair(defer);
  assert.deepEqual([a.isSettled, b.isSettled], [false, false]);
  await net.tick();
  assert.deepEqual([a.isSettled, b.isSettled], [true, true]);
  assert.equal(net.dialed.length, 1);
  assert.equal(stateOf(a, "b"), "open");
  assert.equal(stateOf(b, "a"), "open");
  assert.equal(a.peer("a"), undefined);
  const forth = getFrom(a.peer("b")!, "dict", "x", patient);
  const back = getFrom(b.peer("a")!, "dict", "y", patient);
  await net.tick();
  incoming[0]!.resolve(text("from b"));
  await net.tick();
  assert.equal(bodyOf(await forth), "from b");
  assert.equal(bodyOf(await back), "from a");
});

test("the asks of one tick travel in one frame, and so do the replies of one tick", async (defer) => {
  const { net, a, incoming } = pair(defer);
  await net.tick();
  const asks = Array.from({ length: 100 }, (_, i) => getFrom(a.peer("b")!, "dict", `key ${i}`, patient));
  await net.tick();
  assert.equal(asksOf(net), 1);
  assert.deepEqual(incoming.map(({ key }) => key), Array.from({ length: 100 }, (_, i) => `key ${i}`));
  for (const { key, resolve } of incoming) resolve(text(`value of ${key}`));
  await net.tick();
  assert.equal(net.dialed[0]!.other.frames.length, 2, "a welcome and one frame of answers");
  for (const [i, ask] of asks.entries()) assert.equal(bodyOf(await ask), `value of key ${i}`);
});

test("replies at hand leave at the end of the frame that asked, without waiting for the tick", async (defer) => {
  const net = new MemoryNetwork();
  const a = net.hub("a");
  const b = net.hub("b", { serve: () => text("at hand"), schedule: () => assert.fail("nothing is to be scheduled") });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  await net.tick();
  const asks = ["x", "y"].map((key) => getFrom(a.peer("b")!, "dict", key, patient));
  await net.tick();
  assert.deepEqual((await Promise.all(asks)).map(bodyOf), ["at hand", "at hand"]);
  assert.equal(net.dialed[0]!.other.frames.length, 2);
});

test("replies that took a while leave ahead of the rest of the tick, those of one moment in one frame", async (defer) => {
  const { net, a, incoming } = pair(defer);
  await net.tick();
  const asks = ["x", "y"].map((key) => getFrom(a.peer("b")!, "dict", key, patient));
  await net.tick();
  for (const { key, resolve } of incoming) resolve(text(`value of ${key}`));
  // The tick does not end here.
  await settle();
  assert.deepEqual((await Promise.all(asks)).map(bodyOf), ["value of x", "value of y"]);
  assert.equal(net.dialed[0]!.other.frames.length, 2, "a welcome and one frame of answers");
});

test("a reply that took a while leaves before other work that was made ready with it", async (defer) => {
  const asks: Ask[] = [];
  const { net, peer } = await connected(defer, (_, __, ask) => void asks.push(ask));
  const ask = getFrom(peer, "dict", "x", patient);
  await net.tick();
  const { frames } = net.dialed[0]!.other;
  let sentBefore = 0;
  asks[0]!.resolve(text("value"));
  queueMicrotask(() => sentBefore = frames.length);
  await settle();
  assert.equal(bodyOf(await ask), "value");
  assert.equal(sentBefore, 2, "a welcome and the answer");
});

test("every ask of a frame gets its reply, though the connection is idle in its middle and was to close then", async (defer) => {
  const held: Ask[] = [];
  const get = (_: string, key: string, ask: Ask) => {
    if (key === "x") return void held.push(ask);
    for (const earlier of held.splice(0)) earlier.resolve(text("x"));
    ask.resolve(text(key));
  };
  const { net, b, peer } = await connected(defer, get);
  const asks = [getFrom(peer, "dict", "x", patient)];
  await net.tick();
  const drained = b.drain();
  asks.push(...["y", "z"].map((key) => getFrom(peer, "dict", key, patient)));
  await net.tick();
  assert.deepEqual((await Promise.all(asks)).map(bodyOf), ["x", "y", "z"]);
  await drained;
});

test("replies return in the order in which they are ready", async (defer) => {
  const { net, a, incoming } = pair(defer);
  await net.tick();
  const order: string[] = [];
  for (const key of ["slow", "fast"]) {
    void getFrom(a.peer("b")!, "dict", key, patient).then((v) => order.push(bodyOf(v)));
  }
  await net.tick();
  incoming[1]!.resolve(text("fast"));
  await net.tick();
  assert.deepEqual(order, ["fast"]);
  incoming[0]!.resolve(text("slow"));
  await net.tick();
  assert.deepEqual(order, ["fast", "slow"]);
});

test("a value keeps its age and the rest of its lifetime, on the asker's clock", async (defer) => {
  const { net, a, incoming } = pair(defer);
  await net.tick();
  const nowMs = net.clock.nowMs();
  const asks = ["mortal", "eternal"].map((key) => getFrom(a.peer("b")!, "dict", key, patient));
  await net.tick();
  incoming[0]!.resolve(text("m", nowMs - 500, nowMs + 1_500));
  incoming[1]!.resolve(text("e", nowMs - 7, Infinity));
  await net.tick();
  const [mortal, eternal] = await Promise.all(asks);
  assert.deepEqual([mortal!.bornAtMs, mortal!.freshUntilMs], [nowMs - 500, nowMs + 1_500]);
  assert.deepEqual([eternal!.bornAtMs, eternal!.freshUntilMs], [nowMs - 7, Infinity]);
});

test("the owner's errors come back as the classes that it threw", async (defer) => {
  const log = new MemoryLog();
  const { net, a, incoming } = pair(defer, { log });
  await net.tick();
  const errors = [
    new NotFoundError("no such word"),
    new OriginError("broken"),
    new OriginTimeoutError("slow"),
    new OverloadedError("full"),
    new BadKeyError("bad"),
    new PassThroughError("for one request only"),
    new BehindError("at message 7"),
    new PeerError("closing"),
  ];
  for (const error of errors) {
    const ask = getFrom(a.peer("b")!, "dict", "x", patient);
    await net.tick();
    incoming.pop()!.reject(error);
    await Promise.all([
      assert.rejects(ask, (got: Error) => got.constructor === error.constructor && got.message.endsWith(error.message)),
      net.tick(),
    ]);
  }
  const defect = getFrom(a.peer("b")!, "dict", "x", patient);
  await net.tick();
  incoming.pop()!.reject(new TypeError("secret"));
  await Promise.all([
    assert.rejects(defect, (got: Error) => got instanceof OriginError && !got.message.includes("secret")),
    net.tick(),
  ]);
  assert.ok(log.lines.some((line) => line.startsWith("error") && line.includes("secret")), "the owner's log has it");
});

test("a get takes the client's request and the asker's label along to the owner's lookup and load, also from before the link is open", async (defer) => {
  const net = new MemoryNetwork();
  const request = { fields: [["accept", "a/b"], ["cookie", 'é="1"']] } as const;
  const heard: unknown[] = [];
  const a = net.hub("a");
  const b = net.hub("b", {
    service: {
      lookup: (group, key, request, after) => {
        heard.push(["lookup", group, key, request, after]);
        return key === "held" ? text("held") : undefined;
      },
      get: (group, key, ask) => {
        heard.push(["get", group, key, ask.request, ask.after]);
        ask.resolve(text("loaded"));
      },
    },
  });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  const [after, later] = [{ epoch: 5, sequence: 1 }, { epoch: 5, sequence: 2 }];
  const early = getFrom(a.peer("b")!, "dict", "early", { ...patient, request, after });
  await net.tick();
  const asks = ["held", "x"].map((key) => getFrom(a.peer("b")!, "dict", key, { ...patient, request, after: later }));
  asks.push(getFrom(a.peer("b")!, "dict", "plain", { ...patient, after }));
  await net.tick();
  assert.deepEqual((await Promise.all([early, ...asks])).map(bodyOf), ["loaded", "held", "loaded", "loaded"]);
  assert.deepEqual(heard, [
    ["lookup", "dict", "early", request, after],
    ["get", "dict", "early", request, after],
    ["lookup", "dict", "held", request, later],
    ["lookup", "dict", "x", request, later],
    ["get", "dict", "x", request, later],
    ["lookup", "dict", "plain", undefined, after],
    ["get", "dict", "plain", undefined, after],
  ]);
});

test("a request whose fields cannot travel must go to the origin directly, and harms no other request", async (defer) => {
  const { net, a } = pair(defer, { serve: (_, key) => text(key) });
  await net.tick();
  const good = getFrom(a.peer("b")!, "dict", "good", patient);
  // A runtime may let a client send these.
  for (const value of ["\u0001", "x".repeat(64 * 1024)]) {
    const request = { fields: [["cookie", value]] as const };
    await assert.rejects(getFrom(a.peer("b")!, "dict", "x", { ...patient, request }), PassThroughError);
  }
  await net.tick();
  assert.equal(bodyOf(await good), "good");
  assert.equal(stateOf(a, "b"), "open");
  assert.equal(a.stats()[0]!.asksInFlight, 0);
});

test("a value travels with all its facts in a get, a peek and a push", async (defer) => {
  const net = new MemoryNetwork();
  const nowMs = net.clock.nowMs();
  const about: About = {
    status: 404,
    fields: [["vary", "accept"], ["etag", 'W/"1"']],
    etag: 'W/"1"',
    selection: { names: ["accept"], says: "accept\u0001=a/b" },
    hasOwnLifetime: true,
    hasOwnStale: true,
    isPrivate: true,
    tags: ["sport", "page-7"],
  };
  const times = {
    bornAtMs: nowMs - 3,
    freshUntilMs: nowMs - 1,
    staleWhileRevalidateMs: 1e10,
    staleIfErrorMs: Infinity,
  };
  const label = { epoch: 1_700_000_000_000_000, sequence: 12 };
  const values = [valueOf("whole", { ...times, loadMs: 12, about, label }), valueOf("", { about: NOTHING_HERE })];
  const pushed: Value[] = [];
  const a = net.hub("a");
  const b = net.hub("b", {
    service: {
      get: (_, key, ask) => ask.resolve(values[Number(key)]!),
      peek: (_, key) => values[Number(key)]!,
      push: (_, entries) => pushed.push(...entries.map(({ value }) => value)),
    },
  });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  await net.tick();
  const peer = a.peer("b")!;
  const gets = Promise.all(["0", "1"].map((key) => getFrom(peer, "dict", key, patient)));
  const peeks = Promise.all(["0", "1"].map((key) => peer.peek("dict", key, patient)));
  const push = peer.push("dict", values.map((value, i) => ({ key: `${i}`, value })), patient);
  await net.tick();
  assert.deepEqual(await gets, values);
  assert.deepEqual(await peeks, values);
  assert.equal(await push, 2);
  assert.deepEqual(pushed, values);
  const [peeked] = await peeks;
  assert.equal(peeked!.body.buffer.byteLength, peeked!.body.length, "it keeps nothing of its frame alive");
});

test("a value whose fields cannot travel must come from the origin, is left out of a push, and harms no other value", async (defer) => {
  const bad = valueOf("bad", { about: { ...PLAIN, fields: [["a", "\u0001"]] } });
  const { net, a, b } = pair(defer, { serve: (_, key) => key === "bad" ? bad : text(key) });
  await net.tick();
  const good = getFrom(a.peer("b")!, "dict", "good", patient);
  const refused = assert.rejects(getFrom(a.peer("b")!, "dict", "bad", patient), PassThroughError);
  assert.equal(await b.peer("a")!.push("dict", [{ key: "bad", value: bad }], patient), 0);
  await net.tick();
  await refused;
  assert.equal(bodyOf(await good), "good");
  assert.deepEqual([stateOf(a, "b"), stateOf(b, "a")], ["open", "open"]);
});

test("an ask for a group that the peer does not serve falls back", async (defer) => {
  const net = new MemoryNetwork();
  const a = net.hub("a", { groups: ["other", "dict"] });
  const b = net.hub("b", { groups: ["dict"], serve: (group, key) => text(`${group} ${key}`) });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  await net.tick();
  const unknown = assert.rejects(getFrom(a.peer("b")!, "other", "x", patient), PeerError);
  const known = getFrom(a.peer("b")!, "dict", "x", patient);
  await net.tick();
  await unknown;
  assert.equal(bodyOf(await known), "dict x");
});

test("a key that cannot travel is refused at once, and harms no other key", async (defer) => {
  const { net, a } = pair(defer, { serve: (_, key) => text(key) });
  await net.tick();
  const good = getFrom(a.peer("b")!, "dict", "good", patient);
  await assert.rejects(getFrom(a.peer("b")!, "dict", "", patient), BadKeyError);
  await assert.rejects(getFrom(a.peer("b")!, "dict", "\udc00", patient), BadKeyError);
  await net.tick();
  assert.equal(bodyOf(await good), "good");
});

test("an asker that goes away aborts its own ask at the owner, and no other", async (defer) => {
  const { net, a, incoming } = pair(defer);
  await net.tick();
  const leaver = new AbortController();
  const gone = getFrom(a.peer("b")!, "dict", "x", { signal: leaver.signal, timeoutMs: 1_000 });
  const stays = getFrom(a.peer("b")!, "dict", "x", patient);
  await net.tick();
  leaver.abort(new Error("bored"));
  await assert.rejects(gone, /bored/);
  await net.tick();
  assert.deepEqual(incoming.map(({ signal }) => signal.aborted), [true, false]);
  incoming[0]!.resolve(text("too late"));
  incoming[1]!.resolve(text("in time"));
  await net.tick();
  assert.equal(bodyOf(await stays), "in time");
  assert.equal(net.dialed[0]!.other.frames.length, 2, "nothing was answered to the one that left");
  await assert.rejects(getFrom(a.peer("b")!, "dict", "x", { signal: leaver.signal, timeoutMs: 1 }), /bored/);
});

test("a cancel that crosses its answer on the way is no harm", async (defer) => {
  const { net, a, incoming } = pair(defer);
  await net.tick();
  const leaver = new AbortController();
  const gone = assert.rejects(getFrom(a.peer("b")!, "dict", "x", { signal: leaver.signal, timeoutMs: 1_000 }), /bored/);
  await net.tick();
  incoming[0]!.resolve(text("crossing"));
  leaver.abort(new Error("bored"));
  await net.tick();
  await gone;
  const next = getFrom(a.peer("b")!, "dict", "y", patient);
  await net.tick();
  incoming[1]!.resolve(text("next"));
  await net.tick();
  assert.equal(bodyOf(await next), "next");
});

test("an owner that cannot answer in time says so while the asker still waits", async (defer) => {
  const { net, a, b, incoming } = pair(defer);
  await net.tick();
  const ask = getFrom(a.peer("b")!, "dict", "x", patient);
  const outcome = assert.rejects(ask, OriginTimeoutError);
  await net.tick();
  assert.equal(incoming[0]!.timeoutMs, 900);
  await net.clock.advance(901);
  await net.tick();
  await outcome;
  assert.equal(incoming[0]!.signal.aborted, true);
  assert.equal(b.stats()[0]!.servedInFlight, 0);
});

test("an ask with the longest time that a frame can name arms no timer that would overflow", async (defer) => {
  const { net, a, incoming } = pair(defer);
  const delays: number[] = [];
  const after = net.clock.after.bind(net.clock);
  net.clock.after = (delayMs, action) => {
    delays.push(delayMs);
    return after(delayMs, action);
  };
  await net.tick();
  const ask = getFrom(a.peer("b")!, "dict", "x", { signal: never, timeoutMs: 2 ** 40 });
  await net.tick();
  await net.clock.advance(600_000);
  assert.ok(delays.length < 60 && Math.max(...delays) <= 60_000, `${delays}`);
  assert.equal(incoming[0]!.timeoutMs, 2 ** 32 - 1);
  incoming[0]!.resolve(text("late"));
  await net.tick();
  assert.equal(bodyOf(await ask), "late");
});

test("a silent peer makes the asker fall back at its deadline", async (defer) => {
  const { net, a } = pair(defer);
  await net.tick();
  const dialed = net.dialed[0]!;
  dialed.stalled = true;
  const order: string[] = [];
  const ask = (timeoutMs: number) =>
    assert.rejects(getFrom(a.peer("b")!, "dict", "x", { signal: never, timeoutMs }), PeerError)
      .then(() => order.push(`${timeoutMs}`));
  const asks = [ask(1_000), ask(200)];
  await net.tick();
  await net.clock.advance(200);
  assert.deepEqual(order, ["200"]);
  await net.clock.advance(800);
  await Promise.all(asks);
  assert.deepEqual(order, ["200", "1000"]);
  assert.equal(a.stats()[0]!.asksInFlight, 0);
});

test("a lost connection fails the asks in flight at once, aborts the work for the peer, and is dialed again", async (defer) => {
  const { net, a, b, incoming } = pair(defer);
  await net.tick();
  const asks = Array.from({ length: 10 }, () => assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), PeerError));
  await net.tick();
  net.dialed[0]!.lose("cable cut");
  net.dialed[0]!.other.lose("cable cut");
  await Promise.all(asks);
  assert.ok(incoming.every(({ signal }) => signal.aborted));
  await assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), /down: cable cut/);
  await assert.rejects(getFrom(b.peer("a")!, "dict", "x", patient), PeerError);
  await net.clock.advance(50);
  await net.tick();
  assert.equal(stateOf(a, "b"), "open");
  assert.equal(stateOf(b, "a"), "open");
});

test("work that ends as soon as the peer is lost, its ask overdue or cancelled, gets one reply or none, and is no fault", async (defer) => {
  const log = new MemoryLog();
  const get = (_: string, __: string, ask: Ask) => {
    const { signal } = ask;
    signal.addEventListener("abort", { handleEvent: () => ask.reject(signal.reason) }, { once: true });
  };
  const { net, peer } = await connected(defer, get, { log });
  const overdue = assert.rejects(getFrom(peer, "dict", "overdue", patient), OriginTimeoutError);
  await net.tick();
  await net.clock.advance(950);
  await net.tick();
  await overdue;
  const controller = new AbortController();
  const left = assert.rejects(getFrom(peer, "dict", "left", { ...patient, signal: controller.signal }));
  await net.tick();
  controller.abort();
  await net.tick();
  await left;
  const lost = assert.rejects(getFrom(peer, "dict", "lost", patient), PeerError);
  await net.tick();
  assert.equal(net.dialed[0]!.other.frames.length, 2, "a welcome, and word of the one that was overdue");
  net.dialed[0]!.other.lose("cable cut");
  net.dialed[0]!.lose("cable cut");
  await lost;
  assert.deepEqual(log.lines.filter((line) => line.startsWith("error")), []);
});

test("an ask that is rejected with its connection may abandon another: each is rejected once, and none is sent again", async (defer) => {
  const { net, a } = pair(defer);
  await net.tick();
  const clients = [new Cancel(), new Cancel()];
  const heard: unknown[] = [];
  for (const [i, key] of ["x", "y"].entries()) {
    a.peer("b")!.ask("dict", key, {
      signal: clients[i]!,
      timeoutMs: 1_000,
      after: BLIND,
      resolve: () => assert.fail("lost"),
      reject: (error) => {
        heard.push(error);
        clients[1 - i]!.abort("left");
      },
    });
  }
  await net.tick();
  net.dialed[0]!.lose("cable cut");
  assert.equal(heard.length, 2);
  assert.deepEqual([heard.filter((error) => error instanceof PeerError).length, heard.includes("left")], [1, true]);
  await net.clock.advance(2_000);
  assert.equal(heard.length, 2);
});

test("a peer that cannot be reached is dialed with growing delays, and asks fail at once meanwhile", async (defer) => {
  const net = new MemoryNetwork();
  const log = new MemoryLog();
  const a = net.hub("a", { log });
  defer(() => a.close());
  a.setPeers([record("b", "http://b")]);
  await settle();
  await assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), PeerError);
  await net.clock.advance(10_000);
  const delays = net.dialedAtMs.slice(1).map((atMs, i) => atMs - net.dialedAtMs[i]!);
  assert.deepEqual(delays.slice(0, 8), [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
  assert.equal(log.lines.filter((line) => line.startsWith("warn")).length, 1, "one line, not one for each try");
  const b = net.hub("b", { serve: () => text("back") });
  defer(() => b.close());
  b.setPeers([record("a", "http://a")]);
  await net.clock.advance(2_000);
  const ask = getFrom(a.peer("b")!, "dict", "x", patient);
  await net.tick();
  assert.equal(bodyOf(await ask), "back");
});

test("a connection that is lost as soon as it opens is not dialed in a tight loop", async (defer) => {
  const { net } = pair(defer);
  for (let i = 0; i < 6; i++) {
    await net.tick();
    net.dialed.at(-1)!.lose("flap");
    net.dialed.at(-1)!.other.lose("flap");
    const dials = net.dialed.length;
    while (net.dialed.length === dials) await net.clock.advance(10);
  }
  const delays = net.dialedAtMs.slice(1).map((atMs, i) => atMs - net.dialedAtMs[i]!);
  assert.deepEqual(delays, [50, 100, 200, 400, 800, 1_600]);
});

test("an ask made while a new peer is being connected waits for it, at either end", async (defer) => {
  const { net, a, b } = pair(defer, { serve: (_, key) => text(key) });
  const forth = getFrom(a.peer("b")!, "dict", "forth", patient);
  const back = getFrom(b.peer("a")!, "dict", "back", patient);
  const leaver = new AbortController();
  const gone = assert.rejects(getFrom(b.peer("a")!, "dict", "x", { signal: leaver.signal, timeoutMs: 9 }), /bored/);
  leaver.abort(new Error("bored"));
  await gone;
  await net.tick();
  assert.equal(bodyOf(await forth), "forth");
  assert.equal(bodyOf(await back), "back");
});

test("a peer that should dial and does not is down after a bounded time", async (defer) => {
  const net = new MemoryNetwork();
  const b = net.hub("b");
  defer(() => b.close());
  b.setPeers([record("a", "http://a")]);
  const impatient = assert.rejects(getFrom(b.peer("a")!, "dict", "x", { signal: never, timeoutMs: 100 }), PeerError);
  const waiting = assert.rejects(getFrom(b.peer("a")!, "dict", "x", { signal: never, timeoutMs: 9_000 }), PeerError);
  await net.clock.advance(100);
  await impatient;
  assert.equal(stateOf(b, "a"), "connecting");
  await net.clock.advance(900);
  await waiting;
  assert.equal(stateOf(b, "a"), "down");
  assert.equal(b.isSettled, true, "a peer that cannot be reached holds up nobody");
});

test("asks in flight are bounded at the asker, and their work at the owner", async (defer) => {
  const { net, a, incoming } = pair(defer, { limits: { asksInFlight: 3 } });
  await net.tick();
  const leavers = Array.from({ length: 3 }, () => new AbortController());
  const inFlight = leavers.map(({ signal }) =>
    assert.rejects(getFrom(a.peer("b")!, "dict", "x", { signal, timeoutMs: 1_000 }), /bored/)
  );
  await assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), OverloadedError);
  await net.tick();
  assert.equal(incoming.length, 3);
  leavers[0]!.abort(new Error("bored"));
  const room = getFrom(a.peer("b")!, "dict", "y", patient);
  await net.tick();
  incoming[3]!.resolve(text("room"));
  for (const leaver of leavers) leaver.abort(new Error("bored"));
  await net.tick();
  assert.equal(bodyOf(await room), "room");
  await Promise.all(inFlight);
});

test("the owner's bound is on its work: asks that were cancelled count until their work has ended", async (defer) => {
  const { net, a, incoming } = pair(defer, { limits: { incomingInFlight: 2 } });
  await net.tick();
  const leaver = new AbortController();
  const options = { signal: leaver.signal, timeoutMs: 1_000 };
  const gone = [1, 2].map(() => assert.rejects(getFrom(a.peer("b")!, "dict", "x", options), /bored/));
  await net.tick();
  leaver.abort(new Error("bored"));
  await Promise.all(gone);
  const refused = assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), OverloadedError);
  await net.tick();
  await refused;
  for (const one of incoming) one.reject(one.signal.reason);
  const ask = getFrom(a.peer("b")!, "dict", "x", patient);
  await net.tick();
  incoming[2]!.resolve(text("room again"));
  await net.tick();
  assert.equal(bodyOf(await ask), "room again");
});

test("an ask that is cancelled in its own frame counts as work until the frame is read, and not for longer", async (defer) => {
  const reached: string[] = [];
  const get = (_: string, key: string, ask: Ask) => {
    reached.push(key);
    const { signal } = ask;
    if (key === "at hand") ask.resolve(text(key));
    else signal.addEventListener("abort", { handleEvent: () => ask.reject(signal.reason) }, { once: true });
  };
  const { net, peer } = await connected(defer, get, { limits: { incomingInFlight: 2 } });
  for (let round = 0; round < 2; round++) {
    for (let i = 0; i < 2; i++) {
      const leaver = new AbortController();
      const gone = getFrom(peer, "dict", `left ${i}`, { signal: leaver.signal, timeoutMs: 1_000 });
      leaver.abort(new Error("bored"));
      await assert.rejects(gone, /bored/);
    }
    const refused = assert.rejects(getFrom(peer, "dict", "one too many", patient), OverloadedError);
    await net.tick();
    await refused;
  }
  const ask = getFrom(peer, "dict", "at hand", patient);
  await net.tick();
  assert.equal(bodyOf(await ask), "at hand");
  assert.deepEqual(reached, ["left 0", "left 1", "left 0", "left 1", "at hand"]);
});

test("a service replies once: a second reply is ignored, and so is an error thrown after it", async (defer) => {
  const get = (_: string, key: string, ask: Ask) => {
    if (key === "held") return;
    ask.resolve(text(key));
    ask.reject(new OriginError("late"));
    throw new Error("later still");
  };
  const { net, a, peer } = await connected(defer, get, { limits: { incomingInFlight: 1 } });
  for (const key of ["x", "y"]) {
    const ask = getFrom(peer, "dict", key, patient);
    await net.tick();
    assert.equal(bodyOf(await ask), key);
  }
  const held = assert.rejects(getFrom(peer, "dict", "held", patient), PeerError);
  await assert.rejects(
    Promise.all([getFrom(peer, "dict", "held", patient), net.tick()]),
    OverloadedError,
    "its work was counted once",
  );
  a.close();
  await held;
});

test("a peer that reads slowly gets its replies as it reads, without copies piling up", async (defer) => {
  const limits = { socketBytes: 10_000, batchBytes: 1_000 };
  const big = new Uint8Array(5_000);
  const value = valueOf(big);
  const { net, a, b } = pair(defer, { limits, serve: () => value });
  await net.tick();
  const far = net.dialed[0]!.other;
  far.stalled = true;
  const asks = Array.from(
    { length: 20 },
    () => getFrom(a.peer("b")!, "dict", "x", { signal: never, timeoutMs: 60_000 }),
  );
  await net.tick();
  assert.ok(far.bufferedBytes < 20_000, `${far.bufferedBytes} bytes are buffered`);
  assert.ok(b.stats()[0]!.servedInFlight > 10);
  for (let i = 0; i < 20; i++) {
    far.deliver();
    far.stalled = true;
    await net.clock.advance(10);
    await net.tick();
    assert.ok(far.bufferedBytes < 20_000);
  }
  assert.deepEqual(new Set((await Promise.all(asks)).map(({ body }) => body.length)), new Set([5_000]));
});

test("a peer that reads nothing for a while is given up, and its asks are aborted", async (defer) => {
  const limits = { socketBytes: 10_000, batchBytes: 1_000, stallMs: 1_000 };
  const value = valueOf(new Uint8Array(20_000));
  const { net, a, b } = pair(defer, { limits, serve: () => value });
  await net.tick();
  net.dialed[0]!.other.stalled = true;
  const ask = assert.rejects(getFrom(a.peer("b")!, "dict", "x", { signal: never, timeoutMs: 60_000 }), PeerError);
  await net.tick();
  await net.clock.advance(900);
  assert.equal(stateOf(b, "a"), "open");
  await net.clock.advance(102);
  assert.equal(stateOf(b, "a"), "down");
  assert.match(net.dialed[0]!.other.closedWith!.reason, /takes nothing for 1000 ms/);
  await ask;
});

test("a malformed frame closes the connection with a reason, and the link opens again", async (defer) => {
  const log = new MemoryLog();
  const { net, a, b } = pair(defer, { log });
  await net.tick();
  const near: MemorySocket = net.dialed[0]!;
  near.send(new Uint8Array([99, 0, 0]));
  await net.tick();
  assert.match(near.other.closedWith!.reason, /malformed frame/);
  assert.ok(log.lines.some((line) => line.includes("peer a: connection closed: malformed frame")));
  await net.clock.advance(50);
  await net.tick();
  assert.deepEqual([stateOf(a, "b"), stateOf(b, "a")], ["open", "open"]);
});

test("a peer that drained and leaves the roster finishes the asks in flight, then its connection closes", async (defer) => {
  const { net, a, b, incoming } = pair(defer);
  await net.tick();
  const peer = a.peer("b")!;
  const ask = getFrom(peer, "dict", "x", patient);
  await net.tick();
  a.setPeers([{ ...record("b", "http://b"), state: "draining" }]);
  a.setPeers([]);
  const drained = b.drain();
  assert.equal(a.peer("b"), undefined);
  await assert.rejects(getFrom(peer, "dict", "y", patient), PeerError);
  incoming[0]!.resolve(text("finished"));
  await net.tick();
  assert.equal(bodyOf(await ask), "finished");
  assert.ok(net.dialed[0]!.closedWith !== undefined);
  await drained;
});

test("a peer that drained, left and never finishes is closed after a bounded time, with nothing left to wait for", async (defer) => {
  const { net, a, b } = pair(defer);
  await net.tick();
  const ask = assert.rejects(getFrom(a.peer("b")!, "dict", "x", { signal: never, timeoutMs: 60_000 }), PeerError);
  await net.tick();
  a.setPeers([{ ...record("b", "http://b"), state: "draining" }]);
  a.setPeers([]);
  await net.clock.advance(4_999);
  assert.equal(net.dialed[0]!.closedWith, undefined);
  await net.clock.advance(1);
  await ask;
  b.close();
  assert.equal(net.clock.pending, 0);
});

test("closing fails the asks in flight and leaves no timer behind", async (defer) => {
  const { net, a, b } = pair(defer);
  await net.tick();
  const forth = assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), PeerError);
  await net.tick();
  a.setPeers([]);
  a.close();
  await forth;
  b.close();
  await net.tick();
  assert.equal(net.clock.pending, 0);
  assert.equal(b.peer("a"), undefined);
});

test("while the groups learn one after another that a peer has restarted, its latest life has the link, and keeps it", async (defer) => {
  const net = new MemoryNetwork();
  const a = net.hub("a");
  const b = net.hub("b", { self: { name: "b", incarnation: "02-b" } });
  defer(() => a.close());
  defer(() => b.close());
  const [early, late] = [record("b", "http://b", "01-b"), record("b", "http://b", "02-b")];
  b.setPeers([record("a", "http://a")]);
  for (const mixed of [[early, late], [late, early]]) {
    a.setPeers([early, early]);
    a.setPeers(mixed);
    const link = a.peer("b");
    assert.equal(a.link("b")!.record.incarnation, "02-b");
    a.setPeers([late, late]);
    assert.equal(a.peer("b"), link, "the group that heard first goes on asking over it");
  }
  await net.tick();
  assert.equal(stateOf(a, "b"), "open");
});

test("a get that waits for a new peer gives up when the link does, though the dial is still under way", async (defer) => {
  const net = new MemoryNetwork();
  const a = net.hub("a");
  defer(() => a.close());
  // It accepts and says nothing.
  net.hosts.set("b", () => {});
  a.setPeers([record("b", "http://b")]);
  await net.clock.advance(400);
  let failedAtMs = 0;
  const startMs = net.clock.nowMs() - 400;
  const get = assert.rejects(getFrom(a.peer("b")!, "dict", "x", { signal: never, timeoutMs: 9_000 }), PeerError)
    .then(() => failedAtMs = net.clock.nowMs() - startMs);
  await net.clock.advance(4_000);
  await get;
  assert.equal(failedAtMs, 1_000);
});

test("a get waits 250 ms for a peer that comes to a cluster which this node knows, a push longer, and the node starts with 3 s", async (defer) => {
  const net = new MemoryNetwork();
  const a = net.hub("a", { limits: { firstOpenMs: 3_000 } });
  defer(() => a.close());
  // They accept and say nothing.
  for (const name of ["b", "c"]) net.hosts.set(name, () => {});
  const failedAtMs = new Map<string, number>();
  const get = (name: string, key = name) =>
    getFrom(a.peer(name)!, "dict", key, { signal: never, timeoutMs: 9_000 })
      .catch((error) => (assert.ok(error instanceof PeerError), failedAtMs.set(key, net.clock.nowMs() - startMs)));
  let startMs = net.clock.nowMs();
  a.setPeers([record("b", "http://b")]);
  void get("b");
  await net.clock.advance(4_000);
  assert.equal(failedAtMs.get("b"), 3_000);
  startMs = net.clock.nowMs();
  a.setPeers([record("b", "http://b"), record("c", "http://c")]);
  void get("c");
  let isPushed = true;
  const push = a.peer("c")!.push!("dict", [], patient).catch(() => isPushed = false);
  await net.clock.advance(249);
  assert.equal(failedAtMs.get("c"), undefined);
  await net.clock.advance(1);
  assert.equal(failedAtMs.get("c"), 250);
  assert.equal(stateOf(a, "c"), "connecting");
  void get("c", "later");
  await settle();
  assert.equal(failedAtMs.get("later"), 250, "the wait is over for all");
  assert.equal(isPushed, true);
  await net.clock.advance(1_000);
  await push;
  assert.equal(isPushed, false);
});

test("a life that left the roster and is back starts down, is dialed at once, and settles; a new life is waited for", async (defer) => {
  const net = new MemoryNetwork();
  const a = net.hub("a");
  defer(() => a.close());
  const b = net.hub("b");
  defer(() => b.close());
  b.setPeers([record("a", "http://a")]);
  a.setPeers([record("b", "http://b"), record("c", "http://c")]);
  await net.tick();
  a.setPeers([record("c", "http://c")]);
  await net.tick();
  assert.equal(a.isSettled, true);
  net.hosts.set("b", () => {});
  const dials = net.dialed.length;
  a.setPeers([record("b", "http://b"), record("c", "http://c")]);
  assert.equal(stateOf(a, "b"), "down");
  assert.equal(net.dialed.length, dials + 1);
  await settle();
  assert.equal(a.isSettled, true);
  for (
    const ask of [() => getFrom(a.peer("b")!, "dict", "x", patient), () => a.peer("b")!.peek!("dict", "x", patient)]
  ) {
    const startMs = net.clock.nowMs();
    await assert.rejects(ask(), PeerError);
    assert.equal(net.clock.nowMs(), startMs);
  }
  net.hosts.set("b", b);
  await net.clock.advance(10_000);
  await net.tick();
  assert.equal(stateOf(a, "b"), "open");
  a.setPeers([record("c", "http://c")]);
  a.setPeers([record("b", "http://b", "02-b"), record("c", "http://c")]);
  assert.equal(stateOf(a, "b"), "connecting");
});

test("the hub tells when a peer is reached: at each connection, and when it says that it does not list this node", async (defer) => {
  const net = new MemoryNetwork();
  const reached: string[] = [];
  const a = net.hub("a", { onReached: ({ name }) => reached.push(name) });
  defer(() => a.close());
  const b = net.hub("b");
  defer(() => b.close());
  a.setPeers([record("b", "http://b"), record("c", "http://c")]);
  await net.clock.advance(3_000);
  assert.deepEqual(reached, ["b"], "it does not list this node");
  b.setPeers([record("a", "http://a")]);
  await net.clock.advance(3_000);
  await net.tick();
  assert.equal(stateOf(a, "b"), "open");
  assert.deepEqual(reached, ["b", "b"]);
});

test("a node that leaves does not wait for a peer whose connection is lost meanwhile", async (defer) => {
  const { net, a, b } = pair(defer);
  await net.tick();
  const ask = assert.rejects(getFrom(a.peer("b")!, "dict", "x", { signal: never, timeoutMs: 60_000 }), PeerError);
  await net.tick();
  const drained = b.drain();
  net.dialed[0]!.other.lose("cable cut");
  await drained;
  net.dialed[0]!.lose("cable cut");
  await ask;
});

test("a node that leaves sends the replies that wait behind a full socket, and then ends", async (defer) => {
  const limits = { socketBytes: 10_000, batchBytes: 1_000 };
  const { net, a, b, incoming } = pair(defer, { limits });
  await net.tick();
  const far = net.dialed[0]!.other;
  far.stalled = true;
  const long = { signal: never, timeoutMs: 60_000 };
  const asks = [1, 2, 3].map(() => getFrom(a.peer("b")!, "dict", "x", long));
  const none = assert.rejects(getFrom(a.peer("b")!, "dict", "y", long), NotFoundError);
  await net.tick();
  const value = valueOf(new Uint8Array(20_000));
  for (const one of incoming.slice(0, 3)) one.resolve(value);
  await net.tick();
  incoming[3]!.reject(new NotFoundError("no y"));
  await net.tick();
  let isDrained = false;
  const drained = b.drain().then(() => isDrained = true);
  await net.clock.advance(10);
  assert.equal(isDrained, false);
  for (let i = 0; i < 5; i++) {
    far.deliver();
    far.stalled = true;
    await net.clock.advance(4);
  }
  await drained;
  far.deliver();
  assert.deepEqual((await Promise.all(asks)).map(({ body }) => body.length), [20_000, 20_000, 20_000]);
  await none;
});

test("a value that waits behind a full socket is not sent when its asker has gone away", async (defer) => {
  const limits = { socketBytes: 10_000, batchBytes: 1_000 };
  const value = valueOf(new Uint8Array(20_000));
  const { net, a, b } = pair(defer, { limits, serve: () => value });
  await net.tick();
  const far = net.dialed[0]!.other;
  far.stalled = true;
  const leaver = new AbortController();
  const options = { signal: leaver.signal, timeoutMs: 60_000 };
  const gone = [1, 2, 3].map(() => assert.rejects(getFrom(a.peer("b")!, "dict", "x", options), /bored/));
  await net.tick();
  assert.equal(b.stats()[0]!.servedInFlight, 2);
  leaver.abort(new Error("bored"));
  await Promise.all(gone);
  await net.tick();
  assert.equal(b.stats()[0]!.servedInFlight, 0);
});
