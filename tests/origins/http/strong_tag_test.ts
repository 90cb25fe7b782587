import assert from "node:assert/strict";
import { strongTag } from "../../../lib/origins/http/strong-tag.ts";
import { test } from "../../support/test.ts";

test("a body's tag is the first half of its SHA-256, the same on both runtimes", () => {
  const tag = (text: string) => strongTag(new TextEncoder().encode(text));
  // FIPS 180-2, appendix B.1: ba7816bf 8f01cfea 414140de 5dae2223 …
  assert.equal(tag("abc"), '"ungWv48Bz-pBQUDeXa4iIw"');
  assert.equal(tag(""), '"47DEQpj8HBSa-_TImW-5JA"');
});
