import assert from "node:assert/strict";
import { RecentLines } from "../../lib/node/log/recent-lines.ts";
import { ManualClock } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { test } from "../support/test.ts";

test("every line is passed on, and the latest hundred are kept, the latest first", async () => {
  const [written, clock] = [new MemoryLog(), new ManualClock()];
  const log = new RecentLines(written, clock);
  const sinceMs = clock.nowMs();
  log.debug("a detail");
  for (let i = 0; i < 1_000; i++) log.info(`line ${i}`);
  await clock.advance(5);
  log.warn("a warning");
  log.error("x".repeat(10_000));
  assert.equal(written.lines.length, 1_003);
  assert.equal(written.lines.at(-1)!.length, 10_000 + "error ".length);
  const { latest } = log;
  assert.equal(latest.length, 100);
  assert.deepEqual(latest[0], { atMs: sinceMs + 5, level: "error", message: "x".repeat(500) });
  assert.deepEqual(latest[1], { atMs: sinceMs + 5, level: "warn", message: "a warning" });
  assert.deepEqual(latest[2], { atMs: sinceMs, level: "info", message: "line 999" });
});
