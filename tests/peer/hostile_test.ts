/** A raw client that speaks the protocol over real sockets. Its breaches are refused, and the node goes on. */
import assert from "node:assert/strict";
import { BLIND } from "../../lib/core/invalidation/label.ts";
import { FrameWriter } from "../../lib/peer/wire/writer.ts";
import { readFrame, readGreeting } from "../../lib/peer/wire/reader.ts";
import { MAX_FRAME_BYTES } from "../../lib/core/base/limits.ts";
import {
  ENTRY_HEAD_BYTES,
  FailureCode,
  LENGTHS_AT_BYTES,
  MAX_ENTRIES,
  MessageType,
  PROTOCOL,
  PUSH_HEAD_BYTES,
} from "../../lib/peer/wire/frames.ts";
import { PeerHub } from "../../lib/peer/hub.ts";
import { PEER_PATH } from "../../lib/peer/dialer.ts";
import { Introduction } from "../../lib/peer/proof/introduction.ts";
import { verify } from "../../lib/peer/proof/keys.ts";
import type { PeerService } from "../../lib/peer/service.ts";
import type { SocketLike } from "../../lib/peer/socket/socket.ts";
import { dialTcp } from "../../lib/peer/socket/tcp.ts";
import { identityOf } from "../support/identity.ts";
import { MemoryLog } from "../support/log.ts";
import { type Defer, test } from "../support/test.ts";
import { record, serveHub, systemClock, valueOf } from "./support.ts";

const VALUE = valueOf(new Uint8Array(10));
const ENTRIES = [{ key: "x", value: VALUE }];
const HELLO = {
  protocol: PROTOCOL,
  name: "a",
  incarnation: "01-a",
  expects: "01-b",
  groups: [{ id: 0, name: "dict", revision: 0 }, { id: 1, name: "not-here", revision: 0 }],
};

/** `b` on a real port lists `a`, and notes the asks that reach its service. */
async function victim(defer: Defer) {
  const log = new MemoryLog();
  const reached: string[] = [];
  const service: PeerService = {
    get: (_, key, ask) => {
      reached.push(`get ${key}`);
      ask.resolve(VALUE);
    },
    peek: (_, key) => void reached.push(`peek ${key}`),
    push: (_, entries) => {
      reached.push(`push ${entries.length}`);
      return entries.length;
    },
    catchUp: (label) => {
      reached.push(`catch up to ${label.sequence}`);
      return Promise.resolve(label);
    },
    probeIndirectly: ({ name }) => Promise.resolve(reached.push(`indirect probe of ${name}`) > 0),
  };
  const self = { name: "b", incarnation: "01-b" };
  const identity = identityOf(self);
  const b = new PeerHub({ self, identity, groups: ["dict"], revisions: () => ({}), service, clock: systemClock, log });
  const server = await serveHub(() => b);
  defer(() => server.stop());
  defer(() => b.close());
  b.setPeers([record("a"), record("c")]);
  return { b, log, reached, url: server.url.replace("http:", "ws:") + PEER_PATH };
}

/** Tells the messages that it receives, one by one, and the end of the connection. */
class Client {
  readonly writer = new FrameWriter();
  readonly #socket: SocketLike;
  readonly #heard: string[] = [];
  #wake = () => {};

  constructor(socket: SocketLike) {
    this.#socket = socket;
  }

  /** As `a`, with its key. */
  static async connect(url: string, defer: Defer, self = { name: "a", incarnation: "01-a" }): Promise<Client> {
    const socket = dialTcp(url, new Introduction({ self, identity: identityOf(self), verify }, record("b")));
    defer(() => socket.close(1000, "done"));
    const client = new Client(socket);
    const opened = Promise.withResolvers<void>();
    socket.handler = {
      opened: opened.resolve,
      received: (frame) => client.#received(frame!),
      closed: (reason) => client.#say(`closed: ${reason}`),
    };
    await opened.promise;
    return client;
  }

  static async greeted(url: string, defer: Defer, hello: unknown = HELLO): Promise<Client> {
    const client = await Client.connect(url, defer);
    client.writer.greeting(MessageType.hello, hello);
    client.send();
    assert.equal(await client.next(), "welcome");
    return client;
  }

  send(frame = this.writer.take()): void {
    assert.ok(this.#socket.send(frame.slice()));
  }

  async next(): Promise<string> {
    while (this.#heard.length === 0) await new Promise<void>((resolve) => this.#wake = resolve);
    return this.#heard.shift()!;
  }

  #received(frame: Uint8Array<ArrayBuffer>): void {
    const say = (text: string) => this.#say(text);
    const first = readGreeting(frame);
    if (typeof first === "object") {
      return say(first.type === MessageType.welcome ? "welcome" : `refused: ${(first.json as { code: string }).code}`);
    }
    const fault = readFrame(frame, {
      onTraced: (id) => say(`traced ${id}`),
      onGet: () => say("get"),
      onPeek: () => say("peek"),
      onPush: () => say("push"),
      onCatchUp: () => say("catch up"),
      onProbe: () => say("probe"),
      onIndirectProbe: () => say("indirect probe"),
      onCancel: () => say("cancel"),
      onGroupAdded: ({ id, name }) => say(`group ${id} ${name}`),
      onGroupRemoved: (id) => say(`no group ${id}`),
      onApplied: ({ sequence }) => say(`applied ${sequence}`),
    }, {
      onValue: (id) => say(`value ${id}`),
      onFailure: (id, code) => say(`failure ${id} ${code}`),
      onNothing: (id) => say(`nothing ${id}`),
      onProbed: (id) => say(`probed ${id}`),
      onIndirectProbed: (id, isAlive) => say(`indirectly probed ${id} ${isAlive}`),
      onTaken: (id, count) => say(`taken ${id} ${count}`),
      onCaughtUp: (id, { sequence }) => say(`caught up ${id} ${sequence}`),
    }, {
      onParted: (transfer, _, id, bytes) => say(`parted ${transfer} ${id} ${bytes}`),
      onPiece: (transfer, { length }) => say(`piece ${transfer} ${length}`),
      onPieceTaken: (transfer) => say(`taken a piece ${transfer}`),
      onDropped: (transfer) => say(`dropped ${transfer}`),
    }, 0);
    assert.equal(fault, undefined);
  }

  #say(text: string): void {
    this.#heard.push(text);
    this.#wake();
  }
}

const messages: [string, (writer: FrameWriter) => void][] = [
  ["get", (writer) => writer.get(1, 0, 1_000, BLIND, "x")],
  ["peek", (writer) => writer.peek(1, 0, 1_000, "x")],
  ["probe", (writer) => writer.bare(MessageType.probe, 1)],
  ["indirect probe", (writer) => writer.indirectProbe(1, 1_000, "c", "01-c")],
  ["push", (writer) => writer.push(1, 0, ENTRIES, false, 0)],
  ["catch-up", (writer) => writer.catchUp(1, 1_000, BLIND)],
  ["applied", (writer) => writer.applied({ epoch: 1, sequence: 1 })],
  ["group", (writer) => writer.groupAdded({ id: 2, name: "more", revision: 0 })],
  ["replies", (writer) => {
    for (const type of [MessageType.nothing, MessageType.probed]) writer.bare(type, 1);
    writer.taken(1, 1);
    writer.caughtUp(1, BLIND);
  }],
];

/** The lines about the attacker: after a while the victim warns that it cannot connect to the peer it waits for as well. */
const warnings = (log: MemoryLog) => log.lines.filter((line) => /^warn (?!cannot connect)/.test(line));

test("a client that has not greeted can ask nothing", async (defer) => {
  const { b, log, reached, url } = await victim(defer);
  for (const [kind, write] of messages) {
    const client = await Client.connect(url, defer);
    write(client.writer);
    client.send();
    assert.equal(await client.next(), "refused: malformed", kind);
    assert.match(await client.next(), /^closed/);
  }
  assert.deepEqual(reached, []);
  assert.equal(warnings(log).length, 1, "one line for all of one kind");
  assert.match(warnings(log)[0]!, /no greeting in the first frame/);
  assert.equal(b.stats()[0]!.opens, 0);
});

test("a peer whose hello names another node, another life or an unknown one can ask nothing", async (defer) => {
  const { log, reached, url } = await victim(defer);
  for (const wrong of [{ name: "c" }, { incarnation: "00-a" }, { name: "c", incarnation: "01-c" }]) {
    for (const [kind, write] of messages) {
      const client = await Client.connect(url, defer);
      client.writer.greeting(MessageType.hello, { ...HELLO, ...wrong });
      client.send();
      write(client.writer);
      client.send();
      assert.equal(await client.next(), "refused: malformed", kind);
      assert.match(await client.next(), /^closed/);
    }
  }
  assert.deepEqual(reached, []);
  assert.equal(warnings(log).length, 1);
  assert.match(warnings(log)[0]!, /another node than the proof/);
});

test("a listed peer is answered in kind, and refused for a group that this node does not serve", async (defer) => {
  const { reached, url } = await victim(defer);
  const client = await Client.greeted(url, defer);
  const { writer } = client;
  writer.peek(1, 1, 1_000, "x");
  writer.push(2, 1, ENTRIES, false, 0);
  writer.peek(3, 0, 1_000, "x");
  writer.push(4, 0, ENTRIES, false, 0);
  writer.bare(MessageType.probe, 5);
  writer.indirectProbe(6, 1_000, "c", "01-c");
  writer.catchUp(7, 1_000, { epoch: 5, sequence: 9 });
  client.send();
  const heard = new Set<string>();
  for (let i = 0; i < 7; i++) heard.add(await client.next());
  assert.deepEqual(
    heard,
    new Set([
      `failure 1 ${FailureCode.unknownGroup}`,
      `failure 2 ${FailureCode.unknownGroup}`,
      "nothing 3",
      "taken 4 1",
      "probed 5",
      "indirectly probed 6 true",
      "caught up 7 9",
    ]),
  );
  assert.deepEqual(reached, ["peek x", "push 1", "indirect probe of c", "catch up to 9"]);
});

/** One message with any payload. */
function raw(type: number, payload: Uint8Array, length = payload.length): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(9 + payload.length);
  frame[0] = type;
  new DataView(frame.buffer).setUint32(5, length, true);
  frame.set(payload, 9);
  return frame;
}

function pushOf(count: number, lengths: [key: number, type: number, body: number], rest = 8, about = 0): Uint8Array {
  const payload = new Uint8Array(PUSH_HEAD_BYTES + ENTRY_HEAD_BYTES + rest);
  const view = new DataView(payload.buffer);
  const at = PUSH_HEAD_BYTES + LENGTHS_AT_BYTES;
  view.setUint16(3, count, true);
  view.setUint16(at, lengths[0], true);
  view.setUint16(at + 2, lengths[1], true);
  view.setUint32(at + 4, about, true);
  view.setUint32(at + 8, lengths[2], true);
  return payload;
}

test("absurd groups, counts and lengths end the connection with a reason, and one line for each kind", async (defer) => {
  const { b, log, reached, url } = await victim(defer);
  const frame = (write: (writer: FrameWriter) => void) => {
    const writer = new FrameWriter();
    write(writer);
    return writer.take();
  };
  const attacks: [Uint8Array<ArrayBuffer>, RegExp][] = [
    [frame((writer) => writer.push(1, 2, ENTRIES, false, 0)), /malformed push: group 2 was never announced/],
    [
      frame((writer) => writer.peek(1, 65_535, 1_000, "x")),
      /malformed peek: group 65535 was never announced/,
    ],
    [raw(MessageType.push, pushOf(0, [1, 0, 0])), /not 1 to 4096 entries/],
    [raw(MessageType.push, pushOf(65_535, [1, 0, 0])), /not 1 to 4096 entries/],
    [raw(MessageType.push, pushOf(MAX_ENTRIES, [1, 0, 7])), /fewer entries/],
    [raw(MessageType.push, pushOf(1, [1, 0, 0xffff_ffff])), /lengths out of bounds/],
    [raw(MessageType.push, pushOf(1, [65_535, 0, 0])), /lengths out of bounds/],
    [raw(MessageType.push, pushOf(1, [1, 0, 1_000_000])), /longer than its message/],
    [raw(MessageType.push, pushOf(1, [1, 0, 0], 8, 0xffff_ffff)), /lengths out of bounds/],
    [raw(MessageType.push, pushOf(1, [1, 0, 0], 8, 7)), /status, fields or tags/],
    [raw(MessageType.getFor, new Uint8Array(70_000)), /malformed getFor/],
    [raw(MessageType.push, new Uint8Array(5), 0xffff_ffff), /longer than its frame/],
    [raw(MessageType.push, new Uint8Array(MAX_FRAME_BYTES - 9)), /malformed push/],
    [raw(MessageType.indirectProbe, new Uint8Array(5_000)), /malformed indirectProbe/],
    [raw(MessageType.probe, new Uint8Array(1)), /malformed probe/],
    [raw(MessageType.peek, new Uint8Array(6)), /malformed peek/],
    [raw(29, new Uint8Array(0)), /unknown message type 29/],
  ];
  for (const round of [1, 2]) {
    for (const [attack, expected] of attacks) {
      const client = await Client.greeted(url, defer);
      client.send(attack);
      assert.match(await client.next(), expected, `round ${round}`);
    }
  }
  assert.deepEqual(reached, []);
  const lines = warnings(log);
  assert.equal(new Set(lines).size, lines.length, "each is said once");
  for (const [, expected] of attacks) assert.ok(lines.some((line) => expected.test(line)), `${expected}`);
  assert.ok(lines.length <= 16);
  const peer = await Client.greeted(url, defer);
  peer.writer.get(9, 0, 1_000, BLIND, "still here");
  peer.send();
  assert.equal(await peer.next(), "value 9");
  assert.deepEqual(reached, ["get still here"]);
  assert.equal(b.stats()[0]!.opens, 2 * attacks.length + 1);
});

test("a label, or a message about one, that breaks the layout ends the connection with a reason, and reaches nothing", async (defer) => {
  const { b, reached, url } = await victim(defer);
  const labels = [[NaN, 0], [0, NaN], [-1, 0], [0, -1], [0.5, 0], [0, 0.5], [Infinity, 0], [0, 2 ** 53], [
    -Infinity,
    1,
  ]];
  /** Zeros, with a label in the last bytes. */
  const endingWith = (bytes: number, [epoch, sequence]: number[]) => {
    const payload = new Uint8Array(bytes);
    const view = new DataView(payload.buffer);
    view.setFloat64(bytes - 16, epoch!, true);
    view.setFloat64(bytes - 8, sequence!, true);
    return payload;
  };
  const attacks: [Uint8Array<ArrayBuffer>, RegExp][] = [
    ...labels.flatMap((label): [Uint8Array<ArrayBuffer>, RegExp][] => [
      [raw(MessageType.catchUp, endingWith(20, label)), /malformed catchUp/],
      [raw(MessageType.caughtUp, endingWith(16, label)), /malformed caughtUp/],
      [raw(MessageType.applied, endingWith(16, label)), /malformed applied/],
    ]),
    ...[0, 15, 17, MAX_FRAME_BYTES - 9].flatMap((bytes): [Uint8Array<ArrayBuffer>, RegExp][] => [
      [raw(MessageType.caughtUp, new Uint8Array(bytes)), /malformed caughtUp/],
      [raw(MessageType.applied, new Uint8Array(bytes)), /malformed applied/],
    ]),
    [raw(MessageType.catchUp, new Uint8Array(19)), /malformed catchUp/],
    [raw(MessageType.catchUp, new Uint8Array(21)), /malformed catchUp/],
    [raw(MessageType.catchUp, new Uint8Array(20), 0xffff_ffff), /longer than its frame/],
  ];
  for (const [attack, expected] of attacks) {
    const client = await Client.greeted(url, defer);
    client.send(attack);
    assert.match(await client.next(), expected);
  }
  assert.deepEqual(reached, []);
  assert.deepEqual(b.applied(), new Map());
  const peer = await Client.greeted(url, defer);
  peer.send(raw(MessageType.applied, endingWith(16, [7, 2 ** 53 - 1])));
  peer.send(raw(MessageType.catchUp, endingWith(20, [0, 2 ** 53 - 1])));
  assert.equal(await peer.next(), `caught up 0 ${2 ** 53 - 1}`);
  assert.deepEqual(b.applied(), new Map([["a", { epoch: 7, sequence: 2 ** 53 - 1 }]]));
});

test("a frame over the bound is not read, and ends the connection", async (defer) => {
  const { b, reached, url } = await victim(defer);
  const client = await Client.greeted(url, defer);
  client.send(raw(MessageType.push, new Uint8Array(MAX_FRAME_BYTES)));
  assert.match(await client.next(), /^closed/);
  assert.deepEqual(reached, []);
  const peer = await Client.greeted(url, defer);
  peer.writer.bare(MessageType.probe, 1);
  peer.send();
  assert.equal(await peer.next(), "probed 1");
  assert.equal(b.stats()[0]!.state, "open");
});

test("each of a flood of probes, pushes, indirect probes and catch-ups gets a reply", async (defer) => {
  const { reached, url } = await victim(defer);
  const client = await Client.greeted(url, defer);
  for (let id = 1; id <= 4_000; id += 4) {
    client.writer.bare(MessageType.probe, id);
    client.writer.push(id + 1, 0, ENTRIES, false, 0);
    client.writer.indirectProbe(id + 2, 1_000, "c", "01-c");
    client.writer.catchUp(id + 3, 1_000, BLIND);
  }
  client.send();
  const heard: string[] = [];
  while (heard.length < 4_000) heard.push(await client.next());
  const count = (start: string) => heard.filter((text) => text.startsWith(start)).length;
  assert.equal(count("probed"), 1_000);
  assert.equal(count("taken"), 1_000);
  assert.equal(count("indirectly probed"), 64);
  assert.equal(count("caught up"), 64);
  assert.equal(count("failure"), 2 * 936);
  assert.equal(reached.length, 1_000 + 2 * 64);
});
