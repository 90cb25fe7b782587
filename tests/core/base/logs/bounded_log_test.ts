import assert from "node:assert/strict";
import { boundedLog } from "../../../../lib/core/base/logs/bounded-log.ts";
import type { LogFields } from "../../../../lib/core/base/log.ts";
import { ManualClock } from "../../../support/clock.ts";
import { MemoryLog } from "../../../support/log.ts";
import { test } from "../../../support/test.ts";

test("a flood of new texts is cut to the bound of a minute, and one line tells how many more there were", async () => {
  const [clock, log] = [new ManualClock(), new MemoryLog()];
  const bounded = boundedLog(log, { clock, maxLinesPerMinute: 3, about: "strangers" });
  for (let i = 0; i < 100_000; i++) bounded.warn(`stranger ${i}`);
  assert.deepEqual(log.lines, ["warn stranger 0", "warn stranger 1", "warn stranger 2"]);
  assert.equal(clock.pending, 1);
  await clock.advance(59_999);
  assert.equal(log.lines.length, 3);
  await clock.advance(1);
  assert.equal(log.lines.at(-1), "warn 99997 more lines about strangers were left out");
  // The next minute is like the first, and a minute with little in it says nothing of its own.
  for (let i = 0; i < 10; i++) bounded.error("again");
  await clock.advance(60_000);
  assert.deepEqual(log.lines.slice(4), [
    "error again",
    "error again",
    "error again",
    "warn 7 more lines about strangers were left out",
  ]);
  bounded.info("quiet");
  await clock.advance(120_000);
  assert.equal(log.lines.at(-1), "info quiet");
  assert.equal(clock.pending, 0);
});

test("lines that no operator sees use up nothing, and subjects share nothing", () => {
  const [clock, log] = [new ManualClock(), new MemoryLog()];
  const one = boundedLog(log, { clock, maxLinesPerMinute: 1, about: "one" });
  const other = boundedLog(log, { clock, maxLinesPerMinute: 1, about: "other" });
  for (let i = 0; i < 5; i++) one.debug("detail");
  one.warn("a");
  one.warn("b");
  other.warn("c");
  assert.deepEqual(log.lines.slice(5), ["warn a", "warn c"]);
});

test("a line is cut, and so are its fields: texts, lists and the messages of errors", () => {
  const seen: unknown[] = [];
  const log = new MemoryLog();
  log.warn = (message: string, fields?: LogFields, facts?: LogFields) => void seen.push(message, fields, facts);
  const long = "x".repeat(100_000);
  const cut = `${"x".repeat(1_000)}…`;
  const bounded = boundedLog(log, { clock: new ManualClock(), maxLinesPerMinute: 9, about: "x" });
  const short = new RangeError("short");
  bounded.warn(long, { long, count: 3, short }, { list: Array.from({ length: 10_000 }, (_, i) => i) });
  assert.deepEqual(seen.slice(), [cut, { long: cut, count: 3, short }, {
    list: Array.from({ length: 256 }, (_, i) => i),
  }]);
  bounded.warn("m", { error: new RangeError(long) });
  const { error } = seen[4] as unknown as { error: Error };
  assert.deepEqual([error.name, error.message], ["RangeError", cut]);
  boundedLog(log, { clock: new ManualClock(), maxLinesPerMinute: 9, about: "x", maxTextChars: 2 }).warn("abc");
  assert.equal(seen[6], "ab…");
});
