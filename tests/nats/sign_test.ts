/** What `sign` takes and prints. */
import assert from "node:assert/strict";
import { signedText } from "../../lib/cli/local/sign.ts";
import { ConfigError } from "../../lib/core/errors.ts";
import { Seal } from "../../lib/nats/seal.ts";
import { test } from "../support/test.ts";

const secret = "0123456789abcdef";
const readFile = (path: string) => path === "file" ? `${secret}\nanother secret of it` : assert.fail(path);
const opened = (subject: string, line: string) =>
  new TextDecoder().decode(new Seal([secret]).open(subject, new TextEncoder().encode(line)));

test("a definition and an invalidation are signed for the named place", () => {
  const definition = signedText(
    ["peers-groups", "wn", '{ "origin": "wordnet:" }', "--secret-file", "file"],
    undefined,
    readFile,
  );
  assert.ok(definition.endsWith("}\n") && !definition.trimEnd().includes("\n"), "one line");
  assert.equal(opened("$KV.peers-groups.wn", definition), '{"origin":"wordnet:"}');
  const invalidation = signedText(["peers.invalidate.dict", '{"all":true}'], "file", readFile);
  assert.equal(opened("peers.invalidate.dict", invalidation), '{"all":true}');
  // What is signed already is signed anew, not twice.
  assert.equal(signedText(["peers.invalidate.dict", invalidation], "file", readFile), invalidation);
});

test("a wrong call of sign is refused with its fault and its usage", () => {
  const refusal = (argv: string[], file: string | null = "file") => {
    try {
      signedText(argv, file ?? undefined, readFile);
    } catch (error) {
      assert.ok(error instanceof ConfigError, String(error));
      return error.message;
    }
    assert.fail(`signed: ${argv}`);
  };
  for (const argv of [[], ["a.b"], ["a", "b", "c", '{"a":1}'], ["a.b", '{"a":1}', "--other"]]) {
    assert.match(refusal(argv), /^usage: sign peers-groups/);
  }
  assert.match(refusal(["a.b", '{"a":1}'], null), /^--secret-file must be given/);
  for (const json of ["x", "[]", "1", "{}", '{"mac":"x"}']) {
    assert.equal(refusal(["a.b", json]), "what is signed must be a JSON object with a field");
  }
  for (const place of ["a b", "a.>", "a.*", ""]) assert.match(refusal([place, '{"a":1}']), /^no such place/);
});
