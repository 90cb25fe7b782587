/** The bench compares other programs, so its arithmetic must be right. */
import assert from "node:assert/strict";
import { test } from "../support/test.ts";
import { contestantsOf, golang, groupcacheV3, label } from "./clusters.ts";
import { atLeast, atMost, both, Judge, median, quantile } from "./figures.ts";
import { html } from "./page.ts";
import { type CpuProfile, summary } from "./profile.ts";
import { readmeParts } from "./readme.ts";
import { bareArrivalOf, bareHerdOf, bareHopOf, bareMeshOf, constantOf, lruCacheOf, mapOf } from "./limit.ts";
import { limits, markdown, type Report, shown } from "./report.ts";
import { Runner } from "./runner.ts";
import { type Bench, type Outcome, type Row, type RowResult, Skip, type Verdict } from "./types.ts";

function rowThat(run: Row["run"]): Row {
  return {
    id: "a-row",
    what: "a < b | c",
    how: "so",
    maxSeconds: [1, 1],
    targets: { "requests/s": both(atLeast(100), atMost(100)) },
    run,
  };
}

/** Measures 90, 120 and 110 on both runtimes: Bun's target is met, Deno's is not. */
function measured(row: () => Row, outcome: Outcome): void {
  const judge = new Judge(row(), outcome);
  for (const kind of ["bun", "deno"] as const) {
    for (const value of [90, 120, 110]) judge.add(kind, "requests/s", "requests/s", value);
    judge.absolute(kind, "requests/s", "requests/s", kind);
  }
}

async function resultOf(run: (bench: Bench, outcome: Outcome, row: Row) => unknown): Promise<RowResult> {
  const row = rowThat(async (bench, outcome) => void await run(bench, outcome, row));
  const runner = new Runner({
    quick: false,
    rounds: 5,
    loadRounds: 5,
    turnMs: 1,
    warmUpMs: 1,
    say: () => {},
    isShared: true,
  });
  return await runner.run(row, undefined, {});
}

const statuses = ({ verdicts }: RowResult) => verdicts.map(({ runtime, status }) => `${runtime} ${status}`);

function reportOf(rows: readonly RowResult[]): Report {
  const machine = {
    date: "2026-01-01T00:00:00.000Z",
    cpu: "one",
    cores: 2,
    memoryGiB: 1,
    kernel: "6",
    loadBefore: 0,
    versions: { muster: "abc1234", bun: "1" },
  };
  const run = { command: "npm run bench", quick: false, rounds: 3, loadRounds: 9, turnMs: 1, tookMs: 1_000 };
  return { machine, hashingSpeeds: [900, 1_000, 500], memoryLatenciesNs: [80, 120, 100], ...run, rows, profiles: [] };
}

test("the median and the quantiles of a few numbers are those of the book", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.ok(Number.isNaN(median([])));
  assert.equal(quantile([5, 1, 4, 2, 3], 0.5), 3);
  assert.equal(quantile([1, 2], 1), 2);
});

function ratioOf(rounds: readonly (readonly [number, number])[]): Verdict {
  const outcome: Outcome = { series: [], verdicts: [], errors: 0, checked: 0, notes: [] };
  const judge = new Judge(rowThat(() => Promise.resolve()), outcome);
  for (const [ours, theirs] of rounds) {
    judge.add("ours", "figure", "1/s", ours);
    judge.add("theirs", "figure", "1/s", theirs);
  }
  judge.ratio("bun", "requests/s", "figure", "ours", "theirs");
  return outcome.verdicts[0]!;
}

test("a ratio is the median of those of every round, and tells them", () => {
  const verdict = ratioOf([[200, 100], [300, 100], [100, 200]]);
  assert.equal(verdict.value, 2);
  assert.deepEqual(verdict.rounds, [2, 3, 0.5]);
});

test("a machine that slows down between two turns changes the ratio of one round, not the verdict", () => {
  const verdict = ratioOf([[200, 100], [100, 50], [200, 50]]);
  assert.deepEqual(verdict.rounds, [2, 2, 4]);
  assert.equal(verdict.value, 2);
});

for (const rivals of [[golang], [golang, groupcacheV3]] as const) {
  test(`golang/groupcache has its turn between the two that are compared with it, of ${rivals.length + 2}`, () => {
    const outcome: Outcome = { series: [], verdicts: [], errors: 0, checked: 0, notes: [] };
    const order = contestantsOf({ go: { folder: "/go" } } as Bench, outcome, rivals);
    assert.deepEqual(order, ["bun", golang, "deno", ...rivals.slice(1)]);
    assert.deepEqual(contestantsOf({ go: { reason: "no go" } } as Bench, outcome, rivals), ["bun", "deno"]);
    assert.match(outcome.notes[0]!, /no go/);
  });
}

test("a row passes where its target is met and misses where it is not", async () => {
  assert.deepEqual(statuses(await resultOf((_, outcome, row) => measured(() => row, outcome))), [
    "bun pass",
    "deno miss",
  ]);
});

test("no figure passes beside an error, even one that came after it", async () => {
  const result = await resultOf((_, outcome, row) => {
    measured(() => row, outcome);
    outcome.errors++;
  });
  assert.deepEqual(statuses(result), ["bun miss", "deno miss"]);
});

test("a row that throws has missed, and what it had started is ended; one that the machine cannot run is skipped", async () => {
  let ended = 0;
  const failed = await resultOf(({ defer }) => {
    defer(() => ended++);
    throw new Error("no answer");
  });
  assert.deepEqual(statuses(failed), ["bun miss", "deno miss"]);
  assert.equal(failed.errors, 1);
  assert.equal(ended, 1);
  const skipped = await resultOf(() => {
    throw new Skip("no wrk");
  });
  assert.deepEqual(skipped.verdicts.map(({ status, reason }) => `${status} ${reason}`), ["skip no wrk", "skip no wrk"]);
  assert.equal(skipped.errors, 0);
});

test("a row that takes longer than it may has missed", async () => {
  const result = await resultOf(() => new Promise(() => {}));
  assert.deepEqual(statuses(result), ["bun miss", "deno miss"]);
  assert.match(result.verdicts[0]!.reason!, /not done within 1 s/);
});

test("the table and the page tell the figures, and draw a plot of each", async () => {
  const report = reportOf([await resultOf((_, outcome, row) => measured(() => row, outcome))]);
  assert.match(
    markdown(report),
    /\| a < b \\\| c \| requests\/s \| 110 requests\/s \(90\.0 to 120\) pass \| >= 100 \|/,
  );
  assert.match(markdown(report), /a core hashes 900 MiB\/s \(SHA-256; 500 to 1,000 before each row\)/);
  const page = html(report);
  assert.equal(page.match(/<svg /g)?.length, 2);
  assert.match(page, /a &#60; b/);
  assert.match(page, />110<\/text>/);
});

test("numbers are shown with three digits or so", () => {
  assert.deepEqual([0.1234, 1.234, 12.34, 123.4, 12_345.6, NaN].map(shown), [
    "0.123",
    "1.23",
    "12.3",
    "123",
    "12,346",
    "none",
  ]);
});

test("the page's parts are the tables with the plots, and the profiles only where there are some", async () => {
  const report = reportOf([await resultOf((_, outcome, row) => measured(() => row, outcome))]);
  const parts = readmeParts(report);
  assert.deepEqual([...parts.keys()], ["bench"]);
  assert.ok(parts.get("bench")!.startsWith(markdown(report)));
  assert.match(parts.get("bench")!, /\(report\/requests\.svg\)/);
  const profile = {
    row: "local-hit",
    runtime: "bun",
    requestsPerSecond: 50,
    profiledPerSecond: 40,
    limitPerSecond: 100,
    cpuMs: 1_000,
    native: 0.5,
    top: [{ what: "serve /b.ts:7", share: 0.2 }],
  } as const;
  const profiled = readmeParts({ ...report, profiles: [profile] }).get("profile")!;
  assert.match(
    profiled,
    /^2026-01-01T00:00Z, muster abc1234:\n\n```text\nlocal-hit on bun, in one turn: 50\.0 requests\/s/,
  );
  assert.match(profiled, /20\.0 % {2}serve \/b\.ts:7\n```$/);
});

test("a profile counts the samples of its window, and calls the rest of the CPU time native", () => {
  const frame = (id: number, functionName: string, url = "") => ({
    id,
    callFrame: { functionName, url, lineNumber: 6 },
  });
  const profile: CpuProfile = {
    nodes: [
      frame(1, "(program)"),
      frame(2, "start", "file:///a.ts"),
      frame(3, "serve", "file:///b.ts"),
      frame(4, "Response"),
    ],
    samples: [2, 2, 2, 3, 3, 1, 4, 2],
    timeDeltas: Array<number>(8).fill(1_000),
  };
  assert.deepEqual(summary(profile, { fromMs: 3, untilMs: 7, cpuMs: 10 }), {
    top: [{ what: "serve /b.ts:7", share: 0.2 }, { what: "Response (native)", share: 0.1 }],
    native: 0.7,
  });
});

test("how far a node could go is told for the rows in which bare programs had their turns, round by round", async () => {
  const row = (made: Record<string, number[]>, measure = "requests/s") =>
    resultOf((_, outcome, row) => {
      const judge = new Judge(row, outcome);
      for (const [name, rounds] of Object.entries(made)) {
        for (const value of rounds) judge.add(name, measure, "", value);
      }
    });
  const all = {
    [golang]: [10, 20, 10],
    [label("bun")]: [30, 50, 20],
    [constantOf("bun")]: [40, 100, 40],
    [label("deno")]: [15, 30, 15],
    [bareHopOf("deno")]: [30, 60, 20],
  };
  const five = { ...all, [constantOf("bun")]: [], [bareMeshOf("bun")]: [60, 60, 40] };
  const times = {
    [label("bun")]: [90, 66, 70],
    [bareHerdOf("bun")]: [60, 60, 80],
    [label("deno")]: [80, 80, 80],
    [bareHerdOf("deno")]: [80, 70, 100],
  };
  const added = {
    [label("bun")]: [9, 3, 2],
    [bareHopOf("bun")]: [2, 0, 5],
    [label("deno")]: [1, -1, 2],
    [bareHopOf("deno")]: [4, 4, -4],
  };
  const caches = {
    [label("bun")]: [60, 60, 60],
    [lruCacheOf("bun")]: [50, 60, 50],
    [bareArrivalOf("bun")]: [60, 90, 80],
  };
  const { [golang]: _, ...withoutGo } = all;
  const maps = { ...withoutGo, [mapOf("bun")]: [40, 60, 20], [mapOf("deno")]: [15, 30, 30] };
  const rows = [
    await row(all),
    await row(five),
    await row(times, "p99"),
    await row(added, "added p99"),
    await row(caches, "ops/s"),
    await row({ ...maps, ...all }),
    await row({ ...maps, [bareHopOf("deno")]: [] }),
  ];
  assert.deepEqual(
    limits(rows).split("\n").slice(2),
    [
      "| a < b \\| c | a constant: 4.00 x golang/groupcache | 50.0 % | 3.00 x golang/groupcache | 50.0 % |",
      "| a < b \\| c | 4.00 x golang/groupcache | 50.0 % | 3.00 x golang/groupcache | 50.0 % |",
      "| a < b \\| c | p99 60.0 ms | 110.0 % | p99 80.0 ms | 100.0 % |",
      "| a < b \\| c | added p99 2.00 ms | 3.00 ms | added p99 4.00 ms | 1.00 ms |",
      "| a < b \\| c | 1.50 x lru-cache | 75.0 % |  |  |",
      "| a < b \\| c | a constant: 4.00 x golang/groupcache | 50.0 % | 3.00 x golang/groupcache | 50.0 % |",
      "| a < b \\| c | a Map behind Hono: 3.00 x golang/groupcache | 83.3 % | a Map behind Hono: 1.50 x golang/groupcache | 100.0 % |",
      "| a < b \\| c | a Map behind Hono: 0.600 x the constant | 83.3 % |  |  |",
    ],
  );
  assert.equal(limits([await row(withoutGo), await row({})]), "");
});
