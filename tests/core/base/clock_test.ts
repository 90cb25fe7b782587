import assert from "node:assert/strict";
import { steady } from "../../../lib/core/base/clock.ts";
import { test } from "../../support/test.ts";

test("a steady time goes on when the clock is set back, and jumps when it is set forward", () => {
  let wallMs = 1_000_000;
  const nowMs = steady(() => wallMs);
  const after = (byMs: number) => {
    wallMs += byMs;
    return nowMs();
  };
  assert.equal(after(0), 1_000_000);
  assert.equal(after(5), 1_000_005);
  assert.equal(after(-3_600_000), 1_000_005);
  assert.equal(after(10), 1_000_015);
  assert.equal(after(60_000), 1_060_015);
  assert.equal(after(-1), 1_060_015);
  assert.equal(after(1), 1_060_016);
});
