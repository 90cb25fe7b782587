import assert from "node:assert/strict";
import { latenciesOf } from "../../../lib/core/group/stats.ts";
import type { Finding, GroupFigures, NodeReport } from "../../../lib/http/figures.ts";
import { headlineOf } from "../../../lib/http/status/findings.ts";
import { Watch } from "../../../lib/http/status/watch.ts";
import { record } from "../../core/cluster.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { LINK } from "../support.ts";

const link = { ...LINK, name: "n2", state: "open" };
const cache = { bytes: 0, memoryBytes: 0, items: 0, gets: 0, hits: 0, evictions: 0 };
const well: NodeReport = {
  name: "n1",
  incarnation: "01J",
  version: "0.1.0",
  runtime: "test 1",
  ready: true,
  links: [link],
  silent: [],
  registry: { kind: "nats", isAway: false, ignored: [] },
  log: { epoch: 1, applied: 5, blindMs: 0, peers: [{ name: "n2", behindBy: 0 }] },
  definitions: { revision: 1, groups: [], refused: [] },
  groups: {
    dict: {
      about: { origin: "http://o/{key}", lifetime: "no end", budgetBytes: 1_000 },
      mainCache: cache,
      hotCache: cache,
      health: { loads: 9, failures: 0, failuresInRow: 0 },
      roster: { revision: 3, peers: [record("n1"), record("n2")] },
    },
  },
};

function watchOf(first: NodeReport = well) {
  const clock = new ManualClock();
  const state = { report: first };
  const watch = new Watch({ clock, report: () => state.report });
  const told = () => watch.findings(state.report);
  const group = (figures: GroupFigures): NodeReport => ({
    ...well,
    groups: { dict: { ...well.groups["dict"], ...figures } },
  });
  return { clock, state, watch, told, group };
}

const short = ({ what, about = "", severity }: Finding) => `${severity} ${what} ${about}`.trim();
const isoOf = (ms: number) => new Date(ms).toISOString();

test("a node that knows of nothing wrong has no findings", () => {
  const { told } = watchOf();
  assert.deepEqual(told(), []);
  assert.equal(headlineOf([]), "All is well.");
});

test("each fault that a report shows is one finding, at once", () => {
  const { state, told, group } = watchOf();
  const faults: readonly [NodeReport, string, RegExp][] = [
    [{ ...well, ready: false }, "error not-ready", /starting or stopping/],
    [{ ...well, registry: { ...well.registry!, isAway: true } }, "error registry-away", /NATS cannot be reached/],
    [{ ...well, log: { ...well.log!, blindMs: 1 } }, "error log-blind", /may be behind/],
    [{ ...well, links: [{ ...link, state: "down" }] }, "error peer-down n2", /n2 does not answer/],
    [
      { ...well, lost: [{ name: "n3", atMs: 5 }] },
      "notice peer-lost n3",
      /n3 did not answer and was evicted/,
    ],
    [{ ...well, silent: [{ name: "n2", misses: 2 }] }, "error peer-silent n2", /n2 does not answer/],
    [
      { ...well, outOfReach: { url: "http://n1:8000", since: isoOf(5), peers: ["n2", "n3"], count: 5 } },
      "error out-of-reach",
      /no connection to n2, n3 and 3 more: they must reach it at http:\/\/n1:8000 \(--advertise\), and it must reach them$/,
    ],
    [
      group({
        health: { loads: 9, failures: 6, failuresInRow: 2, failingSinceMs: 5, lastFailure: { atMs: 6, reason: "503" } },
      }),
      "error origin-failing dict",
      /fails \(6 of the last 9 loads\): 503/,
    ],
    [
      group({ health: { loads: 20, failures: 1, failuresInRow: 0, failingSinceMs: 5 } }),
      "warning origin-failing dict",
      /1 of the last 20/,
    ],
    [
      group({
        originUnreachableSince: isoOf(7),
        health: { loads: 1, failures: 1, failuresInRow: 1, failingSinceMs: 5 },
      }),
      "error origin-unreachable dict",
      /cannot reach the origin of dict/,
    ],
    [group({ differences: [{ peer: "n2", text: "ttlMs 1, not 2" }] }), "warning policies-differ dict at n2", /ttlMs 1/],
    [
      { ...well, registry: { kind: "nats", isAway: false, ignored: [{ key: "dict.x", fault: "no JSON" }] } },
      "warning bad-record dict.x",
      /no JSON/,
    ],
    [
      { ...well, definitions: { revision: 1, groups: [], refused: [{ group: "wn", reason: "ttlMs must be" }] } },
      "warning bad-definition wn",
      /ttlMs must be/,
    ],
  ];
  for (const [report, finding, detail] of faults) {
    state.report = report;
    assert.deepEqual(told().map(short), [finding]);
    assert.match(told()[0]!.detail, detail);
  }
  const figures = { running: 0, queued: 0, limit: 1, share: 1, refused: 0, broken: 1, retries: 0 };
  state.report = group({ guard: { ...figures, breaker: "open" } });
  assert.deepEqual(told().map(short), ["error breaker-open dict"]);
});

test("one cause is told once: without NATS nobody can read the log either, and a dead peer is also silent and behind", () => {
  const { state, told } = watchOf();
  state.report = {
    ...well,
    registry: { ...well.registry!, isAway: true },
    links: [{ ...link, state: "down" }],
    silent: [{ name: "n2", misses: 9 }],
    log: { ...well.log!, blindMs: 1, peers: [{ name: "n2", behindBy: 3 }] },
  };
  assert.deepEqual(told().map(short), ["error registry-away", "error peer-down n2"]);
});

test("a node without NATS, a peer that leaves, and one lost probe are nothing wrong", () => {
  const { state, told } = watchOf();
  const leaving = { revision: 4, peers: [record("n1"), { ...record("n2"), state: "draining" as const }] };
  state.report = {
    ...well,
    registry: { kind: "none", isAway: true, ignored: [] },
    links: [{ ...link, state: "down" }],
    groups: { dict: { ...well.groups["dict"], roster: leaving } },
  };
  assert.deepEqual(told(), []);
  state.report = { ...well, silent: [{ name: "n2", misses: 1 }] };
  assert.deepEqual(told(), []);
});

test("a finding keeps the time since when it stands, and has a new one when it comes back", async () => {
  const { clock, state, told, group } = watchOf();
  const away = { ...well, registry: { ...well.registry!, isAway: true } };
  const sinceMs = clock.nowMs();
  state.report = away;
  told();
  await clock.advance(5_000);
  assert.equal(told()[0]!.since, isoOf(sinceMs));
  state.report = well;
  assert.deepEqual(told(), []);
  state.report = away;
  assert.equal(told()[0]!.since, isoOf(sinceMs + 5_000));
  const health = { loads: 1, failures: 1, failuresInRow: 1, failingSinceMs: 42 };
  state.report = group({ health });
  assert.equal(told()[0]!.since, isoOf(42), "the origin's own time comes first");
});

test("a peer that connects, and one that is behind for a moment, are told only after 3 s", async () => {
  const { clock, state, told } = watchOf();
  const connecting = { ...well, links: [{ ...link, state: "connecting" }] };
  const behind = (by: number) => ({ ...well, log: { ...well.log!, peers: [{ name: "n2", behindBy: by }] } });
  for (
    const [report, finding] of [
      [connecting, "error peer-down n2"],
      [behind(2), "warning peer-behind n2"],
      [behind(-2), "warning node-behind n2"],
    ] as const
  ) {
    state.report = report;
    assert.deepEqual(told(), []);
    await clock.advance(2_999);
    assert.deepEqual(told(), []);
    await clock.advance(1);
    assert.deepEqual(told().map(short), [finding]);
    state.report = well;
    assert.deepEqual(told(), []);
  }
});

test("a file that is not followed is told since when, and one that waits for a restart as something to know", () => {
  const { state, told, clock } = watchOf();
  const since = isoOf(clock.nowMs() - 5_000);
  const config = { path: "m.json", readAt: isoOf(clock.nowMs() - 9_000), needRestart: [] };
  state.report = { ...well, config };
  assert.deepEqual(told(), []);
  state.report = {
    ...well,
    config: { ...config, fault: { since, reason: "1 fault" }, needRestart: ["--addr", "--name"] },
  };
  assert.deepEqual(told().map(short), ["warning bad-config", "notice needs-restart"]);
  assert.equal(told()[0]!.since, since);
  assert.match(told()[0]!.detail, /is not followed, and the former options count: 1 fault$/);
  assert.match(told()[1]!.detail, /wait for a restart: --addr, --name$/);
});

test("a full budget is told while entries are evicted, and for a minute after", async () => {
  const { clock, state, watch, told, group } = watchOf();
  const full = (evictions: number, memoryBytes = 950) => group({ mainCache: { ...cache, memoryBytes, evictions } });
  state.report = full(7);
  watch.start();
  await clock.advance(10_000);
  assert.deepEqual(told(), [], "it has evicted nothing since");
  state.report = full(9);
  assert.deepEqual(told().map(short), ["notice evicting dict"]);
  await clock.advance(50_000);
  assert.deepEqual(told().map(short), ["notice evicting dict"]);
  await clock.advance(15_000);
  assert.deepEqual(told(), []);
  state.report = full(11, 500);
  assert.deepEqual(told(), [], "it is not full");
  assert.equal(
    headlineOf([{ what: "evicting", since: "", detail: "", severity: "notice" }]),
    "All is well, with something to know.",
  );
});

test("the worst comes first, and of a thousand faults fifty are told, with the number of the others", () => {
  const { state, told } = watchOf();
  state.report = {
    ...well,
    definitions: { revision: 1, groups: [], refused: [{ group: "wn", reason: "bad" }] },
    links: Array.from({ length: 1_000 }, (_, i) => ({ ...link, name: `p${i}`, state: "down" })),
  };
  const findings = told();
  assert.equal(findings.length, 51);
  assert.equal(findings[0]!.severity, "error");
  assert.match(findings[50]!.detail, /^951 more/);
  assert.equal(headlineOf(findings), "50 things are broken.");
});

test("latencies are those of the last minute, however much was counted before", async () => {
  const { clock, state, watch, group } = watchOf();
  const figures = { count: 0, sumSeconds: 0, buckets: {} as Record<string, number> };
  const advance = async (bySeconds: number, bucket: string) => {
    for (let i = 0; i < bySeconds; i++) {
      figures.count++;
      figures.buckets = { ...figures.buckets, [bucket]: (figures.buckets[bucket] ?? 0) + 1 };
      const client = { ...figures };
      state.report = group({ latency: latenciesOf({ client, hop: client, origin: client }) });
      await clock.advance(1_000);
    }
  };
  assert.equal(watch.latencies("dict"), undefined);
  watch.start();
  assert.equal(watch.latencies("dict"), undefined, "the first report told none");
  await advance(200, "10");
  await advance(90, "0.01");
  const { client, hop, origin } = watch.latencies("dict")!;
  assert.deepEqual([client.count, client.buckets["0.01"], client.p50Ms, client.p99Ms], [60, 60, 7.5, 9.95]);
  assert.deepEqual([hop, origin], [client, client]);
  watch.stop();
});

test("the plots show rates of the last five minutes; a group that begins anew does not count backwards", async () => {
  const { clock, state, watch, group } = watchOf();
  let gets = 0;
  const advance = async (bySeconds: number, perSecond: number) => {
    for (let i = 0; i < bySeconds; i++) {
      state.report = group({ gets: gets += perSecond });
      await clock.advance(1_000);
    }
  };
  watch.start();
  await advance(2, 0);
  await advance(10, 30);
  assert.equal(watch.series("dict").gets.at(-1), 30);
  await advance(600, 5);
  const { gets: rates, originLoads } = watch.series("dict");
  assert.equal(rates.length, 149);
  assert.deepEqual(new Set(rates), new Set([5]));
  assert.deepEqual(new Set(originLoads), new Set([0]));
  gets = 0;
  await advance(2, 1);
  assert.ok(watch.series("dict").gets.every((rate) => rate >= 0));
  assert.deepEqual(watch.series("other").gets, []);
  watch.stop();
  assert.equal(clock.pending, 0);
});

test("what knows its own time is told with it: the loss of NATS, and of a peer", () => {
  const { state, told } = watchOf();
  const contact = { isConnected: false, sinceMs: 7, roundTripMs: undefined, connections: 1 };
  state.report = { ...well, registry: { ...well.registry!, isAway: true, contact }, lost: [{ name: "n3", atMs: 5 }] };
  assert.deepEqual(told().map(({ since }) => since), [isoOf(7), isoOf(5)]);
});
