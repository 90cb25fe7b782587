/** Nodes that serve some groups and ask for the others, as users run them. Runs once: it starts nodes on both runtimes. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { LinkFigures } from "../../lib/http/figures.ts";
import { startNats } from "../support/nats-server.ts";
import { listening, type NodeProcess, type RuntimeKind, spawnNode, startNode } from "../support/node.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

const needs = { programs: ["nats"], timeoutMs: 60_000 };

async function ready(node: NodeProcess): Promise<NodeProcess> {
  const isReady = async () => (await fetch(`${node.url}/readyz`)).status === 200;
  await until(isReady, 15_000, () => node.account("that it is ready"));
  return node;
}

const get = (node: NodeProcess, path: string) => fetch(`${node.url}${path}`);

async function statusOf(node: NodeProcess, path: string): Promise<number> {
  const answer = await get(node, path);
  await answer.body?.cancel();
  return answer.status;
}

async function started(defer: Defer) {
  const server = await startNats(defer);
  const start = async (kind: RuntimeKind, ...args: string[]) =>
    await ready(
      await startNode(defer, kind, [
        "--nats",
        server.url,
        "--log",
        "text",
        ...args,
      ]),
    );
  const kv = async (...command: string[]) =>
    (await promisify(execFile)("nats", ["-s", server.url, "kv", ...command], {
      encoding: "utf8",
    })).stdout;
  return { server, start, kv };
}

test(
  "what a node does not serve comes from the node that does, and is 503 while that one is away",
  needs,
  async (defer) => {
    const origin = await startOrigin(defer);
    const { server, start, kv } = await started(defer);
    const group = [
      "--group",
      `wn=${origin.template}`,
      "--poll-interval",
      "100ms",
    ];
    const [serving, bun, deno] = await Promise.all([
      start("deno", ...group, "--name", "serving"),
      start("bun", ...group, "--name", "bun", "--serve", "none:"),
      start("deno", ...group, "--name", "deno", "--serve", "none:"),
    ]);
    assert.deepEqual((await kv("ls", "peers")).trim().split(/\s+/).sort(), [
      "=wn.bun",
      "=wn.deno",
      "wn.serving",
    ]);
    const asking = [bun, deno];
    for (const node of asking) {
      await node.line("not serving wn: asking the nodes that do");
      // Each node is ready, but may not list the nodes that joined after it yet.
      await until(
        async () => await statusOf(node, "/cache/wn/first") === 200,
        5_000,
        () => node.account("a value"),
      );
      for (let i = 0; i < 10; i++) {
        const answer = await get(node, `/cache/wn/k${i}`);
        assert.equal(await answer.text(), `k${i}`);
        assert.match(answer.headers.get("cache-status")!, /detail=peer/);
      }
    }
    assert.equal(
      new Set(origin.loads).size,
      origin.loads.length,
      "one load for all",
    );

    const linksOf = async (node: NodeProcess) => (await (await get(node, "/stats")).json()).links as LinkFigures[];
    const opened = async () =>
      (await linksOf(deno)).filter(({ state }) => state === "open").map(({ name }) => name).sort().join();
    await until(async () => await opened() === "bun,serving", 5_000, () => deno.account("that it knows the others"));
    const purged = await fetch(`${deno.url}/cache/wn/k0?wait`, {
      method: "PURGE",
    });
    const { applied, behind } = await purged.json() as {
      applied: string[];
      behind: string[];
    };
    assert.deepEqual([applied.sort(), behind], [
      ["bun", "deno", "serving"],
      [],
    ]);
    for (const node of [bun, serving]) {
      assert.equal(
        await statusOf(node, "/cache/wn/k0"),
        200,
      );
    }
    assert.equal(
      origin.loads.filter((key) => key === "k0").length,
      2,
      "its copies are gone on every node",
    );

    await serving.end("SIGKILL");
    for (const node of asking) {
      await until(
        async () => await statusOf(node, "/cache/wn/new") === 503,
        5_000,
        () => node.account("503"),
      );
      const answer = await get(node, "/cache/wn/newer");
      assert.ok(Number(answer.headers.get("retry-after")) > 0);
      assert.equal(
        await statusOf(node, "/cache/wn/k1"),
        200,
        "a hot copy serves on",
      );
      assert.equal(await statusOf(node, "/readyz"), 200);
    }
    const { host } = new URL(serving.url);
    const again = spawnNode(defer, "bun", [
      "--nats",
      server.url,
      "--addr",
      host,
      "--log",
      "text",
      ...group,
      "--name",
      "serving",
    ]);
    await listening(again);
    for (const node of asking) {
      await until(
        async () => await statusOf(node, "/cache/wn/new") === 200,
        15_000,
        () => node.account("200"),
      );
    }
    assert.equal(origin.loads.filter((key) => key === "new").length, 1);
  },
);

test(
  "--serve chooses among the groups that NATS defines, too; the others can be asked for",
  needs,
  async (defer) => {
    const origin = await startOrigin(defer);
    const { start, kv } = await started(defer);
    const group = ["--groups-from-nats", "--group", "own=wordnet:"];
    const [all, some] = await Promise.all([
      start("bun", ...group),
      start("deno", ...group, "--serve", "own,second"),
    ]);
    await until(
      async () => (await kv("ls")).includes("peers-groups"),
      5_000,
      () => "no bucket",
    );
    for (const name of ["first", "second"]) {
      await kv(
        "put",
        "peers-groups",
        name,
        JSON.stringify({ origin: origin.template, ttlMs: 60_000 }),
      );
    }
    await some.line("asking for the group first as it is defined in NATS");
    await some.line("serving the group second as it is defined in NATS");
    const rosterOf = async (node: NodeProcess, name: string) =>
      (await node.stats()).groups[name]?.roster.peers.map(({ url }) => url)
        .sort().join();
    for (const node of [all, some]) {
      const isSo = async () =>
        await rosterOf(node, "first") === all.url &&
        await rosterOf(node, "second") === [all.url, some.url].sort().join();
      await until(isSo, 5_000, () => node.account("both lists"));
    }
    await until(
      async () => await statusOf(some, "/cache/first/k") === 200,
      5_000,
      () => some.account("a value"),
    );
    for (let i = 0; i < 10; i++) {
      assert.equal(
        await statusOf(some, `/cache/first/k${i}`),
        200,
      );
    }
    assert.equal((await some.stats()).groups["first"]!.originLoads, 0);
    await kv(
      "put",
      "peers-groups",
      "first",
      JSON.stringify({ origin: origin.template, ttlMs: 120_000 }),
    );
    await some.line("changed the group first");
    assert.equal(await statusOf(some, "/cache/first/after"), 200);
    await kv("del", "-f", "peers-groups", "first");
    await until(
      async () => await statusOf(some, "/cache/first/k1") === 404,
      5_000,
      () => some.account("404"),
    );
    const left = async () => (await kv("ls", "peers")).split(/\s+/).filter((key) => /^=?first\./.test(key));
    await until(
      async () => (await left()).length === 0,
      5_000,
      () => some.account("that it left"),
    );
  },
);
