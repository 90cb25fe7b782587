/** Every command of every README: typed by a reader, or named with the reason why no test can type it. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { bothRuntimes, type RuntimeKind } from "../support/node.ts";
import { root } from "../support/source.ts";
import { test } from "../support/test.ts";
import { faultsOf } from "./exemptions.ts";
import { isTypist, Reader } from "./reader.ts";
import { stepsOf } from "./steps.ts";

const isPage = (path: string) => path.endsWith(".md") && !path.includes("node_modules");
const pages = ["lib", "tests"].flatMap((folder) =>
  readdirSync(root + folder, { recursive: true, encoding: "utf8" }).map((path) => `${folder}/${path}`)
).filter(isPage).sort();
const readmes = ["README.md", ...pages].map((path) => ({ path, text: readFileSync(root + path, "utf8") }));

/**
 * Pages whose nodes run on Bun, then on Deno, then on one of each: what they promise is the same on all. Those of one kind run
 * side by side, since most of their time they wait for values to expire, or for a slow origin.
 */
const onAllRuntimes = {
  "pages on caching": ["lib/core/lifetime/README.md", "lib/origins/http/README.md"],
  examples: ["tests/examples/README.md"],
};
const fleets: readonly (readonly RuntimeKind[])[] = [...bothRuntimes.map((kind) => [kind]), bothRuntimes];

if (isTypist) {
  for (const [what, paths] of Object.entries(onAllRuntimes)) {
    const runs = fleets.flatMap((runtimes) => paths.map((path) => ({ path, runtimes })));
    test(`the ${what} hold on Bun, on Deno and with a node on each`, { timeoutMs: 180_000 }, async (defer) => {
      await Promise.all(runs.map(async ({ path, runtimes }) => {
        const steps = stepsOf(readmes.find((page) => page.path === path)!.text);
        const reader = await Reader.open(defer, `${path} on ${runtimes.join(" and ")}`, { runtimes });
        await reader.follow(steps);
        await reader.close();
      }));
    });
  }
}

for (const { path, text } of readmes) {
  const steps = stepsOf(text);
  const typed = steps.filter(({ kind }) => kind !== "exemption");
  const isTypedOnce = typed.some(({ kind }) => kind === "command") &&
    !Object.values(onAllRuntimes).flat().includes(path);
  if (isTypist && isTypedOnce) {
    // Chosen: the README takes 40 s on two busy cores.
    test(`every command of ${path} does what stands beside it`, { timeoutMs: 180_000 }, async (defer) => {
      const reader = await Reader.open(defer, path);
      if (path !== "README.md") await reader.prepare(typed);
      await reader.follow(typed);
      await reader.close();
      if (reader.skipped.length > 0) console.log(`not on this machine: ${reader.skipped.join("; ")}`);
    });
  }
  for (const step of steps) {
    if (step.kind !== "exemption") continue;
    test(`${path}:${step.line} is not run (${step.reason}), and names what exists`, () => {
      assert.deepEqual(step.commands.flatMap(faultsOf), []);
    });
  }
}

/** What GitHub makes of a heading to link to it. */
const anchorOf = (heading: string) => heading.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-");

/** The links of a page that lead nowhere in this checkout. */
function deadLinks(path: string, text: string): string[] {
  return [...text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)/g)].flatMap(([link, file, anchor]) => {
    const target = file === "" ? path : join(dirname(path), file!);
    if (!existsSync(root + target)) return [`${path}: ${link}`];
    if (anchor === undefined) return [];
    const page = file === "" ? text : readFileSync(root + target, "utf8");
    const anchors = [...page.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading!));
    return anchors.includes(anchor) ? [] : [`${path}: ${link}`];
  });
}

test("every link of a page leads somewhere", () => {
  assert.deepEqual(deadLinks("tests/README.md", "# A b\n[x](#a-b) [y](../main.ts) [z](https://a.example/)"), []);
  for (const bad of ["[x](nowhere.md)", "[x](#nowhere)", "![x](../README.md#nowhere)"]) {
    assert.equal(deadLinks("tests/README.md", bad).length, 1, bad);
  }
  assert.deepEqual(readmes.flatMap(({ path, text }) => deadLinks(path, text)), []);
});

test("the README is a front door: at most 150 lines", () => {
  assert.ok(readmes[0]!.text.split("\n").length - 1 <= 150);
});
