import assert from "node:assert/strict";
import fc from "fast-check";
import { Challenges } from "../../../lib/peer/proof/challenges.ts";
import {
  challengeText,
  fieldOf,
  proofText,
  readChallenge,
  readClaim,
  readProof,
} from "../../../lib/peer/proof/fields.ts";
import { makeIdentity, verify } from "../../../lib/peer/proof/keys.ts";
import { ManualClock } from "../../support/clock.ts";
import { identityOf, keyOf } from "../../support/identity.ts";
import { test } from "../../support/test.ts";
import { claimOf, proofOf } from "../raw.ts";

const A = { name: "a", incarnation: "01-a" };
const B = { name: "b", incarnation: "01-b" };

test("a signature is taken with the key and the text that it was made with only, on either runtime", async () => {
  const [one, other] = [await makeIdentity(), await makeIdentity()];
  assert.match(one.key, /^[\w-]{43}$/);
  assert.notEqual(one.key, other.key);
  const signature = await one.sign("text");
  assert.match(signature, /^[\w-]{86}$/);
  assert.equal(await verify(one.key, "text", signature), true);
  assert.equal(await verify(other.key, "text", signature), false);
  assert.equal(await verify(one.key, "texts", signature), false);
  // Signed by node:crypto.
  assert.equal(await verify(keyOf("a", "01-a"), "text", await identityOf(A).sign("text")), true);
  for (
    const [key, signed] of [["", signature], ["A".repeat(43), signature], [one.key, ""], [one.key, "A".repeat(86)]]
  ) {
    assert.equal(await verify(key!, "text", signed!), false);
  }
});

test("fields are read as they were written, and any other text gives none", async () => {
  const claim = claimOf(A);
  const challenge = new Challenges({ clock: new ManualClock(), validMs: 1, maxUsed: 1 }).make();
  const proof = await proofOf(claim, B, challenge);
  assert.deepEqual(readClaim(fieldOf(claim)), claim);
  assert.deepEqual(readProof(fieldOf(proof)), proof);
  const answer = { challenge, signature: proof.signature };
  assert.deepEqual(readChallenge(fieldOf(answer)), answer);
  const longest = { ...proof, name: "n".repeat(128), incarnation: "i".repeat(64) };
  assert.deepEqual(readProof(fieldOf(longest)), longest);
  for (
    const text of [
      null,
      undefined,
      "",
      " ",
      `${fieldOf(proof)} `,
      `${fieldOf(proof)}\n`,
      fieldOf({ ...claim, name: "a b" }),
    ]
  ) {
    assert.deepEqual([readClaim(text), readChallenge(text), readProof(text)], [undefined, undefined, undefined]);
  }
  fc.assert(fc.property(fc.string({ maxLength: 600 }), (text) => {
    for (const read of [readClaim(text), readChallenge(text), readProof(text)]) {
      if (read !== undefined) assert.equal(fieldOf(read), text);
    }
  }));
});

test("each signed field changes the text, and the two kinds of text never agree", () => {
  const claim = claimOf(A);
  const texts = [challengeText, proofText].flatMap((textOf) => [
    textOf(claim, B, "c"),
    textOf({ ...claim, name: "x" }, B, "c"),
    textOf({ ...claim, incarnation: "x" }, B, "c"),
    textOf({ ...claim, nonce: "x" }, B, "c"),
    textOf(claim, { ...B, name: "x" }, "c"),
    textOf(claim, { ...B, incarnation: "x" }, "c"),
    textOf(claim, B, "x"),
    textOf(B as never, A, "c"),
  ]);
  assert.equal(new Set(texts).size, texts.length);
});

test("a challenge is open for its time, once, and only at the node that made it", () => {
  const clock = new ManualClock();
  const [mine, other] = [1, 2].map(() => new Challenges({ clock, validMs: 1_000, maxUsed: 10 })) as [
    Challenges,
    Challenges,
  ];
  const challenge = mine.make();
  assert.match(challenge, /^[\w-]{51}$/);
  assert.notEqual(mine.make(), challenge);
  assert.deepEqual([mine.isOpen(challenge), other.isOpen(challenge)], [true, false]);
  for (let i = 0; i < challenge.length; i++) {
    const changed = challenge.slice(0, i) + (challenge[i] === "A" ? "B" : "A") + challenge.slice(i + 1);
    assert.equal(mine.isOpen(changed), false, `at ${i}`);
  }
  for (const text of ["", challenge.slice(1), `${challenge}A`]) assert.equal(mine.isOpen(text), false);
  clock.standStill(-1);
  assert.equal(mine.isOpen(challenge), false, "made in the future");
  clock.standStill(1_000);
  assert.deepEqual([mine.use(challenge), mine.use(challenge), mine.isOpen(challenge)], [true, false, false]);
  const late = mine.make();
  clock.standStill(1_000);
  assert.deepEqual([mine.isOpen(late), mine.use(late)], [false, false]);
});
