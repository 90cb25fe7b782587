/** Runs once: the doc comments of the library, and what its manifests say twice. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root, runtimeProgram } from "../support/node.ts";
import { test } from "../support/test.ts";
import { run, withSources } from "./pack.ts";

const readJson = (name: string) => JSON.parse(readFileSync(join(root, name), "utf8"));

test("each public symbol of the library has a doc comment, and shows no type that is not public", () => {
  withSources((sources) =>
    run(runtimeProgram("deno"), ["doc", "--lint", ...Object.values<string>(readJson("package.json").exports)], sources)
  );
});

test("the manifests for npm and for JSR name the same version and the same entry", () => {
  const [npm, jsr] = [readJson("package.json"), readJson("deno.json")];
  assert.deepEqual([jsr.version, jsr.license, jsr.exports], [npm.version, npm.license, npm.exports]);
});
