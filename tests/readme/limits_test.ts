/** What cannot be had names the scenarios that show it, and each scenario of the net program has its line. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { scenarios } from "../net/scenarios.ts";
import { root } from "../support/node.ts";
import { test } from "../support/test.ts";

const HEADING = "## What cannot be had";

test("each line of what cannot be had names a scenario or a test that there is, and no scenario is left out", () => {
  const text = readFileSync(join(root, "lib/node/README.md"), "utf8");
  const section = text.slice(text.indexOf(`\n${HEADING}\n`)).slice(HEADING.length + 2).split("\n## ")[0]!;
  const lines = section.split("\n").filter((line) => line.startsWith("| ")).slice(2);
  assert.ok(lines.length >= scenarios.length / 2, `${lines.length} lines`);
  const known = new Set(scenarios.map(({ name }) => name));
  const named = new Set<string>();
  for (const line of lines) {
    const cells = line.split("|").slice(1, -1).map((cell) => cell.trim());
    assert.equal(cells.length, 4, line);
    assert.ok(cells.every((cell) => cell !== ""), `a cell is empty: ${line}`);
    const words = cells[3]!.split(" ").map((word) => word.replace(/^`(.*)`$/, "$1"));
    for (const word of words) {
      assert.ok(known.has(word) || existsSync(join(root, "tests", word)), `there is no ${word}: ${line}`);
      named.add(word);
    }
  }
  assert.deepEqual([...known].filter((name) => !named.has(name)), [], "scenarios without a line");
});

test("the table of the last run has a line for each scenario, in order", () => {
  const page = readFileSync(join(root, "tests/net/README.md"), "utf8");
  const shown = [...page.matchAll(/^\| `([\w-]+)`: /gm)].map(([, name]) => name);
  assert.deepEqual(shown, scenarios.map(({ name }) => name));
});
