import assert from "node:assert/strict";
import fc from "fast-check";
import {
  checkedInvalidation,
  encodeInvalidation,
  invalidationOf,
  MAX_MESSAGE_BYTES,
  MAX_NAMES,
  MAX_TAG_BYTES,
  parseInvalidation,
} from "../../../lib/core/invalidation/message.ts";
import { test } from "../../support/test.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);
const parse = (text: string) => parseInvalidation(bytesOf(text));

test("a message written by hand covers the values that it names, and is hard unless it says soft", () => {
  const nothing = { keys: [], prefixes: [], tags: [], all: false, soft: false };
  assert.deepEqual(parse('{"all":true}'), { ...nothing, all: true });
  assert.deepEqual(parse(' {"keys": ["a", "ä b"]}\n'), { ...nothing, keys: ["a", "ä b"] });
  assert.deepEqual(parse('{"keys":[""]}').keys, [""], "the top page of a site");
  assert.deepEqual(parse('{"prefixes":["x/"],"soft":true}'), { ...nothing, prefixes: ["x/"], soft: true });
  assert.deepEqual(parse('{"tags":["t"],"keys":["k"],"all":false,"soft":false}'), {
    ...nothing,
    keys: ["k"],
    tags: ["t"],
  });
});

test("a message is encoded as short as operators write it", () => {
  const written = (message: Parameters<typeof invalidationOf>[0]) =>
    new TextDecoder().decode(encodeInvalidation(invalidationOf(message)));
  assert.equal(written({ all: true }), '{"all":true}');
  assert.equal(written({ keys: ["a"], soft: true }), '{"keys":["a"],"soft":true}');
  assert.equal(written({ prefixes: ["p"], tags: ["t"] }), '{"prefixes":["p"],"tags":["t"]}');
});

test("an encoded message is read back the same", () => {
  const names = fc.array(fc.string({ minLength: 1, maxLength: 60, unit: "binary" }), { maxLength: 20 });
  const anyMessage = fc.record({
    keys: names,
    prefixes: names,
    tags: names,
    all: fc.boolean(),
    soft: fc.boolean(),
  }, { noNullPrototype: true }).filter(({ keys, prefixes, tags, all }) =>
    all || keys.length + prefixes.length + tags.length > 0
  );
  fc.assert(
    fc.property(anyMessage, (message) => {
      assert.deepEqual(parseInvalidation(encodeInvalidation(message)), message);
    }),
  );
});

test("an unreadable message is refused, and its writer is told why", () => {
  const fields = "there are keys, prefixes, tags, all, soft";
  const faults: readonly (readonly [string, string])[] = [
    ["", "it is not JSON"],
    ["flush everything", "it is not JSON"],
    ['{"all":true', "it is not JSON"],
    ["null", "it is not a JSON object"],
    ["true", "it is not a JSON object"],
    ['"all"', "it is not a JSON object"],
    ['["a"]', "it is not a JSON object"],
    ['{"key":"a"}', `it has a field "key": ${fields}`],
    ['{"all":true,"__proto__":{}}', `it has a field "__proto__": ${fields}`],
    ['{"keys":"a"}', "keys is not a list"],
    ['{"prefixes":{"0":"a"}}', "prefixes is not a list"],
    ['{"tags":null}', "tags is not a list"],
    ['{"keys":["a",1]}', "keys has an entry that is no text, or empty"],
    ['{"keys":[null]}', "keys has an entry that is no text, or empty"],
    ['{"prefixes":[""]}', "prefixes has an entry that is no text, or empty"],
    ['{"tags":["a",""]}', "tags has an entry that is no text, or empty"],
    ['{"all":"true"}', "all is neither true nor false"],
    ['{"all":1}', "all is neither true nor false"],
    ['{"keys":["a"],"soft":null}', "soft is neither true nor false"],
    ["{}", "it covers nothing: it needs keys, prefixes, tags, or all"],
    ['{"soft":true}', "it covers nothing: it needs keys, prefixes, tags, or all"],
    ['{"all":false,"keys":[],"tags":[]}', "it covers nothing: it needs keys, prefixes, tags, or all"],
  ];
  for (const [text, message] of faults) assert.throws(() => parse(text), new TypeError(message), text);
  assert.throws(() => parseInvalidation(new Uint8Array([0x22, 0xff, 0x22])), new TypeError("it is not JSON"));
  assert.throws(() => checkedInvalidation(undefined), new TypeError("it is not a JSON object"));
});

test("a message at the limits is read, and one over them is refused", () => {
  const names = (count: number) => Array.from({ length: count }, (_, i) => `k${i}`);
  const third = Math.floor(MAX_NAMES / 3);
  const most = { keys: names(third), prefixes: names(third), tags: names(MAX_NAMES - 2 * third) };
  assert.equal(checkedInvalidation(most).tags.length, MAX_NAMES - 2 * third);
  const tooMany = `it has ${MAX_NAMES + 1} keys, prefixes and tags: at most ${MAX_NAMES} are allowed`;
  assert.throws(() => checkedInvalidation({ ...most, keys: names(third + 1) }), new TypeError(tooMany));

  // Bytes of UTF-8, not characters.
  const longest = "ä".repeat(MAX_TAG_BYTES / 2);
  for (const field of ["keys", "prefixes", "tags"]) {
    assert.ok(checkedInvalidation({ [field]: [longest] }));
    const tooLong = new TypeError(`${field} has an entry of over ${MAX_TAG_BYTES} bytes`);
    assert.throws(() => checkedInvalidation({ [field]: ["a", `${longest}b`] }), tooLong);
  }

  const padded = (bytes: number) => bytesOf('{"all":true}'.padEnd(bytes, " "));
  assert.ok(parseInvalidation(padded(MAX_MESSAGE_BYTES)).all);
  const tooBig = new TypeError(`it is longer than ${MAX_MESSAGE_BYTES} bytes`);
  assert.throws(() => parseInvalidation(padded(MAX_MESSAGE_BYTES + 1)), tooBig);
});

test("a message that other nodes could not read is not written", () => {
  const names = Array.from({ length: MAX_NAMES }, (_, i) => `${i}`.padEnd(300, "x"));
  assert.throws(() => encodeInvalidation(invalidationOf({ keys: names })), /longer than/);
  assert.throws(() => encodeInvalidation(invalidationOf({ tags: [""] })), /no text, or empty/);
  assert.throws(() => encodeInvalidation(invalidationOf({ soft: true })), /covers nothing/);
});
