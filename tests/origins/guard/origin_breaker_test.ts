import assert from "node:assert/strict";
import { OriginBreaker } from "../../../lib/origins/guard/origin-breaker.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

function breakerOf(share = 0.5) {
  const clock = new ManualClock();
  const said: string[] = [];
  const breaker = new OriginBreaker({
    share,
    pauseMs: 1_000,
    clock,
    onOpened: (failures, loads) => said.push(`opened ${failures}/${loads}`),
    onClosed: () => said.push("closed"),
  });
  /** Loads that begin and end now: `x` fails, `.` does not. */
  const loads = (ends: string) => {
    for (const end of ends) if (breaker.admit()) breaker.ended(clock.nowMs(), end === "x");
  };
  return { clock, breaker, said, loads };
}

test("it opens when the share of failures is reached, and not before ten loads", () => {
  const { breaker, said, loads } = breakerOf();
  loads("xxxxxxxxx");
  assert.equal(breaker.state, "closed");
  loads("x");
  assert.deepEqual([breaker.state, said], ["open", ["opened 10/10"]]);
  assert.equal(breaker.admit(), false);
  const other = breakerOf();
  other.loads("..........xxxxxxxxx");
  assert.equal(other.breaker.state, "closed");
  other.loads("x");
  assert.deepEqual(other.said, ["opened 10/20"]);
});

test("only the latest ten seconds, and the latest hundred loads, count", async () => {
  const { clock, breaker, loads } = breakerOf();
  loads("xxxxxxxxx");
  await clock.advance(10_000);
  loads("x");
  assert.equal(breaker.state, "closed");
  loads(".".repeat(100) + "x".repeat(49));
  assert.equal(breaker.state, "closed");
  loads("x");
  assert.equal(breaker.state, "open");
});

test("after the pause one load is the probe: its success closes it, its failure opens it again", async () => {
  const { clock, breaker, said, loads } = breakerOf();
  loads("x".repeat(10));
  await clock.advance(999);
  assert.equal(breaker.admit(), false);
  await clock.advance(1);
  assert.equal(breaker.admit(), true);
  assert.deepEqual([breaker.state, breaker.admit()], ["half-open", false]);
  breaker.ended(clock.nowMs(), true);
  assert.deepEqual([breaker.state, breaker.admit()], ["open", false]);
  await clock.advance(1_000);
  loads(".");
  assert.deepEqual([breaker.state, said], ["closed", ["opened 10/10", "closed"]]);
  // What was counted before is forgotten.
  loads("xxxxxxxxx");
  assert.equal(breaker.state, "closed");
});

test("loads that began before it opened say nothing new", async () => {
  const { clock, breaker, loads } = breakerOf();
  const earlierMs = clock.nowMs();
  await clock.advance(10);
  loads("x".repeat(10));
  breaker.ended(earlierMs, false);
  assert.equal(breaker.state, "open");
  await clock.advance(1_000);
  assert.equal(breaker.admit(), true);
  breaker.ended(earlierMs, false);
  breaker.ended(earlierMs, true);
  assert.equal(breaker.state, "half-open");
});

test("a probe that never ends counts for one more pause", async () => {
  const { clock, breaker, loads } = breakerOf();
  loads("x".repeat(10));
  await clock.advance(1_000);
  assert.equal(breaker.admit(), true);
  await clock.advance(999);
  assert.equal(breaker.admit(), false);
  await clock.advance(1);
  loads(".");
  assert.equal(breaker.state, "closed");
});
