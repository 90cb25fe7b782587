import assert from "node:assert/strict";
import { isFieldName, isFieldValue } from "../../../lib/core/semantics/fields.ts";
import { test } from "../../support/test.ts";

test("a field's value is Latin-1 without control characters but the tab, and its name a token", () => {
  for (let code = 0; code <= 0x1ff; code++) {
    const text = `a${String.fromCharCode(code)}b`;
    const isSound = code === 9 || (code >= 0x20 && code !== 0x7f && code <= 0xff);
    assert.equal(isFieldValue(text), isSound, `U+${code.toString(16)}`);
    // A runtime makes a header of whatever passes, or it would throw at each answer.
    if (isSound) assert.equal(new Headers([["x", text]]).get("x"), text);
    assert.equal(isFieldName(text), /^[!#$%&'*+\-.^_`|~0-9a-z]$/.test(text[1]!), `U+${code.toString(16)}`);
  }
  for (const text of ["", "text/html; charset=utf-8", '"a"']) assert.ok(isFieldValue(text), text);
  for (const text of ["\u{1f600}", "\ud800", "a\r\nx: y"]) assert.ok(!isFieldValue(text), text);
  for (const text of ["", "Host", "a b", "a:"]) assert.ok(!isFieldName(text), text);
});
