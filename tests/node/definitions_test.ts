/** Groups that are defined in NATS while nodes run. Runs once: it starts nodes on both runtimes. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { connect } from "nats";
import { startNats } from "../support/nats-server.ts";
import { assembled, assertLoadedOnce, type NodeProcess, startNode } from "../support/node.ts";
import { serveBodies } from "../support/serve-bodies.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

const needs = { programs: ["nats"], timeoutMs: 60_000 };

async function twoNodes(defer: Defer) {
  const server = await startNats(defer);
  const args = ["--nats", server.url, "--groups-from-nats", "--group", "own=wordnet:", "--log", "text"];
  const nodes = await Promise.all((["bun", "deno"] as const).map((kind) => startNode(defer, kind, args)));
  await assembled(nodes, "own");
  const kv = async (...command: string[]) =>
    (await promisify(execFile)("nats", ["-s", server.url, "kv", ...command], { encoding: "utf8" })).stdout;
  return { nodes, kv, url: server.url };
}

interface Told {
  readonly definitions: { revision: number; groups: string[]; refused: { group: string; reason: string }[] };
  readonly groups: Record<string, { mainCache: { items: number }; roster: { peers: unknown[] } }>;
}

async function statsOf(node: NodeProcess): Promise<Told> {
  if (node.exitCode !== undefined) throw new Error(node.account("that it ended"));
  return await (await fetch(`${node.url}/stats`)).json() as Told;
}
const get = (node: NodeProcess, path: string) => fetch(`${node.url}${path}`);

async function onAll(nodes: readonly NodeProcess[], what: string, isSo: (told: Told) => boolean): Promise<void> {
  let seen: unknown;
  const check = async () => {
    const all = await Promise.all(nodes.map(statsOf));
    seen = all.map(({ definitions }) => definitions);
    return all.every(isSo);
  };
  await until(check, 5_000, () => `not on all nodes: ${what}; ${JSON.stringify(seen)}`);
}

const listedBy = (name: string, count: number) => ({ groups }: Told) => groups[name]?.roster.peers.length === count;

test("a definition makes a group on every node, changes it with its values, and ends it", needs, async (defer) => {
  const loads: string[] = [];
  const origin = await serveBodies(defer, (path) => {
    loads.push(path);
    return { body: new TextEncoder().encode(path), delayMs: 0 };
  });
  const { nodes, kv } = await twoNodes(defer);
  assert.equal((await get(nodes[0]!, "/cache/api/x")).status, 404);
  // The nodes make the bucket.
  await until(async () => (await kv("ls")).includes("peers-groups"), 5_000, () => "no bucket");
  await kv("put", "peers-groups", "api", JSON.stringify({ origin: `${origin}/{key}`, ttlMs: 60_000 }));
  await onAll(nodes, "listed", listedBy("api", 2));
  for (const node of nodes) {
    for (let i = 0; i < 20; i++) assert.equal((await get(node, `/cache/api/k${i}`)).status, 200);
  }
  await assertLoadedOnce(nodes, "api", loads, Array.from({ length: 20 }, (_, i) => `/k${i}`));
  const before = loads.length;

  await kv("put", "peers-groups", "api", JSON.stringify({ origin: `${origin}/{key}`, ttlMs: 120_000 }));
  for (const node of nodes) await node.line("changed the group api");
  for (const node of nodes) for (let i = 0; i < 20; i++) await (await get(node, `/cache/api/k${i}`)).body?.cancel();
  assert.equal(loads.length, before, "a changed policy keeps the values");

  await kv("put", "peers-groups", "api", JSON.stringify({ origin: `${origin}/v2/{key}`, ttlMs: 120_000 }));
  await until(
    async () => {
      const answers = await Promise.all(nodes.map(async (node) => (await get(node, "/cache/api/k1")).text()));
      return answers.every((text) => text === "/v2/k1");
    },
    5_000,
    () => "a changed origin drops the values",
  );

  await kv("del", "-f", "peers-groups", "api");
  await onAll(nodes, "ended", ({ groups }) => groups["api"] === undefined);
  for (const node of nodes) assert.equal((await get(node, "/cache/api/k1")).status, 404);
  await kv("put", "peers-groups", "api", JSON.stringify({ origin: `${origin}/{key}` }));
  await onAll(nodes, "there again", listedBy("api", 2));
});

test(
  "what is wrong with a definition stands in the log once and in /stats, and what runs stays",
  needs,
  async (defer) => {
    const { nodes, kv } = await twoNodes(defer);
    await until(async () => (await kv("ls")).includes("peers-groups"), 5_000, () => "no bucket");
    await kv("put", "peers-groups", "w", '{"origin":"wordnet:"}');
    await onAll(nodes, "made", listedBy("w", 2));
    await kv("put", "peers-groups", "w", '{"origin":"wordnet:","ttlMs":"soon","budget":1}');
    await kv("put", "peers-groups", "own", '{"origin":"none:","writable":true}');
    await kv("put", "peers-groups", "a.b", '{"origin":"wordnet:"}');
    await kv("put", "peers-groups", "text", "origin: wordnet");
    const thief = '{"origin":"http://127.0.0.1:1/{key}","headers":{"authorization":{"file":"/etc/hostname"}}}';
    await kv("put", "peers-groups", "thief", thief);
    await onAll(nodes, "refused", ({ definitions }) => definitions.refused.length === 5);
    for (const node of nodes) {
      const { definitions: { refused, groups } } = await statsOf(node);
      const reasons = Object.fromEntries(refused.map(({ group, reason }) => [group, reason]));
      assert.deepEqual(groups, ["w"]);
      assert.match(reasons["w"]!, /unknown field "budget".*ttlMs must be a whole number/);
      assert.match(reasons["own"]!, /by its own options, which come first/);
      assert.match(reasons["a.b"]!, /name is not/);
      assert.match(reasons["text"]!, /not JSON/);
      assert.match(reasons["thief"]!, /headers\.authorization must/);
      assert.equal((await get(node, "/cache/w/piston")).status, 200, "what runs stays");
      assert.equal((await get(node, "/cache/own/piston")).status, 200);
      const told = node.lines.filter((line) => line.includes("cannot follow the definition of the group text"));
      assert.equal(told.length, 1);
    }
    await kv("put", "peers-groups", "w", '{"origin":"wordnet:","ttlMs":1000}');
    await onAll(nodes, "mended", ({ definitions }) => !definitions.refused.some(({ group }) => group === "w"));
  },
);

test("a hundred changes in a row leave the last one", needs, async (defer) => {
  const { nodes, kv, url } = await twoNodes(defer);
  await until(async () => (await kv("ls")).includes("peers-groups"), 5_000, () => "no bucket");
  const connection = await connect({ servers: url });
  defer(() => connection.close());
  const definitions = await connection.jetstream().views.kv("peers-groups");
  for (let i = 0; i < 50; i++) {
    await definitions.put("w", `{"origin":"wordnet:","ttlMs":${i + 1}}`);
    if (i % 10 === 9) await definitions.delete("w");
    else await definitions.put("w", `{"origin":"${i % 2 === 0 ? "wordnet:" : "dict://127.0.0.1:1"}"}`);
  }
  await definitions.put("w", '{"origin":"wordnet:"}');
  await onAll(nodes, "the last", (told) => listedBy("w", 2)(told) && told.definitions.groups.join() === "w");
  for (const node of nodes) assert.equal((await get(node, "/cache/w/piston")).status, 200);
});
