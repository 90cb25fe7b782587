/** Values and pushes that travel in pieces, over a path that carries one frame at a time. */
import assert from "node:assert/strict";
import { OriginError, OverloadedError, PassThroughError, PeerError } from "../../../lib/core/errors.ts";
import { MAX_BODY_BYTES } from "../../../lib/core/base/limits.ts";
import type { Entry } from "../../../lib/core/ports.ts";
import { PLAIN, type Value } from "../../../lib/core/value.ts";
import { OutgoingPieces } from "../../../lib/peer/channel/outgoing-pieces.ts";
import { PEER_LIMITS } from "../../../lib/peer/limits.ts";
import { DEAF } from "../../../lib/peer/socket/socket.ts";
import type { PeerHub } from "../../../lib/peer/hub.ts";
import type { Link } from "../../../lib/peer/link.ts";
import type { PeerService } from "../../../lib/peer/service.ts";
import { HEADER_BYTES, MAX_PUSH_BYTES, MAX_TRANSFERS, MessageType } from "../../../lib/peer/wire/frames.ts";
import { FrameWriter, pushPayload, valuePayload } from "../../../lib/peer/wire/writer.ts";
import { ManualClock } from "../../support/clock.ts";
import { MemoryLog } from "../../support/log.ts";
import { type Defer, test } from "../../support/test.ts";
import { getBy, getFrom, type HubOptions, MemoryNetwork, type MemorySocket } from "../memory.ts";
import { record, valueOf } from "../support.ts";

const never = new AbortController().signal;
const patient = { signal: never, timeoutMs: 1_000 };
const LIMITS = { pieceBytes: 1_000, windowBytes: 2_000, maxWindowBytes: 2_000 };

/** Bytes that tell where they belong. */
function bytesOf(length: number, seed = 0): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) + seed) & 0xff);
}

/** `b` answers a get for a number with so many bytes, of the same age all. */
async function pair(defer: Defer, service: Partial<PeerService> = {}, options: HubOptions = {}) {
  const log = new MemoryLog();
  const limits = { ...LIMITS, ...options.limits };
  const net = new MemoryNetwork();
  const get = getBy((_, key) => valueOf(bytesOf(parseInt(key)), { bornAtMs: net.clock.nowMs() - 500 }));
  const a = net.hub("a", { log, limits });
  const b = net.hub("b", { ...options, limits, log, service: { get, ...service } });
  defer(() => a.close());
  defer(() => b.close());
  a.setPeers([record("a", "http://a"), record("b", "http://b")]);
  b.setPeers([record("a", "http://a"), record("b", "http://b")]);
  await net.tick();
  const near = net.dialed[0]!;
  const ask = (key: string, timeoutMs = 1_000, signal: AbortSignal = never) =>
    getFrom(a.peer("b")!, "dict", key, { signal, timeoutMs });
  /** What `b` sends arrives one frame after another from now on. */
  const slow = (): MemorySocket => {
    near.other.stalled = true;
    return near.other;
  };
  return { net, a, b, near, far: near.other, ask, slow, log };
}

const channelOf = (hub: PeerHub, name: string) => (hub.link(name) as Link).channel!;

type Pair = Awaited<ReturnType<typeof pair>>;

interface Message {
  readonly type: number;
  readonly id: number;
  readonly length: number;
}

function messagesIn(frames: readonly Uint8Array<ArrayBuffer>[]): Message[] {
  return frames.flatMap((frame) => {
    const view = new DataView(frame.buffer);
    const found: Message[] = [];
    for (let at = 0; at < frame.length;) {
      const length = view.getUint32(at + 5, true);
      found.push({ type: frame[at]!, id: view.getUint32(at + 1, true), length });
      at += HEADER_BYTES + length;
    }
    return found;
  });
}

/** The next frame of `b` arrives, and what follows from it. */
async function step({ net, far }: Pair, afterMs = 0): Promise<boolean> {
  if (afterMs > 0) await net.clock.advance(afterMs);
  const came = far.deliverOne();
  await net.tick();
  return came;
}

async function stepAll(pair: Pair, afterMs = 0): Promise<void> {
  for (let steps = 0; await step(pair, afterMs); steps++) assert.ok(steps < 1_000);
}

test("a long value arrives whole and with its times, in pieces, and the bytes on their way never exceed the window", async (defer) => {
  const one = await pair(defer);
  const far = one.slow();
  const asked = one.ask("25500");
  await one.net.tick();
  for (let more = true; more;) {
    assert.ok(far.bufferedBytes < 2_300, `${far.bufferedBytes} bytes are under way`);
    more = await step(one, 20);
  }
  const value = await asked;
  assert.deepEqual(value.body, bytesOf(25_500));
  // Its age counts from the first piece: 500 ms then, and the pieces after it came 20 ms apart.
  const ageMs = one.net.clock.nowMs() - value.bornAtMs;
  assert.equal(ageMs, 500 + 26 * 20);
  const pieces = messagesIn(far.frames).filter(({ type }) => type === MessageType.piece);
  assert.equal(pieces.length, 26);
  assert.ok(pieces.every(({ length }) => length <= 1_000));
  assert.equal(channelOf(one.a, "b").arrivingBytes, 0);
});

test("a value of exactly one piece travels in one message, one byte more in two pieces", async (defer) => {
  const { far, ask, net } = await pair(defer);
  for (const [bytes, parts] of [[1_000, 0], [1_001, 2]] as const) {
    const before = far.frames.length;
    const asked = ask(`${bytes}`);
    await net.tick();
    assert.deepEqual((await asked).body, bytesOf(bytes));
    const pieces = messagesIn(far.frames.slice(before)).filter(({ type }) => type === MessageType.piece);
    assert.equal(pieces.length, parts);
  }
});

test("probes and short values go between the pieces, behind no more of them than the window", async (defer) => {
  const one = await pair(defer);
  const far = one.slow();
  const big = one.ask("50000");
  await one.net.tick();
  await step(one);
  const before = far.frames.length;
  const probe = one.a.link("b")!.probe({ timeoutMs: 250 });
  let isShortThere = false;
  const short = one.ask("10").then(() => isShortThere = true);
  await one.net.tick();
  const [first] = messagesIn(far.frames.slice(before));
  assert.equal(first!.type, MessageType.probed, "the next frame that leaves has the reply");
  for (let i = 0; i < 3; i++) await step(one);
  assert.ok(isShortThere);
  await Promise.all([probe, short]);
  await stepAll(one);
  assert.equal((await big).body.length, 50_000);
});

test("long values take turns on the link, and a shorter one ends before a longer one that began earlier", async (defer) => {
  const one = await pair(defer);
  const far = one.slow();
  const order: string[] = [];
  const asks = ["40000", "40001", "5000"].map((key) => one.ask(key).then(() => order.push(key)));
  await one.net.tick();
  await stepAll(one);
  await Promise.all(asks);
  assert.deepEqual(order, ["5000", "40000", "40001"]);
  const turns = messagesIn(far.frames).filter(({ type }) => type === MessageType.piece).map(({ id }) => id);
  assert.deepEqual(turns.slice(0, 12), [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
});

test("the pieces stop when the asker leaves, its memory is free at once, and the link goes on", async (defer) => {
  const one = await pair(defer);
  const far = one.slow();
  const leaver = new AbortController();
  const left = assert.rejects(one.ask("50000", 1_000, leaver.signal), /bored/);
  const other = one.ask("6000");
  await one.net.tick();
  for (let i = 0; i < 6; i++) await step(one);
  leaver.abort(new Error("bored"));
  await left;
  const channel = channelOf(one.a, "b");
  const before = far.frames.length;
  await stepAll(one);
  assert.deepEqual((await other).body, bytesOf(6_000));
  const after = messagesIn(far.frames.slice(before));
  assert.deepEqual(after.filter(({ type }) => type === MessageType.dropped).map(({ id }) => id), [1]);
  assert.ok(after.filter(({ type, id }) => type === MessageType.piece && id === 1).length <= 1);
  assert.equal(channel.arrivingBytes, 0);
  assert.equal(one.b.stats()[0]!.servedInFlight, 0);
  assert.equal(one.a.stats()[0]!.opens, 1);
  const again = one.ask("5000");
  await one.net.tick();
  await stepAll(one);
  assert.equal((await again).body.length, 5_000);
});

test("an ask whose value arrives outlasts its own time, and its probes are answered by the pieces", async (defer) => {
  const one = await pair(defer);
  one.slow();
  const asked = one.ask("20000", 1_000);
  await one.net.tick();
  const { clock } = one.net;
  const beganMs = clock.nowMs();
  const probes: Promise<boolean>[] = [];
  let isOver = false;
  void asked.then(() => isOver = true);
  while (!isOver) {
    // The reply stands behind two pieces, and comes 400 ms later.
    probes.push(one.a.link("b")!.probe({ timeoutMs: 250 }).then(() => true, () => false));
    assert.ok(await step(one, 200));
  }
  assert.equal((await asked).body.length, 20_000);
  assert.ok(clock.nowMs() - beganMs > 4_000);
  await clock.advance(250);
  const answers = await Promise.all(probes);
  assert.ok(answers.length > 20);
  assert.ok(answers.every((isAnswered) => isAnswered));
});

test("an ask ends when its pieces stop for 5 s, and after 60 s in any case; what is left of them is not sent", async (defer) => {
  const one = await pair(defer, {}, { limits: { stallMs: 100_000 } });
  one.slow();
  let isOver = false;
  const asked = assert.rejects(one.ask("3000", 1_000), PeerError).then(() => isOver = true);
  await one.net.tick();
  await step(one);
  await one.net.clock.advance(4_999);
  assert.equal(isOver, false);
  await one.net.clock.advance(1);
  await asked;
  await stepAll(one);
  isOver = false;
  const end = assert.rejects(one.ask("900000", 1_000), PeerError).then(() => isOver = true);
  await one.net.tick();
  await step(one);
  for (let i = 1; i < 30; i++) await step(one, 2_000);
  assert.equal(isOver, false, "58 s");
  await step(one, 2_000);
  await end;
  await stepAll(one);
  assert.equal(channelOf(one.a, "b").arrivingBytes, 0);
  assert.equal(one.b.stats()[0]!.servedInFlight, 0);
});

test("a long push arrives as one push, outlasts its time while it moves, and leaves nothing behind when it is given up", async (defer) => {
  const pushed: { entries: readonly Entry[]; isWritten: boolean }[] = [];
  const push: PeerService["push"] = (_, entries, __, isWritten) => {
    pushed.push({ entries, isWritten });
    return entries.length;
  };
  const { net, a, b, near } = await pair(defer, { push });
  const single = [{ key: "x", value: valueOf(bytesOf(9_000)) }];
  const several = Array.from({ length: 5 }, (_, i) => ({ key: `${i}`, value: valueOf(bytesOf(900, i)) }));
  for (const [i, entries] of [single, several].entries()) {
    near.stalled = true;
    const taken = a.peer("b")!.push("dict", entries, { ...patient, isWritten: i === 1 });
    await net.tick();
    for (let more = true; more;) {
      await net.clock.advance(400);
      more = near.deliverOne();
      await net.tick();
    }
    assert.equal(await taken, entries.length);
    assert.equal(pushed[i]!.isWritten, i === 1);
    const got = pushed[i]!.entries.map(({ key, value }) => [key, [...value.body]]);
    assert.deepEqual(got, entries.map(({ key, value }) => [key, [...value.body]]));
  }
  const leaver = new AbortController();
  const left = assert.rejects(a.peer("b")!.push("dict", single, { ...patient, signal: leaver.signal }), /bored/);
  await net.tick();
  near.deliverOne();
  await net.tick();
  assert.ok(channelOf(b, "a").arrivingBytes > 9_000);
  leaver.abort(new Error("bored"));
  await left;
  near.deliver();
  await net.tick();
  assert.equal(channelOf(b, "a").arrivingBytes, 0);
  assert.equal(pushed.length, 2);
  assert.equal(a.stats()[0]!.opens, 1);
});

test("a long value or push that cannot travel fails as a short one does, and those behind it are sent", async (defer) => {
  const values: Record<string, Value> = {
    tags: valueOf(bytesOf(5_000), { about: { ...PLAIN, tags: [""] } }),
    huge: valueOf(new Uint8Array(MAX_BODY_BYTES + 1)),
    good: valueOf(bytesOf(5_000)),
  };
  const { net, a, ask } = await pair(defer, { get: getBy((_, key) => values[key]!) });
  const tags = assert.rejects(ask("tags"), PassThroughError);
  const huge = assert.rejects(ask("huge"), OriginError);
  const good = ask("good");
  await net.tick();
  await Promise.all([tags, huge]);
  assert.equal((await good).body.length, 5_000);
  const push = a.peer("b")!.push("dict", [{ key: "", value: values.good! }], patient);
  const refused = assert.rejects(push, { name: "BadKeyError" });
  await net.tick();
  await refused;
});

test("long values that wait for their turn are bounded, and a node that leaves sends those it has begun", async (defer) => {
  const one = await pair(defer, {}, { limits: { valueBacklogBytes: 30_000 } });
  one.slow();
  const two = [one.ask("12000"), one.ask("12001")];
  const refused = assert.rejects(one.ask("12002"), OverloadedError);
  await one.net.tick();
  const drained = one.b.drain();
  await stepAll(one);
  await drained;
  assert.deepEqual((await Promise.all(two)).map(({ body }) => body.length), [12_000, 12_001]);
  await refused;
});

test("a peer that acknowledges no piece is given up after 5 s, one that acknowledges now and then is not", async (defer) => {
  const one = await pair(defer);
  const far = one.slow();
  const lost = assert.rejects(one.ask("50000", 100_000), PeerError);
  await one.net.tick();
  for (let i = 0; i < 5; i++) await step(one, 4_900);
  assert.equal(far.closedWith, undefined);
  await one.net.clock.advance(4_999);
  assert.equal(far.closedWith, undefined);
  await one.net.clock.advance(1);
  assert.match(far.closedWith!.reason, /takes nothing for 5000 ms/);
  await one.net.clock.advance(100);
  await lost;
});

test("the window grows while acknowledgements come at once, and shrinks when they take long", () => {
  const clock = new ManualClock();
  const pieces = new OutgoingPieces(clock, PEER_LIMITS, () => assert.fail("stalled"));
  const writer = new FrameWriter();
  const { windowBytes, maxWindowBytes, pieceBytes } = PEER_LIMITS;
  const entries = [{ key: "x", value: valueOf(new Uint8Array(15 * 1024 * 1024)) }];
  const encode = (nowMs: number) => pushPayload(0, entries, false, nowMs);
  const add = (id: number) =>
    pieces.add({ type: MessageType.push, id, bodyBytes: 15 * 1024 * 1024, encode, onFailed: () => assert.fail() });
  add(1);
  add(2);
  /** Sends all that may leave; the peer takes it after `tookMs`. @returns the bytes that left */
  const round = (tookMs: number): number => {
    let bytes = 0;
    const numbers: number[] = [];
    while (pieces.write(writer)) {
      const frame = writer.take();
      bytes += frame.length;
      numbers.push(...messagesIn([frame.slice()]).filter(({ type }) => type === MessageType.piece).map(({ id }) => id));
    }
    clock.standStill(tookMs);
    for (const number of numbers) assert.equal(pieces.taken(number), undefined);
    return bytes;
  };
  const first = round(80);
  assert.ok(first >= windowBytes && first < windowBytes + 2 * pieceBytes);
  for (let i = 0; i < 5; i++) round(130);
  assert.equal(pieces.windowBytes, maxWindowBytes);
  round(180);
  assert.equal(pieces.windowBytes, maxWindowBytes);
  round(181);
  assert.equal(pieces.windowBytes, windowBytes);
  round(131);
  assert.equal(pieces.windowBytes, windowBytes);
  pieces.close();
});

/** By hand, in the name of `b`. */
function hand(write: (writer: FrameWriter) => void): Uint8Array<ArrayBuffer> {
  const writer = new FrameWriter();
  write(writer);
  return writer.take();
}

const PUSH = MessageType.push;
const bytes = (length: number) => new Uint8Array(length);
const NO_BYTES = bytes(0);

test("each breach of the rules of pieces closes the connection with its reason", async (defer) => {
  const faults: [RegExp, (writer: FrameWriter) => void][] = [
    [/piece: of no transfer/, (w) => w.piece(1, NO_BYTES, bytes(10))],
    [/parted: the transfer is under way/, (w) => [1, 2].forEach((id) => w.parted(1, PUSH, id, 10))],
    [/parted: over 64 transfers/, (w) => {
      for (let i = 0; i <= MAX_TRANSFERS; i++) w.parted(i, PUSH, i, 10);
    }],
    [/parted: over \d+ bytes/, (w) => [1, 2, 3, 4, 5].forEach((id) => w.parted(id, PUSH, id, MAX_PUSH_BYTES))],
    [/parted: the length is out of bounds/, (w) => w.parted(1, PUSH, 1, MAX_PUSH_BYTES + 1)],
    [/parted: the length is out of bounds/, (w) => w.parted(1, PUSH, 1, 0)],
    [/parted: the length is out of bounds/, (w) => w.parted(1, MessageType.value, 1, MAX_PUSH_BYTES)],
    [/parted: of no such message/, (w) => w.parted(1, MessageType.probe as never, 1, 10)],
    [/piece: more bytes than were announced/, (w) => {
      w.parted(1, PUSH, 1, 10);
      w.piece(1, bytes(10), bytes(1));
    }],
    [/piece: of no transfer/, (w) => {
      w.parted(1, MessageType.value, 77, 10);
      w.piece(1, bytes(10), NO_BYTES);
      w.piece(1, bytes(1), NO_BYTES);
    }],
    [/piece: the length is out of bounds/, (w) => {
      w.parted(1, PUSH, 1, 10);
      w.piece(1, NO_BYTES, NO_BYTES);
    }],
    [/piece: the length is out of bounds/, (w) => {
      w.parted(1, PUSH, 1, 1_000_000);
      w.piece(1, NO_BYTES, bytes(256 * 1024 + 1));
    }],
    [/pieceTaken: not the next piece/, (w) => w.bare(MessageType.pieceTaken, 1)],
    [/dropped: of no transfer/, (w) => w.bare(MessageType.dropped, 1)],
    [/malformed push/, (w) => {
      w.parted(1, PUSH, 1, 10);
      w.piece(1, bytes(10), NO_BYTES);
    }],
  ];
  const { net, near } = await pair(defer);
  for (const [reason, write] of faults) {
    const socket = net.dialed.at(-1)!;
    socket.other.send(hand(write));
    await net.tick();
    assert.match(socket.closedWith?.reason ?? "open", reason);
    await net.clock.advance(2_000);
    await net.tick();
  }
  assert.notEqual(near, net.dialed.at(-1));
});

test("a value in pieces that fits no ask is a breach; a value without waiters is read and costs no memory", async (defer) => {
  const { net, a, far } = await pair(defer);
  const channel = channelOf(a, "b");
  far.handler = DEAF;
  far.send(hand((w) => w.parted(1, MessageType.value, 999, 16 * 1024 * 1024)));
  await net.tick();
  assert.equal(channel.arrivingBytes, 0);
  far.send(hand((w) => w.piece(1, NO_BYTES, bytes(100_000))));
  await net.tick();
  assert.equal(far.closedWith, undefined);
  const taken = messagesIn(far.other.frames).filter(({ type }) => type === MessageType.pieceTaken);
  assert.deepEqual(taken.map(({ id }) => id), [1]);
  far.isBlackHole = true;
  a.link("b")!.probe({ timeoutMs: 250 }).catch(() => {});
  const probe = messagesIn(far.other.frames).findLast(({ type }) => type === MessageType.probe);
  await net.tick();
  const id = messagesIn(far.other.frames).findLast(({ type }) => type === MessageType.probe)!.id;
  assert.equal(probe, undefined);
  far.other.handler.received(hand((w) => w.parted(2, MessageType.value, id, 100)));
  assert.match(far.other.closedWith!.reason, /of another kind than its ask/);
});

test("a peer that announces and sends nothing, or sends a byte now and then, holds the bound at most, and not for long", async (defer) => {
  const { net, a } = await pair(defer);
  for (const everyMs of [Infinity, 1_000]) {
    const { far, channel } = { far: net.dialed.at(-1)!.other, channel: channelOf(a, "b") };
    far.handler = DEAF;
    for (let i = 1; i <= 4; i++) far.send(hand((w) => w.parted(i, PUSH, i, MAX_PUSH_BYTES)));
    await net.tick();
    assert.equal(channel.arrivingBytes, 4 * MAX_PUSH_BYTES);
    let openMs = 0;
    while (far.closedWith === undefined && openMs < 500_000) {
      if (everyMs < Infinity) { for (let i = 1; i <= 4; i++) far.send(hand((w) => w.piece(i, NO_BYTES, bytes(1)))); }
      await net.tick();
      await net.clock.advance(1_000);
      openMs += 1_000;
    }
    assert.equal(openMs, everyMs === Infinity ? 10_000 : 120_000);
    assert.equal(far.other.closedWith!.reason, "a message in pieces does not go on");
    assert.equal(channel.arrivingBytes, 0);
    await net.clock.advance(2_000);
    await net.tick();
  }
});

test("the payload of a value in pieces is that of a value in one message", () => {
  const value = valueOf(bytesOf(5_000), { about: { ...PLAIN, etag: '"x"' }, loadMs: 7 });
  const { head, body } = valuePayload(value, 1_000);
  const payload = new Uint8Array([...head, ...body]);
  assert.deepEqual(payload, hand((w) => w.value(0, value, 1_000)).slice(HEADER_BYTES));
  const entries = [{ key: "kü", value }];
  const pushed = pushPayload(3, entries, true, 1_000);
  const whole = hand((w) => w.push(0, 3, entries, true, 1_000)).slice(HEADER_BYTES);
  assert.deepEqual(new Uint8Array([...pushed.head, ...pushed.body]), whole);
});
