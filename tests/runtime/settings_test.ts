/** What nodes set for their runtimes, as Linux and V8 tell it. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { minorFaultsOf } from "../bench/machine.ts";
import { type Server, startMuster, type StartOptions, startServer } from "../bench/processes.ts";
import { bothRuntimes, commandOf, type RuntimeKind, temporaryDirectory } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";

const args = ["--nats", "off"];
const settings = {
  bun: { MIMALLOC_PURGE_DELAY: "10000", MIMALLOC_PURGE_HOLES: "0", BUN_CONFIG_MAX_HTTP_REQUESTS: "8192" },
  deno: { DENO_V8_FLAGS: "--no-memory-reducer,--no-maglev" },
};
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

/** What a process has of the variables that a node sets. */
function settingsOf(node: Server): Record<string, string> {
  const names = Object.values(settings).flatMap((one) => Object.keys(one));
  const all = procFile(node, "environ").map((line) => [line.split("=")[0]!, line.slice(line.indexOf("=") + 1)]);
  return Object.fromEntries(all.filter(([name]) => names.includes(name!)));
}

for (const kind of bothRuntimes) {
  test(
    `under ${kind} a node starts anew with its settings, as the same process and by the same command`,
    needs,
    async (defer) => {
      const node = await start(defer, kind);
      assert.deepEqual(settingsOf(node), settings[kind]);
      assert.deepEqual(procFile(node, "cmdline"), [...commandOf(kind, "-A"), "--addr", "127.0.0.1:0", ...args]);
      assert.equal((await node.end("SIGINT")).code, 0);
    },
  );

  test(`under ${kind}'s profiler a node runs with what there is`, needs, async (defer) => {
    const flags = ["--cpu-prof", `--cpu-prof-dir=${temporaryDirectory(defer)}`];
    const node = await startMuster(defer, kind, args, { flags });
    assert.deepEqual(settingsOf(node), {});
    assert.equal((await node.end("SIGINT")).code, 0);
  });
}

test("what the user has set for Bun stays", needs, async (defer) => {
  const mixed = { ...settings.bun, MIMALLOC_PURGE_DELAY: "7" };
  assert.deepEqual(settingsOf(await start(defer, "bun", { MIMALLOC_PURGE_DELAY: "7" })), mixed);
  assert.deepEqual(settingsOf(await start(defer, "bun", bunsOwn)), { ...settings.bun, ...bunsOwn });
});

/** The compilers that V8 uses in 2,000 hits, as `--trace-opt` has it: it writes in full buffers, or at the end. */
async function compilersOf(node: Server): Promise<Set<string>> {
  for (let i = 0; i < 2_000; i++) await (await fetch(`${node.url}/define/piston`)).arrayBuffer();
  assert.equal((await node.end("SIGINT")).code, 0);
  return new Set([...node.stdout.matchAll(/^\[completed compiling .*target ([A-Z]+)/gm)].map(([, name]) => name!));
}

test("V8 heeds the settings under Deno, and the user's flags after them", needs, async (defer) => {
  const node = await start(defer, "deno", { DENO_V8_FLAGS: "--trace-opt" });
  assert.deepEqual(settingsOf(node), { DENO_V8_FLAGS: `${settings.deno.DENO_V8_FLAGS},--trace-opt` });
  assert.deepEqual([...await compilersOf(node)], ["TURBOFAN"]);
  const users = await start(defer, "deno", { DENO_V8_FLAGS: "--trace-opt,--maglev" });
  assert.ok((await compilersOf(users)).has("MAGLEV"));
});

test("under Deno's least permissions a node starts once", needs, async (defer) => {
  const node = await startServer(defer, "deno", [...commandOf("deno", "-P"), "--addr", "127.0.0.1:0", ...args]);
  assert.deepEqual(settingsOf(node), {});
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
    // Longer than the 100 ms after which the allocator by itself gives memory back.
    await setTimeout(150);
    await burst();
  }
  return faults() - before;
}

test("after a moment of rest a node under Bun finds its free memory where it was", needs, async (defer) => {
  // Side by side: the test waits for the rests between bursts.
  const nodes = await Promise.all([start(defer, "bun"), start(defer, "bun", bunsOwn)]);
  const [kept, given] = await Promise.all(nodes.map(faultsInBursts)) as [number, number];
  console.log(`page faults in 10 bursts of 400 hits: ${kept}, and ${given} as the allocator is by itself`);
  assert.ok(kept * 2 < given, `${kept} page faults, where the allocator by itself has ${given}`);
});
