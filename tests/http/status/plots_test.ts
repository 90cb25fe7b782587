/** The plots of the page, as a reader sees them: scales, gaps, and which groups are drawn. */
import assert from "node:assert/strict";
import { plotsOf } from "../../../lib/http/status/page/plots.ts";
import type { Series } from "../../../lib/http/status/watch.ts";
import { test } from "../../support/test.ts";

function series(gets: number[], took: (number | undefined)[] = []): Series {
  const none = gets.map(() => 0);
  const p50Ms = gets.map((_, i) => took[i]);
  return {
    gets,
    serverRequests: none,
    cacheHits: none,
    hotHits: none,
    peerLoads: none,
    originLoads: none,
    p50Ms,
    p99Ms: p50Ms,
  };
}

const shown = async (groups: Record<string, Series>) =>
  String(await plotsOf(Object.keys(groups), (name) => groups[name]!));
const linesOf = (text: string, kind: string) =>
  [...text.matchAll(new RegExp(`<polyline class="${kind}" points="([^"]*)"`, "g"))].map(([, points]) => points!);

test("each group has a plot of its rates and one of its latencies, with the latest figures in words", async () => {
  const text = await shown({ dict: series([0, 10, 80], [1, 2, 30]) });
  assert.match(
    text,
    /dict: per second: gets 80, hits 0, hot hits 0, from peers 0, from origin 0; the scale ends at 100</,
  );
  assert.match(text, /dict: answers took: p50 30 ms, p99 30 ms; the scale ends at 50 ms</);
  assert.match(text, />1 min ago<.*>now</s);
  // The latest value is at the right, four fifths of the way up.
  const [gets] = linesOf(text, "gets");
  assert.equal(gets!.split(" ").at(-1), "334,25.2");
  assert.equal(text.match(/<svg class="plot"/g)!.length, 2);
});

test("a time without answers is a gap and no zero, and one answer alone is seen", async () => {
  const text = await shown({ dict: series([1, 1, 1, 1, 1], [5, 5, undefined, 5, undefined]) });
  const parts = linesOf(text, "p99").map((points) => points.split(" ").length);
  assert.deepEqual(parts, [2, 2]);
  assert.match(text, /p99 -/);
});

test("five minutes are told as such, and an idle group has a scale, too", async () => {
  const text = await shown({ dict: series(Array(149).fill(0)) });
  assert.match(text, /5 min ago/);
  assert.match(text, /the scale ends at 1</);
  assert.doesNotMatch(text, /NaN|Infinity/);
});

test("of many groups the twelve with the most gets are drawn; before the second sample nothing is", async () => {
  const many = Object.fromEntries(Array.from({ length: 15 }, (_, i) => [`g${i}`, series([i, i])]));
  const text = await shown(many);
  assert.match(text, /g14: per second/);
  assert.doesNotMatch(text, /g2: per second/);
  assert.match(text, /3 groups with fewer gets are not drawn/);
  assert.match(await shown({ dict: series([]) }), /begin with the second sample/);
});
