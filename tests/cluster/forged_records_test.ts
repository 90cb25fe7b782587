/** Records that somebody has written who may write to NATS. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { connect } from "nats";
import { startNats } from "../support/nats-server.ts";
import { assembled, bothRuntimes, startNode } from "../support/node.ts";
import { test } from "../support/test.ts";
import { recordOf } from "../registry/support.ts";

test("a node connects to no address that its options forbid, nor to NATS, whatever a record says", async (defer) => {
  const nats = await startNats(defer);
  let connections = 0;
  const victim = createServer((socket) => (connections++, socket.destroy()));
  await new Promise<void>((listening) => victim.listen(0, "127.0.0.2", listening));
  defer(() => victim.close());
  const { port } = victim.address() as { port: number };
  const connection = await connect({ servers: nats.url });
  defer(() => connection.close());
  const peers = await connection.jetstream().views.kv("peers", { history: 1 });
  const forge = (name: string, url: string, more: object = {}) =>
    peers.put(`dict.${name}`, JSON.stringify({ ...recordOf(name, { url }), ...more }));
  await forge("forged-address", `http://127.0.0.2:${port}`);
  await forge("forged-nats", nats.url.replace("nats:", "http:"));
  await forge("forged-weight", "http://127.0.0.1:9", { weight: 1_000 });

  const args = ["--nats", nats.url, "--peer-networks", "127.0.0.1,::1"];
  const nodes = await Promise.all(bothRuntimes.map((kind) => startNode(defer, kind, args)));
  await assembled(nodes);
  for (const node of nodes) {
    await node.line(/ignoring dict\.forged-address .* its address is outside --peer-networks/);
    await node.line(/ignoring dict\.forged-nats .* its URL is that of a NATS server/);
    await node.line(/ignoring dict\.forged-weight .* weight: expected <=100/);
  }
  // One who was listed before, and moves.
  await forge("forged-weight", `http://127.0.0.2:${port}`);
  await forge("forged-late", `http://127.0.0.2:${port}`);
  const { revision } = (await peers.get("dict.forged-late"))!;
  for (const node of nodes) {
    let stats = await node.stats();
    while (stats.groups["dict"]!.roster.revision < revision) stats = await node.stats();
    assert.equal(stats.groups["dict"]!.roster.peers.length, 2);
  }
  assert.equal(connections, 0);
});

test("a node starts, though a record of its name stands with the URL of another live node", async (defer) => {
  const nats = await startNats(defer);
  const other = await startNode(defer, "bun", ["--nats", nats.url, "--name", "other"]);
  await assembled([other]);
  const connection = await connect({ servers: nats.url });
  defer(() => connection.close());
  const peers = await connection.jetstream().views.kv("peers");
  const record = (await peers.get("dict.other"))!.json<object>();
  // Anybody at the other node's port can read its incarnation.
  await peers.put("dict.mine", JSON.stringify({ ...record, name: "mine" }));
  const mine = await startNode(defer, "deno", ["--nats", nats.url, "--name", "mine"]);
  await mine.line("taking over the record of an earlier mine in the peer list of dict");
  await assembled([mine, other]);
});
