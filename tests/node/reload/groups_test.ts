/** What a running node makes of other groups: nodes of one process, which share a registry in memory. */
import assert from "node:assert/strict";
import type { Config } from "../../../lib/config/config.ts";
import { parseConfig } from "../../../lib/config/parse.ts";
import { Node } from "../../../lib/node/node.ts";
import { followGroups } from "../../../lib/node/reload/groups.ts";
import { MemoryStream } from "../../../lib/registry/store/memory-log.ts";
import { MemoryBucket } from "../../../lib/registry/store/memory-store.ts";
import { systemClock } from "../../../lib/runtime/process.ts";
import { MemoryLog } from "../../support/log.ts";
import { startOrigin } from "../../support/origin.ts";
import { serveBodies } from "../../support/serve-bodies.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

/** The options of a node whose file has these groups. */
function configOf(groups: Record<string, object>): Config {
  const parsed = parseConfig({
    argv: ["--config", "f", "--nats", "off", "--addr", "127.0.0.1:0", "--drain-timeout", "3s"],
    env: {},
    readFile: () => JSON.stringify({ groups }),
    isTerminal: false,
    checkOrigin: () => {},
  });
  assert.ok(parsed.kind === "run");
  return parsed.config;
}

async function startPair(defer: Defer, groups: Record<string, object>) {
  const [bucket, stream, log] = [new MemoryBucket(), new MemoryStream(systemClock), new MemoryLog()];
  const start = async () => {
    const listedAs = (port: number) => ({ url: `http://127.0.0.1:${port}`, name: `n${port}` });
    const worker = { listedAs, store: bucket.open(), log: stream.open() };
    const node = new Node(configOf(groups), { clock: systemClock, log, worker });
    await node.start();
    defer(() => node.stop());
    await until(() => node.isReady(), 5_000, () => log.lines.join("\n"));
    return node;
  };
  const [a, b] = [await start(), await start()];
  await peersOf(a, "g", 2, log);
  return { a, b, log, bucket };
}

const get = (node: Node, path: string) => fetch(`http://127.0.0.1:${node.port}/cache/${path}`);
const textOf = async (node: Node, path: string) => (await get(node, path)).text();
const keys = Array.from({ length: 40 }, (_, i) => `k${i}`);

async function statsOf(node: Node) {
  return await (await fetch(`http://127.0.0.1:${node.port}/stats`)).json() as {
    groups: Record<string, {
      mainCache: { items: number; memoryBytes: number; evictions: number };
      hotCache: { items: number; memoryBytes: number };
      roster: { peers: { name: string; origin: string }[] };
    }>;
  };
}

async function peersOf(node: Node, group: string, count: number, log: MemoryLog): Promise<void> {
  const isSo = async () => (await statsOf(node)).groups[group]?.roster.peers.length === count;
  await until(isSo, 5_000, () => log.lines.join("\n"));
}

const restarted = (config: Config, groups: Record<string, object>): Config => ({
  ...config,
  groups: configOf(groups).groups,
});

test("groups come, go and change at once, and those that stay keep their values", async (defer) => {
  const origin = await startOrigin(defer);
  const { template } = origin;
  const { a, b, log } = await startPair(defer, { g: { origin: template }, old: { origin: template } });
  for (const key of keys) await textOf(a, `g/${key}`);
  for (const key of keys) await textOf(b, `g/${key}`);
  assert.equal(origin.loads.length, keys.length);
  const next = { g: { origin: template, maxConcurrent: 8, retries: 1 }, fresh: { origin: template } };
  for (const node of [a, b]) node.reload(restarted(node.config, next));
  assert.equal((await get(a, "old/x")).status, 404);
  assert.equal(await textOf(b, "fresh/x"), "x");
  for (const node of [a, b]) for (const key of keys) assert.equal(await textOf(node, `g/${key}`), key);
  assert.equal(origin.loads.length, keys.length + 1, "the values of g are there");
  await peersOf(a, "fresh", 2, log);
  assert.equal(a.isReady() && b.isReady(), true);
});

test("while one node has another origin already, neither gets a value of the other's", async (defer) => {
  const loads: string[] = [];
  const url = await serveBodies(defer, (path) => {
    loads.push(path);
    return { body: new TextEncoder().encode(path), delayMs: 0 };
  });
  const [old, fresh] = [{ g: { origin: `${url}/old/{key}` } }, { g: { origin: `${url}/new/{key}` } }];
  const { a, b, log } = await startPair(defer, old);
  for (const node of [a, b]) for (const key of keys) assert.equal(await textOf(node, `g/${key}`), `/old/${key}`);
  a.reload(restarted(a.config, fresh));
  // b holds old values of keys that were its own, and its link to a stands.
  for (const key of keys) assert.equal(await textOf(a, `g/${key}`), `/new/${key}`);
  const knows = async () => {
    const { peers } = (await statsOf(b)).groups["g"]!.roster;
    return new Set(peers.map(({ origin }) => origin)).size === 2;
  };
  await until(knows, 5_000, () => log.lines.join("\n"));
  for (const key of keys) assert.equal(await textOf(b, `g/${key}`), `/old/${key}`);
  b.reload(restarted(b.config, fresh));
  for (const node of [a, b]) for (const key of keys) assert.equal(await textOf(node, `g/${key}`), `/new/${key}`);
  // Together again: what a loaded alone is not loaded twice, but for keys that b was asked for before it knew a again.
  const before = loads.length;
  for (const node of [a, b]) for (const key of keys) await textOf(node, `g/${key}`);
  assert.equal(loads.length, before);
});

test("a node with another origin gives nothing to peers that cannot know it yet", async (defer) => {
  const url = await serveBodies(defer, (path) => ({ body: new TextEncoder().encode(path), delayMs: 0 }));
  const [old, fresh] = [{ g: { origin: `${url}/old/{key}` } }, { g: { origin: `${url}/new/{key}` } }];
  const { a, b, bucket } = await startPair(defer, old);
  bucket.goAway();
  a.reload(restarted(a.config, fresh));
  for (const key of keys) assert.equal(await textOf(a, `g/${key}`), `/new/${key}`);
  for (const key of keys) assert.equal(await textOf(b, `g/${key}`), `/old/${key}`);
  bucket.comeBack();
});

test("a shorter lifetime bounds the values that are there, and a smaller budget evicts", async (defer) => {
  const origin = await startOrigin(defer);
  const { template } = origin;
  const { a, b } = await startPair(defer, { g: { origin: template, ttlMs: 600_000 } });
  for (const node of [a, b]) for (const key of keys) await textOf(node, `g/${key}`);
  assert.equal(origin.loads.length, keys.length);
  for (const node of [a, b]) node.reload(restarted(node.config, { g: { origin: template, ttlMs: 50 } }));
  const isAnew = async () => {
    for (const key of keys) await textOf(a, `g/${key}`);
    return origin.loads.length >= 2 * keys.length;
  };
  await until(isAnew, 5_000, () => `${origin.loads.length} loads`);
  const small = { g: { origin: template, ttlMs: 50, budgetBytes: 6_000 } };
  for (const node of [a, b]) node.reload(restarted(node.config, small));
  const isSmall = async () => {
    const { mainCache, hotCache } = (await statsOf(a)).groups["g"]!;
    return mainCache.memoryBytes + hotCache.memoryBytes <= 6_000;
  };
  await until(isSmall, 5_000, () => "the budget is not kept");
});

test("a group that ends and comes back while its last requests are answered stays on its list", async (defer) => {
  const origin = await startOrigin(defer);
  const { template } = origin;
  const both = { g: { origin: template }, h: { origin: template } };
  const { a, b, log, bucket } = await startPair(defer, both);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const asked = get(a, "h/early");
  await until(() => origin.loads.length === 1, 5_000, () => log.lines.join("\n"));
  a.reload(restarted(a.config, { g: { origin: template } }));
  assert.equal((await get(a, "h/late")).status, 404);
  a.reload(restarted(a.config, both));
  gate.resolve();
  assert.equal(await (await asked).text(), "early");
  for (const node of [a, b]) for (const key of keys) assert.equal(await textOf(node, `h/${key}`), key);
  assert.deepEqual(origin.loads.toSorted(), ["early", ...keys].toSorted(), "shared out between both");
  const listed = [...bucket.entries].filter(([, { value }]) => value).map(([key]) => key);
  assert.ok(listed.includes(`h.${a.name}`), listed.join());
});

test("a node that still opens its ports begins with the groups that were read meanwhile", async (defer) => {
  const { template } = await startOrigin(defer);
  const node = new Node(configOf({ g: { origin: template } }), { clock: systemClock, log: new MemoryLog() });
  const started = node.start();
  node.reload(restarted(node.config, { other: { origin: template } }));
  await started;
  defer(() => node.stop());
  assert.equal(await textOf(node, "other/x"), "x");
  assert.equal((await get(node, "g/x")).status, 404);
});

test("a node that stops follows no file any more", async (defer) => {
  const { template } = await startOrigin(defer);
  const node = new Node(configOf({ g: { origin: template } }), { clock: systemClock, log: new MemoryLog() });
  await node.start();
  const stopped = node.stop();
  const { config } = node;
  node.reload(restarted(config, { other: { origin: template } }));
  assert.equal(node.config, config);
  await stopped;
});

test("an origin that turns out to be wrong after a reload does not end the node", async (defer) => {
  const { template } = await startOrigin(defer);
  const log = new MemoryLog();
  const node = new Node(configOf({ g: { origin: template } }), { clock: systemClock, log });
  await node.start();
  defer(() => node.stop());
  let failure: Error | undefined;
  void node.failed.then((error) => failure = error);
  node.reload(restarted(node.config, { g: { origin: "module:./there-is-none.ts" } }));
  const isTold = () => log.lines.some((line) => line.startsWith("error the origin of g: Cannot use the module"));
  await until(isTold, 5_000, () => log.lines.join("\n"));
  assert.equal(failure, undefined);
});

test("groups that a node cannot have leave everything as it is", () => {
  const site = (name: string, ...hosts: string[]) => ({ [name]: { origin: "http://127.0.0.1:1/*", hosts } });
  const running = configOf({ ...site("s", "s.example"), ...site("t", "t.example") }).groups;
  const did: string[] = [];
  const keeper = {
    addGroup: ({ name }: { name: string }) => void did.push(`add ${name}`),
    changeGroup: ({ name }: { name: string }) => void did.push(`change ${name}`),
    removeGroup: (name: string) => (did.push(`remove ${name}`), Promise.resolve(true)),
  };
  const served = new Map(
    [["s", "s.example"], ["t", "t.example"], ["defined", "d.example"]].map(([name, host]) => [
      name!,
      { hosts: [host!], group: { name: name! } },
    ]),
  );
  const hosts = new Map([...served.values()].map((each) => [each.hosts[0]!, each]));
  const freeHosts = (name: string) => served.get(name)!.hosts.forEach((host) => hosts.delete(host));
  let names: readonly string[] = [];
  const follow = (groups: Record<string, object>, checkNames = (all: readonly string[]) => void (names = all)) =>
    followGroups({ keeper, running, read: configOf(groups).groups, served, hosts, freeHosts, checkNames });
  const tooMany = () => {
    throw new RangeError("too many");
  };
  assert.throws(
    () => follow({ ...site("s", "d.example"), ...site("u") }),
    /the group defined, defined in NATS, has it/,
  );
  assert.throws(() => follow(site("u", "d.example")), /Cannot give the host d.example to the group u/);
  assert.throws(() => follow(site("u"), tooMany), /too many/);
  assert.deepEqual([did, [...hosts.keys()]], [[], ["s.example", "t.example", "d.example"]]);
  // Two groups exchange their hosts, a third ends, and one that NATS defines gives way.
  follow({ ...site("s", "t.example"), ...site("u", "s.example"), ...site("defined", "d.example") });
  assert.deepEqual(names, ["s", "defined", "u"]);
  assert.deepEqual(did, ["remove t", "change s", "add u", "change defined"]);
});

test("a peer gets the value that it asked for, though the owner ends the group meanwhile", async (defer) => {
  const origin = await startOrigin(defer);
  const { template } = origin;
  const both = { g: { origin: template }, h: { origin: template } };
  const { a, b, log } = await startPair(defer, both);
  await peersOf(b, "h", 2, log);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const asked = keys.map((key) => get(b, `h/${key}`));
  await until(() => origin.loads.length === keys.length, 5_000, () => `${origin.loads.length} loads`);
  a.reload(restarted(a.config, { g: { origin: template } }));
  gate.resolve();
  for (const [i, answer] of (await Promise.all(asked)).entries()) {
    assert.deepEqual([answer.status, await answer.text()], [200, keys[i]]);
  }
  assert.equal(origin.loads.length, keys.length, "nothing is loaded twice");
  await peersOf(b, "h", 1, log);
  assert.equal(await textOf(b, "h/later"), "later");
});

test("while NATS is away groups are added, removed and changed, and the lists follow when it is back", async (defer) => {
  const { template } = await startOrigin(defer);
  const { a, b, log, bucket } = await startPair(defer, { g: { origin: template }, old: { origin: template } });
  await peersOf(b, "old", 2, log);
  bucket.goAway();
  const areTold = () => log.lines.filter((line) => line.includes("NATS is away")).length === 2;
  await until(areTold, 5_000, () => log.lines.join("\n"));
  a.reload(restarted(a.config, { g: { origin: template, retries: 1 }, fresh: { origin: template } }));
  assert.equal(a.served("fresh")!.gate!.isOpen, true, "a miss waits for no list of peers");
  assert.deepEqual([(await get(a, "old/x")).status, await textOf(a, "fresh/x")], [404, "x"]);
  for (const key of keys) {
    assert.equal(await textOf(a, `g/${key}`), key);
    assert.equal(await textOf(b, `old/${key}`), key, "the next in rank answers");
  }
  // It comes back before NATS does, and goes again.
  a.reload(restarted(a.config, { g: { origin: template }, old: { origin: template } }));
  assert.equal(await textOf(a, "old/x"), "x");
  a.reload(restarted(a.config, { g: { origin: template }, fresh: { origin: template } }));
  bucket.comeBack();
  await peersOf(b, "old", 1, log);
  const listed = () => [...bucket.entries].filter(([, { value }]) => value).map(([key]) => key);
  await until(() => listed().includes(`fresh.${a.name}`), 10_000, () => listed().join());
  assert.ok(!listed().includes(`old.${a.name}`), listed().join());
});
