/** Small fleets of the simulation, held to the bounds of README.md in this folder. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { between } from "../readme/markers.ts";
import { root } from "../support/node.ts";
import { test } from "../support/test.ts";
import { boundsOf, missed } from "./bounds.ts";
import { messagesPlot, timesPlot } from "./plots.ts";
import { readmeParts, type Simulated } from "./report.ts";
import { measureCosts } from "./simulation/costs.ts";
import { simulate } from "./simulation/run.ts";

/**
 * The heap at one end of a link, without its socket. Measured: 13 to 19 KB with a hundred nodes, and 34 KB at worst
 * before.
 */
const MOST_BYTES_PER_LINK = 26_000;

const fleets: Simulated[] = [];

for (const nodes of [4, 10, 30, 100]) {
  test(`a fleet of ${nodes} simulated nodes stays within the bounds`, { timeoutMs: 60_000 }, async () => {
    const figures = await simulate(nodes);
    assert.deepEqual(missed(boundsOf(figures)), []);
    fleets.push({ ...figures, costs: await measureCosts(nodes) });
  });
}

test("an end of a link takes a few kilobytes", async () => {
  const { heapBytesPerLink } = await measureCosts(100);
  assert.ok(heapBytesPerLink > 0 && heapBytesPerLink < MOST_BYTES_PER_LINK, `${heapBytesPerLink} bytes`);
});

test("one seed gives one course of events", async () => {
  const course = async () => {
    const { agreeMs, idle, join, leave, crash, keysMoved } = await simulate(6);
    return { agreeMs, idle, join, leave, crash, keysMoved };
  };
  assert.deepEqual(await course(), await course());
});

test("a figure above its bound is told, and so is one that is no number", () => {
  const check = { what: "messages", most: 10 };
  assert.deepEqual(missed([{ ...check, measured: 10 }]), []);
  assert.deepEqual(missed([{ ...check, measured: 10.5 }]), ["messages: 10.5, and the bound is 10"]);
  assert.equal(missed([{ ...check, measured: NaN }]).length, 1);
});

test("the page has a place for each table, and the plots are small and show each line", () => {
  const page = readFileSync(join(root, "tests/scale/README.md"), "utf8");
  const parts = readmeParts({ title: "now", simulated: fleets, real: [] });
  for (const [name, inside] of parts) {
    assert.notEqual(between(page, name), undefined, name);
    assert.match(inside, /^\| nodes \|/m);
  }
  for (const plot of [messagesPlot(fleets, []), timesPlot(fleets, [])]) {
    assert.ok(plot.length < 60_000, `${plot.length} bytes`);
    assert.match(plot, /<svg [^]*<path [^]*nodes/);
  }
});
