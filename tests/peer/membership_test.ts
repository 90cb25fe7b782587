/** Probes, indirect probes, peeks and pushes: asks about nodes, and about the values that they hold. */
import assert from "node:assert/strict";
import { NotFoundError, OriginTimeoutError, OverloadedError, PeerError } from "../../lib/core/errors.ts";
import { BLIND } from "../../lib/core/invalidation/label.ts";
import type { Suspect } from "../../lib/core/liveness/liveness.ts";
import type { AskOptions, Entry } from "../../lib/core/ports.ts";
import type { Value } from "../../lib/core/value.ts";
import { FrameWriter } from "../../lib/peer/wire/writer.ts";
import { MAX_BODY_BYTES } from "../../lib/core/base/limits.ts";
import { MessageType, PROTOCOL } from "../../lib/peer/wire/frames.ts";
import type { PeerHub } from "../../lib/peer/hub.ts";
import type { Link } from "../../lib/peer/link.ts";
import type { PeerService } from "../../lib/peer/service.ts";
import { settle } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { type Defer, test } from "../support/test.ts";
import { getBy, getFrom, type HubOptions, MemoryNetwork, socketPair } from "./memory.ts";
import { record, valueOf } from "./support.ts";

const never = new AbortController().signal;
const patient = { signal: never, timeoutMs: 1_000 };
const draining = { state: "draining" } as const;

const text = (body: string, bornAtMs = 0, freshUntilMs = Infinity) => valueOf(body, { bornAtMs, freshUntilMs });
const bodyOf = (value: Value | undefined) => value && new TextDecoder().decode(value.body);
const stateOf = (hub: PeerHub, name: string) => hub.stats().find((link) => link.name === name)?.state;
const noLoad = () => assert.fail("nothing is to be loaded");

/** Two hubs that list each other, `b` with the service of the test. The dial is not delivered yet. */
function pair(defer: Defer, service: Partial<PeerService> = {}, options: HubOptions = {}) {
  const net = new MemoryNetwork();
  const a = net.hub("a", options);
  const b = net.hub("b", { ...options, service: { get: noLoad, ...service } });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("a", "http://a"), record("b", "http://b")]);
  b.setPeers([record("a", "http://a"), record("b", "http://b")]);
  return { net, a, b };
}

/** A service method whose calls the test answers by hand. */
function byHand<Args extends unknown[], Result>() {
  const calls: { args: Args; resolve: (result: Result) => void; reject: (error: unknown) => void }[] = [];
  const method = (...args: Args) => new Promise<Result>((resolve, reject) => calls.push({ args, resolve, reject }));
  return { calls, method };
}

test("a peek brings a value in memory, a value that is being loaded, or nothing, and starts no load", async (defer) => {
  const { calls, method } = byHand<[string, string, AskOptions], Value | undefined>();
  const { net, a } = pair(defer, {
    peek: (group, key, options) =>
      key === "held"
        ? text("held", net.clock.nowMs() - 40, net.clock.nowMs() + 60)
        : key === "none"
        ? undefined
        : method(group, key, options),
  });
  await net.tick();
  const peeks = ["held", "none", "coming", "gone"].map((key) => a.peer("b")!.peek("dict", key, patient));
  await net.tick();
  calls[0]!.resolve(text("came"));
  calls[1]!.resolve(undefined);
  await net.tick();
  const found = await Promise.all(peeks);
  assert.deepEqual(found.map(bodyOf), ["held", undefined, "came", undefined]);
  assert.equal(found[0]!.bornAtMs, net.clock.nowMs() - 40);
  assert.equal(found[0]!.freshUntilMs, net.clock.nowMs() + 60);
  assert.equal(a.stats()[0]!.asked, 4);
});

test("a peek that fails says nothing about the key, whatever the error: the asker goes on by itself", async (defer) => {
  const log = new MemoryLog();
  const errors = [
    new NotFoundError("x"),
    new OriginTimeoutError("x"),
    new OverloadedError("x"),
    new TypeError("secret"),
  ];
  const { net, a } = pair(defer, {
    peek(_, key) {
      if (Number(key) % 2 === 0) throw errors[Number(key)];
      return Promise.reject(errors[Number(key)]);
    },
  }, { log });
  await net.tick();
  const peeks = errors.map((_, i) => assert.rejects(a.peer("b")!.peek("dict", `${i}`, patient), PeerError));
  await net.tick();
  await Promise.all(peeks);
  assert.equal(log.lines.filter((line) => line.startsWith("error") && line.includes("secret")).length, 1);
});

test("an overdue peek finds nothing, in time, and an abandoned peek is aborted at the peer", async (defer) => {
  const { calls, method } = byHand<[string, string, AskOptions], Value | undefined>();
  const { net, a, b } = pair(defer, { peek: method });
  await net.tick();
  const leaver = new AbortController();
  const overdue = a.peer("b")!.peek("dict", "x", patient);
  const gone = assert.rejects(a.peer("b")!.peek("dict", "x", { signal: leaver.signal, timeoutMs: 1_000 }), /bored/);
  await net.tick();
  leaver.abort(new Error("bored"));
  await gone;
  await net.tick();
  assert.deepEqual(calls.map(({ args }) => args[2].signal.aborted), [false, true]);
  await net.clock.advance(900);
  await net.tick();
  assert.equal(await overdue, undefined);
  assert.equal(calls[0]!.args[2].signal.aborted, true);
  assert.equal(b.stats()[0]!.servedInFlight, 0);
});

test("peeks count among the asks of the asker and the work of the peer, and are refused beyond it", async (defer) => {
  const limits = { asksInFlight: 2 };
  const { calls, method } = byHand<[string, string, AskOptions], Value | undefined>();
  const { net, a } = pair(defer, { peek: method }, { limits });
  await net.tick();
  const peeks = [1, 2].map(() => a.peer("b")!.peek("dict", "x", patient));
  await assert.rejects(a.peer("b")!.peek("dict", "x", patient), PeerError);
  await assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), OverloadedError);
  await net.tick();
  assert.equal(a.stats()[0]!.asksInFlight, 2);
  for (const { resolve } of calls) resolve(undefined);
  await net.tick();
  await Promise.all(peeks);
  const busy = pair(defer, { peek: method }, { limits: { incomingInFlight: 1 } });
  await busy.net.tick();
  const first = busy.a.peer("b")!.peek("dict", "x", patient);
  const second = assert.rejects(busy.a.peer("b")!.peek("dict", "x", patient), PeerError);
  await busy.net.tick();
  await second;
  calls[2]!.resolve(text("first"));
  await busy.net.tick();
  assert.equal(bodyOf(await first), "first");
});

test("pushed entries keep their age and the rest of their lifetime, on the receiver's clock", async (defer) => {
  const taken: { group: string; entries: readonly Entry[]; from: string; isWritten: boolean }[] = [];
  const { net, a } = pair(defer, {
    push: (group, entries, from, isWritten) => {
      taken.push({ group, entries, from, isWritten });
      return entries.length - 1;
    },
  });
  await net.tick();
  const nowMs = net.clock.nowMs();
  const entries = [
    { key: "x", value: text("1", nowMs - 500, nowMs + 1_500) },
    { key: "ü", value: text("22", nowMs - 7) },
    { key: "z", value: text("", nowMs - 9_000, nowMs - 1) },
  ];
  const push = a.peer("b")!.push("dict", entries, patient);
  await net.tick();
  assert.equal(await push, 2);
  assert.equal(taken.length, 1);
  assert.deepEqual([taken[0]!.group, taken[0]!.from, taken[0]!.isWritten], ["dict", "a", false]);
  assert.deepEqual(taken[0]!.entries[0], entries[0]);
  assert.deepEqual(taken[0]!.entries[1], entries[1]);
  assert.deepEqual(taken[0]!.entries[2], entries[2], "stale by 1 ms");
  const frames = net.dialed[0]!.frames.length;
  assert.equal(await a.peer("b")!.push("dict", [], patient), 0);
  await net.tick();
  assert.equal(net.dialed[0]!.frames.length, frames, "a push of nothing says nothing");
  const written = [true, false].map((isWritten) => a.peer("b")!.push("dict", entries, { ...patient, isWritten }));
  await net.tick();
  assert.deepEqual(await Promise.all(written), [2, 2]);
  assert.deepEqual(taken.map(({ isWritten }) => isWritten), [false, true, false]);
});

test("a push that fails at its receiver, or names a group it does not serve, falls back; a push too large is refused here", async (defer) => {
  const net = new MemoryNetwork();
  const log = new MemoryLog();
  const a = net.hub("a", { groups: ["other", "dict"] });
  const b = net.hub("b", {
    log,
    service: {
      get: noLoad,
      push: () => {
        throw new TypeError("broken");
      },
    },
  });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  await net.tick();
  const entries = [{ key: "x", value: text("1") }];
  const failed = assert.rejects(a.peer("b")!.push("dict", entries, patient), PeerError);
  const unknown = assert.rejects(a.peer("b")!.push("other", entries, patient), PeerError);
  const unknownPeek = assert.rejects(a.peer("b")!.peek("other", "x", patient), PeerError);
  await net.tick();
  await Promise.all([failed, unknown, unknownPeek]);
  assert.ok(log.lines.some((line) => line.startsWith("error") && line.includes("broken")));
  await assert.rejects(a.peer("b")!.push("nobody's", entries, patient), PeerError);
  await assert.rejects(a.peer("b")!.push("dict", new Array(4_097).fill(entries[0]), patient), RangeError);
  assert.equal(stateOf(a, "b"), "open");
});

test("an entry that no frame can hold is left out of a push, and does not spoil it for the others", async (defer) => {
  const taken: string[] = [];
  const { net, a } = pair(defer, { push: (_, entries) => taken.push(...entries.map(({ key }) => key)) });
  await net.tick();
  const huge = { ...text(""), body: new Uint8Array(MAX_BODY_BYTES + 1) };
  const odd = { ...text(""), contentType: "ü".repeat(513) };
  const entries = [
    { key: "x", value: text("1") },
    { key: "huge", value: huge },
    { key: "odd", value: odd },
    { key: "y", value: { ...text("2"), contentType: "c".repeat(1_024) } },
  ];
  const push = a.peer("b")!.push("dict", entries, patient);
  await net.tick();
  assert.equal(await push, 2);
  assert.deepEqual(taken, ["x", "y"]);
  assert.equal(await a.peer("b")!.push("dict", [{ key: "huge", value: huge }], patient), 0);
});

test("a node without the service replies nothing, none and no", async (defer) => {
  const { net, a } = pair(defer);
  await net.tick();
  const link = a.link("b")!;
  const answers = Promise.all([
    a.peer("b")!.peek("dict", "x", patient),
    a.peer("b")!.push("dict", [{ key: "x", value: text("1") }], patient),
    link.probeIndirectly({ name: "c", incarnation: "01-c" }, patient),
    link.probe(patient),
  ]);
  await net.tick();
  assert.deepEqual(await answers, [undefined, 0, false, undefined]);
});

test("an indirect probe does not wait for a link that is not open; peeks and pushes wait for a peer that is new", async (defer) => {
  const net = new MemoryNetwork();
  const b = net.hub("b");
  defer(() => b.close());
  // It accepts and says nothing.
  net.hosts.set("a", () => {});
  b.setPeers([record("a", "http://a")]);
  const brief = { ...patient, timeoutMs: 250 };
  const entries = [{ key: "x", value: text("1") }];
  for (const expected of ["connecting", "connecting", "connecting", "connecting", "down"]) {
    assert.equal(stateOf(b, "a"), expected);
    await assert.rejects(b.link("a")!.probeIndirectly({ name: "c", incarnation: "01-c" }, patient), PeerError);
    const asked = [
      assert.rejects(b.peer("a")!.peek("dict", "x", brief), /not connected in time/),
      assert.rejects(b.peer("a")!.push("dict", entries, brief), /not connected in time/),
    ];
    await net.clock.advance(250);
    await Promise.all(asked);
  }
  net.dialed[0]!.lose("cable cut");
  await assert.rejects(b.peer("a")!.peek("dict", "x", patient), /down: .*cable cut/);
  await assert.rejects(b.peer("a")!.push("dict", entries, patient), /down: .*cable cut/);
});

test("a joiner finds its values though its links are still opening", async (defer) => {
  const { net, a } = pair(defer, { peek: () => text("held") });
  const peeked = a.peer("b")!.peek("dict", "x", patient);
  await net.tick();
  assert.equal(bodyOf(await peeked), "held");
});

test("a probe gets a reply from a peer that has as many asks as it may have", async (defer) => {
  const { method } = byHand<[string, string, AskOptions], Value>();
  const { net, a, b } = pair(defer, { get: getBy(method) }, { limits: { asksInFlight: 2, incomingInFlight: 2 } });
  await net.tick();
  const gets = [1, 2].map(() => assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient)));
  const probe = a.link("b")!.probe({ timeoutMs: 250 });
  await net.tick();
  await probe;
  const back = b.link("a")!.probe({ timeoutMs: 250 });
  await net.tick();
  await back;
  a.close();
  await Promise.all(gets);
});

test("probes, indirect probes and pushes in flight are bounded, apart from gets and peeks", async (defer) => {
  const { net, a } = pair(defer, {}, { limits: { membershipInFlight: 3 } });
  await net.tick();
  const link = a.link("b")!;
  const probes = Array.from({ length: 3 }, () => link.probe({ timeoutMs: 250 }));
  // It was not sent, so it says nothing about the peer.
  await assert.rejects(link.probe({ timeoutMs: 250 }), OverloadedError);
  await assert.rejects(link.probeIndirectly({ name: "c", incarnation: "01-c" }, patient), PeerError);
  await assert.rejects(a.peer("b")!.push("dict", [{ key: "x", value: text("1") }], patient), PeerError);
  const peek = a.peer("b")!.peek("dict", "x", patient);
  await net.tick();
  await Promise.all(probes);
  assert.equal(await peek, undefined);
  const again = link.probe({ timeoutMs: 250 });
  await net.tick();
  await again;
});

test("a probe fails at its time when the peer is silent, and at once when the connection is lost", async (defer) => {
  const { net, a } = pair(defer);
  await net.tick();
  net.dialed[0]!.stalled = true;
  let ended = "";
  const silent = assert.rejects(a.link("b")!.probe({ timeoutMs: 250 }), PeerError).then(() => ended = "silent");
  await net.tick();
  await net.clock.advance(237);
  assert.equal(ended, "");
  await net.clock.advance(1);
  await silent;
  const lost = assert.rejects(a.link("b")!.probe({ timeoutMs: 250 }), /lost/);
  await net.tick();
  net.dialed[0]!.lose("cable cut");
  await lost;
  await assert.rejects(a.link("b")!.probe({ timeoutMs: 250 }), /down: cable cut/);
});

test("a probe of a peer that is new waits for the connection, within its time", async (defer) => {
  const { net, a, b } = pair(defer);
  const forth = a.link("b")!.probe({ timeoutMs: 250 });
  const back = b.link("a")!.probe({ timeoutMs: 250 });
  await net.tick();
  await Promise.all([forth, back]);
  const lonely = new MemoryNetwork();
  const c = lonely.hub("c");
  defer(() => c.close());
  lonely.hosts.set("a", () => {});
  c.setPeers([record("a", "http://a")]);
  const probe = assert.rejects(c.link("a")!.probe({ timeoutMs: 250 }), PeerError);
  await lonely.clock.advance(250);
  await probe;
  assert.equal(stateOf(c, "a"), "connecting");
});

test("a probe over a link that is down dials at once, one try at a time, and not in a tight loop", async (defer) => {
  const net = new MemoryNetwork();
  const a = net.hub("a");
  defer(() => a.close());
  a.setPeers([record("b", "http://b")]);
  // The delays have grown to 2 s.
  await net.clock.advance(10_000);
  const before = net.dialed.length;
  const probe = () => assert.rejects(a.link("b")!.probe({ timeoutMs: 250 }), PeerError);
  for (let i = 0; i < 10; i++) await probe();
  assert.equal(net.dialed.length, before + 1, "the ten probes of one moment dial once");
  await settle();
  await net.clock.advance(49);
  await probe();
  assert.equal(net.dialed.length, before + 1);
  await net.clock.advance(1);
  await probe();
  assert.equal(net.dialed.length, before + 2);
  const b = net.hub("b");
  defer(() => b.close());
  b.setPeers([record("a", "http://a")]);
  await net.clock.advance(250);
  await probe();
  await net.tick();
  const answered = a.link("b")!.probe({ timeoutMs: 250 });
  await net.tick();
  await answered;
});

test("a probe starts no second try beside a hanging one, and none at the end that does not dial", async (defer) => {
  const net = new MemoryNetwork();
  const a = net.hub("a");
  defer(() => a.close());
  // It accepts and says nothing, as a stopped process does.
  net.hosts.set("b", () => {});
  a.setPeers([record("b", "http://b")]);
  await net.clock.advance(1_500);
  for (let i = 0; i < 10; i++) {
    await assert.rejects(a.link("b")!.probe({ timeoutMs: 250 }), PeerError);
    await net.clock.advance(250);
  }
  assert.equal(net.dialed.length, 1);
  const other = pair(defer);
  await other.net.tick();
  other.net.dialed[0]!.other.lose("cable cut");
  other.a.close();
  for (let i = 0; i < 10; i++) {
    await assert.rejects(other.b.link("a")!.probe({ timeoutMs: 250 }), PeerError);
    await other.net.clock.advance(250);
  }
  assert.equal(other.net.dialed.length, 1);
});

test("a probe over a connection to another life of the peer fails", async (defer) => {
  const { net, a } = pair(defer);
  await net.tick();
  const [near] = socketPair();
  const groups = [{ id: 0, name: "dict", revision: 0 }];
  const greeting = {
    protocol: PROTOCOL,
    version: PROTOCOL.max,
    name: "b",
    incarnation: "02-b",
    expects: "01-a",
    groups,
  };
  (a.link("b") as Link).open(near, greeting, { json: greeting, groups: [{ name: "dict" }] });
  await assert.rejects(a.link("b")!.probe({ timeoutMs: 250 }), /its life 02-b/);
});

test("a peer reports the result of its own probe of a suspect", async (defer) => {
  const { calls, method } = byHand<[Suspect, { timeoutMs: number }], boolean>();
  const { net, a } = pair(defer, { probeIndirectly: method });
  await net.tick();
  const suspect = { name: "c", incarnation: "01-c" };
  const probes = [1, 2].map(() => a.link("b")!.probeIndirectly(suspect, { timeoutMs: 500 }));
  await net.tick();
  assert.deepEqual(calls[0]!.args, [suspect, { timeoutMs: 450 }]);
  calls[0]!.resolve(true);
  calls[1]!.resolve(false);
  await net.tick();
  assert.deepEqual(await Promise.all(probes), [true, false]);
});

test("a peer that cannot answer in time does not call the suspect dead", async (defer) => {
  const { calls, method } = byHand<[Suspect, { timeoutMs: number }], boolean>();
  const { net, a } = pair(defer, { probeIndirectly: method });
  await net.tick();
  const suspect = { name: "c", incarnation: "01-c" };
  const ask = () => assert.rejects(a.link("b")!.probeIndirectly(suspect, { timeoutMs: 500 }), PeerError);
  const failed = ask();
  await net.tick();
  calls[0]!.reject(new PeerError("not in my roster"));
  await net.tick();
  await failed;
  const slow = assert.rejects(a.link("b")!.probeIndirectly(suspect, { timeoutMs: 500 }), /cannot tell in time/);
  await net.tick();
  await net.clock.advance(450);
  await net.tick();
  await slow;
  net.dialed[0]!.stalled = true;
  const silent = assert.rejects(a.link("b")!.probeIndirectly(suspect, { timeoutMs: 500 }), /did not answer in time/);
  await net.clock.advance(500);
  await silent;
});

test("indirect probes that a node works on are bounded, in number and in time", async (defer) => {
  const { calls, method } = byHand<[Suspect, { timeoutMs: number }], boolean>();
  const { net, a, b } = pair(defer, { probeIndirectly: method });
  await net.tick();
  const suspect = { name: "c", incarnation: "01-c" };
  const probes = Array.from({ length: 70 }, () => a.link("b")!.probeIndirectly(suspect, { timeoutMs: 86_400_000 }));
  const ends = Promise.allSettled(probes);
  await net.tick();
  assert.equal(calls.length, 64);
  assert.ok(calls.every(({ args }) => args[1].timeoutMs === 10_000));
  await net.clock.advance(10_000);
  await net.tick();
  assert.ok((await ends).every(({ status }) => status === "rejected"));
  assert.equal(b.stats()[0]!.servedInFlight, 0);
});

test("asks of a peer that is evicted fall back at once, at both ends", async (defer) => {
  const { method } = byHand<[string, string, AskOptions], Value>();
  const net = new MemoryNetwork();
  const [a, b] = [net.hub("a", { serve: method }), net.hub("b", { serve: method })];
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("b", "http://b")]);
  b.setPeers([record("a", "http://a")]);
  await net.tick();
  const asks = [
    assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), PeerError),
    assert.rejects(getFrom(b.peer("a")!, "dict", "x", patient), PeerError),
  ];
  await net.tick();
  const atMs = net.clock.nowMs();
  a.setPeers([]);
  await Promise.all(asks);
  assert.equal(net.clock.nowMs(), atMs);
  assert.equal(a.peer("b"), undefined);
  // It was alive, and puts itself back in the same life.
  a.setPeers([record("b", "http://b")]);
  await net.clock.advance(100);
  await net.tick();
  assert.deepEqual([stateOf(a, "b"), stateOf(b, "a")], ["open", "open"]);
});

test("a draining peer can be asked until its record is gone, whichever group learns of that first", async (defer) => {
  const { calls, method } = byHand<[string, string, AskOptions], Value>();
  const { net, a, b } = pair(defer, { get: getBy(method), peek: () => text("held") });
  await net.tick();
  const link = a.link("b")!;
  a.setPeers([record("b", "http://b"), { ...record("b", "http://b"), ...draining }]);
  assert.equal(a.link("b"), link);
  assert.deepEqual(a.probed(), [link]);
  assert.equal(link.record.state, "draining");
  const get = getFrom(a.peer("b")!, "dict", "x", patient);
  const peek = a.peer("b")!.peek("dict", "x", patient);
  const probe = link.probe({ timeoutMs: 250 });
  await net.tick();
  assert.equal(bodyOf(await peek), "held");
  await probe;
  a.setPeers([]);
  assert.equal(a.link("b"), undefined);
  assert.deepEqual(a.probed(), []);
  await assert.rejects(link.probe({ timeoutMs: 250 }), PeerError);
  const drained = b.drain();
  calls[0]!.resolve(text("last"));
  await net.tick();
  assert.equal(bodyOf(await get), "last");
  await drained;
});

test("a push waits behind a full socket as a reference, within a bound, and a probe there fails", async (defer) => {
  const limits = { socketBytes: 10_000, batchBytes: 1_000, pushBacklogBytes: 30_000 };
  const taken: number[] = [];
  const written: boolean[] = [];
  const push = (_: string, entries: readonly Entry[], __: string, isWritten: boolean) => {
    written.push(isWritten);
    return taken.push(entries[0]!.value.body.length) && 1;
  };
  const { net, a } = pair(defer, { push }, { limits });
  await net.tick();
  const near = net.dialed[0]!;
  near.stalled = true;
  const entries = [{ key: "x", value: { ...text(""), body: new Uint8Array(12_000) } }];
  const slow = { signal: never, timeoutMs: 60_000 };
  const pushes = [1, 2, 3].map((i) => a.peer("b")!.push("dict", entries, { ...slow, isWritten: i === 2 }));
  await assert.rejects(a.peer("b")!.push("dict", entries, slow), /full/);
  const unsendable = a.peer("b")!.push("dict", [{ key: "", value: text("") }], slow);
  const probe = assert.rejects(a.link("b")!.probe({ timeoutMs: 250 }), PeerError);
  await net.tick();
  await net.clock.advance(250);
  await probe;
  assert.ok(near.bufferedBytes < 13_000, `${near.bufferedBytes} bytes are buffered`);
  const refused = assert.rejects(unsendable, { name: "BadKeyError" });
  for (let i = 0; i < 6; i++) {
    near.deliver();
    near.stalled = true;
    await net.clock.advance(10);
    await net.tick();
    assert.ok(near.bufferedBytes < 13_000);
  }
  assert.deepEqual(await Promise.all(pushes), [1, 1, 1]);
  assert.deepEqual(taken, [12_000, 12_000, 12_000]);
  assert.deepEqual(written, [false, true, false]);
  await refused;
});

test("values wait behind a full socket within a bound, and a value whose asker leaves makes room", async (defer) => {
  const limits = { socketBytes: 10_000, batchBytes: 1_000, valueBacklogBytes: 30_000 };
  const value = { ...text(""), body: new Uint8Array(12_000) };
  const { net, a } = pair(defer, { get: (_group, _key, ask) => ask.resolve(value) }, { limits });
  await net.tick();
  const peer = a.peer("b")!;
  const far = net.dialed[0]!.other;
  far.stalled = true;
  const slow = { signal: never, timeoutMs: 60_000 };
  const leaver = new AbortController();
  // The first fills the socket; of the others two may wait.
  const full = getFrom(peer, "dict", "x", slow);
  const left = assert.rejects(getFrom(peer, "dict", "x", { ...slow, signal: leaver.signal }), /bored/);
  const waits = getFrom(peer, "dict", "x", slow);
  await net.tick();
  const refused = assert.rejects(getFrom(peer, "dict", "x", slow), OverloadedError);
  await net.tick();
  leaver.abort(new Error("bored"));
  await left;
  await net.tick();
  const inItsPlace = getFrom(peer, "dict", "x", slow);
  await net.tick();
  for (let i = 0; i < 6; i++) {
    far.deliver();
    far.stalled = true;
    await net.clock.advance(10);
    await net.tick();
    assert.ok(far.bufferedBytes < 13_000, `${far.bufferedBytes} bytes are buffered`);
  }
  const values = await Promise.all([full, waits, inItsPlace]);
  assert.deepEqual(values.map(({ body }) => body.length), [12_000, 12_000, 12_000]);
  await refused;
});

test("a reply of another kind than its ask closes the connection, and fails the asks in flight", async (defer) => {
  const log = new MemoryLog();
  const { net, a } = pair(defer, { get: () => {} }, { log });
  const writer = new FrameWriter();
  const answers: [() => Promise<unknown>, (id: number) => void][] = [
    [() => getFrom(a.peer("b")!, "dict", "x", patient), (id) => writer.taken(id, 1)],
    [() => getFrom(a.peer("b")!, "dict", "x", patient), (id) => writer.bare(MessageType.nothing, id)],
    [() => a.link("b")!.probe(patient), (id) => writer.value(id, text("x"), 0)],
    [
      () => a.link("b")!.probeIndirectly({ name: "c", incarnation: "1" }, patient),
      (id) => writer.bare(MessageType.probed, id),
    ],
    [
      () => a.peer("b")!.push("dict", [{ key: "x", value: text("") }], patient),
      (id) => writer.indirectProbed(id, true),
    ],
    [() => a.peer("b")!.catchUp(BLIND, patient), (id) => writer.taken(id, 1)],
    [() => a.peer("b")!.peek("dict", "x", patient), (id) => writer.caughtUp(id, BLIND)],
  ];
  for (const [ask, answer] of answers) {
    while (stateOf(a, "b") !== "open") {
      await net.clock.advance(50);
      await net.tick();
    }
    const failed = assert.rejects(ask(), /malformed reply/);
    answer(1);
    net.dialed.at(-1)!.other.send(writer.take());
    await net.tick();
    await failed;
    assert.match(net.dialed.at(-1)!.closedWith!.reason, /malformed reply/);
  }
  assert.equal(log.lines.filter((line) => /^warn .*malformed reply/.test(line)).length, 1, "said once");
});

test("a reply that accepts more entries than were pushed counts as all of them; a reply without an ask is ignored", async (defer) => {
  const { net, a } = pair(defer, { push: () => 1_000 });
  await net.tick();
  const push = a.peer("b")!.push("dict", [{ key: "x", value: text("1") }], patient);
  await net.tick();
  assert.equal(await push, 1);
  const writer = new FrameWriter();
  for (const type of [MessageType.nothing, MessageType.probed]) writer.bare(type, 77);
  writer.caughtUp(77, BLIND);
  writer.taken(77, 1);
  writer.indirectProbed(77, true);
  net.dialed[0]!.other.send(writer.take());
  await net.tick();
  assert.equal(stateOf(a, "b"), "open");
});

test("a far peer whose replies always come too late is alive, until no reply comes any more", async (defer) => {
  const { net, a } = pair(defer);
  await net.tick();
  const replies = net.dialed[0]!.other;
  /** A probe whose reply comes after this time, and 800 ms until the next probe. */
  const probe = async (replyAfterMs: number): Promise<boolean> => {
    replies.stalled = true;
    const outcome = a.link("b")!.probe({ timeoutMs: 250 }).then(() => true, () => false);
    await net.tick();
    await net.clock.advance(Math.min(replyAfterMs, 790));
    if (replyAfterMs <= 790) replies.deliver();
    await net.tick();
    await net.clock.advance(800 - Math.min(replyAfterMs, 790));
    return await outcome;
  };
  assert.equal(await probe(300), false, "the first one: nothing has come");
  for (let i = 0; i < 20; i++) assert.equal(await probe(300), true);
  assert.equal(await probe(10), true);
  assert.equal(await probe(Infinity), false, "it may be the first of a silence");
  assert.equal(await probe(Infinity), false);
});

test("what came since a miss long ago says nothing of a peer that is silent now", async (defer) => {
  const { net, a } = pair(defer);
  await net.tick();
  const replies = net.dialed[0]!.other;
  const silent = async () => {
    replies.stalled = true;
    const outcome = a.link("b")!.probe({ timeoutMs: 250 }).then(() => true, () => false);
    await net.tick();
    await net.clock.advance(250);
    return await outcome;
  };
  assert.equal(await silent(), false);
  replies.deliver();
  await net.tick();
  await net.clock.advance(60_000);
  assert.equal(await silent(), false, "another node may want to know that, and has waited for long");
});
