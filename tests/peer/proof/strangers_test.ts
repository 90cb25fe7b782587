/** Strangers at the real port of a node. The node lists `a` and `z`, and is `b`. */
import assert from "node:assert/strict";
import type { PeerRecord } from "../../../lib/core/roster.ts";
import { PeerHub, type PeerHubOptions } from "../../../lib/peer/hub.ts";
import { challengeText, fieldOf } from "../../../lib/peer/proof/fields.ts";
import { ManualClock } from "../../support/clock.ts";
import { identityOf } from "../../support/identity.ts";
import { MemoryLog } from "../../support/log.ts";
import { heapBytes } from "../../support/memory.ts";
import { type Defer, test } from "../../support/test.ts";
import { getBy, getFrom } from "../memory.ts";
import { claimOf, proofLine, proofOf, RawClient, UPGRADE } from "../raw.ts";
import { record, serveHub, systemClock, valueOf } from "../support.ts";

const [A, B, Z] = ["a", "b", "z"].map((name) => record(name)) as [PeerRecord, PeerRecord, PeerRecord];
const MALLORY = record("mallory");
const SHORT = { heldProofMs: 150, heldAskMs: 50 };
const patient = { signal: new AbortController().signal, timeoutMs: 10_000 };

function hubOf(defer: Defer, self: PeerRecord, options: Partial<PeerHubOptions> = {}): PeerHub {
  const hub = new PeerHub({
    self,
    identity: identityOf(self),
    groups: ["dict"],
    revisions: () => ({}),
    service: { get: getBy(() => valueOf("value")) },
    clock: systemClock,
    log: new MemoryLog(),
    limits: SHORT,
    ...options,
  });
  defer(() => hub.close());
  return hub;
}

async function victim(defer: Defer, options: Partial<PeerHubOptions> = {}) {
  const reached: string[] = [];
  const service = { get: getBy((_, key) => (reached.push(key), valueOf("value"))) };
  const b = hubOf(defer, B, { service, ...options });
  const { url, stop } = await serveHub(() => b);
  defer(stop);
  b.setPeers([A, Z]);
  return { b, url, reached };
}

test("a stranger that poses as a listed peer in its life gets no WebSocket, and the peer's link stands", async (defer) => {
  const log = new MemoryLog();
  const { b, url, reached } = await victim(defer, { log });
  const a = hubOf(defer, A);
  a.setPeers([record("b", url)]);
  await getFrom(a.peer("b")!, "dict", "warm-up", patient);
  const statuses = await Promise.all(Array.from({ length: 10 }, async () => {
    const client = await RawClient.open(url, defer);
    return (await client.upgrade(A, B, MALLORY)).status;
  }));
  assert.deepEqual(new Set(statuses), new Set([403]));
  await getFrom(a.peer("b")!, "dict", "after", patient);
  const { state, opens } = b.stats().find(({ name }) => name === "a")!;
  assert.deepEqual({ state, opens }, { state: "open", opens: 1 });
  assert.deepEqual(reached, ["warm-up", "after"]);
  const lines = log.lines.filter((line) => line.includes("refused a connection"));
  assert.deepEqual(lines, [
    "warn refused a connection from a: signature: it does not have the key that the roster lists for a",
  ]);
});

test("a peer's own proof lets in the peer, once", async (defer) => {
  const { url } = await victim(defer);
  const peer = await RawClient.open(url, defer);
  const { claim, challenge } = await peer.challenge(A);
  const line = UPGRADE + proofLine(await proofOf(claim, B, challenge));
  // The copies come at the same time as the proof, and after it, on other connections.
  const copies = await Promise.all(Array.from({ length: 5 }, () => RawClient.open(url, defer)));
  const answers = await Promise.all([peer, ...copies.slice(1)].map((client) => client.ask(line)));
  assert.deepEqual(answers.map(({ status }) => status).sort(), [101, 403, 403, 403, 403]);
  assert.equal((await copies[0]!.ask(line)).status, 403);
});

test("a proof for another node, another life or another challenge, and a challenge as a proof, let in nobody", async (defer) => {
  const { url } = await victim(defer);
  const statusOf = async (signed: (signer: RawClient) => Promise<string>) => {
    const client = await RawClient.open(url, defer);
    return (await client.ask(UPGRADE + await signed(client))).status;
  };
  const wrong: ((client: RawClient) => Promise<string>)[] = [
    async (client) => {
      const { claim, challenge } = await client.challenge(A);
      return proofLine(await proofOf(claim, Z, challenge));
    },
    async (client) => {
      const { claim, challenge } = await client.challenge(A);
      return proofLine(await proofOf(claim, record("b", "http://b", "00-b"), challenge));
    },
    async (client) => {
      const { claim, challenge } = await client.challenge(A);
      const other = await client.challenge(A);
      return proofLine({ ...await proofOf(claim, B, challenge), challenge: other.challenge });
    },
    async (client) => {
      const { claim, challenge } = await client.challenge(A);
      return proofLine({ ...await proofOf(claim, B, challenge), nonce: claimOf(A).nonce });
    },
    async (client) => {
      const { claim, challenge } = await client.challenge(A);
      return proofLine({ ...await proofOf(claim, B, challenge), name: "z", incarnation: "01-z" });
    },
    async (client) => {
      const { claim, challenge } = await client.challenge(A);
      const signature = await identityOf(A).sign(challengeText(claim, B, challenge));
      return proofLine({ ...claim, challenge, signature });
    },
    // A challenge that another life of this node has made.
    async () => proofLine(await proofOf(claimOf(A), B, Buffer.alloc(38).toString("base64url"))),
  ];
  assert.deepEqual(await Promise.all(wrong.map(statusOf)), wrong.map(() => 403));
  assert.equal((await (await RawClient.open(url, defer)).upgrade(A, B)).status, 101);
});

test("a web page is refused, also one that could prove itself", async (defer) => {
  const { url } = await victim(defer);
  const client = await RawClient.open(url, defer);
  const { claim, challenge } = await client.challenge(A);
  const line = proofLine(await proofOf(claim, B, challenge));
  const asked = await client.ask(`Origin: http://b\r\nMuster-Claim: ${fieldOf(claim)}\r\n`);
  assert.deepEqual([asked.status, asked.fields.has("muster-challenge")], [426, false]);
  for (const origin of ["http://b", "null", ""]) {
    assert.equal((await client.ask(`${UPGRADE}Origin: ${origin}\r\n${line}`)).status, 403, origin);
  }
  assert.equal((await client.ask(UPGRADE + line)).status, 101);
});

test("every refusal is the same, byte for byte, and comes at once or at the end of the wait, whoever is listed", async (defer) => {
  const clock = new ManualClock();
  const { b, url } = await victim(defer, { clock, limits: {} });
  const client = await RawClient.open(url, defer);
  const old = await client.challenge(A);
  await clock.advance(5_000);
  const { claim, challenge } = await client.challenge(A);
  const right = await proofOf(claim, B, challenge);
  const atOnce = [
    "",
    "Muster-Proof: \r\n",
    "Muster-Proof: nonsense\r\n",
    `Muster-Proof: ${"x".repeat(5_000)}\r\n`,
    proofLine({ ...right, name: "x".repeat(200) }),
    `Origin: http://b\r\n${proofLine(right)}`,
    proofLine(await proofOf(old.claim, B, old.challenge)),
    proofLine({ ...right, challenge: "A".repeat(51) }),
    `Muster-Proof: ${fieldOf(right)}\r\nMuster-Proof: ${fieldOf(right)}\r\n`,
  ];
  const texts = new Set<string>();
  for (const line of atOnce) texts.add((await client.ask(UPGRADE + line)).text);
  const ends: boolean[] = [];
  const held = [[A, MALLORY], [MALLORY, MALLORY], [record("a", "http://a", "00-a"), A], [
    record("a", "http://a", "02-a"),
    A,
  ]] as const;
  const waiting = held.map(async ([who, signer]) => {
    const stranger = await RawClient.open(url, defer);
    const made = await stranger.challenge(who);
    const asked = stranger.ask(UPGRADE + proofLine(await proofOf(made.claim, B, made.challenge, signer)));
    void asked.then(() => ends.push(true));
    return await asked;
  });
  // Each is held: its timer, and one for reading the roster again.
  const standing = clock.pending;
  while (clock.pending < standing + held.length + 1) await new Promise((resolve) => setImmediate(resolve));
  await clock.advance(1_999);
  assert.deepEqual(ends, []);
  await clock.advance(1);
  for (const { text } of await Promise.all(waiting)) texts.add(text);
  assert.equal(texts.size, 1, [...texts].join("\n"));
  assert.match([...texts][0]!, /^HTTP\/1\.1 403 /);
  assert.doesNotMatch([...texts][0]!, /01-|life|roster|list/);
  b.close();
});

test("ten thousand challenges leave nothing behind, and the first of them can still be answered", async (defer) => {
  const limits = { usedChallenges: 10, strangers: 4 };
  const { b, url } = await victim(defer, { clock: new ManualClock(), limits });
  const first = await RawClient.open(url, defer);
  const { claim, challenge } = await first.challenge(A);
  const flood = async (count: number) => {
    for (let i = 0; i < count; i++) {
      const stranger = fieldOf(claimOf({ name: `stranger-${i}`, incarnation: "1" }));
      assert.ok("muster-challenge" in await b.challenge(new Headers({ "muster-claim": stranger })));
    }
  };
  await flood(500);
  const before = await heapBytes();
  await flood(10_000);
  const grown = await heapBytes() - before;
  // A challenge alone has 51 bytes, with a table's entry some 200.
  assert.ok(grown < 1_000_000, `${grown} bytes`);
  const proof = proofLine(await proofOf(claim, B, challenge));
  assert.equal((await first.ask(UPGRADE + proof)).status, 101);
  b.close();
});
