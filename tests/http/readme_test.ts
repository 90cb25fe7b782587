import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { root } from "../support/source.ts";
import { startNode } from "../support/node.ts";
import { test } from "../support/test.ts";
import { rawRequest } from "./support.ts";

const readme = readFileSync(`${root}lib/http/README.md`, "utf8");

test("the commands of the README get the answers that it names", { timeoutMs: 30_000 }, async (defer) => {
  const commands = [...readme.matchAll(/^curl -i localhost:8000(\S+) +# (\d+): (.+)$/gm)];
  assert.deepEqual([commands.length, readme.match(/^curl/gm)?.length], [3, 3], "every command is understood");
  const node = await startNode(defer, "bun", ["--nats", "off", "--group", "dict=wordnet:"]);
  for (const [command, path, status, cacheStatus] of commands) {
    const answer = await rawRequest(Number(new URL(node.url).port), path!);
    assert.equal(answer.status, Number(status), command);
    assert.equal(answer.headers.get("cache-status")?.replace(/^[^;]*; /, ""), cacheStatus, command);
  }
});
