/** A cluster with a secret, and somebody who may write to NATS and does not know it. Runs once: it starts processes. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, writeFileSync } from "node:fs";
import { connect } from "nats";
import { Seal } from "../../lib/nats/seal.ts";
import { freePort } from "../support/free-port.ts";
import { startNats, temporaryFolder } from "../support/nats-server.ts";
import { assembled, bothRuntimes, commandOf, type NodeProcess, startNode } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

const secret = "only the fleet knows this";

/** A secret's file, nodes on both runtimes, and a stranger's connection to their NATS. */
async function clusterWithSecret(defer: Defer) {
  const nats = await startNats(defer);
  const file = `${await temporaryFolder(defer)}/secret`;
  writeFileSync(file, `${secret}\n`, { mode: 0o600 });
  const args = ["--nats", nats.url, "--secret-file", file, "--groups-from-nats"];
  const nodes = await Promise.all(bothRuntimes.map((kind) => startNode(defer, kind, args)));
  await assembled(nodes);
  const stranger = await connect({ servers: nats.url });
  defer(() => stranger.close());
  const kv = stranger.jetstream().views;
  return { nats, file, nodes, stranger, peers: await kv.kv("peers"), groups: await kv.kv("peers-groups") };
}

type Cluster = Awaited<ReturnType<typeof clusterWithSecret>>;

/** What the operator types, on one runtime or the other. */
function sign(kind: "bun" | "deno", ...args: string[]): string {
  const [program, ...rest] = commandOf(kind);
  return execFileSync(program!, [...rest, "sign", ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
}

const statsOf = async ({ url }: NodeProcess) => await (await fetch(`${url}/stats`)).json();

/** A record that is not signed is no peer's, and one that was signed is good for its own key only. */
async function forgeRecords(defer: Defer, { nats, nodes, peers }: Cluster): Promise<void> {
  const names = (await Promise.all(nodes.map(statsOf))).map(({ name }) => name);
  const signed = (await peers.get(`dict.${names[0]}`))!.string();
  const { mac: _mac, ...record } = JSON.parse(signed);
  assert.equal(
    new TextDecoder().decode(new Seal([secret]).open(`$KV.peers.dict.${names[0]}`, new TextEncoder().encode(signed))),
    JSON.stringify(record),
  );
  await peers.put(
    "dict.forged",
    JSON.stringify({ ...record, name: "forged", incarnation: "01ZZZZZZZZZZZZZZZZZZZZZZZZ" }),
  );
  await peers.put("dict.copied", signed);
  const without = await startNode(defer, "bun", ["--nats", nats.url]);
  await without.line("added myself to the peer list of dict");
  for (const node of nodes) {
    await node.line(/ignoring dict\.\S+ \(revision \d+\), which is no peer record: it is not signed/);
  }
  // A record of this node that somebody has overwritten is put back.
  await peers.put(`dict.${names[1]}`, JSON.stringify({ ...record, name: names[1] }));
  await nodes[1]!.line(/my record in the peer list of dict was overwritten: putting it back/);
  await assembled(nodes);
  for (const node of nodes) {
    const said = node.lines.filter((line) => line.includes("it is not signed"));
    assert.ok(said.length <= 2, said.join("\n"));
    assert.ok(!node.lines.join().includes(secret));
  }
}

/** A definition counts once an operator has signed it, for the group that it was signed for. */
async function forgeDefinitions({ nodes, file, groups }: Cluster): Promise<void> {
  const json = '{"origin":"wordnet:","ttlMs":60000}';
  await groups.put("wn", json);
  for (const node of nodes) await node.line("cannot follow the definition of the group wn: it is not signed");
  for (const node of nodes) {
    assert.deepEqual((await statsOf(node)).definitions.refused, [
      { group: "wn", reason: "it is not signed with the secret of --secret-file" },
    ]);
  }
  const signed = sign("bun", "peers-groups", "wn", json, "--secret-file", file);
  await groups.put("other", signed);
  await groups.put("wn", signed);
  for (const node of nodes) {
    await node.line("serving the group wn as it is defined in NATS");
    await node.line("cannot follow the definition of the group other: it is not signed");
    assert.equal((await fetch(`${node.url}/cache/wn/piston`)).status, 200);
  }
  // What runs stays when somebody else writes over it.
  await groups.put("wn", '{"origin":"http://127.0.0.1:9/{key}"}');
  for (const node of nodes) {
    await until(async () => (await statsOf(node)).definitions.refused.length === 2, 10_000, () => node.account("both"));
    assert.equal((await fetch(`${node.url}/cache/wn/piston`)).status, 200);
  }
}

/** An invalidation that is not signed drops nothing on any node, and all nodes move on by it alike. */
async function forgeInvalidations({ nodes, file, stranger }: Cluster): Promise<void> {
  const [first, second] = nodes as [NodeProcess, NodeProcess];
  const get = async ({ url }: NodeProcess) => (await fetch(`${url}/cache/dict/piston`)).headers.get("cache-status")!;
  const publish = async (text: string) => (await stranger.jetstream().publish("peers.invalidate.dict", text)).seq;
  const applied = async (sequence: number) => {
    for (const node of nodes) {
      await until(
        async () => (await statsOf(node)).log.applied === sequence,
        10_000,
        () => node.account(`${sequence}`),
      );
    }
  };
  for (const node of nodes) await get(node);
  const all = '{"all":true}';
  await publish(all);
  await publish(sign("deno", "peers.invalidate.other", all, "--secret-file", file));
  await applied(await publish('{"all":true,"mac":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}'));
  for (const node of nodes) {
    assert.match(await get(node), /; hit/);
    await node.line("cannot read invalidation 1 of dict: it is not signed");
    assert.equal(node.lines.filter((line) => line.includes("cannot read invalidation")).length, 1);
  }
  await applied(await publish(sign("deno", "peers.invalidate.dict", all, "--secret-file", file)));
  assert.match(await get(first), /fwd=miss/);
  await get(second);
  // A node signs what it publishes itself.
  const purged = await fetch(`${first.url}/cache/dict/piston?wait`, { method: "PURGE" });
  assert.equal(purged.status, 200);
  assert.equal((await purged.json()).applied.length, 2);
  assert.match(await get(second), /fwd=miss/);
}

test("who may write to NATS and does not know the secret makes nobody a peer, defines no group and drops no value", {
  timeoutMs: 90_000,
}, async (defer) => {
  const cluster = await clusterWithSecret(defer);
  await forgeRecords(defer, cluster);
  await forgeDefinitions(cluster);
  await forgeInvalidations(cluster);
});

test("a secret that others can read is warned of, and no signature is made with one that is too short", async (defer) => {
  const file = `${await temporaryFolder(defer)}/secret`;
  writeFileSync(file, secret);
  chmodSync(file, 0o644);
  const node = await startNode(defer, "deno", ["--nats", `127.0.0.1:${await freePort()}`, "--secret-file", file]);
  await node.line(/every user of this machine can read the cluster's secret/);
  writeFileSync(file, "short");
  assert.throws(() => sign("bun", "peers.invalidate.dict", '{"all":true}', "--secret-file", file), { status: 2 });
});
