/** Nodes with a real dictd as origin. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { startDictd } from "../support/dictd.ts";
import { onBothRuntimes, spawnNode, startNode } from "../support/node.ts";
import { test } from "../support/test.ts";

const programs = ["dictd", "dict"];

/** The body of the first definition, as the `dict` client prints it under its two header lines, without its indent. */
function firstDefinition(port: number, word: string): string {
  const printed = execFileSync("dict", ["-h", "127.0.0.1", "-p", String(port), "-P", "-", "-d", "gcide", word], {
    encoding: "latin1",
    env: { LC_ALL: "C", HOME: "/", PATH: "/usr/bin:/bin" },
  });
  const bodies = printed.split(/^From .*\n\n/m).slice(1);
  return Buffer.from(bodies[0]!, "latin1").toString("utf8").replace(/^ {2}/gm, "").trimEnd();
}

test("/define/piston is what the dict client prints, body for body", { programs, timeoutMs: 60_000 }, async (defer) => {
  const { port } = await startDictd(defer);
  const args = ["--nats", "off", "--group", `dict=dict://127.0.0.1:${port}/gcide`];
  await onBothRuntimes(async (kind) => {
    const node = await startNode(defer, kind, args);
    for (const word of ["piston", "cache", "zymotic"]) {
      const response = await fetch(`${node.url}/define/${word}`);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "text/plain; charset=utf-8");
      assert.equal((await response.text()).trimEnd(), firstDefinition(port, word));
    }
    // ice cream: a space; cat's-eye: an apostrophe; the rest: what must not end or change the command.
    for (const word of ["ice cream", "cat's-eye"]) {
      const response = await fetch(`${node.url}/define/${encodeURIComponent(word)}`);
      assert.equal(response.status, 200, word);
      assert.ok((await response.text()).length > 20);
    }
    for (const word of ['say "hi"', "back\\slash", "Blümchenkaffee", "no-such-word-at-all", "'", '"', "\\"]) {
      const response = await fetch(`${node.url}/define/${encodeURIComponent(word)}`);
      assert.equal(response.status, 404, `${word}: ${await response.text()}`);
      assert.equal(response.headers.get("content-type"), "application/problem+json");
    }
    assert.equal((await fetch(`${node.url}/define/a%0D%0ASHOW%20DB`)).status, 400);
    assert.equal((await node.end()).code, 0);
  });
});

test(
  "a database that the server does not have is told at the start, with exit code 2",
  { programs, timeoutMs: 60_000 },
  async (defer) => {
    const { port } = await startDictd(defer);
    await onBothRuntimes(async (kind) => {
      const node = spawnNode(defer, kind, [
        "--addr",
        "127.0.0.1:0",
        "--nats",
        "off",
        "--group",
        `dict=dict://127.0.0.1:${port}/nonesuch`,
      ]);
      await node.line("nonesuch");
      assert.equal(await node.exited, 2);
    });
  },
);
