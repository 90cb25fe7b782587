import assert from "node:assert/strict";
import type { Finding, NodeReport } from "../../../lib/http/figures.ts";
import { fleetFindings, PeerReports } from "../../../lib/http/status/peer-reports.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

const finding = { what: "origin-failing", about: "g", since: "2026-01-01T00:00:00.000Z", severity: "error" } as const;

function reportOf(gets: number, findings: readonly Finding[] = []): NodeReport {
  return { memoryBytes: 1, groups: { g: { gets, cacheHits: 1 } }, findings } as unknown as NodeReport;
}

/** A node whose peers answer when the test says so. */
function asked(clock = new ManualClock()) {
  const asks: { name: string; answer: (report: unknown) => void; fail: () => void }[] = [];
  const reports = new PeerReports({
    clock,
    ask: (name) =>
      new Promise((resolve, reject) => {
        asks.push({ name, answer: (report) => resolve(report as NodeReport), fail: () => reject(new Error("gone")) });
      }),
  });
  return { clock, asks, reports };
}

test("a peer is asked once in two seconds, however many look, and each gets what it told", async () => {
  const { clock, asks, reports } = asked();
  const looks = [reports.of(["b"]), reports.of(["b"])];
  await clock.advance(0);
  assert.equal(asks.length, 1);
  asks[0]!.answer(reportOf(7));
  for (const look of looks) assert.equal((await look).get("b")?.groups["g"]?.gets, 7);
  await clock.advance(1_999);
  assert.equal((await reports.of(["b"])).get("b")?.groups["g"]?.gets, 7);
  assert.equal(asks.length, 1);
  await clock.advance(1);
  const again = reports.of(["b"]);
  await clock.advance(0);
  assert.equal(asks.length, 2);
  asks[1]!.answer(reportOf(8));
  assert.equal((await again).get("b")?.groups["g"]?.gets, 8);
});

test("a page waits 250 ms for a silent peer, shows what it told before, and after 15 s nothing", async () => {
  const { clock, asks, reports } = asked();
  const first = reports.of(["b", "c"]);
  await clock.advance(0);
  asks[0]!.answer(reportOf(1));
  asks[1]!.answer(reportOf(2));
  assert.equal((await first).size, 2);
  await clock.advance(2_000);
  const second = reports.of(["b", "c"]);
  await clock.advance(0);
  asks[2]!.answer(reportOf(3));
  await clock.advance(249);
  let isOver = false;
  void second.then(() => isOver = true);
  await clock.advance(0);
  assert.equal(isOver, false);
  await clock.advance(1);
  const told = await second;
  assert.deepEqual([told.get("b")?.groups["g"]?.gets, told.get("c")?.groups["g"]?.gets], [3, 2]);
  asks[3]!.fail();
  await clock.advance(13_000);
  const third = reports.of(["c"]);
  await clock.advance(250);
  assert.deepEqual([...(await third).keys()], []);
});

test("a peer that is listed no more is forgotten, and what is no report is none", async () => {
  const { clock, asks, reports } = asked();
  const first = reports.of(["b", "c", "d"]);
  await clock.advance(0);
  asks[0]!.answer(reportOf(1));
  asks[1]!.answer({ groups: [], memoryBytes: "many" });
  asks[2]!.answer(undefined);
  assert.deepEqual([...(await first).keys()], ["b"]);
  assert.equal((await reports.of([])).size, 0);
  const again = reports.of(["b"]);
  await clock.advance(0);
  assert.equal(asks.length, 4);
  asks[3]!.fail();
  assert.equal((await again).size, 0);
});

test("of many peers 64 are asked at once, those first that were asked longest ago", async () => {
  const { clock, asks, reports } = asked();
  const names = Array.from({ length: 100 }, (_, i) => `n${i}`);
  const look = async () => {
    const before = asks.length;
    const told = reports.of(names);
    await clock.advance(0);
    for (const ask of asks.slice(before)) ask.answer(reportOf(1));
    await told;
    return asks.slice(before).map(({ name }) => name);
  };
  assert.deepEqual(await look(), names.slice(0, 64));
  await clock.advance(1_000);
  assert.deepEqual(await look(), names.slice(64));
  await clock.advance(1_000);
  assert.deepEqual(await look(), names.slice(0, 64));
});

test("what only another node tells is told with its name; what this node knows, and starts, are not", () => {
  const own: Finding[] = [{
    ...finding,
    what: "peer-down",
    about: "c",
    detail: "c does not answer",
    severity: "warning",
  }];
  const peers = new Map([["b", {
    ready: true,
    memoryBytes: 1,
    groups: {},
    findings: [
      { ...finding, detail: "the origin fails" },
      { ...finding, what: "peer-down", about: "c", detail: "c does not answer" },
      { ...finding, what: "not-ready", about: undefined, detail: "it starts" },
      { ...finding, what: "evicting", detail: "full", severity: "notice" as const },
    ],
  }]]);
  assert.deepEqual(fleetFindings(own, peers).map(({ detail }) => detail), [
    "b: the origin fails",
    "c does not answer",
    "b: full",
  ]);
  assert.deepEqual(fleetFindings(own, new Map()), own);
});

test("what several nodes tell is one line, and a node with another policy is told once, not by each of the others", () => {
  const telling = (...findings: Finding[]) => ({ ready: true, memoryBytes: 1, groups: {}, findings });
  const policy = (peer: string): Finding => (
    {
      ...finding,
      what: "policies-differ",
      about: `api at ${peer}`,
      detail: `api at ${peer} differs`,
      severity: "warning",
    }
  );
  const down: Finding = { ...finding, what: "peer-down", about: "x", detail: "x does not answer" };
  const record: Finding = {
    ...finding,
    what: "bad-record",
    about: "g.x",
    detail: "g.x is ignored",
    severity: "warning",
  };
  const names = ["b", "c", "d", "e", "f"];
  const others = new Map(names.map((name) => [name, telling(down, policy("odd"), record)]));
  const detailsOf = (own: readonly Finding[], peers = others) => fleetFindings(own, peers).map(({ detail }) => detail);
  assert.deepEqual(detailsOf([]), [
    "b, c, d and 2 more: x does not answer",
    "b: api at odd differs",
    "b: g.x is ignored",
  ]);
  // The odd one sees that all others differ, and they that it does.
  assert.deepEqual(detailsOf(["b", "c", "d"].map(policy)).slice(1), [
    "api at b differs; 2 more nodes differ too",
    "b: g.x is ignored",
  ]);
  assert.equal(detailsOf(["b", "c"].map(policy), new Map())[0], "api at b differs; 1 more node differs too");
  assert.deepEqual(detailsOf([policy("odd")], new Map([["odd", telling(policy("b"), policy("c"))]])), [
    "api at odd differs",
  ]);
});
