/**
 * An origin in code, in processes of both runtimes.
 * Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startNats } from "../support/nats-server.ts";
import {
  assembled,
  bothRuntimes,
  onBothRuntimes,
  type RuntimeKind,
  spawnNode,
  startNode,
  temporaryDirectory,
} from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";

/** A folder with this source as origin.ts, from where a node starts. */
function folderWith(defer: Defer, source: string): string {
  const folder = temporaryDirectory(defer);
  writeFileSync(join(folder, "origin.ts"), source);
  return folder;
}

test("a module serves a cluster of both runtimes: each value is loaded once, and found on both", async (defer) => {
  const source = `import type { Buffer } from "node:buffer";
    export type Unused = Buffer;
    class NotFoundError extends Error { override readonly name = "NotFoundError"; }
    const runtime = "Bun" in globalThis ? "bun" : "deno";
    const asked = new Map<string, number>();
    export async function load(key: string, { signal }: { signal: AbortSignal }) {
      if (key.startsWith("missing")) throw new NotFoundError(key);
      if (key.startsWith("bad")) throw new Error("no such table");
      await new Promise((resolve) => setTimeout(resolve, 20));
      signal.throwIfAborted();
      asked.set(key, (asked.get(key) ?? 0) + 1);
      const stream = new ReadableStream({ start(to) { to.enqueue(key + " by "); to.enqueue(new TextEncoder().encode(runtime)); to.close(); } });
      return { body: stream, contentType: "text/x-own", etag: "v" + asked.get(key), tags: ["t"], ttlMs: 60_000 };
    }`;
  const path = join(folderWith(defer, source), "origin.ts");
  const nats = await startNats(defer);
  const args = ["--nats", nats.url, "--group", `code=module:${path}`];
  const nodes = await Promise.all(bothRuntimes.map((kind) => startNode(defer, kind, args)));
  await assembled(nodes, "code");
  const makers = new Set<string>();
  for (let at = 0; at < 20; at++) {
    const answers = await Promise.all(nodes.map(async ({ url }) => {
      const response = await fetch(`${url}/cache/code/k${at}`);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get("content-type"), "text/x-own");
      assert.equal(response.headers.get("etag"), '"v1"');
      return await response.text();
    }));
    assert.equal(answers[0], answers[1]);
    makers.add(answers[0]!.replace(`k${at} by `, ""));
  }
  assert.deepEqual([...makers].sort(), ["bun", "deno"]);
  const loads = await Promise.all(nodes.map(async (node) => (await node.stats()).groups.code!.originLoads));
  assert.equal(loads[0]! + loads[1]!, 20);
  for (const { url } of nodes) {
    assert.equal((await fetch(`${url}/cache/code/missing`)).status, 404);
    assert.equal((await fetch(`${url}/cache/code/bad`)).status, 502);
  }
  const told = nodes.flatMap(({ lines }) => lines).filter((line) => line.includes("origin.ts: no such table (line 8"));
  assert.ok(told.length > 0, nodes.map(({ lines }) => lines.join("\n")).join("\n"));
});

test("a module that cannot be used ends a node at its start, in one line, with exit code 2", async (defer) => {
  const sources: [source: string, reason: RegExp][] = [
    ["export function load( {", /[Ee]xpected/],
    ['throw new Error("no database");', /Error: no database/],
    ["export const loud = 1;", /it must export load/],
  ];
  const start = async (kind: RuntimeKind, cwd: string, name: string) => {
    const args = ["--nats", "off", "--addr", "127.0.0.1:0", "--log", "text", "--group", `code=module:${name}`];
    const node = spawnNode(defer, kind, args, { cwd });
    return { code: await node.exited, lines: node.lines.filter((line) => line.includes("Cannot use the module")) };
  };
  await onBothRuntimes(async (kind) => {
    for (const [source, reason] of sources) {
      const cwd = folderWith(defer, source);
      // A relative path is one of the working directory.
      const { code, lines } = await start(kind, cwd, "./origin.ts");
      assert.equal(code, 2);
      assert.equal(lines.length, 1);
      assert.ok(lines[0]!.includes(`${join(cwd, "origin.ts")}: `), lines[0]);
      assert.match(lines[0]!, reason);
    }
    const { code, lines } = await start(kind, temporaryDirectory(defer), "./missing.ts");
    assert.deepEqual([code, lines.length], [2, 1]);
    assert.match(lines[0]!, /missing\.ts: there is no such file$/);
  });
});

test("what a module throws outside of load is not hidden: it ends the process, as in any program", async (defer) => {
  const sources = {
    rejection: 'setTimeout(() => void Promise.reject(new Error("in the background")), 500);',
    throw: 'setTimeout(() => { throw new Error("in the background"); }, 500);',
  };
  await onBothRuntimes(async (kind) => {
    for (const source of Object.values(sources)) {
      const cwd = folderWith(defer, `${source}\nexport const load = () => "x";`);
      const args = ["--nats", "off", "--addr", "127.0.0.1:0", "--group", "code=module:origin.ts"];
      const node = spawnNode(defer, kind, args, { cwd });
      assert.equal(await node.exited, 1);
      assert.ok(node.lines.some((line) => line.includes("in the background")), node.lines.join("\n"));
    }
  });
});
