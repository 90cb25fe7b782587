/** One cluster of both releases, on both runtimes, and all that nodes ask of each other. Runs once: it starts processes. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "nats";
import { startNats, temporaryFolder } from "../support/nats-server.ts";
import {
  assembled,
  assertLoadedOnce,
  bothRuntimes,
  commandOf,
  type NodeProcess,
  root,
  secondAsksOf,
  startNode,
} from "../support/node.ts";
import { buildReleaseBefore, MISUNDERSTANDING, testWithReleaseBefore } from "../support/release-before.ts";
import type { Defer } from "../support/test.ts";
import { until } from "../support/until.ts";

const LONG_BYTES = 300_000;
const KEYS = 60;

/** Answers with what was asked, in which version of it; counts what it is asked. */
async function startOrigin(defer: Defer) {
  const origin = { url: "", version: 1, loads: new Map<string, number>() };
  const server = createServer((request, response) => {
    const url = request.url!;
    origin.loads.set(url, (origin.loads.get(url) ?? 0) + 1);
    const language = request.headers["accept-language"] ?? "";
    response.writeHead(200, {
      "content-type": "text/plain; charset=utf-8",
      "cache-control": "max-age=600",
      "cache-tag": "all-pages",
      ...(url.startsWith("/site/") && { vary: "accept-language" }),
    });
    response.end(`${url} ${language} ${origin.version} ${url.includes("long") ? "x".repeat(LONG_BYTES) : ""}`);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  origin.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return origin;
}

/** A node of each release on each runtime, with a secret: the two of the release before come first. */
async function bothReleases(defer: Defer) {
  const before = buildReleaseBefore(defer);
  const [nats, origin] = [await startNats(defer), await startOrigin(defer)];
  const folder = await temporaryFolder(defer);
  const [secret, config] = [`${folder}/secret`, `${folder}/config.json`];
  writeFileSync(secret, "only the fleet knows this\n", { mode: 0o600 });
  const groups = {
    g: { origin: `${origin.url}/g/{key}`, replicas: 2, staleIfErrorMs: 60_000 },
    site: { origin: `${origin.url}/site/*` },
    kept: { origin: "none:", writable: true },
  };
  writeFileSync(config, JSON.stringify({ groups }));
  const args = ["--nats", nats.url, "--secret-file", secret, "--config", config, "--groups-from-nats"];
  const nodes = [
    ...await Promise.all(bothRuntimes.map((kind) => startNode(defer, kind, args, before))),
    ...await Promise.all(bothRuntimes.map((kind) => startNode(defer, kind, args))),
  ];
  for (const group of Object.keys(groups)) await assembled(nodes, group);
  return { before, nats, origin, secret, nodes };
}

type Cluster = Awaited<ReturnType<typeof bothReleases>>;

testWithReleaseBefore("nodes of both releases are one cluster", { timeoutMs: 90_000 }, async (defer) => {
  const cluster = await bothReleases(defer);
  await allIsWell(cluster);
  await loadEachOnce(cluster);
  await answerGoPeers(cluster);
  await serveSites(cluster);
  await invalidate(cluster);
  await write(cluster);
  await define(defer, cluster);
  for (const node of cluster.nodes) {
    const misunderstood = node.lines.filter((line) => MISUNDERSTANDING.test(line));
    assert.deepEqual(misunderstood, [], node.kind);
  }
});

async function textAt({ url }: NodeProcess, path: string, init?: RequestInit): Promise<string> {
  const response = await fetch(url + path, init);
  const text = await response.text();
  assert.ok(response.ok, `${path}: ${response.status} ${text}`);
  return text;
}

/** A command of the release in `folder`. Its loads come to this process, so this waits without holding it up. */
function typed(folder: string, ...args: string[]): Promise<{ code: number | null; out: string }> {
  const [program, ...rest] = commandOf("bun", "-P", folder);
  const child = spawn(program!, [...rest, ...args], { cwd: folder, stdio: ["ignore", "pipe", "ignore"] });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text) => out += text);
  return new Promise((done) => child.on("close", (code) => done({ code, out })));
}

/** The commands of each release take a fleet of both for a well one, whichever node they ask. */
async function allIsWell({ before, nats, secret, nodes }: Cluster): Promise<void> {
  for (const folder of [before.root, root]) {
    const peers = await typed(folder, "peers", "--nats", nats.url, "--secret-file", secret);
    for (const { url } of nodes) assert.ok(peers.out.includes(url), `${folder}: ${peers.out}`);
    for (const { url } of [nodes[0]!, nodes[3]!]) {
      let problems: { problem: string }[] = [];
      const isWell = async () => {
        ({ problems } = JSON.parse((await typed(folder, "status", "--json", "--node", url)).out));
        // Two versions are what an upgrade is.
        return problems.every(({ problem }) => problem.startsWith("nodes run different versions"));
      };
      await until(isWell, 10_000, () => `${folder} says of ${url}: ${JSON.stringify(problems)}`);
      for (const words of [["groups"], ["get", "g", "key-1"], ["explain", "g", "key-1"]]) {
        const { code, out } = await typed(folder, ...words, "--node", url);
        assert.equal(code, 0, `${words.join(" ")} of ${folder} at ${url}: ${out}`);
      }
    }
  }
}

/** Every node gets every value, short or in pieces, and each is loaded once: the owners are the same for all. */
async function loadEachOnce({ nodes, origin }: Cluster): Promise<void> {
  const keys = Array.from({ length: KEYS }, (_, i) => i % 5 === 0 ? `long-${i}` : `key-${i}`);
  for (const node of nodes) {
    const texts = await Promise.all(keys.map((key) => textAt(node, `/cache/g/${key}`)));
    for (const [i, key] of keys.entries()) {
      assert.ok(texts[i]!.startsWith(`/g/${key}  1 `), key);
      assert.equal(texts[i]!.length > LONG_BYTES, key.startsWith("long"), key);
    }
  }
  const loads = [...origin.loads].flatMap(([path, count]) => path.startsWith("/g/") ? Array(count).fill(path) : []);
  await assertLoadedOnce(nodes, "g", loads, keys.map((key) => `/g/${key}`));
}

/** A groupcache peer written in Go gets the same bytes from each of them. */
async function answerGoPeers({ nodes }: Cluster): Promise<void> {
  const answers = await Promise.all(nodes.map(async ({ url }) => {
    const response = await fetch(`${url}/_groupcache/g/key-2`);
    assert.equal(response.headers.get("content-type"), "application/x-protobuf");
    return Buffer.from(await response.arrayBuffer());
  }));
  const value = Buffer.from("/g/key-2  1 ");
  // Field 1 of GetResponse, of bytes: its tag, its length, the value.
  for (const answer of answers) assert.deepEqual(answer, Buffer.concat([Buffer.from([0x0a, value.length]), value]));
}

/** A request's header fields get to the owner, and the variants of an answer back. */
async function serveSites({ nodes, origin }: Cluster): Promise<void> {
  for (const language of ["de", "fr"]) {
    for (const node of nodes) {
      for (let i = 0; i < 8; i++) {
        const text = await textAt(node, `/cache/site/p${i}?q`, { headers: { "accept-language": language } });
        assert.equal(text, `/site/p${i}?q ${language} 1 `);
      }
    }
  }
  const more = await secondAsksOf(nodes, "site");
  for (let i = 0; i < 8; i++) {
    const loads = origin.loads.get(`/site/p${i}?q`)!;
    assert.ok(loads >= 2 && loads <= 2 + more, `p${i}: ${loads} loads, ${more} second asks`);
  }
}

/** What a node of either release invalidates, nodes of both take as such at once. */
async function invalidate({ nodes, origin }: Cluster): Promise<void> {
  for (const node of nodes) {
    for (const body of [{ keys: ["key-1"] }, { prefixes: ["key-1"] }, { tags: ["all-pages"] }, { all: true }]) {
      origin.version++;
      const answer = await fetch(`${node.url}/_admin/groups/g/invalidate?wait`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
      });
      const told = await answer.text();
      assert.equal(answer.status, 200, told);
      assert.doesNotMatch(told, /behind":\["/, told);
      for (const other of nodes) {
        const text = await textAt(other, "/cache/g/key-1");
        assert.equal(text, `/g/key-1  ${origin.version} `, `${JSON.stringify(body)} at ${node.url}: ${told}`);
      }
      const [loads, more] = [origin.loads.get("/g/key-1")!, await secondAsksOf(nodes, "g")];
      assert.ok(loads >= origin.version && loads <= origin.version + more, `${loads} loads, ${more} second asks`);
    }
  }
}

/** What is written at one node is read at all. */
async function write({ nodes }: Cluster): Promise<void> {
  for (const [i, node] of nodes.entries()) {
    await textAt(node, `/cache/kept/by-${i}`, { method: "PUT", body: `written at ${i}` });
    for (const other of nodes) assert.equal(await textAt(other, `/cache/kept/by-${i}`), `written at ${i}`);
  }
}

/** A definition that an operator signs with either release is followed by nodes of both. */
async function define(defer: Defer, { before, nats, secret, nodes, origin }: Cluster): Promise<void> {
  const connection = await connect({ servers: nats.url });
  defer(() => connection.close());
  const bucket = await connection.jetstream().views.kv("peers-groups");
  for (const [name, folder] of [["d1", before.root], ["d2", root]] as const) {
    const definition = JSON.stringify({ origin: `${origin.url}/${name}/{key}`, ttlMs: 60_000 });
    const { out } = await typed(folder, "sign", "peers-groups", name, definition, "--secret-file", secret);
    await bucket.put(name, out);
    for (const node of nodes) await node.line(`serving the group ${name} as it is defined in NATS`);
    await assembled(nodes, name);
    for (const node of nodes) {
      assert.equal(await textAt(node, `/cache/${name}/x`), `/${name}/x  ${origin.version} `);
    }
    assert.equal(origin.loads.get(`/${name}/x`), 1);
  }
}
