/** A node whose clock is not the origin's: an answer that has just been made has no age. */
import assert from "node:assert/strict";
import { formatHttpDate } from "../../../lib/core/semantics/dates.ts";
import { TemplateOrigin } from "../../../lib/origins/http/template-origin.ts";
import { DEFAULT_LIFETIME } from "../../../lib/core/lifetime/policy.ts";
import { OriginClock } from "../../../lib/origins/http/origin-clock.ts";
import { startBadOrigin } from "../../support/bad-origin.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

const NOW_MS = Date.UTC(2026, 0, 1);
const HOUR_MS = 3_600_000;

/** An origin whose clock is so far behind this node's. */
function seenBy(clock: OriginClock) {
  return (nowMs: number, behindMs: number, ageMs = 0) =>
    clock.aheadMs([["date", formatHttpDate(nowMs - behindMs - ageMs)]], nowMs);
}

test("the difference is that of the youngest answer lately, and the first answer knows of none", () => {
  const seen = seenBy(new OriginClock());
  assert.equal(seen(NOW_MS, HOUR_MS, 30_000), 0);
  assert.equal(seen(NOW_MS, HOUR_MS), HOUR_MS + 30_000);
  assert.equal(seen(NOW_MS, HOUR_MS, 60_000), HOUR_MS, "an answer from a cache in between is 60 s old");
  assert.equal(new OriginClock().aheadMs([["date", "soon"]], NOW_MS), 0);
});

test("a clock that is behind makes nothing older, and one that agrees leaves an answer its age", () => {
  const behind = seenBy(new OriginClock());
  for (let i = 0; i < 3; i++) assert.equal(behind(NOW_MS, -HOUR_MS), 0);
  const same = seenBy(new OriginClock());
  same(NOW_MS, 0);
  assert.equal(same(NOW_MS, 0, 7_200_000), 0);
});

test("a clock that is set is believed after 10 minutes, and a pause forgets nothing", () => {
  const seen = seenBy(new OriginClock());
  seen(NOW_MS, 0);
  // The origin's clock is set back.
  for (let minute = 1; minute < 10; minute++) assert.equal(seen(NOW_MS + minute * 60_000, HOUR_MS), 0);
  for (let minute = 11; minute < 20; minute++) assert.equal(seen(NOW_MS + minute * 60_000, HOUR_MS), HOUR_MS);
  assert.equal(seen(NOW_MS + 24 * HOUR_MS, HOUR_MS), HOUR_MS);
  // It is put right: the first answer shows that.
  seen(NOW_MS + 25 * HOUR_MS, 0);
  assert.equal(seen(NOW_MS + 25 * HOUR_MS, 0), 0);
});

test("a node whose clock is an hour ahead keeps values for their lifetime, but for the first", async (defer) => {
  const served = await startBadOrigin(defer, ({ path }) => {
    const fields = path.includes("named") ? "Cache-Control: max-age=60\r\n" : "";
    return [`HTTP/1.1 200 OK\r\nDate: ${formatHttpDate(NOW_MS)}\r\n${fields}Content-Length: 1\r\n\r\nx`];
  });
  for (const aheadMs of [HOUR_MS, -HOUR_MS, 0]) {
    const clock = new ManualClock(NOW_MS + aheadMs);
    const lifetime = { ...DEFAULT_LIFETIME, ttlMs: 10_000, ttlJitter: 0 };
    const origin = new TemplateOrigin({ template: `${served.url}/{key}` }, { clock, lifetime });
    defer(() => origin.close());
    const freshMs: (number | undefined)[] = [];
    for (const key of ["a", "b", "named"]) {
      const { freshness } = await origin.load(key, new AbortController().signal);
      freshMs.push(freshness?.freshMs);
    }
    assert.deepEqual(freshMs, [aheadMs > 0 ? 10_000 - aheadMs : 10_000, 10_000, 60_000], `${aheadMs} ms ahead`);
  }
});
