import assert from "node:assert/strict";
import { PLAIN, type Value } from "../../../lib/core/value.ts";
import { TextBodies } from "../../../lib/http/fast/text-bodies.ts";
import { WholeHits } from "../../../lib/http/fast/whole-hits.ts";
import { test } from "../../support/test.ts";
import { plainValue } from "../support.ts";

const value: Value = { ...plainValue(new TextEncoder().encode("x".repeat(300)), "text/plain"), freshUntilMs: 10_500 };

test("headers are made anew when the age, the rest of the lifetime or the place changes, and not before", () => {
  const hits = new WholeHits(undefined);
  let made = 0;
  const ask = (status: string, nowMs: number, isSandboxed = true) =>
    hits.response(value, status, isSandboxed, nowMs, () => [["x-made", String(++made)]]).headers.get("x-made");
  assert.deepEqual([ask("hit", 0), ask("hit", 400)], ["1", "1"]);
  assert.equal(ask("hit", 501), "2"); // 9 s are left instead of 10
  assert.equal(ask("hit", 1_000), "3");
  assert.equal(ask("hot", 1_000), "4");
  assert.equal(ask("hot", 1_000, false), "5");
  const other = { ...value };
  assert.equal(hits.response(other, "hot", true, 1_000, () => [["x-made", "other"]]).headers.get("x-made"), "other");
});

test("the body is whole in either form, with its status", async () => {
  for (const texts of [undefined, new TextBodies()]) {
    const made = { ...value, about: { ...PLAIN, status: 203 } };
    const response = new WholeHits(texts).response(made, "hit", true, 0, () => []);
    assert.equal(response.status, 203);
    assert.equal(await response.text(), "x".repeat(300));
    assert.equal(response.headers.get("content-length"), texts === undefined ? "300" : null);
  }
});

test("values that say the same beside their bodies do not get each other's length or type", () => {
  const hits = new WholeHits(undefined);
  const ask = (given: Value) => {
    const { headers } = hits.response(given, "hit", true, 0, () => [["content-type", given.contentType]]);
    return [headers.get("content-length"), headers.get("content-type")];
  };
  const others = [{ ...value, body: new Uint8Array(7) }, { ...value, contentType: "text/html" }];
  assert.deepEqual([value, ...others, value].map(ask), [
    ["300", "text/plain"],
    ["7", "text/plain"],
    ["300", "text/html"],
    ["300", "text/plain"],
  ]);
});
