import assert from "node:assert/strict";
import { maxOpenFiles, openFileLimit, watchOpenFiles } from "../../lib/runtime/open-files.ts";
import { ManualClock } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { test } from "../support/test.ts";

test("clients leave an eighth of the files free, and never have more than 16,384", () => {
  assert.equal(maxOpenFiles(256), 224);
  assert.equal(maxOpenFiles(1_024), 896);
  assert.equal(maxOpenFiles(20_000), 16_384);
  assert.equal(maxOpenFiles(undefined), 16_384);
});

test("this process knows its limit", () => {
  assert.ok(openFileLimit()! > 0);
});

test("too many open files end idle connections until there are few enough, and are told once", async () => {
  const clock = new ManualClock();
  const log = new MemoryLog();
  let open: number | undefined = 223;
  let relieved = 0;
  const end = watchOpenFiles(() => relieved++, clock, log, 256, () => open);
  await clock.advance(1_000);
  assert.equal(relieved, 0);
  open = undefined; // the limit itself
  await clock.advance(750);
  assert.equal(relieved, 3);
  open = 100;
  await clock.advance(2_000);
  open = 224;
  await clock.advance(250);
  assert.equal(relieved, 4);
  assert.equal(log.lines.filter((line) => line.includes("idle connections are ended")).length, 1, log.lines.join("\n"));
  end();
  await clock.advance(5_000);
  assert.equal(relieved, 4);
});

test("a patient listener ends its connections only when so many looks in a row have found too many files", async () => {
  const clock = new ManualClock();
  let open = 300;
  let relieved = 0;
  const end = watchOpenFiles(() => relieved++, clock, new MemoryLog(), 256, () => open, 4);
  await clock.advance(750);
  open = 100;
  await clock.advance(250);
  open = 300;
  await clock.advance(750);
  assert.equal(relieved, 0);
  await clock.advance(250);
  assert.equal(relieved, 1);
  await clock.advance(1_000);
  assert.equal(relieved, 2);
  end();
});
