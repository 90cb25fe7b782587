/** What the runtime warns of. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { bothRuntimes, root, runCommand } from "../support/node.ts";
import { test } from "../support/test.ts";

for (const kind of bothRuntimes) {
  test(`a warning of ${kind} goes to the log, and not past it to standard error`, () => {
    const [program, ...args] = [...runCommand(kind), join(root, "tests/fixtures/warns.ts")];
    const { stdout, stderr } = spawnSync(program!, args, { cwd: root, encoding: "utf8" });
    assert.match(stdout, /^heard MaxListenersExceededWarning: Possible EventEmitter memory leak[^\n]*\n$/);
    assert.ok(!stderr.includes("Warning:"), stderr);
  });
}
