/** How a node under Bun has its allocator treat free memory, as Linux tells it of the process. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { minorFaultsOf } from "./bench/machine.ts";
import { type Server, startMuster, type StartOptions } from "./bench/processes.ts";
import { commandOf, type RuntimeKind, temporaryDirectory } from "./support/node.ts";
import { type Defer, test } from "./support/test.ts";

const args = ["--nats", "off"];
const settings = ["MIMALLOC_PURGE_DELAY", "MIMALLOC_PURGE_HOLES"];
/** As the allocator itself has it, in this version of Bun. */
const bunsOwn = { MIMALLOC_PURGE_DELAY: "100", MIMALLOC_PURGE_HOLES: "1" };
/** Linux has it. */
const needs = { programs: ["/proc/self/exe"] };

function start(defer: Defer, kind: RuntimeKind, env: StartOptions["env"] = {}): Promise<Server> {
  return startMuster(defer, kind, args, { env });
}

function procFile(node: Server, name: string): string[] {
  return readFileSync(`/proc/${node.child.pid}/${name}`, "utf8").split("\0").slice(0, -1);
}

function settingsOf(node: Server): (string | undefined)[] {
  const all = new Map(procFile(node, "environ").map((line) => line.split("=", 2) as [string, string]));
  return settings.map((name) => all.get(name));
}

test(
  "under Bun a node starts anew with the allocator's settings, as the same process and by the same command",
  needs,
  async (defer) => {
    const node = await start(defer, "bun");
    assert.deepEqual(settingsOf(node), ["10000", "0"]);
    assert.deepEqual(procFile(node, "cmdline"), [...commandOf("bun"), "--addr", "127.0.0.1:0", ...args]);
    assert.equal((await node.end("SIGINT")).code, 0);
  },
);

test("what the user has set of them stays", needs, async (defer) => {
  assert.deepEqual(settingsOf(await start(defer, "bun", { MIMALLOC_PURGE_DELAY: "7" })), ["7", "0"]);
  assert.deepEqual(settingsOf(await start(defer, "bun", bunsOwn)), ["100", "1"]);
});

test("under Bun's profiler a node runs with what the allocator has", needs, async (defer) => {
  const flags = ["--cpu-prof", `--cpu-prof-dir=${temporaryDirectory(defer)}`];
  const node = await startMuster(defer, "bun", args, { flags });
  assert.deepEqual(settingsOf(node), [undefined, undefined]);
  assert.equal((await node.end("SIGINT")).code, 0);
});

test("a node under Deno sets nothing", needs, async (defer) => {
  assert.deepEqual(settingsOf(await start(defer, "deno")), [undefined, undefined]);
});

/** Page faults of a node while it answers bursts of hits, with a rest before each. */
async function faultsInBursts(node: Server): Promise<number> {
  const burst = () =>
    Promise.all(Array.from({ length: 400 }, async () => {
      const answer = await fetch(`${node.url}/define/piston`);
      await answer.arrayBuffer();
      assert.equal(answer.status, 200);
    }));
  for (let i = 0; i < 10; i++) await burst();
  const faults = () => minorFaultsOf(node.child.pid!);
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
