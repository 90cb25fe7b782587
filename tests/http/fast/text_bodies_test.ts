import assert from "node:assert/strict";
import { TextBodies } from "../../../lib/http/fast/text-bodies.ts";
import { test } from "../../support/test.ts";
import { valueOf } from "../support.ts";

const answerOf = async (body: string | Uint8Array<ArrayBuffer>) =>
  new Uint8Array(await new Response(body).arrayBuffer());

test("a body has the bytes of the value, and is a string only if they are ASCII", async () => {
  const texts = new TextBodies();
  for (let byte = 0; byte < 256; byte++) {
    // Alone, at both ends, and in a row: a lead byte in front of ASCII must not swallow it.
    for (const bytes of [[byte], [byte, 97], [97, byte], [byte, byte, byte], [97, byte, 98, byte, 99]]) {
      const body = new Uint8Array(bytes);
      const value = { ...valueOf(""), body };
      for (const sent of [texts.of(value), texts.once(value)]) {
        assert.equal(typeof sent, byte < 128 ? "string" : "object", bytes.join());
        assert.deepEqual(await answerOf(sent), body, bytes.join());
      }
    }
  }
});

test("characters of several bytes, byte order marks and U+FFFD itself are sent as bytes", async () => {
  const texts = new TextBodies();
  for (const text of ["caf\u00e9", "\ufeffa", "\ufffd", "a\ufffdb", "\u20ac", "\u{1f600}", "a\u{1f600}"]) {
    const value = valueOf(text);
    for (const sent of [texts.of(value), texts.once(value)]) {
      assert.equal(sent, value.body, text);
      assert.deepEqual(await answerOf(sent), value.body);
    }
  }
});

test("a long body stays bytes", () => {
  const texts = new TextBodies();
  const [short, long] = [2_048, 2_049].map((bytes) => valueOf("a".repeat(bytes)));
  for (const sent of [texts.of(short!), texts.once(short!)]) assert.equal(sent, "a".repeat(2_048));
  for (const sent of [texts.of(long!), texts.once(long!)]) assert.equal(sent, long!.body);
});
