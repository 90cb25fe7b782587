import assert from "node:assert/strict";
import { type PeerRecord, rosterOf } from "../../lib/core/roster.ts";
import { rosterNews } from "../../lib/registry/roster-news.ts";
import { test } from "../support/test.ts";
import { recordOf } from "./support.ts";

const fleet = (nodes: number) =>
  Array.from({ length: nodes }, (_, i) => recordOf(`n${i}`, { url: `http://n${i}:8000` }));
const news = (before: readonly PeerRecord[], after: readonly PeerRecord[]) =>
  rosterNews(rosterOf("dict", 1, before), rosterOf("dict", 2, after));

test("a list of up to 64 peers is logged whole", () => {
  const all = fleet(64);
  const urls = rosterOf("dict", 1, all).peers.map(({ url }) => url);
  assert.deepEqual(news([], all), { text: urls.join(" "), facts: { peers: urls } });
});

test("of a longer list only the changes are logged", () => {
  const all = fleet(100);
  const [first, second, third, ...rest] = all;
  const joiner = recordOf("joiner", { url: "http://joiner:8000" });
  const reborn = recordOf("n1", { url: "http://n1:8000" });
  const drains: PeerRecord = { ...third!, state: "draining" };
  assert.deepEqual(news(all, [...all, joiner]), {
    text: "101 peers, added http://joiner:8000",
    facts: { size: 101, added: ["http://joiner:8000"] },
  });
  assert.equal(news(all, [second!, third!, ...rest]).text, "99 peers, removed http://n0:8000");
  assert.equal(news(all, [first!, second!, drains, ...rest]).text, "100 peers, draining http://n2:8000");
  assert.equal(news(all, [first!, reborn, third!, ...rest]).text, "100 peers, added http://n1:8000");
  assert.equal(news(all, [{ ...first!, weight: 2 }, ...all.slice(1)]).text, "100 peers, changed http://n0:8000");
});

test("of many changes only the number is logged, and the facts have the URLs", () => {
  const { text, facts } = news([], fleet(300));
  assert.equal(text, "300 peers, added 300");
  assert.equal((facts.added as string[]).length, 300);
});

test("the lines of a rolling restart do not grow with the fleet", () => {
  const lineOf = (nodes: number) => {
    const all = fleet(nodes);
    return JSON.stringify(news(all, all.slice(1))).length;
  };
  assert.ok(lineOf(1_000) < lineOf(100) + 8, `${lineOf(100)} and ${lineOf(1_000)} characters`);
});
