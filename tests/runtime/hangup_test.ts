/** What a node does at SIGHUP. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { bothRuntimes, commandOf, listening, NodeProcess, root } from "../support/node.ts";
import { test } from "../support/test.ts";

const args = ["--addr", "127.0.0.1:0", "--nats", "off"];

for (const kind of bothRuntimes) {
  test(`a node on ${kind} stops at SIGHUP, unless it was started to ignore it`, async (defer) => {
    const start = async (before: string) => {
      const command = ["-c", `${before} exec "$@"`, "sh", ...commandOf(kind), ...args];
      const node = new NodeProcess(kind, spawn("/bin/sh", command, { cwd: root, stdio: ["ignore", "pipe", "pipe"] }));
      defer(() => node.end("SIGKILL"));
      await listening(node);
      return node;
    };
    const [usual, kept] = await Promise.all([start(""), start("trap '' HUP;")]);
    kept.signal("SIGHUP");
    assert.equal((await usual.end("SIGHUP")).code, 0, usual.lines.join("\n"));
    await usual.line("SIGHUP: leaving");
    assert.equal((await fetch(`${kept.url}/healthz`)).status, 200);
    assert.equal((await kept.end()).code, 0);
    assert.ok(!kept.lines.some((line) => line.includes("SIGHUP")), kept.lines.join("\n"));
  });
}
