import assert from "node:assert/strict";
import { BLIND } from "../../lib/core/invalidation/label.ts";
import { PeerError } from "../../lib/core/errors.ts";
import { FrameWriter } from "../../lib/peer/wire/writer.ts";
import { MessageType, PROTOCOL, type ProtocolRange } from "../../lib/peer/wire/frames.ts";
import { type Greeting, isRefusal, readAnswer, readHello, type Self } from "../../lib/peer/wire/greeting.ts";
import type { PeerHub } from "../../lib/peer/hub.ts";
import type { Link } from "../../lib/peer/link.ts";
import { CHALLENGE, CLAIM, PROOF } from "../../lib/peer/proof/fields.ts";
import { Introduction } from "../../lib/peer/proof/introduction.ts";
import { identityOf, verifyAtOnce } from "../support/identity.ts";
import { MemoryLog } from "../support/log.ts";
import { type Defer, test } from "../support/test.ts";
import { settle } from "../support/clock.ts";
import { getFrom, type HubOptions, MemoryNetwork, type MemorySocket, socketPair } from "./memory.ts";
import { record, valueOf } from "./support.ts";

const HELLO: Greeting = {
  protocol: PROTOCOL,
  name: "a",
  incarnation: "01-a",
  expects: "01-b",
  groups: [{ id: 0, name: "dict", revision: 1 }],
};

const stateOf = (hub: PeerHub, name: string) => hub.stats().find((link) => link.name === name)?.state;
const patient = { signal: new AbortController().signal, timeoutMs: 60_000 };

/** Two hubs that do not list each other yet. */
function strangers(defer: Defer, optionsOfA: HubOptions = {}, optionsOfB: HubOptions = {}) {
  const net = new MemoryNetwork();
  const a = net.hub("a", optionsOfA);
  const b = net.hub("b", optionsOfB);
  defer(() => a.close());
  defer(() => b.close());
  return { net, a, b };
}

/** Connects to a hub, as one that has proved to be `who` can. */
function knock(hub: PeerHub, who: Self = HELLO): MemorySocket {
  const [near, far] = socketPair();
  hub.accept(far, who);
  return near;
}

function say(socket: MemorySocket, json: unknown, type: number = MessageType.hello): void {
  const writer = new FrameWriter();
  writer.greeting(type, json);
  socket.send(writer.take());
}

/** The hub's answer to a hello: `welcome`, or the code of its refusal. */
function answerTo(socket: MemorySocket): string {
  const frame = socket.other.frames[0];
  if (frame === undefined) return "nothing";
  const answer = readAnswer(frame, PROTOCOL);
  return isRefusal(answer) ? answer.code : "welcome";
}

/** One that wants to be `who`, with the key of `signer`. Resolves to whom the hub admits, or to nothing. */
async function approach(hub: PeerHub, who: Self, signer: Self = who): Promise<Self | undefined> {
  const prover = { self: who, identity: identityOf(signer), verify: verifyAtOnce };
  const introduction = new Introduction(prover, record("b"));
  const challenge = await hub.challenge(new Headers({ [CLAIM]: introduction.claim }));
  const proof = await introduction.answer(challenge[CHALLENGE]);
  return await hub.admit(new Headers({ [PROOF]: proof! }));
}

test("each greeting has 2,048 bytes at least, so that no path for small packets alone ever opens", async (defer) => {
  const { net, a, b } = strangers(defer);
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  await net.tick();
  const socket = net.dialed.at(-1)!;
  for (const frames of [socket.frames, socket.other.frames]) assert.ok(frames[0]!.byteLength >= 2_048);
  const hello = readHello(socket.frames[0], PROTOCOL);
  assert.ok(!isRefusal(hello));
  assert.equal("unused" in hello, false);
});

test("a hello from the roster is welcomed, and each breach is refused with its reason and closed", async (defer) => {
  const net = new MemoryNetwork();
  const b = net.hub("b");
  defer(() => b.close());
  b.setPeers([record("a"), record("c")]);
  const cases: [unknown, string][] = [
    [HELLO, "welcome"],
    [{ ...HELLO, aFieldOfALaterRelease: { x: 1 } }, "welcome"],
    [
      { ...HELLO, groups: [{ id: 3, name: "dict", revision: 1, weight: 2 }, { id: 9, name: "wn", revision: 1 }] },
      "welcome",
    ],
    [{ ...HELLO, protocol: { min: PROTOCOL.max, max: 99 } }, "welcome"],
    [{ ...HELLO, protocol: { min: PROTOCOL.max + 1, max: 99 }, name: 7 }, "protocol"],
    [{ ...HELLO, protocol: 1, groups: [{ name: "dict", revision: 1 }] }, "protocol"],
    [{ ...HELLO, protocol: 2 }, "protocol"],
    [{ ...HELLO, protocol: { min: 3, max: 3 } }, "protocol"],
    [{ ...HELLO, protocol: { min: 4, max: 3 } }, "malformed"],
    [{ ...HELLO, protocol: { min: 0, max: 2 } }, "malformed"],
    [{ ...HELLO, protocol: { min: 2 } }, "malformed"],
    [{ ...HELLO, protocol: "2" }, "malformed"],
    [{ ...HELLO, expects: "01-an-earlier-life" }, "incarnation"],
    [{ ...HELLO, incarnation: "00-an-earlier-life" }, "outlived"],
    [{ ...HELLO, name: "c", incarnation: "01-c" }, "direction"],
    [{ ...HELLO, name: "nobody" }, "stranger"],
    [{ ...HELLO, groups: "dict" }, "malformed"],
    [{ ...HELLO, groups: [{ id: 0, name: "dict", revision: -1 }] }, "malformed"],
    [{ ...HELLO, groups: [{ name: "dict", revision: 1 }] }, "malformed"],
    [{ ...HELLO, groups: [{ id: 65_536, name: "dict", revision: 1 }] }, "malformed"],
    [{ ...HELLO, groups: [{ id: 1, name: "dict", revision: 1 }, { id: 1, name: "wn", revision: 1 }] }, "malformed"],
    [{ ...HELLO, groups: [{ id: 1, name: "dict", revision: 1 }, { id: 2, name: "dict", revision: 1 }] }, "malformed"],
    ["hello", "malformed"],
    [null, "malformed"],
  ];
  for (const [hello, expected] of cases) {
    const socket = knock(b, { ...HELLO, ...hello as Self });
    say(socket, hello);
    await net.tick();
    assert.equal(answerTo(socket), expected, JSON.stringify(hello));
    assert.equal(socket.closedWith !== undefined, expected !== "welcome");
  }
});

/** Two hubs of two releases that list each other. */
async function releases(defer: Defer, rangeOfA: ProtocolRange, rangeOfB: ProtocolRange) {
  const [logA, logB] = [new MemoryLog(), new MemoryLog()];
  const { net, a, b } = strangers(defer, { protocol: rangeOfA, log: logA }, {
    protocol: rangeOfB,
    log: logB,
    serve: (_, key) => valueOf(new Uint8Array(1), { contentType: key }),
  });
  b.setPeers([record("a", "http://a")]);
  a.setPeers([record("b", "http://b")]);
  await net.tick();
  return { net, a, b, logA, logB };
}

test("two releases speak the newest version that both know", async (defer) => {
  const cases: [ProtocolRange, ProtocolRange, number][] = [
    [{ min: 2, max: 2 }, { min: 2, max: 2 }, 2],
    [{ min: 2, max: 3 }, { min: 2, max: 2 }, 2],
    [{ min: 2, max: 2 }, { min: 2, max: 3 }, 2],
    [{ min: 2, max: 5 }, { min: 3, max: 4 }, 4],
    [{ min: 2, max: 3 }, { min: 3, max: 7 }, 3],
  ];
  for (const [rangeOfA, rangeOfB, expected] of cases) {
    const { net, a, b } = await releases(defer, rangeOfA, rangeOfB);
    const versionOf = (hub: PeerHub, name: string) => (hub.link(name) as Link).channel?.version;
    assert.deepEqual([versionOf(a, "b"), versionOf(b, "a")], [expected, expected]);
    const got = getFrom(a.peer("b")!, "dict", "x", patient);
    await net.tick();
    assert.equal((await got).contentType, "x");
  }
});

test("two releases without a common version refuse each other, and say which versions each speaks", async (defer) => {
  const cases: [ProtocolRange, ProtocolRange][] = [
    [{ min: 2, max: 2 }, { min: 3, max: 4 }],
    [{ min: 3, max: 4 }, { min: 2, max: 2 }],
  ];
  for (const [rangeOfA, rangeOfB] of cases) {
    const { a, b, logA, logB } = await releases(defer, rangeOfA, rangeOfB);
    assert.equal(stateOf(a, "b"), "down");
    assert.notEqual(stateOf(b, "a"), "open");
    assert.match(logA.lines[0]!, /^warn cannot connect to peer b: protocol: /);
    assert.match(logB.lines[0]!, /^warn refused a connection from a: protocol: /);
    for (const { lines } of [logA, logB]) {
      assert.equal(lines.length, 1);
      assert.match(lines[0]!, /2 to 2/);
      assert.match(lines[0]!, /3 to 4/);
    }
  }
});

test("a peer of protocol 1 is refused with the versions of both", async (defer) => {
  const net = new MemoryNetwork();
  const log = new MemoryLog();
  const b = net.hub("b", { log });
  defer(() => b.close());
  b.setPeers([record("a")]);
  const old = knock(b);
  say(old, { ...HELLO, protocol: 1, groups: [{ name: "dict", revision: 1 }] });
  await net.tick();
  assert.deepEqual(readAnswer(old.other.frames[0], PROTOCOL), {
    code: "protocol",
    detail: "one end speaks protocol 4 to 5, the other 1 to 1",
  });
  assert.match(log.lines[0]!, /protocol: one end speaks protocol 4 to 5, the other 1 to 1/);
});

test("strangers with ever new names cannot fill the log, and are logged again later", async (defer) => {
  const net = new MemoryNetwork();
  const log = new MemoryLog();
  const b = net.hub("b", { log, limits: { strangers: 10_000 } });
  defer(() => b.close());
  const flood = async (prefix: string) => {
    const refused = Promise.all(
      Array.from({ length: 1_000 }, (_, i) => approach(b, { ...HELLO, name: `${prefix}-${i}` })),
    );
    await settle(50);
    await net.clock.advance(5_000);
    assert.ok((await refused).every((admitted) => admitted === undefined));
  };
  await flood("first");
  assert.equal(log.lines.length, 256);
  await flood("second");
  assert.equal(log.lines.length, 256);
  await net.clock.advance(600_000);
  await flood("third");
  assert.equal(log.lines.length, 512);
});

test("the first frame must be a hello, and come in time", async (defer) => {
  const net = new MemoryNetwork();
  const b = net.hub("b");
  defer(() => b.close());
  b.setPeers([record("a")]);
  const writer = new FrameWriter();
  writer.get(1, 0, 1_000, BLIND, "x");
  const eager = knock(b);
  eager.send(writer.take());
  const confused = knock(b);
  say(confused, HELLO, MessageType.welcome);
  const random = knock(b);
  random.send(new Uint8Array([1, 2, 3]));
  const silent = knock(b);
  await net.tick();
  assert.deepEqual([eager, confused, random].map(answerTo), ["malformed", "malformed", "malformed"]);
  assert.equal(silent.closedWith, undefined);
  await net.clock.advance(5_000);
  assert.match(silent.closedWith!.reason, /no hello in time/);
});

test("a joiner that dials before the roster tells of it is held, and welcomed when the roster does", async (defer) => {
  const { net, a, b } = strangers(defer);
  a.setPeers([record("b", "http://b")]);
  await net.tick();
  await net.clock.advance(1_500);
  assert.equal(stateOf(a, "b"), "down");
  b.setPeers([record("A")]);
  b.setPeers([record("a", "http://a"), record("A")]);
  await net.tick();
  assert.deepEqual([stateOf(a, "b"), stateOf(b, "a")], ["open", "open"]);
  assert.equal(net.dialed.length, 1);
});

test("a held hello is refused after a bounded time, said once, and tried again with growing delays", async (defer) => {
  const [logA, logB] = [new MemoryLog(), new MemoryLog()];
  const { net, a } = strangers(defer, { log: logA }, { log: logB });
  a.setPeers([record("b", "http://b")]);
  await net.clock.advance(20_000);
  assert.ok(net.dialed.length > 3);
  const warnings = (log: MemoryLog) => log.lines.filter((line) => line.startsWith("warn"));
  assert.equal(warnings(logA).length, 1);
  assert.match(warnings(logA)[0]!, /cannot connect to peer b: stranger/);
  assert.equal(warnings(logB).length, 1);
  assert.match(warnings(logB)[0]!, /refused a connection from a: stranger/);
});

test("strangers wait in a bounded number, and the oldest gives way to the newest", async (defer) => {
  const net = new MemoryNetwork();
  const b = net.hub("b", { limits: { strangers: 4 } });
  defer(() => b.close());
  const over: number[] = [];
  for (let i = 0; i < 10; i++) void approach(b, { ...HELLO, name: `x${i}` }).then(() => over.push(i));
  await net.tick();
  assert.deepEqual(over, [0, 1, 2, 3, 4, 5]);
  b.setPeers([record("a")]);
  assert.equal((await approach(b, HELLO))?.name, "a");
  await net.clock.advance(2_000);
  assert.deepEqual(over, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

test("peers without a hello hold a bounded number of sockets, and the oldest gives way to the newest", (defer) => {
  const net = new MemoryNetwork();
  const b = net.hub("b", { limits: { strangers: 4 } });
  defer(() => b.close());
  b.setPeers([record("a")]);
  const sockets = Array.from({ length: 10 }, () => knock(b));
  assert.deepEqual(sockets.map(({ other }) => other.closedWith === undefined), [
    ...new Array(6).fill(false),
    ...new Array(4).fill(true),
  ]);
});

test("a second connection of the same peer replaces the first, which may be half dead", async (defer) => {
  const net = new MemoryNetwork();
  const b = net.hub("b");
  defer(() => b.close());
  b.setPeers([record("a")]);
  const first = knock(b);
  say(first, HELLO);
  await net.tick();
  const ask = assert.rejects(getFrom(b.peer("a")!, "dict", "x", patient), PeerError);
  const second = knock(b);
  say(second, HELLO);
  await net.tick();
  await ask;
  assert.match(first.closedWith!.reason, /replaced/);
  assert.equal(second.closedWith, undefined);
  assert.equal(stateOf(b, "a"), "open");
});

test("a second greeting on an open connection closes it", async (defer) => {
  const net = new MemoryNetwork();
  const b = net.hub("b");
  defer(() => b.close());
  b.setPeers([record("a")]);
  const socket = knock(b);
  say(socket, HELLO);
  await net.tick();
  say(socket, HELLO);
  await net.tick();
  assert.match(socket.closedWith!.reason, /second greeting/);
});

test("a new life or another address of a peer replaces its link; its state, weight and zone do not", async (defer) => {
  const { net, a, b } = strangers(defer);
  b.setPeers([record("a", "http://a")]);
  a.setPeers([record("b", "http://b")]);
  await net.tick();
  const link = a.peer("b");
  a.setPeers([{ ...record("b", "http://b"), state: "draining", weight: 7, zone: "z" }]);
  assert.equal(a.peer("b"), link);
  const lost = assert.rejects(getFrom(link!, "dict", "x", patient), PeerError);
  a.setPeers([record("b", "http://b", "02-b")]);
  await lost;
  assert.notEqual(a.peer("b"), link);
  await net.tick();
  // The node at that address is still the earlier life, not the peer that is meant.
  assert.equal(stateOf(a, "b"), "down");
  const later = net.hub("b", { self: { name: "b", incarnation: "02-b" } });
  defer(() => later.close());
  later.setPeers([record("a", "http://a")]);
  await net.clock.advance(50);
  await net.tick();
  assert.equal(stateOf(a, "b"), "open");
  a.setPeers([record("b", "http://nowhere", "02-b")]);
  await net.tick();
  assert.equal(stateOf(a, "b"), "down");
});

test("an impostor that welcomes under another name or life is refused", async (defer) => {
  for (
    const wrong of [{ name: "x" }, { incarnation: "00-b" }, { expects: "00-a" }, { protocol: 1 }, {
      protocol: { min: 1, max: 1 },
    }]
  ) {
    const net = new MemoryNetwork();
    const a = net.hub("a");
    defer(() => a.close());
    net.hosts.set("b", (socket) => {
      const welcome = { ...HELLO, name: "b", incarnation: "01-b", expects: "01-a", ...wrong };
      socket.handler = {
        opened() {},
        received: () => say(socket, welcome, MessageType.welcome),
        closed() {},
      };
    });
    a.setPeers([record("b", "http://b")]);
    await net.tick();
    assert.equal(stateOf(a, "b"), "down", JSON.stringify(wrong));
    assert.notEqual(net.dialed[0]!.closedWith, undefined);
  }
});

test("hostile URLs in the roster cost one warning each and nothing else", async (defer) => {
  const net = new MemoryNetwork();
  const log = new MemoryLog();
  const a = net.hub("a", { log });
  defer(() => a.close());
  a.setPeers([record("b", "nonsense"), record("c", "javascript:alert(1)"), record("d", "")]);
  await net.clock.advance(5_000);
  assert.deepEqual(a.stats().map(({ state }) => state), ["down", "down", "down"]);
  assert.equal(log.lines.filter((line) => line.startsWith("warn")).length, 3);
});

test("a hub with more groups than a hello can hold is refused when it is made", () => {
  const groups = Array.from({ length: 500 }, (_, i) => `group-${i}`);
  assert.throws(() => new MemoryNetwork().hub("a", { groups }), RangeError);
});

test("a node that waits in vain to be dialed says hello, so that a peer with an old roster reads it again", async (defer) => {
  let askedAtMs: number[] = [];
  const log = new MemoryLog();
  const { net, a, b } = strangers(defer, { onUnlisted: () => askedAtMs.push(net.clock.nowMs()) }, { log });
  const startMs = net.clock.nowMs();
  b.setPeers([record("a", "http://a")]);
  await net.clock.advance(249);
  assert.equal(net.dialed.length, 0, "the other end is to dial");
  await net.clock.advance(1);
  assert.equal(net.dialed.length, 1);
  await net.clock.advance(750);
  assert.deepEqual(askedAtMs.map((atMs) => atMs - startMs), [500, 750, 1_000], "as long as the hello is held");
  a.setPeers([record("b", "http://b")]);
  await net.tick();
  assert.deepEqual([stateOf(a, "b"), stateOf(b, "a")], ["open", "open"]);
  assert.equal(net.dialed.length, 2, "the peer dials as soon as it knows");
  askedAtMs = [];
  await net.clock.advance(10_000);
  assert.deepEqual(askedAtMs, []);
  assert.equal(net.dialed.length, 2);
  assert.deepEqual(log.lines.filter((line) => line.startsWith("warn")), []);
});

test("a peer that does not know this node yet is alive to a probe, until it is lost", async (defer) => {
  const { net, a, b } = strangers(defer);
  a.setPeers([record("b", "http://b")]);
  const probe = () => a.link("b")!.probe({ timeoutMs: 250 });
  const early = assert.rejects(probe(), /not connected in time/);
  await net.clock.advance(250);
  await early;
  // Its hello was held, refused after 2 s, and is held again.
  await net.clock.advance(2_000);
  assert.equal(stateOf(a, "b"), "down", "gets go past it");
  await probe();
  await net.clock.advance(5_000);
  await probe();
  net.hosts.delete("b");
  b.close();
  await net.clock.advance(50);
  await assert.rejects(probe(), PeerError);
});

test("a node that was replaced by a later life of its own is refused, and does not dial in a tight loop", async (defer) => {
  const { net, a, b } = strangers(defer);
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a", "02-a")]);
  await net.clock.advance(10_000);
  assert.ok(net.dialed.length > 3 && net.dialed.length <= 25, `${net.dialed.length} dials`);
});

test("a joiner is connecting until a peer that does not list it yet has heard of it, within a bound", async (defer) => {
  for (const [self, peer] of [["a", "b"], ["b", "a"]] as const) {
    const net = new MemoryNetwork();
    const joiner = net.hub(self, { limits: { unknownMs: 10_000, firstOpenMs: 3_000 } });
    const blind = net.hub(peer);
    defer(() => joiner.close());
    defer(() => blind.close());
    joiner.setPeers([record(peer, `http://${peer}`)]);
    await net.clock.advance(9_999);
    assert.equal(joiner.isSettled, false, self);
    await net.clock.advance(1);
    assert.equal(joiner.isSettled, true, self);
    assert.notEqual(stateOf(joiner, peer), "open");
    const prompt = net.hub(self, { self: { name: self, incarnation: "02" } });
    defer(() => prompt.close());
    prompt.setPeers([record(peer, `http://${peer}`)]);
    await net.clock.advance(5_000);
    assert.equal(prompt.isSettled, false);
    blind.setPeers([record(self, `http://${self}`, "02")]);
    await net.tick();
    assert.equal(prompt.isSettled, true);
    assert.equal(stateOf(prompt, peer), "open");
  }
});

test("peeks do not wait for a peer that has not listed this node for long, until it is connected", async (defer) => {
  const { net, a, b } = strangers(defer, { limits: { unknownMs: 5_000 } });
  a.setPeers([record("b", "http://b")]);
  const peek = () => a.peer("b")!.peek("dict", "x", { signal: patient.signal, timeoutMs: 2_000 });
  const early = assert.rejects(peek(), /not connected in time/);
  await net.clock.advance(2_000);
  await early;
  await net.clock.advance(8_000);
  await assert.rejects(peek(), /down/);
  b.setPeers([record("a", "http://a")]);
  await net.clock.advance(2_000);
  await net.tick();
  assert.equal(stateOf(a, "b"), "open");
  const late = peek();
  await net.tick();
  assert.equal(await late, undefined);
});
