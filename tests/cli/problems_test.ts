/** What is wrong with a fleet, told from its figures; and how it is shown. */
import assert from "node:assert/strict";
import type { Fleet, NodeRow, Stats } from "../../lib/cli/fleet/fleet.ts";
import { noticesOf, problemsOf } from "../../lib/cli/fleet/problems.ts";
import { noticeText, problemText } from "../../lib/cli/nodes/status.ts";
import { bytesText, shareText, spanText, table } from "../../lib/cli/table.ts";
import { ratesOf, ratesTable } from "../../lib/cli/nodes/top.ts";
import type { LinkFigures } from "../../lib/http/figures.ts";
import { record } from "../core/cluster.ts";
import { test } from "../support/test.ts";

const link = (name: string, state = "open"): LinkFigures => (
  { name, state, asked: 0, answered: 0, asksInFlight: 0, servedInFlight: 0, framesOut: 0, framesIn: 0, bytesOut: 0 }
);
const peers = ["a", "b"].map(record);

function report(name: string, other: Partial<Stats> = {}): Stats {
  return {
    name,
    incarnation: "1",
    version: "0",
    runtime: "",
    ready: true,
    links: [link(name === "a" ? "b" : "a")],
    log: { epoch: 7, applied: 1_000, blindMs: 0, peers: [] },
    groups: { dict: { roster: { revision: 2, peers } } },
    ...other,
  };
}

function row(name: string, other: Partial<NodeRow> = {}): NodeRow {
  const records = new Map([["dict", record(name)]]);
  return { name, url: `http://${name}`, state: "serving", records, link: "open", report: report(name), ...other };
}

const fleet = (...rows: NodeRow[]): Fleet => ({ asked: "a", own: report("a"), rows });
const told = (...rows: NodeRow[]) => problemsOf(fleet(...rows)).map(({ node, problem }) => `${node}: ${problem}`);

test("a fleet in which nothing is wrong has no problems", () => {
  assert.deepEqual(told(row("a"), row("b")), []);
});

test("what a node finds out about itself is told, and a full budget as nothing wrong", () => {
  const since = "2026-11-29T10:00:00.000Z";
  const finding = (what: "evicting" | "bad-config" | "peer-down", severity: "notice" | "warning" | "error") => (
    { what, severity, since, detail: `detail of ${what}` }
  );
  const findings = [finding("bad-config", "warning"), finding("evicting", "notice"), finding("peer-down", "error")];
  const rows = [row("a", { report: report("a", { findings }) }), row("b")];
  assert.deepEqual(
    told(...rows),
    [`a: detail of bad-config (since ${since})`],
    "a peer that is down is found out here",
  );
  const notices = noticesOf({ rows });
  assert.deepEqual(notices.map(({ node, problem }) => [node, problem]), [["a", `detail of evicting (since ${since})`]]);
  assert.match(noticeText(notices, false), /^note {3}a: detail of evicting .*\n {7}raise budgetBytes/);
});

test("a node that leaves is told as such, and as nothing wrong", () => {
  const leaving = { state: "draining" as const, report: report("b", { ready: false, links: [link("a", "down")] }) };
  const seen = row("a", { report: report("a", { links: [link("b", "down")] }) });
  // The other end of the one link: nobody waits for it.
  assert.deepEqual(told(seen, row("b", { ...leaving, report: report("b", { ready: false }) })), []);
  const notices = noticesOf({ rows: [seen, row("b", leaving)] });
  assert.deepEqual(notices.map(({ node, problem }) => [node, problem]), [["b", "it is leaving"]]);
});

test("a record that all nodes ignore is told once, and a node that others cannot reach with its URL", () => {
  const finding = (what: "bad-record" | "out-of-reach", minute: number) => (
    {
      what,
      about: "dict.x",
      severity: "warning" as const,
      since: `2026-11-29T10:0${minute}:00.000Z`,
      detail: `detail of ${what}`,
    }
  );
  const rows = [
    row("a", { report: report("a", { findings: [finding("bad-record", 1)] }) }),
    row("b", { report: report("b", { findings: [finding("bad-record", 2), finding("out-of-reach", 3)] }) }),
  ];
  assert.deepEqual(told(...rows), [
    "null: detail of bad-record",
    "b: detail of out-of-reach (since 2026-11-29T10:03:00.000Z)",
  ]);
  assert.equal(problemsOf(fleet(...rows))[0]!.about, "dict.x");
});

test("an evicted node is a notice, reported once for all nodes that saw it", () => {
  const lost = { what: "peer-lost" as const, about: "c", severity: "notice" as const, detail: "c did not answer" };
  const seen = (name: string, minute: number) =>
    row(name, { report: report(name, { findings: [{ ...lost, since: `2026-11-29T10:0${minute}:00.000Z` }] }) });
  const rows = [seen("a", 1), seen("b", 2)];
  assert.deepEqual(told(...rows), []);
  assert.deepEqual(noticesOf({ rows }).map(({ node, problem }) => [node, problem]), [[null, "c did not answer"]]);
});

test("each fault is told once, with the node and with what to do", () => {
  const cases: [NodeRow[], RegExp[]][] = [
    [[row("a", { report: report("a", { links: [link("b", "down")] }) }), row("b")], [
      /^a: it has no connection to b \(down\)$/,
    ]],
    // That it is down says it already.
    [
      [
        row("a", { report: report("a", { links: [link("b", "down")] }) }),
        without(row("b", { fault: "it does not answer" })),
      ],
      [/^b: it does not answer$/],
    ],
    [[row("a", { report: report("a", { ready: false }) }), row("b")], [/^a: it is not ready$/]],
    [
      [row("a"), row("b", { report: report("b", { log: { epoch: 7, applied: 1_000, blindMs: 65_000, peers: [] } }) })],
      [/^b: it has been out of touch with NATS for 1 min$/],
    ],
    [
      [row("a"), row("b", { report: report("b", { log: { epoch: 7, applied: 800, blindMs: 0, peers: [] } }) })],
      [/^b: it is 200 invalidations behind$/],
    ],
    [
      [
        row("a"),
        row("b", { report: report("b", { groups: { dict: { originUnreachableSince: "2026-01-01T00:00:00.000Z" } } }) }),
      ],
      [/^b: it has not reached the origin of dict since 2026/],
    ],
    [
      [
        row("a"),
        row("b", { report: report("b", { groups: { dict: { roster: { revision: 3, peers: [record("b")] } } } }) }),
      ],
      [/^null: nodes have different lists of the peers of dict: a: a, b; b: b$/],
    ],
    [
      [row("a"), row("b", { records: new Map([["dict", { ...record("b"), version: "1" }]]) })],
      [/^null: nodes run different versions: a 0, b 1$/],
    ],
    [
      [withFacts(row("a"), "ttlMs=1", "x"), withFacts(row("b"), "ttlMs=2", "x")],
      [/^b: its policy of dict differs from that of a: ttlMs 2, not 1$/],
    ],
    [[withFacts(row("a"), "ttlMs=1", "x"), withFacts(row("b"), "ttlMs=2", "y")], [
      /^b: its origin of dict differs from that of a/,
    ]],
    [
      [
        row("a", {
          report: report("a", { definitions: { revision: 1, groups: [], refused: [{ group: "wn", reason: "no" }] } }),
        }),
        row("b"),
      ],
      [/^a: it refuses the definition of wn: no$/],
    ],
  ];
  for (const [rows, patterns] of cases) {
    const found = told(...rows);
    assert.equal(found.length, patterns.length, found.join("\n"));
    patterns.forEach((pattern, at) => assert.match(found[at]!, pattern));
    for (const { todo } of problemsOf(fleet(...rows))) assert.ok(todo.length > 10);
  }
});

function without({ report: _, ...rest }: NodeRow): NodeRow {
  return rest;
}

function withFacts(one: NodeRow, policy: string, origin: string): NodeRow {
  return { ...one, records: new Map([["dict", { ...record(one.name), policy, origin }]]) };
}

test("rates are those between two looks; a node that was restarted has none yet", () => {
  const counts = {
    atMs: 0,
    incarnation: "1",
    gets: 100,
    ofPeers: 0,
    hits: 50,
    peerLoads: 0,
    originLoads: 0,
    errors: 0,
    evictions: 0,
    inFlight: 0,
    memoryBytes: 5,
    answers: { count: 100, sumSeconds: 1, buckets: { "0.01": 90, "1": 10 } },
  };
  const answers = { count: 200, sumSeconds: 2, buckets: { "0.01": 140, "0.05": 50, "1": 10 } };
  const later = { ...counts, answers, atMs: 2_000, gets: 200, hits: 140, originLoads: 6 };
  const rows = [row("a"), row("b"), without(row("c", { fault: "gone" }))];
  const before = new Map([["a", counts], ["b", counts]]);
  const [a, b, c] = ratesOf({ rows }, before, new Map([["a", later], ["b", { ...later, incarnation: "2" }]]));
  assert.deepEqual([a!.gets, a!.hitShare, a!.originLoads], [50, 0.9, 3]);
  assert.deepEqual([a!.p50Ms, a!.p99Ms], [10, 49.5], "of the hundred answers in between");
  assert.deepEqual([b!.gets, b!.memoryBytes], [undefined, 5]);
  assert.equal(c!.fault, "gone");
});

test("the sum over the fleet is what clients ask, though a get that goes on to another node is counted at both", () => {
  const text = ratesTable([{ node: "a", gets: 100, ofPeers: 0 }, { node: "b", gets: 30, ofPeers: 30 }], false);
  assert.match(text, /^100 gets\/s by clients, 30 gets\/s by other nodes\n/);
});

test("tables are aligned, coloured only where that is asked for, and steer no terminal", () => {
  const rows = [["a\x1b[2J\n", 5, { text: "bad", tone: "bad" }], ["bcd", 1_000, "x"]] as const;
  assert.equal(table(["N", "COUNT", "T"], rows, false), "N       COUNT  T\na?[2J?      5  bad\nbcd      1000  x\n");
  assert.ok(table(["N", "COUNT", "T"], rows, true).includes("\x1b[31mbad\x1b[0m"));
  assert.ok(
    !problemText(problemsOf(fleet(row("a"), without(row("b", { fault: "x\x1b[2J" })))), false).includes("\x1b"),
  );
});

test("sizes, times and shares are short", () => {
  assert.deepEqual([0, 999, 1_000, 99_600, 1_500_000, 2e15].map(bytesText), [
    "0 B",
    "999 B",
    "1.0 kB",
    "100 kB",
    "1.5 MB",
    "2000 TB",
  ]);
  assert.deepEqual([null, 5, -1_500, 90_000, 7_200_000, 864_000_000].map(spanText), [
    "no end",
    "5 ms",
    "-1.5 s",
    "2 min",
    "2 h",
    "10 d",
  ]);
  assert.deepEqual([shareText(1, 3), shareText(0, 0)], ["33.3 %", "-"]);
});
