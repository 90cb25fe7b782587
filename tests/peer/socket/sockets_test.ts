/** The transport over real sockets of the runtime that runs the test, with Hono's upgrade in between. */
import { getBy, getFrom, type Serve } from "../memory.ts";
import assert from "node:assert/strict";
import { BLIND } from "../../../lib/core/invalidation/label.ts";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { NotFoundError, PeerError } from "../../../lib/core/errors.ts";
import type { Value } from "../../../lib/core/value.ts";
import { FrameWriter } from "../../../lib/peer/wire/writer.ts";
import { MessageType, PROTOCOL } from "../../../lib/peer/wire/frames.ts";
import type { Greeting } from "../../../lib/peer/wire/greeting.ts";
import { PeerHub } from "../../../lib/peer/hub.ts";
import type { PeerLimits } from "../../../lib/peer/limits.ts";
import { MessageWriter, Opcode } from "../../../lib/peer/socket/rfc6455.ts";
import { dialTcp } from "../../../lib/peer/socket/tcp.ts";
import { identityOf } from "../../support/identity.ts";
import { MemoryLog } from "../../support/log.ts";
import { type Defer, test } from "../../support/test.ts";
import { answerToClaim, RawClient } from "../raw.ts";
import { record, serveHub, systemClock, unmask, valueOf } from "../support.ts";

const patient = { signal: new AbortController().signal, timeoutMs: 10_000 };

function value(body: string | Uint8Array<ArrayBuffer>): Value {
  return valueOf(body, { contentType: "text/plain; charset=utf-8", bornAtMs: Date.now() - 1_000 });
}
const text: (body: string) => Value = value;

function makeHub(name: string, serve: Serve, log = new MemoryLog(), limits: Partial<PeerLimits> = {}): PeerHub {
  const self = { name, incarnation: `01-${name}` };
  return new PeerHub({
    self,
    identity: identityOf(self),
    groups: ["dict"],
    revisions: () => ({}),
    service: { get: getBy(serve) },
    clock: systemClock,
    log,
    limits,
  });
}

/** `a` has dialed `b`, which serves as told; both are open when this returns. */
async function pair(defer: Defer, serveB: Serve, serveA: Serve = () => text("from a")) {
  const a = makeHub("a", serveA);
  const b = makeHub("b", serveB);
  const server = await serveHub(() => b);
  defer(() => server.stop());
  defer(() => b.close());
  defer(() => a.close());
  b.setPeers([record("a")]);
  a.setPeers([record("b", server.url)]);
  const opened = getFrom(a.peer("b")!, "dict", "warm-up", patient);
  await Promise.allSettled([opened]);
  return { a, b, server };
}

test("a thousand concurrent gets in both directions are answered each with its own value", async (defer) => {
  const serve: Serve = (_, key) => Promise.resolve(text(`value of ${key}`));
  const { a, b } = await pair(defer, serve, serve);
  const keys = Array.from({ length: 1_000 }, (_, i) => `key ${i} — ü`);
  const ask = (hub: PeerHub, peer: string) =>
    Promise.all(keys.map((key) => getFrom(hub.peer(peer)!, "dict", key, patient)));
  for (const values of await Promise.all([ask(a, "b"), ask(b, "a")])) {
    assert.deepEqual(values.map(({ body }) => new TextDecoder().decode(body)), keys.map((key) => `value of ${key}`));
  }
  assert.equal(a.stats()[0]!.opens, 1);
  assert.ok(a.stats()[0]!.framesOut < 500, `${a.stats()[0]!.framesOut} frames for 2,000 messages`);
});

test("values of 8 MiB travel whole in both directions, several at once", async (defer) => {
  const big = new Uint8Array(8 * 1024 * 1024);
  for (let i = 0; i < big.length; i++) big[i] = i * 31 + (i >> 13);
  const { a, b } = await pair(defer, () => value(big), () => value(big));
  const asks = [a.peer("b")!, b.peer("a")!].flatMap((peer) =>
    [1, 2, 3, 4].map(() => getFrom(peer, "dict", "big", patient))
  );
  for (const { body } of await Promise.all(asks)) {
    assert.equal(body.length, big.length);
    assert.equal(Buffer.compare(body, big), 0);
  }
});

/** Carries connections to `url`; 20 Mbit/s come back, or go there. The buffers of the systems on the way hold more. */
async function thinPath(defer: Defer, url: string, isThinBack: boolean): Promise<string> {
  const server = createServer((near) => {
    const far = connect({ host: "127.0.0.1", port: Number(new URL(url).port) });
    const carry = async (from: Socket, to: Socket, bytesPerMs: number) => {
      from.on("error", () => to.destroy());
      for await (const chunk of from as AsyncIterable<Uint8Array>) {
        to.write(chunk);
        if (bytesPerMs < Infinity) {
          await new Promise((resolve) => setTimeout(resolve, chunk.length / bytesPerMs));
        }
      }
      to.destroy();
    };
    carry(near, far, isThinBack ? Infinity : 2_500).catch(() => {});
    carry(far, near, isThinBack ? 2_500 : Infinity).catch(() => {});
    defer(() => near.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test("while long values travel over a thin path, either way, each probe is answered and short values are not held up", async (defer) => {
  const big = value(new Uint8Array(3 * 1024 * 1024).fill(7));
  const serve: Serve = (_, key) => key === "big" ? big : text("short");
  for (const isThinBack of [true, false]) {
    const [a, b] = [makeHub("a", serve), makeHub("b", serve)];
    defer(() => a.close());
    defer(() => b.close());
    const server = await serveHub(() => b);
    defer(() => server.stop());
    b.setPeers([record("a")]);
    a.setPeers([record("b", await thinPath(defer, server.url, isThinBack))]);
    await getFrom(a.peer("b")!, "dict", "warm-up", patient);
    const [asker, peer] = isThinBack ? [a, "b"] : [b, "a"];
    let isOver = false;
    const beganMs = performance.now();
    // Its own time is not enough: the path takes 1,250 ms.
    const own = { ...patient, timeoutMs: 1_000 };
    const asked = getFrom(asker.peer(peer)!, "dict", "big", own).finally(() => isOver = true);
    let slowestMs = 0;
    for (let i = 0; !isOver; i++) {
      const sinceMs = performance.now();
      if (i % 2 === 0) await asker.link(peer)!.probe(patient);
      else await getFrom(asker.peer(peer)!, "dict", "short", patient);
      if (!isOver) slowestMs = Math.max(slowestMs, performance.now() - sinceMs);
    }
    assert.equal(Buffer.compare((await asked).body, big.body), 0);
    const tookMs = performance.now() - beganMs;
    assert.ok(
      slowestMs < tookMs / 2,
      `one took ${slowestMs} ms, and all of the value ${tookMs} ms`,
    );
  }
});

test("frames that are sent in one tick do not overwrite each other", async (defer) => {
  // Each value is a frame of its own. The writer uses the memory of the frame before, which may still be unsent.
  const serve: Serve = (_, key) => value(new Uint8Array(300 * 1024).fill(Number(key)));
  const { a, b } = await pair(defer, serve, serve);
  for (const peer of [a.peer("b")!, b.peer("a")!]) {
    const values = await Promise.all(Array.from({ length: 40 }, (_, i) => getFrom(peer, "dict", `${i}`, patient)));
    for (const [i, { body }] of values.entries()) {
      assert.equal(body.length, 300 * 1024);
      assert.ok(body.every((byte) => byte === i), `value ${i} was overwritten`);
    }
  }
});

test("a value too large for a frame is the owner's final failure, and the link lives on", async (defer) => {
  const huge = value(new Uint8Array(16 * 1024 * 1024 + 1));
  const { a } = await pair(defer, (_, key) => key === "huge" ? huge : text(key));
  await assert.rejects(getFrom(a.peer("b")!, "dict", "huge", patient), { name: "OriginError" });
  assert.equal((await getFrom(a.peer("b")!, "dict", "x", patient)).body.length, 1);
  assert.equal(a.stats()[0]!.opens, 1);
});

test("a slow load does not delay a hit", async (defer) => {
  const slow = Promise.withResolvers<Value>();
  const { a } = await pair(defer, (_, key) => key === "slow" ? slow.promise : text("hit"));
  let isSlowDone = false;
  const load = getFrom(a.peer("b")!, "dict", "slow", patient).then(() => isSlowDone = true);
  for (let i = 0; i < 20; i++) await getFrom(a.peer("b")!, "dict", `hit ${i}`, patient);
  assert.equal(isSlowDone, false);
  slow.resolve(text("at last"));
  await load;
});

test("a full batch in either direction does not wait for a delayed acknowledgement", async (defer) => {
  const serve: Serve = () => value(new Uint8Array(1024));
  const { a, b } = await pair(defer, serve, serve);
  for (const peer of [a.peer("b")!, b.peer("a")!]) {
    const roundsMs: number[] = [];
    for (let round = 0; round < 15; round++) {
      const startMs = performance.now();
      await Promise.all(
        Array.from({ length: 100 }, (_, i) => getFrom(peer, "dict", `a key of some length ${i}`, patient)),
      );
      roundsMs.push(performance.now() - startMs);
    }
    const medianMs = roundsMs.sort((x, y) => x - y)[7]!;
    assert.ok(medianMs < 35, `the median round took ${medianMs} ms: Nagle's algorithm waits 40`);
  }
});

test("errors and cancels cross real sockets", async (defer) => {
  const aborted = Promise.withResolvers<void>();
  const { a } = await pair(defer, (_, key, { signal }) => {
    if (key !== "slow") return Promise.reject(new NotFoundError(`no ${key}`));
    return new Promise((_, reject) =>
      signal.addEventListener("abort", () => {
        aborted.resolve();
        reject(signal.reason);
      })
    );
  });
  await assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), (error) => error instanceof NotFoundError);
  const leaver = new AbortController();
  const ask = getFrom(a.peer("b")!, "dict", "slow", { signal: leaver.signal, timeoutMs: 10_000 });
  const behind = getFrom(a.peer("b")!, "dict", "behind", patient);
  await assert.rejects(behind, NotFoundError);
  leaver.abort(new Error("bored"));
  await assert.rejects(ask, /bored/);
  await aborted.promise;
});

test("a peer that closes in mid-flight fails its asks at once, and is connected again when it is back", async (defer) => {
  const asked = Promise.withResolvers<void>();
  const { a, b, server } = await pair(defer, (_, key) => {
    if (key !== "slow") return text(key);
    asked.resolve();
    return new Promise(() => {});
  });
  const asks = [1, 2, 3].map(() => assert.rejects(getFrom(a.peer("b")!, "dict", "slow", patient), PeerError));
  await asked.promise;
  b.close();
  await Promise.all(asks);
  await server.stop();
  await assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), PeerError);
  const reborn = makeHub("b", () => text("reborn"));
  const second = await serveHub(() => reborn);
  defer(() => second.stop());
  defer(() => reborn.close());
  reborn.setPeers([record("a")]);
  a.setPeers([record("b", second.url)]);
  const got = await getFrom(a.peer("b")!, "dict", "x", patient);
  assert.equal(new TextDecoder().decode(got.body), "reborn");
});

/** For an end that speaks with nobody in particular. */
const TRUSTING = { claim: "claim", answer: () => Promise.resolve("proof") };
const CHALLENGED = "HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n";

/** Answers a claim, as a node does that needs no proof; `upgraded` gets the head of the upgrade. */
function challengeAll(socket: Socket, upgraded: (head: Buffer) => void): void {
  socket.once("data", () => {
    socket.once("data", upgraded);
    socket.write(CHALLENGED);
  });
}

/** A TCP server whose connections the test handles. */
async function rawServer(defer: Defer, onConnection: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  const listening = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", () => listening.resolve());
  await listening.promise;
  defer(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `ws://127.0.0.1:${(server.address() as { port: number }).port}/_peer`;
}

test("a server that speaks no WebSocket is refused with a reason", async (defer) => {
  const ok = CHALLENGED;
  const answers: [string[], RegExp][] = [
    [["HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], /the claim was answered with 404/],
    [["HTTP/1.1 101 Switching Protocols\r\n\r\n"], /the claim was answered with 101/],
    [["+OK hello\r\n\r\n"], /not HTTP/],
    [["x".repeat(20_000)], /too long/],
    [["HTTP/1.1 426 Upgrade Required\r\n\r\n"], /did not wait/],
    [["HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"], /did not wait/],
    [["HTTP/1.1 426 Upgrade Required\r\nContent-Length: 99999\r\n\r\n"], /too long/],
    [[`${ok}HTTP/1.1 101 Switching Protocols\r\n\r\n`], /did not wait/],
    [[ok, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"], /the upgrade was answered with 403/],
    [[ok, ok], /the upgrade was answered with 426/],
    [[ok, "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: wrong\r\n\r\n"], /wrong key/],
    [[ok, "+OK hello\r\n\r\n"], /not HTTP/],
    [[ok, "x".repeat(20_000)], /too long/],
  ];
  for (const [texts, expected] of answers) {
    const url = await rawServer(defer, (socket) => {
      const rest = [...texts];
      socket.on("data", () => socket.write(rest.shift() ?? ""));
    });
    const socket = dialTcp(url, TRUSTING);
    const closed = Promise.withResolvers<string>();
    socket.handler = { opened: () => assert.fail("opened"), received() {}, closed: closed.resolve };
    assert.match(await closed.promise, expected);
    assert.equal(socket.send(new Uint8Array(1)), false);
  }
});

/** Resolves when the condition holds; the test's own time limit is the bound. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

const MEBIBYTE = value(new Uint8Array(1024 * 1024));
const STALL_LIMITS = { stallMs: 300, socketBytes: 2 * 1024 * 1024 };

/** A greeting, and asks for 64 MiB: for either end of a connection. */
function greetAndAsk(send: (frame: Uint8Array<ArrayBuffer>) => void, type: number, greeting: Greeting): void {
  const writer = new FrameWriter();
  writer.greeting(type, greeting);
  send(writer.take().slice());
  for (let id = 1; id <= 64; id++) writer.get(id, 0, 20_000, BLIND, "x");
  send(writer.take().slice());
}

test("a dialer that stops reading is given up by the peer that accepted it", async (defer) => {
  const b = makeHub("b", () => MEBIBYTE, new MemoryLog(), STALL_LIMITS);
  const server = await serveHub(() => b);
  defer(() => server.stop());
  defer(() => b.close());
  b.setPeers([record("a")]);
  const client = await RawClient.open(server.url, defer);
  assert.equal((await client.upgrade(record("a"), record("b"))).status, 101);
  const { socket } = client;
  socket.pause();
  const groups = [{ id: 0, name: "dict", revision: 0 }];
  const writer = new MessageWriter();
  greetAndAsk(
    (frame) => socket.write(writer.message(Opcode.binary, frame)),
    MessageType.hello,
    { protocol: PROTOCOL, name: "a", incarnation: "01-a", expects: "01-b", groups },
  );
  await until(() => b.stats()[0]!.state === "open");
  await until(() => b.stats()[0]!.servedInFlight > 0);
  await until(() => b.stats()[0]!.state === "down");
});

/** A socket that is open to a peer that does not read. */
async function dialUnread(defer: Defer, received: () => void = () => {}) {
  const accepted = Promise.withResolvers<Socket>();
  const url = await rawServer(defer, (socket) =>
    challengeAll(socket, (head) => {
      socket.pause();
      socket.write(acceptUpgrade(head));
      accepted.resolve(socket);
    }));
  const socket = dialTcp(url, TRUSTING);
  const opened = Promise.withResolvers<void>();
  socket.handler = { opened: opened.resolve, received, closed: (reason) => assert.fail(reason) };
  await opened.promise;
  defer(() => socket.close(1000, "done"));
  return { socket, peer: await accepted.promise };
}

test("frames that wait for a slow reader arrive as they were sent", async (defer) => {
  const { socket, peer: reader } = await dialUnread(defer);
  // Some frames leave at once, some when the socket has room again. All use the same memory of the sender.
  const sizes = Array.from({ length: 200 }, (_, i) => i % 10 === 0 ? 300_000 : 100 * i);
  const frame = new Uint8Array(300_000);
  for (const [i, size] of sizes.entries()) {
    assert.equal(socket.send(frame.subarray(0, size).fill(i)), true);
    if (i % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(socket.bufferedBytes > 0);
  const received: Buffer[] = [];
  const messageBytes = sizes.map((size) => size + (size < 126 ? 6 : size < 65_536 ? 8 : 14));
  let missing = messageBytes.reduce((sum, size) => sum + size, 0);
  const all = Promise.withResolvers<void>();
  reader.on("data", (chunk: Buffer) => {
    received.push(chunk);
    missing -= chunk.length;
    if (missing <= 0) all.resolve();
  });
  reader.resume();
  await all.promise;
  assert.equal(missing, 0);
  const bytes = Buffer.concat(received);
  let at = 0;
  for (const [i, size] of sizes.entries()) {
    const end = at + messageBytes[i]!;
    const { payload } = unmask(bytes.subarray(at, end));
    assert.ok(payload.length === size && payload.every((byte) => byte === i), `frame ${i}`);
    at = end;
  }
});

test("pings of a peer that does not read get a bounded number of pongs, and pongs again once it reads", async (defer) => {
  const heard = Promise.withResolvers<void>();
  const { socket, peer } = await dialUnread(defer, () => heard.resolve());
  // Their pongs are 26 MB, of which the system takes less than half.
  const pings = Buffer.alloc(200_000 * 127).fill(Buffer.concat([Buffer.from([0x89, 125]), Buffer.alloc(125)]));
  peer.write(pings);
  peer.write(Buffer.from([0x82, 1, 0]));
  await heard.promise;
  const unsent = socket.bufferedBytes;
  assert.ok(unsent > 0, "the system has taken all: the test needs more pings");
  assert.ok(unsent <= 64 * 1024 + 131, `${unsent} bytes wait to be sent`);
  const answered = Promise.withResolvers<void>();
  const mark = Buffer.from("still there?");
  const inBytes: Buffer[] = [];
  peer.on("data", (chunk: Buffer) => {
    inBytes.splice(0, inBytes.length, Buffer.concat([...inBytes, chunk]).subarray(-18));
    if (inBytes[0]!.length === 18 && inBytes[0]![0] === 0x8a && inBytes[0]![1] === 0x8c) {
      if (mark.equals(unmask(inBytes[0]!).payload)) answered.resolve();
    }
  });
  peer.resume();
  await until(() => socket.bufferedBytes === 0);
  peer.write(Buffer.concat([Buffer.from([0x89, mark.length]), mark]));
  await answered.promise;
});

test("the socket of a peer that goes on sending after the end is closed all the same", async (defer) => {
  const lost = Promise.withResolvers<void>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const ping = () => socket.write(Uint8Array.of(0x89, 0));
    let timer: ReturnType<typeof setInterval> | undefined;
    socket.on("error", () => {});
    socket.on("close", () => {
      clearInterval(timer);
      lost.resolve();
    });
    defer(() => socket.destroy());
    challengeAll(socket, (head) => {
      socket.write(acceptUpgrade(head));
      timer = setInterval(ping, 20);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  defer(() => server.close());
  const { port } = server.address() as { port: number };
  const socket = dialTcp(`ws://127.0.0.1:${port}/_peer`, TRUSTING);
  const opened = Promise.withResolvers<void>();
  socket.handler = { opened: opened.resolve, received() {}, closed: (reason) => assert.fail(reason) };
  await opened.promise;
  socket.close(1000, "done");
  await lost.promise;
});

/** A server's answer to the head of a request for a WebSocket. */
function acceptUpgrade(head: Buffer): string {
  const key = /sec-websocket-key: (\S+)/i.exec(head.toString())![1];
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
    `Sec-WebSocket-Accept: ${accept}\r\n\r\n`;
}

test("an accepting peer that stops reading is given up by its dialer", async (defer) => {
  const url = await rawServer(defer, (socket) =>
    socket.once("data", async (claim) => {
      socket.write(await answerToClaim(claim, record("b")));
      const [head] = await once(socket, "data");
      socket.pause();
      socket.write(acceptUpgrade(head));
      const groups = [{ id: 0, name: "dict", revision: 0 }];
      greetAndAsk(
        (frame) => socket.write(Uint8Array.of(0x82, 126, frame.length >> 8, frame.length & 255, ...frame)),
        MessageType.welcome,
        { protocol: PROTOCOL, name: "b", incarnation: "01-b", expects: "01-a", groups },
      );
    }));
  const a = makeHub("a", () => MEBIBYTE, new MemoryLog(), STALL_LIMITS);
  defer(() => a.close());
  a.setPeers([record("b", url.replace("ws:", "http:"))]);
  await until(() => a.stats()[0]!.state === "open");
  await until(() => a.stats()[0]!.servedInFlight > 0);
  await until(() => a.stats()[0]!.state === "down");
});

test("a server that dies under load fails every ask at once", async (defer) => {
  const url = await rawServer(defer, (socket) => socket.once("data", () => socket.destroy()));
  const a = makeHub("a", () => text("x"));
  defer(() => a.close());
  a.setPeers([record("b", url.replace("ws:", "http:"))]);
  const asks = Array.from({ length: 50 }, () => assert.rejects(getFrom(a.peer("b")!, "dict", "x", patient), PeerError));
  await Promise.all(asks);
});
