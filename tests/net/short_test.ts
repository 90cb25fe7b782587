/**
 * Two scenarios of the net program in short, with the same targets. Runs once, alone: its subject is in processes of their
 * own, and the targets are times.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { join } from "node:path";
import process from "node:process";
import { root, runCommand } from "../support/node.ts";
import { test } from "../support/test.ts";
import { isPermitted } from "./permitted.ts";

test(
  "a host may lose its link, or a pair its path, at no cost to the clients of the others",
  { timeoutMs: 120_000 },
  async () => {
    const reason = isPermitted();
    if (reason !== undefined) return console.log(`not run: ${reason}`);
    const args = [
      "--scale",
      "0.3",
      "--json",
      "--only",
      "link-down",
      "--only",
      "one-way",
    ];
    const [program, ...rest] = [
      ...runCommand("bun"),
      join(root, "tests/net/main.ts"),
      ...args,
    ];
    const child = spawn(program!, rest, {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: process.env,
    });
    let told = "";
    let said = "";
    child.stdout.on("data", (text) => told += text);
    child.stderr.on("data", (text) => said += text);
    const code = await new Promise<number | null>((done) => child.on("close", done));
    const { rows } = JSON.parse(told || "{}") as {
      rows?: readonly { outcome?: { checks: readonly { isMet: boolean }[] } }[];
    };
    assert.equal(rows?.length, 2, said);
    assert.ok(
      rows.every(({ outcome }) => outcome?.checks.every(({ isMet }) => isMet)),
      said,
    );
    assert.equal(code, 0, said);
  },
);
