/** The threat model names a test for each line: the test must be there. */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/node.ts";
import { test } from "../support/test.ts";

/** The cell of a line that names its test: a file in `tests/`, and a part of the test's name. */
const NAMED = /^`([\w/]+_test\.ts)`: (.+)$/;

test("each line of the threat model names a test that there is", () => {
  const text = readFileSync(join(root, "lib/peer/README.md"), "utf8");
  const model = text.slice(text.indexOf("\n## Threat model\n"));
  const lines = model.split("\n").filter((line) => line.startsWith("| ")).slice(2);
  assert.ok(lines.length >= 40, `${lines.length} lines`);
  for (const line of lines) {
    const [, file, name] = NAMED.exec(line.split("|").at(-2)!.trim()) ?? [];
    assert.ok(file !== undefined && name !== undefined, `no test is named: ${line}`);
    const path = join(root, "tests", file);
    assert.ok(existsSync(path), `there is no ${file}`);
    // A name is a string on the line of its `test(`, or on the next one.
    const names = [...readFileSync(path, "utf8").matchAll(/\btest\(\s*(["`])(.*)\1,/g)].map(([, , found]) => found!);
    assert.ok(names.some((found) => found.includes(name)), `${file} has no test with the name: ${name}`);
  }
});
