/** Groups that come and go while nodes run: two nodes of one process, which share a registry in memory. */
import assert from "node:assert/strict";
import type { Config, GroupConfig } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/parse.ts";
import { Node } from "../../lib/node/node.ts";
import { MemoryStream } from "../../lib/registry/store/memory-log.ts";
import { MemoryBucket } from "../../lib/registry/store/memory-store.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { MemoryLog } from "../support/log.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

function configOf(...groups: string[]): Config {
  const parsed = parseConfig({
    argv: ["--nats", "off", "--addr", "127.0.0.1:0", "--drain-timeout", "3s", ...groups.flatMap((g) => ["--group", g])],
    env: {},
    readFile: () => "",
    isTerminal: false,
    checkOrigin: () => {},
  });
  assert.ok(parsed.kind === "run");
  return parsed.config;
}

const groupOf = (name: string, template: string): GroupConfig =>
  configOf(`${name}=${template}`).groups.find((group) => group.name === name)!;

async function startPair(defer: Defer, first: string) {
  const bucket = new MemoryBucket();
  const stream = new MemoryStream(systemClock);
  const log = new MemoryLog();
  const start = async () => {
    const listedAs = (port: number) => ({ url: `http://127.0.0.1:${port}`, name: `n${port}` });
    const node = new Node(configOf(first), {
      clock: systemClock,
      log,
      worker: { listedAs, store: bucket.open(), log: stream.open() },
    });
    await node.start();
    defer(() => node.stop());
    await until(() => node.isReady(), 5_000, () => log.lines.join("\n"));
    return node;
  };
  return { a: await start(), b: await start(), log, bucket };
}

const get = (node: Node, path: string) => fetch(`http://127.0.0.1:${node.port}${path}`);

test("a group that nodes add while they run is shared out between them at once", async (defer) => {
  const origin = await startOrigin(defer);
  const { a, b, log, bucket } = await startPair(defer, `first=${origin.template}`);
  assert.equal((await get(a, "/cache/second/k")).status, 404);
  a.addGroup(groupOf("second", origin.template));
  assert.equal(a.isReady(), true); // a group on its way takes no node out of service
  b.addGroup(groupOf("second", origin.template));
  const listed = () => [...bucket.entries.keys()].filter((key) => key.startsWith("second.")).length;
  await until(() => listed() === 2, 5_000, () => log.lines.join("\n"));
  await until(
    async () => {
      const stats = await Promise.all([a, b].map(async (node) => await (await get(node, "/stats")).json()));
      return stats.every(({ groups }) => groups.second.roster.peers.length === 2);
    },
    5_000,
    () => log.lines.join("\n"),
  );
  const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);
  for (const key of keys) assert.equal(await (await get(a, `/cache/second/${key}`)).text(), key);
  for (const key of keys) assert.equal(await (await get(b, `/cache/second/${key}`)).text(), key);
  assert.deepEqual(origin.loads.toSorted(), keys.toSorted()); // each by one load, whichever node was asked
  assert.throws(() => a.addGroup(groupOf("second", origin.template)), /Cannot add the group second/);
});

test("a group that a node removes is 404 there, off its list, and whole on the other node", async (defer) => {
  const origin = await startOrigin(defer);
  const { a, b, log, bucket } = await startPair(defer, `first=${origin.template}`);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const asked = get(a, "/cache/first/early");
  await until(() => origin.loads.length === 1, 5_000, () => log.lines.join("\n"));
  const removed = a.removeGroup("first");
  assert.equal((await get(a, "/cache/first/late")).status, 404);
  gate.resolve();
  assert.equal(await (await asked).text(), "early"); // who asked before the removal is answered
  assert.equal(await removed, true);
  assert.deepEqual([...bucket.entries].filter(([, { value }]) => value).map(([key]) => key), [`first.n${b.port}`]);
  assert.equal(a.isReady(), true);
  for (let i = 0; i < 20; i++) assert.equal(await (await get(b, `/cache/first/k${i}`)).text(), `k${i}`);
  const keys = ["early", ...Array.from({ length: 20 }, (_, i) => `k${i}`)];
  assert.deepEqual([...new Set(origin.loads)].sort(), keys.toSorted());
  // Behind the gate b may have been silent for long enough that a loads "early", too.
  assert.ok(origin.loads.length <= keys.length + 1, origin.loads.join());
  await assert.rejects(a.removeGroup("first"), /Cannot remove the group first/);
});
