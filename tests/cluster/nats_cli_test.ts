/** The operator's `nats` command. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { startNats } from "../support/nats-server.ts";
import { assembled, startNode } from "../support/node.ts";
import { test } from "../support/test.ts";
import { PATIENCE, until } from "../support/until.ts";

test(
  "an operator sees and moves the peers with the nats command",
  { programs: ["nats"], timeoutMs: 90_000 },
  async (defer) => {
    const nats = await startNats(defer);
    const kv = (...args: string[]) =>
      new Promise<string>((done, failed) =>
        execFile(
          "nats",
          ["--server", nats.url, "kv", ...args],
          { timeout: PATIENCE * 10_000 },
          (error, stdout, stderr) =>
            error === null ? done(stdout + stderr) : failed(new Error(`nats kv ${args.join(" ")}: ${stdout}${stderr}`)),
        )
      );
    const nodes = await Promise.all(
      (["bun", "deno"] as const).map((kind) => startNode(defer, kind, ["--nats", nats.url])),
    );
    const before = await assembled(nodes);
    const keys = nodes.map(({ url }) => `dict.${new URL(url).host.replace(/[^A-Za-z0-9_-]/g, "-")}`);

    const listed = await kv("ls", "peers");
    for (const key of keys) {
      assert.ok(listed.includes(key), listed);
    }
    const record = JSON.parse(await kv("get", "peers", keys[0]!, "--raw"));
    assert.deepEqual(
      Object.keys(record),
      [
        "name",
        "url",
        "incarnation",
        "key",
        "state",
        "weight",
        "zone",
        "joined",
        "version",
        "runtime",
        "policy",
        "origin",
      ],
    );
    assert.deepEqual([record.url, record.state, record.name], [
      nodes[0]!.url,
      "serving",
      keys[0]!.slice("dict.".length),
    ]);
    assert.match(await kv("history", "peers", keys[0]!), /PUT/);

    const watcher = spawn("nats", ["--server", nats.url, "kv", "watch", "peers", "dict.>"], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let watched = "";
    for (const stream of [watcher.stdout, watcher.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => watched += text);
    }
    defer(() => new Promise((closed) => (watcher.on("close", closed), watcher.kill("SIGKILL"))));
    await until(() => keys.every((key) => watched.includes(key)), 10_000, () => `watched: ${watched}`);

    // A live peer that is deleted puts itself back.
    await kv("del", "-f", "peers", keys[1]!);
    await until(() => /DEL/.test(watched), 10_000, () => `watched: ${watched}`);
    await until(
      async () => (await nodes[0]!.stats()).groups["dict"]!.roster.revision >= before + 2,
      10_000,
      () => nodes[1]!.account("that it put itself back"),
    );
    const after = await assembled(nodes);
    assert.equal(after, before + 2, "one delete and one write");

    // Nonsense is ignored, and logged once by each node.
    await kv("put", "peers", "dict.nonsense", "{not json");
    for (const node of nodes) await node.line(/dict\.nonsense/);
    await kv("put", "peers", "dict.more-nonsense", '{"name":"x"}');
    for (const node of nodes) {
      await node.line(/dict\.more-nonsense/);
      assert.equal(node.lines.filter((line) => line.includes("dict.nonsense")).length, 1, node.lines.join("\n"));
    }
    assert.equal((await fetch(`${nodes[0]!.url}/define/piston`)).status, 200);
    assert.equal(await assembled(nodes), after + 2, "all still list the same peers, at the revision of the last write");
  },
);
