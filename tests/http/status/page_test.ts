import assert from "node:assert/strict";
import type { NodeFigures } from "../../../lib/http/ports.ts";
import { record } from "../../core/cluster.ts";
import { test } from "../../support/test.ts";
import { appWith, MemoryGroup } from "../support.ts";

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

test("the status page shows the figures of each group, its peers and the links", async () => {
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
  const response = await pageOf({ links: [link] }).request("http://h/");
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("content-type"), "text/html; charset=utf-8");
  const page = await response.text();
  const rows = cells(page).map((row) => row.join("|"));
  for (
    const row of [
      "200|150 (75.0 %)|31|19|0",
      "main|12|3.0|34",
      "hot|56|3.0|34",
      "n1|http://n1|serving|1|||2026-01-01T00:00:00.000Z",
      "n2|open|5|6|7|8",
    ]
  ) assert.ok(rows.includes(row), `${row}\n${rows.join("\n")}`);
  assert.match(page, /Peers at revision 77/);
});

test("the status page shows what was invalidated, how long that took, and who is behind", async () => {
  const log = { epoch: 7, applied: 42, blindMs: 0, peers: [{ name: "n2", behindBy: 5 }], lastDurableMs: 1.25 };
  const rowsOf = async (stats: NodeFigures) =>
    cells(await (await pageOf(stats).request("http://h/")).text()).map((row) => row.join("|"));
  const rows = await rowsOf({ log });
  const escaped = "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;";
  for (
    const row of [
      "61|62|63|64",
      `${escaped}|1970-01-01T00:00:01.000Z|42`,
      "reached|7|42|1.3 ms|",
      "n2|5",
    ]
  ) assert.ok(rows.includes(row), `${row}\n${rows.join("\n")}`);
  const blind = await rowsOf({ log: { ...log, blindMs: 2_500, lastAppliedByAllMs: 3 } });
  assert.ok(blind.includes("not reached for 2.5 s: this node may be behind|7|42|1.3 ms|3.0 ms"), blind.join("\n"));
  assert.ok(!(await rowsOf({})).some((row) => row.startsWith("reached")));
});

test("text of a peer from the registry is escaped on the page, and the page may load nothing", async () => {
  const response = await pageOf().request("http://h/");
  assert.match(response.headers.get("content-security-policy")!, /default-src 'none'/);
  const page = await response.text();
  assert.ok(!page.includes("<script"), page);
  assert.ok(page.includes("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;&#39;"));
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
