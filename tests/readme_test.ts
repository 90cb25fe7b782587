/** What the READMEs and the two manifests say twice must be the same. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { environmentNames, optionTableMarkdown } from "../lib/config/parse.ts";
import { between } from "./readme/markers.ts";
import { root } from "./support/source.ts";
import { test } from "./support/test.ts";

const read = (path: string): string => readFileSync(root + path, "utf8");

test("the option tables of lib/config are those that the parser reads by", () => {
  const written = between(read("lib/config/README.md"), "options");
  assert.equal(written, optionTableMarkdown(), "write them anew: bun run tests/readme/options.ts");
});

test("the front page's options have the flags and defaults of the whole table", () => {
  const cellsOf = (line: string) => line.split(/(?<!\\)\|/).map((cell) => cell.trim());
  const all = new Map(optionTableMarkdown().split("\n").map(cellsOf).map(([, flag, , shown]) => [flag, shown]));
  const shown = read("README.md").split("\n").filter((line) => line.startsWith("| `--")).map(cellsOf);
  const words = ["six", "seven", "eight", "nine", "ten"];
  assert.equal(/These (\w+) are the ones people use/.exec(read("README.md"))?.[1], words[shown.length - 6]);
  for (const [, flag, fallback] of shown) assert.equal(fallback, all.get(flag), flag);
});

test("the bench and the chaos program find the places that they write", () => {
  const bench = read("tests/bench/README.md");
  assert.match(between(bench, "bench") ?? "", /^\| what \| measure \|/m);
  assert.match(between(bench, "profile") ?? "", /^local-hit on bun/m);
  assert.match(between(read("tests/chaos/README.md"), "chaos") ?? "", /^\| scenario \| failed requests \|/m);
});

test("the front page's proof is the chaos table's row", () => {
  const row = /^\| rolling restart of all 5 .*$/m.exec(between(read("tests/chaos/README.md"), "chaos")!)![0];
  const [, , failed, extraLoads, , , , theirs] = row.split("|").map((cell) => Number.parseInt(cell));
  const told = `${failed} failed requests and ${extraLoads} extra loads from the origin; groupcache-go loads\n` +
    theirs!.toLocaleString("en-US");
  assert.ok(read("README.md").includes(told), told);
});

test("the locks of npm and of Deno hold the versions that package.json pins", () => {
  const { dependencies } = JSON.parse(read("package.json")) as { dependencies: Record<string, string> };
  const { specifiers } = JSON.parse(read("deno.lock")) as { specifiers: Record<string, string> };
  const { packages } = JSON.parse(read("package-lock.json")) as { packages: Record<string, { version?: string }> };
  for (const [name, version] of Object.entries(dependencies)) {
    assert.equal(specifiers[`npm:${name}@${version}`], version, `deno.lock: ${name}`);
    assert.equal(packages[`node_modules/${name}`]?.version, version, `package-lock.json: ${name}`);
  }
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

test("the walks of lib/README.md pass files that exist: at most 25 for a get, 20 for a membership change", () => {
  const page = read("lib/README.md");
  const walks = [["One get", 25], ["One membership change", 20]] as const;
  for (const [title, most] of walks) {
    const walk = new RegExp(`^## ${title}\n.*?(?=^## |(?![^]))`, "ms").exec(page)![0];
    const steps = [...walk.matchAll(/^(\d+)\. .*?`((?:[a-z-]+\/)*[a-z0-9-]+\.ts)`/gm)];
    assert.deepEqual(steps.map(([, step]) => Number(step)), Array.from({ length: most }, (_, i) => i + 1));
    for (const [, , path] of steps) assert.ok(existsSync(`${root}lib/${path}`), path);
    assert.equal(new Set(steps.map(([, , path]) => path)).size, most);
  }
});
