/** The rules name their tests; this looks that each of them exists. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "../../support/test.ts";

const tests = new URL(".", import.meta.url);
const readme = new URL("../../../lib/core/liveness/README.md", import.meta.url);

test("every test that the rules name exists, and every rule names one", () => {
  const sources = readdirSync(tests).filter((name) => name.endsWith("_test.ts"))
    .map((name) => readFileSync(new URL(name, tests), "utf8"));
  const rules = readFileSync(readme, "utf8").split(/^(?=\d+\. \*\*)/m).slice(1);
  assert.equal(rules.length, 14);
  for (const rule of rules) {
    const shown = rule.slice(rule.search(/\bTests?:\s/));
    const names = [...shown.matchAll(/`([^`]+)`/g)].map(([_, name]) => name!).filter((name) => name.includes(" "));
    assert.ok(names.length > 0, rule);
    for (const name of names) {
      assert.ok(sources.some((source) => source.includes(`"${name}"`)), `no test is called ${name}`);
    }
  }
});
