/**
 * The access log of nodes as users run them: where it goes, and what a slow or a lost reader does. Runs once: it starts nodes
 * on both runtimes.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import process from "node:process";
import { bothRuntimes, commandOf, listening, NodeProcess, onBothRuntimes, root, startNode } from "../support/node.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

/** Longer than what a pipe and the node's own buffer take together: 1.1 MB. */
const MANY = 1_600;
const PADDING = "x".repeat(1_000);

interface Line {
  readonly path: string;
  readonly status: number;
  readonly requestId: string;
  readonly remote: string;
  readonly cache?: string;
}

function linesIn(text: string): Line[] {
  assert.ok(text === "" || text.endsWith("\n"), "the last line is whole");
  return text.split("\n").slice(0, -1).map((line) => JSON.parse(line));
}

async function get(node: NodeProcess, path: string, headers: Record<string, string> = {}): Promise<Response> {
  const answer = await fetch(`${node.url}${path}`, { headers });
  await answer.arrayBuffer();
  return answer;
}

/** Some at a time: each answer must have been given before the next is asked for. */
async function getMany(node: NodeProcess, count: number): Promise<void> {
  const one = async (worker: number) => {
    for (let i = worker; i < count; i += 20) {
      assert.equal((await get(node, `/cache/g/${i}${PADDING.slice(0, 900)}`)).status, 200);
    }
  };
  await Promise.all(Array.from({ length: 20 }, (_, worker) => one(worker)));
}

test("a line for each answer stands on standard output, and the node's own lines on standard error", {
  timeoutMs: 60_000,
}, async (defer) => {
  const origin = await startOrigin(defer);
  await onBothRuntimes(async (kind) => {
    const args = ["--nats", "off", "--group", `g=${origin.template}`, "--access-log", "json", "--log", "json"];
    const node = await startNode(defer, kind, args);
    await get(node, "/cache/g/a", { "x-request-id": "abc-1" });
    await get(node, "/cache/g/a");
    await get(node, "/cache/g/missing");
    // What has just been answered is written before the end.
    await node.end();
    const [miss, hit, missing, ...others] = linesIn(node.stdout);
    assert.deepEqual(others, []);
    assert.deepEqual([miss, hit, missing].map((line) => [line?.path, line?.status, line?.cache]), [
      ["/cache/g/a", 200, "origin"],
      ["/cache/g/a", 200, "hit"],
      ["/cache/g/missing", 404, "not-found"],
    ]);
    assert.equal(miss!.requestId, "abc-1");
    assert.notEqual(hit!.requestId, missing!.requestId);
    assert.equal(hit!.remote, "127.0.0.1");
    for (const line of node.lines) if (line.startsWith("{")) assert.ok(JSON.parse(line).level, line);
  });
});

test("without the option nothing stands on standard output", async (defer) => {
  const node = await startNode(defer, "bun", ["--nats", "off"]);
  await get(node, "/healthz");
  await node.end();
  assert.equal(node.stdout, "");
});

/** A node whose standard output this test reads when it likes. */
async function unread(defer: Defer, kind: typeof bothRuntimes[number], args: readonly string[]) {
  const [program, ...rest] = commandOf(kind);
  const child = spawn(program!, [...rest, "--addr", "127.0.0.1:0", "--nats", "off", ...args], {
    cwd: root,
    env: { PATH: process.env.PATH, HOME: process.env.HOME },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const node = new NodeProcess(kind, child);
  child.stdout!.pause();
  defer(() => node.end("SIGKILL"));
  await listening(node);
  return { node, child };
}

for (const kind of bothRuntimes) {
  test(`a reader that stands still keeps no request of ${kind} waiting, and what is dropped is counted`, {
    timeoutMs: 60_000,
  }, async (defer) => {
    const origin = await startOrigin(defer);
    const args = ["--group", `g=${origin.template}`, "--access-log", "json", "--log", "json"];
    const { node, child } = await unread(defer, kind, args);
    await getMany(node, MANY);
    await node.line("read too slowly");
    assert.equal(node.stdout, "", "nothing was read so far");
    child.stdout!.resume();
    const whole = JSON.parse(await node.line("whole again"));
    await node.end();
    assert.equal(node.lines.filter((line) => line.includes("read too slowly")).length, 1);
    const lines = linesIn(node.stdout);
    assert.ok(whole.dropped > 0);
    assert.equal(lines.length + whole.dropped, MANY);
    assert.equal(new Set(lines.map(({ requestId }) => requestId)).size, lines.length);
  });

  test(
    `${kind} serves on when nobody reads its access log any more, and says so once`,
    { timeoutMs: 60_000 },
    async (defer) => {
      const { node, child } = await unread(defer, kind, ["--access-log", "combined", "--log", "json"]);
      child.stdout!.destroy();
      const isTold = () => node.lines.some((line) => line.includes("nobody reads it any more"));
      const isAnswered = async () => (await get(node, "/healthz")).status === 200;
      await until(async () => await isAnswered() && isTold(), 10_000, () => node.account("that nobody reads"));
      assert.equal((await get(node, "/healthz")).status, 200);
      const { code } = await node.end();
      assert.equal(code, 0);
      assert.equal(node.lines.filter((line) => line.includes("nobody reads it any more")).length, 1);
    },
  );

  test(
    `the lines of all workers on ${kind} come out of one program, each whole`,
    { timeoutMs: 60_000 },
    async (defer) => {
      const origin = await startOrigin(defer);
      const args = ["--nats", "off", "--group", `g=${origin.template}`, "--access-log", "json", "--log", "json"];
      const machine = await startNode(defer, kind, [...args, "--workers", "2"]);
      // The supervisor says so, too, when the workers share the port.
      await machine.line('"workers":2');
      const shared = /http:\/\/[^\s"]+/.exec(machine.lines.find((line) => line.includes('"workers":2'))!)![0];
      machine.url = shared;
      const before = linesIn(machine.stdout).length;
      const keys = Array.from({ length: 200 }, (_, i) => `${i}-${PADDING.slice(0, 500)}`);
      await Promise.all(keys.map((key) => get(machine, `/cache/g/${key}`, { connection: "close" })));
      await until(
        () => machine.stdout.split("\n").length > before + keys.length,
        5_000,
        () => machine.stdout.slice(-500),
      );
      for (const id of ["f1", "f2"]) await get(machine, "/stats", { connection: "close", "x-request-id": id });
      await machine.end();
      const asked = linesIn(machine.stdout).filter(({ path }) => path === "/stats").map(({ requestId }) => requestId);
      assert.deepEqual(asked.sort(), ["f1", "f2"], "workers ask each other without a line");
      const lines = linesIn(machine.stdout).filter(({ path }) => path.startsWith("/cache/g/"));
      assert.deepEqual(new Set(lines.map(({ path }) => path)), new Set(keys.map((key) => `/cache/g/${key}`)));
      assert.equal(lines.length, keys.length);
      assert.equal(new Set(lines.map(({ requestId }) => requestId)).size, keys.length);
    },
  );
}
