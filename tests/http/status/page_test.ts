import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { AdminTokens } from "../../../lib/http/admin/tokens.ts";
import { latenciesOf } from "../../../lib/core/group/stats.ts";
import { Watch } from "../../../lib/http/status/watch.ts";
import type { NodeFigures } from "../../../lib/http/figures.ts";
import { record } from "../../core/cluster.ts";
import { ManualClock } from "../../support/clock.ts";
import { MemoryLog } from "../../support/log.ts";
import { test } from "../../support/test.ts";
import { appWith, LINK, MemoryGroup } from "../support.ts";

const hostile = `<script>alert("x")</script>&'`;

class FilledGroup extends MemoryGroup {
  override stats() {
    const cache = { bytes: 3 * 1024 * 1024, memoryBytes: 4 * 1024 * 1024, items: 12, gets: 0, hits: 0, evictions: 34 };
    return {
      gets: 200,
      cacheHits: 150,
      peerLoads: 31,
      originLoads: 19,
      mainCache: cache,
      hotCache: { ...cache, items: 56 },
      invalidation: {
        applied: 61,
        refused: 62,
        dropped: 63,
        softened: 64,
        last: [{ sequence: 42, atMs: 1_000, message: hostile }],
      },
    };
  }
}

function pageOf(stats: NodeFigures = {}) {
  const node = {
    name: "n1",
    incarnation: "01JABC",
    version: "0.1.0",
    runtime: "test 1",
    isReady: () => true,
    stats: () => stats,
    roster: () => ({
      revision: 77,
      peers: [record("n1"), { ...record("n2"), zone: hostile, state: "draining" as const }],
    }),
  };
  const { app } = appWith({ node, groups: new Map([["dict", new FilledGroup("dict")]]) });
  return app;
}

/** The text of every cell, row by row. */
function cells(page: string): string[][] {
  const text = (markup: string) => markup.replace(/<[^>]*>/g, "").trim();
  return [...page.matchAll(/<tr>(.*?)<\/tr>/gs)].map(([, row]) =>
    [...row!.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell]) => text(cell!))
  );
}

/** The rows of a page, each with its cells joined. */
async function rowsOf(app: ReturnType<typeof pageOf>): Promise<string[]> {
  return cells(await (await app.request("http://h/")).text()).map((row) => row.join("|").replace(/\s+/g, " "));
}

function assertRows(rows: readonly string[], wanted: readonly string[]): void {
  for (const row of wanted) assert.ok(rows.some((each) => each.includes(row)), `${row}\n${rows.join("\n")}`);
}

test("the status page shows the nodes, the figures of each group, and the links", async () => {
  const link = {
    name: "n2",
    state: "open",
    asked: 5,
    answered: 6,
    asksInFlight: 7,
    servedInFlight: 8,
    framesOut: 1,
    framesIn: 1,
    bytesOut: 1,
  };
  const app = pageOf({ links: [link], memoryBytes: 77 * 1024 * 1024 });
  const response = await app.request("http://h/");
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/html; charset=utf-8");
  assertRows(await rowsOf(app), [
    "n1|serving|this node|",
    "|1|100.0 %|0|75.0 %|77 MiB",
    "n2|draining|open|",
    "|1|0.0 %|||",
    "dict|||1|8.0 MiB|200",
    "|150 (75.0 %)",
    "main|12|3.0|0|34",
    "hot|56|3.0|0|34",
    "n2|http://n2|draining|2026-01-01T00:00:00.000Z",
    "n2|open|5|6|7|8",
  ]);
  assert.match(await response.text(), /Revision of the list of peers: dict 77/);
});

test("a peer that does not answer is not told as serving, whatever its record says, and has no uptime", async () => {
  const { app, dict, state } = appWith();
  dict.figures = { roster: { revision: 1, peers: ["n1", "n2", "n3", "n4"].map(record) } };
  const at = (name: string, linkState: string) => ({ ...LINK, name, state: linkState });
  state.links = [at("n2", "down"), at("n3", "open"), at("n4", "open")];
  state.more = { silent: [{ name: "n3", misses: 2 }] };
  const rows = (await rowsOf(app)).filter((row) => /^n\d\|/.test(row)).slice(0, 4);
  assert.deepEqual(rows.map((row) => row.split("|").slice(0, 3)), [
    ["n1", "serving", "this node"],
    ["n2", "no answer", "down"],
    ["n3", "no answer", "silent"],
    ["n4", "serving", "open"],
  ]);
  assert.deepEqual(rows.map((row) => row.split("|")[3] === ""), [false, true, true, false]);
});

test("the status page shows how long answers, hops and loads took in the last minute", async () => {
  const clock = new ManualClock();
  const group = new MemoryGroup("dict");
  const times = (count: number, bucket: string) => ({ count, sumSeconds: count, buckets: { [bucket]: count } });
  const tell = (count: number) => {
    const [client, hop, origin] = [times(count, "0.005"), times(0, "1"), times(count, "2.5")];
    group.figures = { latency: latenciesOf({ client, hop, origin }) };
  };
  tell(0);
  const report = () => ({ name: "n1", incarnation: "", version: "", runtime: "", groups: { dict: group.stats() } });
  const watch = new Watch({ clock, report });
  watch.start();
  tell(100);
  await clock.advance(2_000);
  watch.stop();
  const { app } = appWith({ groups: new Map([["dict", group]]), watch });
  assertRows(await rowsOf(app), [
    "group|answers p50|answers p99|from peers p50|from peers p99|from origin p50|from origin p99",
    "dict|3.75|4.97|-|-|1750|2490",
  ]);
  assert.match(await (await app.request("http://h/")).text(), /in the last minute/);
});

test("the status page shows what was invalidated, how long that took, and who is behind", async () => {
  const log = { epoch: 7, applied: 42, blindMs: 0, peers: [{ name: "n2", behindBy: 5 }], lastDurableMs: 1.25 };
  const app = pageOf({ log });
  assertRows(await rowsOf(app), ["61|62|63|64", "reached|7|42|1.3 ms|", "n2|draining|none|"]);
  const escaped = "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;";
  const page = await (await app.request("http://h/")).text();
  assert.ok(page.includes(`invalidated in dict: ${escaped} (sequence 42)`), page);
  const blind = await rowsOf(pageOf({ log: { ...log, blindMs: 2_500, lastAppliedByAllMs: 3 } }));
  assertRows(blind, ["not reached for 2.5 s: this node may be behind|7|42|1.3 ms|3.0 ms"]);
  assert.ok(!(await rowsOf(pageOf({}))).some((row) => row.startsWith("reached")));
});

test("text of a peer from the registry is escaped on the page, and only the page's own script may run", async () => {
  const response = await pageOf().request("http://h/");
  const policy = response.headers.get("content-security-policy")!;
  const page = await response.text();
  const [, script] = /<script>([^]*?)<\/script>/.exec(page)!;
  const hash = createHash("sha256").update(script!).digest("base64");
  assert.match(policy, /default-src 'none'/);
  assert.ok(policy.includes(`script-src 'sha256-${hash}';`), policy);
  const [, style] = /<style>([^]*?)<\/style>/.exec(page)!;
  assert.ok(policy.includes(`style-src 'sha256-${createHash("sha256").update(style!).digest("base64")}';`), policy);
  assert.equal(page.split("<script").length, 2, "one script");
  assert.ok(!/\son[a-z]+=|\sstyle=/.test(page.replace(script!, "")), "a handler or a style that the policy forbids");
  assert.ok(page.includes("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;"));
});

test("the first line says whether all is well, and what is wrong since when", async () => {
  const well = await (await pageOf({ registry: { kind: "nats", isAway: false, ignored: [] } }).request("http://h/"))
    .text();
  assert.match(well, /class="headline well">\s*All is well\./);
  const app = pageOf({ registry: { kind: "nats", isAway: true, ignored: [{ key: hostile, fault: "no JSON" }] } });
  const broken = await (await app.request("http://h/")).text();
  assert.match(broken, /class="headline error">\s*Something is broken\./);
  assert.match(broken, /NATS cannot be reached/);
  assert.match(broken, /the record &lt;script&gt;/);
  const { findings } = await (await app.request("http://h/stats")).json();
  assert.deepEqual(findings.map(({ what }: { what: string }) => what), ["registry-away", "bad-record"]);
});

test("the latest lines of the node's log stand on the page, the latest first", async () => {
  const { app } = appWith({
    node: {
      name: "n1",
      incarnation: "01JABC",
      version: "0.1.0",
      runtime: "test 1",
      isReady: () => true,
      stats: () => ({}),
      roster: () => undefined,
      recent:
        () => [{ atMs: 2_000, level: "warn", message: hostile }, { atMs: 1_000, level: "info", message: "first" }],
    },
  });
  const page = await (await app.request("http://h/")).text();
  const [, events] = /<section id="events">([^]*?)<\/section>/.exec(page)!;
  const text = events!.replace(/<[^>]*>/g, "").replace(/\s+/g, " ");
  assert.match(text, /00:00:02 UTC warn &lt;script&gt;.*00:00:01 UTC first/);
});

test("a browser without the token gets a page that asks for it, and every other client a problem", async () => {
  const clock = new ManualClock();
  const adminTokens = new AdminTokens({ readFile: () => "a".repeat(32), clock, log: new MemoryLog() });
  const { app } = appWith({ adminTokens, isStatsPublic: false });
  const locked = await app.request("http://h/", { headers: { accept: "text/html,*/*" } });
  assert.equal(locked.status, 401);
  assert.equal(locked.headers.get("www-authenticate"), "Bearer");
  const page = await locked.text();
  assert.match(page, /id="unlock"/);
  assert.ok(!page.includes(">dict<"), "it tells nothing of the node but its name");
  for (const path of ["/", "/events"]) {
    const refused = await app.request(`http://h${path}`);
    assert.equal(refused.status, 401);
    assert.equal(refused.headers.get("content-type"), "application/problem+json");
  }
  const headers = { accept: "text/html", authorization: `Bearer ${"a".repeat(32)}` };
  const open = await app.request("http://h/", { headers });
  assert.equal(open.status, 200);
  assert.match(await open.text(), /id="invalidate"/);
  const ofAnotherSite = await app.request("http://h/", { headers: { ...headers, "sec-fetch-site": "cross-site" } });
  assert.equal(ofAnotherSite.status, 403);
});

test("the status page of an empty group divides by no zero, and HEAD has the headers of GET", async () => {
  const { app } = appWith();
  const get = await app.request("http://h/");
  const body = await get.text();
  assert.match(body, /0 \(0 %\)/);
  assert.match(body, /No other node is known/);
  const head = await app.request("http://h/", { method: "HEAD" });
  assert.equal(await head.text(), "");
  assert.equal(head.headers.get("content-type"), get.headers.get("content-type"));
  assert.equal((await app.request("http://h/", { method: "POST" })).status, 405);
});

test("a page, and each message of its stream, makes this node's report once, and adds the peers' reports", async (defer) => {
  const clock = new ManualClock();
  const peers = ["n1", "n3", "n2"].map(record);
  const figures = { reports: 0, asked: [] as string[] };
  const node = {
    name: "n1",
    incarnation: "01JABC",
    version: "0.1.0",
    runtime: "test 1",
    isReady: () => true,
    stats: () => {
      figures.reports++;
      return {};
    },
    roster: () => ({ revision: 1, peers }),
    reportOfPeer: (name: string) => {
      figures.asked.push(name);
      return Promise.resolve(undefined);
    },
  };
  const { app } = appWith({ node, clock });
  assert.equal((await app.request("http://h/")).status, 200);
  assert.deepEqual(figures, { reports: 1, asked: ["n2", "n3"] });
  const reader = (await app.request("http://h/events")).body!.getReader();
  defer(() => reader.cancel());
  await reader.read();
  for (const reports of [2, 3]) {
    const message = reader.read();
    await clock.advance(1_000);
    assert.match(new TextDecoder().decode((await message).value), /^data: \{/);
    assert.equal(figures.reports, reports);
  }
});
