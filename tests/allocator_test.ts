/** How a node under Bun has its allocator treat free memory, as Linux tells it of the process. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { commandOf, listening, NodeProcess, type RuntimeKind, spawnNode, temporaryDirectory } from "./support/node.ts";
import { type Defer, test } from "./support/test.ts";

const args = ["--addr", "127.0.0.1:0", "--nats", "off"];
const settings = ["MIMALLOC_PURGE_DELAY", "MIMALLOC_PURGE_HOLES"];
/** As the allocator itself has it, in this version of Bun. */
const bunsOwn = { MIMALLOC_PURGE_DELAY: "100", MIMALLOC_PURGE_HOLES: "1" };
const needs = { programs: existsSync("/proc/self/stat") ? [] : ["Linux"] };

async function start(defer: Defer, kind: RuntimeKind, env: Record<string, string> = {}): Promise<NodeProcess> {
  const node = spawnNode(defer, kind, args, { env });
  await listening(node);
  return node;
}

function procFile(node: NodeProcess, name: string): string[] {
  return readFileSync(`/proc/${node.child.pid}/${name}`, "utf8").split("\0").slice(0, -1);
}

function settingsOf(node: NodeProcess): (string | undefined)[] {
  const all = new Map(procFile(node, "environ").map((line) => line.split("=", 2) as [string, string]));
  return settings.map((name) => all.get(name));
}

test(
  "under Bun a node starts anew with the allocator's settings, as the same process and by the same command",
  needs,
  async (defer) => {
    const node = await start(defer, "bun");
    assert.deepEqual(settingsOf(node), ["10000", "0"]);
    assert.deepEqual(procFile(node, "cmdline"), [...commandOf("bun"), ...args]);
    assert.equal((await node.end("SIGINT")).code, 0);
  },
);

test("what the user has set of them stays", needs, async (defer) => {
  assert.deepEqual(settingsOf(await start(defer, "bun", { MIMALLOC_PURGE_DELAY: "7" })), ["7", "0"]);
  assert.deepEqual(settingsOf(await start(defer, "bun", bunsOwn)), ["100", "1"]);
});

test("under Bun's profiler a node runs with what the allocator has", needs, async (defer) => {
  const folder = temporaryDirectory(defer);
  const [bun, ...run] = commandOf("bun");
  const flags = ["--cpu-prof", `--cpu-prof-dir=${folder}`];
  const node = new NodeProcess<RuntimeKind>("bun", spawn(bun!, [...flags, ...run, ...args]));
  defer(() => node.end("SIGKILL"));
  await listening(node);
  assert.deepEqual(settingsOf(node), [undefined, undefined]);
  assert.equal((await node.end("SIGINT")).code, 0);
});

test("a node under Deno sets nothing", needs, async (defer) => {
  assert.deepEqual(settingsOf(await start(defer, "deno")), [undefined, undefined]);
});

/** Page faults of a node while it answers bursts of hits, with a rest before each. */
async function faultsInBursts(node: NodeProcess): Promise<number> {
  const burst = () =>
    Promise.all(Array.from({ length: 400 }, async () => {
      const answer = await fetch(`${node.url}/define/piston`);
      await answer.arrayBuffer();
      assert.equal(answer.status, 200);
    }));
  for (let i = 0; i < 10; i++) await burst();
  // The tenth field; the second, the program's name, may have spaces in it.
  const faults = () => Number(readFileSync(`/proc/${node.child.pid}/stat`, "utf8").split(") ")[1]!.split(" ")[7]);
  const before = faults();
  for (let i = 0; i < 10; i++) {
    await setTimeout(250);
    await burst();
  }
  return faults() - before;
}

test("after a moment of rest a node under Bun finds its free memory where it was", needs, async (defer) => {
  const kept = await faultsInBursts(await start(defer, "bun"));
  const given = await faultsInBursts(await start(defer, "bun", bunsOwn));
  console.log(`page faults in 10 bursts of 400 hits: ${kept}, and ${given} as the allocator is by itself`);
  assert.ok(kept * 2 < given, `${kept} page faults, where the allocator by itself has ${given}`);
});
