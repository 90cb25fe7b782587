/** What may change while a signature is verified, and the bounds of the gate. The node is `b`. */
import assert from "node:assert/strict";
import type { PeerLimits } from "../../../lib/peer/limits.ts";
import { PEER_LIMITS } from "../../../lib/peer/limits.ts";
import { type Claim, fieldOf, readChallenge } from "../../../lib/peer/proof/fields.ts";
import { Gate } from "../../../lib/peer/proof/gate.ts";
import type { Self } from "../../../lib/peer/wire/greeting.ts";
import { ManualClock, settle } from "../../support/clock.ts";
import { identityOf, keyOf, verifyAtOnce } from "../../support/identity.ts";
import { MemoryLog } from "../../support/log.ts";
import { test } from "../../support/test.ts";
import { claimOf, proofOf } from "../raw.ts";

const A: Self = { name: "a", incarnation: "01-a" };
const B: Self = { name: "b", incarnation: "01-b" };
const KEY = keyOf("a", "01-a");

/** A gate whose verifications begin when they are called for, and end when `letGo` is called. */
function stage(limits: Partial<PeerLimits> = {}) {
  const clock = new ManualClock();
  const keys = new Map([["a 01-a", KEY]]);
  const checking: (() => void)[] = [];
  const asked: number[] = [];
  const log = new MemoryLog();
  const gate = new Gate({
    prover: {
      self: B,
      identity: identityOf(B),
      verify: async (...args) => {
        await new Promise<void>((resolve) => checking.push(resolve));
        return await verifyAtOnce(...args);
      },
    },
    keyOf: ({ name, incarnation }) => keys.get(`${name} ${incarnation}`),
    onHeld: () => asked.push(clock.nowMs()),
    clock,
    log,
    limits: { ...PEER_LIMITS, ...limits },
  });
  const letGo = async () => {
    for (const resolve of checking.splice(0)) resolve();
    await settle();
  };
  const proofBy = async (who: Self, signer: Self = who) => {
    const claim = claimOf(who);
    return fieldOf(await proofOf(claim, B, await challengeFor(gate, claim), signer));
  };
  /** What `admit` has said so far. */
  const knock = (field: string, gone?: AbortSignal) => {
    const said: { result: Self | undefined | "nothing yet" } = { result: "nothing yet" };
    void gate.admit(field, gone).then((result) =>
      said.result = result && { name: result.name, incarnation: result.incarnation }
    );
    return said;
  };
  return { clock, gate, keys, checking, asked, log, letGo, proofBy, knock };
}

async function challengeFor(gate: Gate, claim: Claim): Promise<string> {
  return readChallenge(await gate.challenge(fieldOf(claim)))!.challenge;
}

test("a peer that leaves the roster while its signature is verified is not admitted", async () => {
  const { clock, gate, keys, letGo, proofBy, knock } = stage();
  const said = knock(await proofBy(A));
  keys.clear();
  gate.review();
  await letGo();
  assert.equal(said.result, "nothing yet");
  await clock.advance(2_000);
  assert.equal(said.result, undefined);
});

test("a peer that leaves and comes back while its signature is verified is admitted", async () => {
  const { gate, keys, letGo, proofBy, knock } = stage();
  const said = knock(await proofBy(A));
  keys.clear();
  gate.review();
  keys.set("a 01-a", KEY);
  gate.review();
  await letGo();
  assert.deepEqual(said.result, A);
});

test("a key that changes while a signature is verified is the one that counts", async () => {
  for (const [before, after] of [["right", "wrong"], ["wrong", "right"]]) {
    const { clock, gate, keys, letGo, proofBy, knock } = stage();
    const key = { right: KEY, wrong: keyOf("mallory", "1") } as Record<string, string>;
    keys.set("a 01-a", key[before!]!);
    const said = knock(await proofBy(A));
    keys.set("a 01-a", key[after!]!);
    gate.review();
    await letGo();
    await letGo();
    if (after === "right") assert.deepEqual(said.result, A);
    else assert.equal(said.result, "nothing yet");
    await clock.advance(2_000);
    assert.deepEqual(said.result, after === "right" ? A : undefined);
  }
});

test("a node that stops while it verifies admits nobody, then and later", async () => {
  const { clock, gate, letGo, proofBy, knock } = stage();
  const [first, second] = [await proofBy(A), await proofBy(A)];
  const said = knock(first);
  gate.close();
  await settle();
  assert.equal(said.result, undefined);
  await letGo();
  const late = knock(second);
  await letGo();
  assert.equal(late.result, undefined);
  assert.equal(await gate.challenge(fieldOf(claimOf(A))), undefined);
  assert.equal(clock.pending, 0);
});

test("a client that gives up is forgotten, before its time and during the verification", async () => {
  const { clock, letGo, proofBy, knock } = stage();
  for (const who of [A, { name: "x", incarnation: "1" }]) {
    const leaver = new AbortController();
    const said = knock(await proofBy(who), leaver.signal);
    leaver.abort();
    await letGo();
    assert.equal(said.result, undefined);
  }
  const proof = await proofBy(A);
  const leaver = new AbortController();
  void knock(proof, leaver.signal);
  leaver.abort();
  await letGo();
  const again = knock(proof);
  await letGo();
  assert.deepEqual(again.result, A, "nobody has used the challenge yet");
  const gone = knock(await proofBy(A), AbortSignal.abort());
  await settle();
  assert.equal(gone.result, undefined);
  await clock.advance(250);
  assert.equal(clock.pending, 0);
});

test("a challenge that grows too old while the proof is held, or during the verification, admits no peer", async () => {
  const held = stage({ heldProofMs: 10_000 });
  held.keys.clear();
  const said = held.knock(await held.proofBy(A));
  await held.clock.advance(4_999);
  held.keys.set("a 01-a", KEY);
  held.gate.review();
  await held.clock.advance(1);
  await held.letGo();
  assert.equal(said.result, undefined);
});

test("a stranger is admitted as soon as the roster lists it, and the roster is read again until then", async () => {
  const { clock, gate, keys, asked, letGo, proofBy, knock } = stage();
  const x = { name: "x", incarnation: "1" };
  const startMs = clock.nowMs();
  const said = knock(await proofBy(x));
  await clock.advance(600);
  assert.deepEqual(asked.map((atMs) => atMs - startMs), [250, 500]);
  keys.set("x 1", keyOf("x", "1"));
  gate.review();
  await letGo();
  assert.deepEqual(said.result, x);
  await clock.advance(1_000);
  assert.equal(asked.length, 2);
});

test("a wrong signature does not make the node read its roster again, and is verified once", async () => {
  const { clock, gate, checking, asked, letGo, proofBy, knock, log } = stage();
  const said = knock(await proofBy(A, { name: "mallory", incarnation: "1" }));
  await letGo();
  for (let i = 0; i < 100; i++) gate.review();
  assert.equal(checking.length, 0);
  await clock.advance(2_000);
  assert.equal(said.result, undefined);
  assert.deepEqual(asked, []);
  assert.deepEqual(log.lines, [
    "warn refused a connection from a: signature: it does not have the key that the roster lists for a",
  ]);
});

test("when too many challenges were answered correctly in a short time, no peer is admitted until they are old", async () => {
  const { clock, letGo, proofBy, knock } = stage({ usedChallenges: 2 });
  const results: unknown[] = [];
  for (let i = 0; i < 3; i++) {
    const said = knock(await proofBy(A));
    await letGo();
    results.push(said.result);
  }
  assert.deepEqual(results, [A, A, undefined]);
  await clock.advance(5_000);
  const said = knock(await proofBy(A));
  await letGo();
  assert.deepEqual(said.result, A);
});

test("challenges beyond those that are being signed are not made", async () => {
  const { gate } = stage({ signing: 3 });
  const made = await Promise.all(Array.from({ length: 5 }, () => gate.challenge(fieldOf(claimOf(A)))));
  assert.deepEqual(made.map((field) => field !== undefined), [true, true, true, false, false]);
  assert.notEqual(await gate.challenge(fieldOf(claimOf(A))), undefined);
});

test("a crowd of wrong proofs does not push out a peer whose signature is being checked", async () => {
  const { gate, letGo, proofBy, knock } = stage({ strangers: 3 });
  const unlisted = [1, 2].map((i) => ({ name: `stranger-${i}`, incarnation: "1" }));
  const peer = knock(await proofBy(A));
  const crowd = [];
  for (const who of [...unlisted, ...unlisted, ...unlisted]) crowd.push(knock(await proofBy(who)));
  assert.equal(peer.result, "nothing yet");
  await letGo();
  assert.deepEqual(peer.result, A);
  assert.equal(crowd.filter(({ result }) => result === "nothing yet").length, 2);
  gate.close();
});

test("where all are being checked, the oldest gives way", async () => {
  const { gate, proofBy, knock } = stage({ strangers: 2 });
  const posing = [];
  for (let i = 0; i < 4; i++) posing.push(knock(await proofBy(A, { name: "mallory", incarnation: "1" })));
  await settle();
  assert.deepEqual(posing.map(({ result }) => result), [undefined, undefined, "nothing yet", "nothing yet"]);
  gate.close();
});
