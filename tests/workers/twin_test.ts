/** A program that starts itself, on both runtimes. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { bothRuntimes, root, runCommand } from "../support/node.ts";
import { test } from "../support/test.ts";
import { PATIENCE } from "../support/until.ts";

for (const kind of bothRuntimes) {
  test(`what is written to a twin on ${kind} that has ended is lost, and harms nobody`, async () => {
    const [program, ...args] = [...runCommand(kind), `${root}/tests/fixtures/twins.ts`];
    const told = await new Promise<string>((resolve, reject) =>
      execFile(
        program!,
        args,
        { timeout: PATIENCE * 20_000 },
        (error, stdout, stderr) => error === null ? resolve(stdout) : reject(new Error(`${error.message}\n${stderr}`)),
      )
    );
    assert.deepEqual(told.trim().split("\n"), ["heard one", "heard two", "ended 7", "killed 137"]);
  });
}
