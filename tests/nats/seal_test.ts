import assert from "node:assert/strict";
import fc from "fast-check";
import { UNSIGNED } from "../../lib/core/base/unsigned.ts";
import { Seal, SEAL_BYTES } from "../../lib/nats/seal.ts";
import { test } from "../support/test.ts";

const [old, next] = ["the old secret, 1", "the new secret, 2"];
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (data: Uint8Array) => new TextDecoder().decode(data);
const subject = "$KV.peers.dict.a";

test("a signed value is read back the same, on every runtime with the same code", () => {
  const seal = new Seal([old]);
  const signed = seal.sign(subject, bytes('{"name":"a"}'));
  assert.equal(text(signed), '{"name":"a","mac":"fg-4G2x9wUKRtF6d3cEnqevrournckuNI6gFSNrBFSk"}');
  assert.equal(signed.byteLength, '{"name":"a"}'.length + SEAL_BYTES);
  assert.equal(text(seal.open(subject, signed)), '{"name":"a"}');
  // A file that an editor has saved ends with a line feed.
  assert.equal(text(seal.open(subject, bytes(`${text(signed)}\n`))), '{"name":"a"}');
});

test("any object comes back, and is good under its own subject and secret only", () => {
  const subjects = fc.stringMatching(/^[a-z.$]{1,20}$/);
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue(), { minKeys: 1 }),
      subjects,
      subjects,
      (object, here, there) => {
        const json = bytes(JSON.stringify(object));
        const signed = new Seal([old]).sign(here, json);
        assert.deepEqual(new Seal([old]).open(here, signed), json);
        assert.equal(new Seal([next]).open(here, signed), UNSIGNED);
        if (here !== there) assert.equal(new Seal([old]).open(there, signed), UNSIGNED);
      },
    ),
  );
});

test("a text with one byte changed, added or removed does not count", () => {
  const seal = new Seal([old]);
  const signed = seal.sign(subject, bytes('{"name":"a","weight":1}'));
  const edits = fc.record({
    at: fc.nat(signed.byteLength - 1),
    byte: fc.nat(255),
    kind: fc.constantFrom("set", "add", "cut"),
  });
  fc.assert(fc.property(edits, ({ at, byte, kind }) => {
    const [head, rest] = [[...signed.subarray(0, at)], [...signed.subarray(kind === "add" ? at : at + 1)]];
    const edited = Uint8Array.from(kind === "cut" ? [...head, ...rest] : [...head, byte, ...rest]);
    const opened = seal.open(subject, edited);
    // White space behind the object is no part of it, and the last character of a code has two bits to spare.
    assert.ok(opened === UNSIGNED || text(opened) === '{"name":"a","weight":1}');
  }));
  for (const unsigned of ['{"name":"a"}', '{"name":"a","mac":""}', '{"mac":"x"}', "", "}", text(signed).slice(1)]) {
    assert.equal(seal.open(subject, bytes(unsigned)), UNSIGNED, unsigned);
  }
});

test("while a secret is replaced, both are accepted and the first one signs", () => {
  const [before, first, second, after] = [[old], [old, next], [next, old], [next]].map((secrets) =>
    new Seal(secrets)
  ) as [Seal, Seal, Seal, Seal];
  const json = bytes('{"name":"a"}');
  // Each step goes from node to node: at every moment all nodes read what any of them writes.
  for (const [one, other] of [[before, first], [first, second], [second, after]] as const) {
    assert.deepEqual(other.open(subject, one.sign(subject, json)), json);
    assert.deepEqual(one.open(subject, other.sign(subject, json)), json);
  }
  assert.equal(after.open(subject, before.sign(subject, json)), UNSIGNED);
});

test("without a secret nothing is signed, and a signature is ignored", () => {
  const none = new Seal();
  const json = bytes('{"name":"a"}');
  assert.equal(none.sign(subject, json), json);
  assert.equal(none.open(subject, json), json);
  assert.deepEqual(none.open(subject, new Seal([old]).sign(subject, json)), json);
});

test("only an object with a field can be signed", () => {
  for (const wrong of ["", "{}", "{ }", "[1]", "1", '"}"']) {
    assert.throws(() => new Seal([old]).sign(subject, bytes(wrong)), TypeError, wrong);
  }
});
