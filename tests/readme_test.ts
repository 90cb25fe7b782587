/** What the README and the two manifests say twice must be the same. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { environmentNames, optionTableMarkdown } from "../lib/config/config.ts";
import { root } from "./support/source.ts";
import { test } from "./support/test.ts";

const read = (path: string): string => readFileSync(root + path, "utf8");

/** The lines between two markers that stand once each; `undefined` without them. */
function between(text: string, from: string, to: string): string | undefined {
  const [, ...rest] = text.split(`${from}\n`);
  const [inside, ...more] = rest.length === 1 ? rest[0].split(`\n${to}\n`) : [];
  return more.length === 1 ? inside : undefined;
}

test("the README's option table is the one that the parser reads by", () => {
  assert.equal(between("a\n<!-- x -->\nb\nc\n<!-- /x -->\nd\n", "<!-- x -->", "<!-- /x -->"), "b\nc");
  assert.equal(between("a\n<!-- x -->\nb", "<!-- x -->", "<!-- /x -->"), undefined);
  assert.equal(between(read("README.md"), "<!-- options -->", "<!-- /options -->"), optionTableMarkdown());
});

test("the bench finds the place in the README that it writes", () => {
  assert.match(between(read("README.md"), "<!-- bench -->", "<!-- /bench -->") ?? "", /^\| what \| measure \|/m);
});

test("what one runs with npm one runs with deno task", () => {
  const scripts = Object.keys(JSON.parse(read("package.json")).scripts ?? {});
  assert.ok(scripts.includes("start") && scripts.includes("test"));
  assert.deepEqual(Object.keys(JSON.parse(read("deno.json")).tasks).sort(), scripts.sort());
});

test("the default permissions of Deno let every variable of the option table through", () => {
  const allowed: string[] = JSON.parse(read("deno.json")).permissions.default.env;
  assert.deepEqual(environmentNames.filter((name) => !allowed.includes(name)), []);
});
