/** A bucket on a real server, with nonsense in it. Runs alone: thousands of records are read against a time limit. */
import assert from "node:assert/strict";
import { connect, headers, type NatsConnection } from "nats";
import { maxKeysPerGroup } from "../../lib/registry/store/store.ts";
import { startNats } from "../support/nats-server.ts";
import { type Defer, test } from "../support/test.ts";
import { Fleet, timed } from "./fleet.ts";
import { bytesOf, recordOf } from "./support.ts";

const needs = { timeoutMs: 60_000 };

async function hostileHand(defer: Defer, url: string): Promise<NatsConnection> {
  const connection = await connect({ servers: url });
  defer(() => connection.close());
  // As an operator makes it, and older nodes did: without a bound on the size of a value.
  await connection.jetstream().views.kv("peers", { history: 1 });
  return connection;
}

const json = (record: unknown): Uint8Array => bytesOf(JSON.stringify(record));

/** One record for each rule that it breaks, as the log names the rule. */
const kinds: [rule: string, make: (name: string) => Uint8Array][] = [
  ["weight: expected <=100", (name) => json(recordOf(name, { weight: 1e9 }))],
  ["weight: expected >0", (name) => json(recordOf(name, { weight: -1 }))],
  ["weight: expected number", (name) => json({ ...recordOf(name), weight: "1" })],
  ["url: not an http(s) URL of scheme, host and port alone", (name) => json(recordOf(name, { url: "ftp://h:1" }))],
  [
    "url: not an http(s) URL of scheme, host and port alone",
    (name) => json(recordOf(name, { url: "http://user:secret@127.0.0.1:1" })),
  ],
  ["its name is not the one in its key", () => json(recordOf("somebody-else"))],
  ["zone: not up to 64 of A-Z a-z 0-9 . _ -", (name) => json(recordOf(name, { zone: "\u001b[2Jboo\n" }))],
  ["longer than 4096 bytes", () => new Uint8Array(4_097)],
  ["not JSON in UTF-8", () => new Uint8Array([0xff, 0x00, 0x1b])],
];

/** Writes them as fast as the server takes them, deletes of some included. */
async function flood(hand: NatsConnection, prefix: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const name = `${prefix}${i}`;
    hand.publish(`$KV.peers.dict.${name}`, kinds[i % kinds.length]![1](name));
    if (i % 500 === 499) await hand.flush();
  }
  await hand.flush();
}

test(
  "ten thousand hostile records, large ones among them, hold up nobody and cost a line for each kind",
  needs,
  async (defer) => {
    const server = await startNats(defer);
    const hand = await hostileHand(defer, server.url);
    await flood(hand, "junk", 10_000);
    const huge = new Uint8Array(1_000_000);
    for (let i = 0; i < 60; i++) hand.publish(`$KV.peers.dict.huge${i}`, huge);
    const marks = headers();
    marks.set("KV-Operation", "DEL");
    for (let i = 0; i < 500; i++) hand.publish(`$KV.peers.dict.gone${i}`, undefined, { headers: marks });
    hand.publish("$KV.peers.dict.deep.er.and\u001b[2Jdeeper", bytesOf("{}"));
    await hand.flush();

    const heapBefore = heapBytes();
    const fleet = new Fleet(defer, [server.url], 3);
    fleet.start();
    await timed(() => fleet.isEqual, 5_000, () => fleet.account());
    const grownBytes = heapBytes() - heapBefore;
    assert.ok(grownBytes < 200 * 2 ** 20, `${grownBytes} bytes for three nodes`);

    const rules = new Set(kinds.map(([rule]) => rule));
    for (const { log } of fleet.nodes) {
      const complaints = log.lines.filter((line) => line.startsWith("warn ignoring"));
      for (const rule of rules) {
        assert.equal(complaints.filter((line) => line.includes(`no peer record: ${rule}`)).length, 1, rule);
      }
      assert.ok(complaints.length <= rules.size + 2, complaints.join("\n"));
      assert.ok(!log.lines.some((line) => /secret|boo|[^\x20-\x7e]/.test(line)), "no value and no control character");
    }

    // More keys than a node holds: a node that joins now is found all the same.
    await flood(hand, "more", maxKeysPerGroup);
    const late = new Fleet(defer, [server.url], 1, {}, 3);
    late.start();
    fleet.nodes.push(...late.nodes);
    await timed(() => fleet.isEqual, 5_000, () => fleet.account());
    const [leaver] = fleet.nodes.splice(1, 1);
    assert.equal(await leaver!.membership.leave(5_000), true);
    await timed(() => fleet.isEqual, 5_000, () => fleet.account());
    for (const { log } of fleet.nodes) {
      const complaints = log.lines.filter((line) => line.startsWith("warn ignoring"));
      assert.ok(complaints.length <= 3 * rules.size + 2, complaints.join("\n"));
    }
  },
);

test("a bucket that a node makes refuses values that are too long for a peer's record", needs, async (defer) => {
  const server = await startNats(defer);
  const fleet = new Fleet(defer, [server.url], 1);
  fleet.start();
  await timed(() => fleet.isEqual, 5_000, () => fleet.account());
  const hand = await connect({ servers: server.url });
  defer(() => hand.close());
  const bucket = await hand.jetstream().views.kv("peers");
  await assert.rejects(bucket.put("dict.huge", new Uint8Array(100_000)), /message size exceeds maximum allowed/);
  await bucket.put("dict.large", new Uint8Array(5_000));
});

test("peers that came and went over the years do not crowd out those that come now", needs, async (defer) => {
  const server = await startNats(defer);
  const hand = await hostileHand(defer, server.url);
  const fleet = new Fleet(defer, [server.url], 2);
  fleet.start();
  await timed(() => fleet.isEqual, 5_000, () => fleet.account());
  const marks = headers();
  marks.set("KV-Operation", "DEL");
  for (let i = 0; i < maxKeysPerGroup + 100; i++) {
    hand.publish(`$KV.peers.dict.gone${i}`, undefined, { headers: marks });
    if (i % 1_000 === 999) await hand.flush();
  }
  await hand.flush();
  const late = new Fleet(defer, [server.url], 2, {}, 2);
  late.start();
  fleet.nodes.push(...late.nodes);
  await timed(() => fleet.isEqual, 5_000, () => fleet.account());
  assert.ok(fleet.lines(/ignoring/).length === 0);
});

function heapBytes(): number {
  const { heapUsed, external } = globalThis.process.memoryUsage();
  return heapUsed + external;
}
