import assert from "node:assert/strict";
import type { GroupFigures, NodeReport } from "../../../lib/http/figures.ts";
import { fleetGroups } from "../../../lib/http/status/page/fleet-groups.ts";
import { PeerReports } from "../../../lib/http/status/peer-reports.ts";
import { record } from "../../core/cluster.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { appWith, LINK, MemoryGroup } from "../support.ts";

const cache = (bytes: number, hits = 0) => ({ bytes, memoryBytes: bytes, items: 1, gets: 0, hits, evictions: 0 });
const about = { origin: "http://o/{key}", lifetime: "1m", budgetBytes: 1_000 };
const times = (count: number) => ({ count, sumSeconds: count, buckets: { "0.005": count } });

/** A group at a node to which clients have sent so many gets, half of them per second. */
function figures(gets: number, more: Partial<GroupFigures> = {}): GroupFigures {
  const counts = { serverRequests: 0, cacheHits: gets / 2, peerLoads: 1, originLoads: 2 };
  const perSecond = {
    gets: gets / 2,
    serverRequests: 0,
    cacheHits: gets / 4,
    hotHits: 0,
    peerLoads: 0,
    originLoads: 1,
  };
  const latency = { client: times(gets), hop: times(1), origin: times(2) };
  return {
    ...counts,
    gets,
    mainCache: cache(100),
    hotCache: cache(20, 5),
    about,
    lately: { perSecond, latency },
    ...more,
  };
}

const reportOf = (name: string, groups: Record<string, GroupFigures>): NodeReport => (
  { ready: true, name, incarnation: "", version: "", runtime: "", groups }
);

/** What this node takes from the report of a peer. */
async function told(report: unknown) {
  const reports = new PeerReports({ clock: new ManualClock(), ask: () => Promise.resolve(report as NodeReport) });
  return await reports.of(["b"]);
}

test("a group of the fleet is the sum over its nodes, and a get that goes on to another node counts once", async () => {
  const hop = figures(40, { serverRequests: 10, localLoadErrs: 3, peerErrors: 1 });
  const groups = fleetGroups({ g: figures(100) }, await told(reportOf("b", { g: hop })));
  const { counts, perSecond, latency, ...rest } = groups.get("g")!;
  assert.deepEqual(rest, {
    nodes: 2,
    about,
    isServed: true,
    usedBytes: 240,
    budgetBytes: 2_000,
  });
  assert.deepEqual(counts, {
    gets: 140,
    serverRequests: 10,
    cacheHits: 70,
    hotHits: 10,
    peerLoads: 2,
    originLoads: 4,
    errors: 4,
  });
  assert.equal(perSecond?.gets, 70);
  assert.deepEqual([latency?.client.count, latency?.hop.count, latency?.origin.count], [140, 2, 4]);
});

test("a peer of an older release tells no rates, and a group that only peers have is shown, too", async () => {
  const older = { gets: 10, cacheHits: 4, mainCache: { memoryBytes: 7 } };
  const groups = fleetGroups({ g: figures(100) }, await told({ groups: { g: older, other: older } }));
  assert.deepEqual([...groups.keys()], ["g", "other"]);
  const { nodes, counts, perSecond, budgetBytes } = groups.get("g")!;
  assert.deepEqual([nodes, counts.gets, perSecond?.gets, budgetBytes], [2, 110, 50, 1_000]);
  const other = groups.get("other")!;
  assert.deepEqual([other.usedBytes, other.budgetBytes, other.perSecond, other.about], [
    7,
    undefined,
    undefined,
    undefined,
  ]);
});

test("the page shows the groups of the fleet, though only its own node answers them to clients", async () => {
  const dict = new MemoryGroup("dict");
  dict.figures = figures(100);
  const links = [{ ...LINK, name: "n2", state: "open" }];
  const { app } = appWith({
    groups: new Map([["dict", dict]]),
    node: {
      name: "n1",
      incarnation: "",
      version: "",
      runtime: "",
      isReady: () => true,
      stats: () => ({ links }),
      roster: () => ({ revision: 1, peers: [record("n1"), record("n2")] }),
      reportOfPeer: (name) => Promise.resolve(reportOf(name, { dict: figures(40, { serverRequests: 10 }) })),
    },
  });
  const shown = async () =>
    (await (await app.request("http://h/")).text()).replace(/<[^>]*>/g, " ").replace(/\s+/g, " ");
  const page = await shown();
  assert.match(page, /Sums over the 2 nodes that answer/);
  assert.match(page, / dict http:\/\/o\/\{key\} 1m 2 12\.0 % 0\.0 of 0\.0 MiB 130 /);
  links[0]!.state = "down";
  assert.match(await shown(), /Sums over this node alone/, "the dead node's last figures are no longer true");
});
