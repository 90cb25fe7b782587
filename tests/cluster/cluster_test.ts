/** Clusters of nodes on both runtimes, as users run them. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { Agent, get } from "node:http";
import { createServer } from "node:net";
import fc from "fast-check";
import { connect } from "nats";
import { PrefixHash } from "../../lib/core/base/hash.ts";
import { Rendezvous } from "../../lib/core/placement/rendezvous.ts";
import type { PeerRecord } from "../../lib/core/roster.ts";
import { encodeKeyPath } from "../../lib/http/key.ts";
import { startNats } from "../support/nats-server.ts";
import {
  assembled,
  assertLoadedOnce,
  listening,
  type NodeProcess,
  onBothRuntimes,
  type RuntimeKind,
  secondAsksOf,
  spawnNode,
  startNode,
} from "../support/node.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

const mixed: RuntimeKind[] = ["bun", "deno", "bun", "deno", "bun"];

async function startCluster(defer: Defer, kinds: RuntimeKind[], flags: readonly string[] = []) {
  const [nats, origin] = await Promise.all([startNats(defer), startOrigin(defer)]);
  const args = ["--nats", nats.url, "--group", `dict=${origin.template}`, ...flags];
  const nodes = await Promise.all(kinds.map((kind) => startNode(defer, kind, args)));
  await assembled(nodes);
  return { nats, origin, nodes, args };
}

async function ask(node: NodeProcess, key: string) {
  const response = await fetch(`${node.url}/cache/dict/${encodeURIComponent(key)}`);
  return { status: response.status, text: await response.text(), cache: response.headers.get("cache-status") ?? "" };
}

/** Whether a node answered as the owner of a key: from its main cache, or from the origin. */
const asOwner = (cache: string) => /; hit$|detail=origin$/.test(cache);

test("five nodes on two runtimes agree on the owner of 1,000 keys", { timeoutMs: 90_000 }, async (defer) => {
  const { nodes, origin } = await startCluster(defer, mixed);
  const owned = new Map(nodes.map((node) => [node, 0]));
  const keys: string[] = [];
  const several: string[] = [];
  for (let first = 0; first < 1_000; first += 50) {
    await Promise.all(Array.from({ length: 50 }, async (_, i) => {
      const key = `word-${first + i}`;
      keys.push(key);
      const owners: NodeProcess[] = [];
      // A different node is asked first each time, so that the load comes from owners and from others.
      for (let turn = 0; turn < nodes.length; turn++) {
        const node = nodes[(first + i + turn) % nodes.length]!;
        const { status, text, cache } = await ask(node, key);
        assert.deepEqual([status, text], [200, key]);
        if (asOwner(cache)) owners.push(node);
      }
      assert.ok(owners.length > 0, `${key} has no owner`);
      several.push(...owners.slice(1).map(() => key));
      owned.set(owners[0]!, owned.get(owners[0]!)! + 1);
    }));
  }
  await assertLoadedOnce(nodes, "dict", origin.loads, keys);
  assert.ok(several.length <= await secondAsksOf(nodes, "dict"), `${several} have several owners`);
  for (const count of owned.values()) assert.ok(count > 100, `an even share is 200, one has ${count}`);
});

test("200 requests at once for a cold word, on all nodes, cost one load", { timeoutMs: 60_000 }, async (defer) => {
  const { nodes, origin } = await startCluster(defer, mixed);
  const gate = Promise.withResolvers<void>();
  origin.gate = gate.promise;
  const asked = Array.from({ length: 200 }, (_, i) => ask(nodes[i % nodes.length]!, "piston"));
  const counted = async (name: "gets" | "serverRequests") => {
    const stats = await Promise.all(nodes.map((node) => node.stats()));
    return stats.reduce((sum, { groups }) => sum + (groups["dict"] as unknown as Record<string, number>)[name]!, 0);
  };
  // 40 on each node. The four others have asked the owner; a node that waits for long asks once more.
  const haveCome = async () => {
    const asks = await counted("serverRequests");
    return asks >= 4 && await counted("gets") - asks >= 200;
  };
  await until(haveCome, 15_000, () => "the 200 never arrived");
  gate.resolve();
  for (const { status, text } of await Promise.all(asked)) assert.deepEqual([status, text], [200, "piston"]);
  assert.deepEqual(origin.loads, ["piston"]);
});

test(
  "a node that stops is off every list within 1 s and ends with exit code 0 within 5 s",
  { timeoutMs: 60_000 },
  async (defer) => {
    const { nodes } = await startCluster(defer, mixed);
    for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) {
      const leaving = nodes.pop()!;
      const ended = leaving.end(signal);
      const sinceMs = performance.now();
      await assembled(nodes);
      assert.ok(performance.now() - sinceMs < 1_000, `listed for ${performance.now() - sinceMs} ms`);
      const { code, tookMs } = await ended;
      assert.equal(code, 0, leaving.lines.join("\n"));
      assert.ok(tookMs < 5_000, `took ${tookMs} ms`);
      await leaving.line("removed myself from the peer list of dict before exiting");
    }
  },
);

/**
 * Loads that do not end hold a stopping node until a second before its time is over: with the shortest time that is 1 s,
 * with the default 4 s.
 */
const shortDrain = ["--drain-timeout", "2s"];

test("what is in flight is answered before a node ends", { timeoutMs: 60_000 }, async (defer) => {
  await onBothRuntimes(async (kind) => {
    const { nodes: [node], origin } = await startCluster(defer, [kind], shortDrain);
    const gate = Promise.withResolvers<void>();
    origin.gate = gate.promise;
    const asked = ask(node!, "slow");
    await until(() => origin.loads.length === 1, 5_000, () => "never asked");
    const ended = node!.end();
    await node!.line("removed myself from the peer list of dict before exiting");
    gate.resolve();
    assert.deepEqual((await asked).text, "slow");
    assert.equal((await ended).code, 0);
  });
});

test("a second signal ends a node at once, whatever is in flight", { timeoutMs: 60_000 }, async (defer) => {
  await onBothRuntimes(async (kind) => {
    const { nodes: [node], origin } = await startCluster(defer, [kind]);
    origin.gate = new Promise(() => {});
    ask(node!, "never").catch(() => {});
    await until(() => origin.loads.length === 1, 5_000, () => "never asked");
    node!.signal("SIGINT");
    await node!.line("added myself to the peer list of dict as draining");
    // A signal that follows at once is taken for the same one.
    await new Promise((resolve) => setTimeout(resolve, 150));
    const { code, tookMs } = await node!.end("SIGINT");
    assert.equal(code, 1);
    // A node with a load waits 4 s for it.
    assert.ok(tookMs < 3_000, `took ${tookMs} ms`);
  });
});

test(
  "each group has a list of its own: a node is listed only where it serves",
  { timeoutMs: 60_000 },
  async (defer) => {
    const [nats, origin] = await Promise.all([startNats(defer), startOrigin(defer)]);
    const group = (name: string) => ["--group", `${name}=${origin.template}`];
    const both = await startNode(defer, "bun", ["--nats", nats.url, ...group("dict"), ...group("prices")]);
    const one = await startNode(defer, "deno", ["--nats", nats.url, ...group("prices")]);
    await assembled([both], "dict");
    await assembled([both, one], "prices");
    assert.equal((await fetch(`${one.url}/define/piston`)).status, 404);
    assert.equal(await (await fetch(`${one.url}/cache/prices/42`)).text(), "42");
  },
);

test("a proxy for HTTP is nobody's way to another node", { timeoutMs: 60_000 }, async (defer) => {
  // Where nobody listens.
  const env = { HTTP_PROXY: "http://127.0.0.1:9", http_proxy: "http://127.0.0.1:9" };
  await onBothRuntimes(async (kind) => {
    const [nats, origin] = await Promise.all([startNats(defer), startOrigin(defer)]);
    const args = ["--addr", "127.0.0.1:0", "--name", "same", "--nats", nats.url, "--group", `dict=${origin.template}`];
    const first = spawnNode(defer, kind, args, { env });
    await listening(first);
    await first.line("got new peer list of dict");
    await until(async () => (await fetch(`${first.url}/readyz`)).status === 200, 10_000, () => "it is not ready");
    const second = spawnNode(defer, kind, args, { env });
    await second.line("another live node is listed as same");
    assert.equal(await second.exited, 1);
    assert.equal((await first.end("SIGINT")).code, 0);
  });
  const workers = spawnNode(defer, "bun", ["--addr", "127.0.0.1:0", "--nats", "off", "--workers", "2"], { env });
  await listening(workers);
  const { workers: told } = await (await fetch(`${workers.url}/stats`)).json() as { workers: { fault?: string }[] };
  assert.deepEqual(told.map(({ fault }) => fault), [undefined, undefined]);
});

test("an origin that hangs keeps no other waiting", { timeoutMs: 60_000 }, async (defer) => {
  await onBothRuntimes(async (kind) => {
    const [hangs, answers] = await Promise.all([startOrigin(defer), startOrigin(defer)]);
    const gate = Promise.withResolvers<void>();
    hangs.gate = gate.promise;
    const args = ["--nats", "off", "--group", `slow=${hangs.template}`, "--group", `quick=${answers.template}`];
    const { url } = await startNode(defer, kind, args);
    // More than Bun has in flight by itself, and not by a client that has such a bound, too.
    const agent = new Agent({ maxSockets: Infinity });
    defer(() => agent.destroy());
    for (let i = 0; i < 300; i++) get(`${url}/cache/slow/${i}`, { agent }).on("error", () => {});
    await until(() => hangs.loads.length === 300, 10_000, () => `${hangs.loads.length} of 300 have come`);
    assert.equal(await (await fetch(`${url}/cache/quick/piston`)).text(), "piston");
    gate.resolve();
  });
});

test(
  "a node that crashed and is back without a group is listed there no more",
  { timeoutMs: 60_000 },
  async (defer) => {
    const [nats, origin] = await Promise.all([startNats(defer), startOrigin(defer)]);
    const group = (name: string) => ["--group", `${name}=${origin.template}`];
    const common = ["--nats", nats.url, ...group("dict")];
    const stays = await startNode(defer, "deno", [...common, ...group("prices")]);
    const crashes = await startNode(defer, "bun", [...common, ...group("prices")]);
    await assembled([stays, crashes], "prices");
    await crashes.end("SIGKILL");
    const back = spawnNode(defer, "bun", ["--addr", new URL(crashes.url).host, ...common]);
    await listening(back);
    await assembled([stays, back], "dict");
    await assembled([stays], "prices");
    await stays.line("evicted http");
  },
);

test(
  "any key travels client, node, owner, origin unchanged, or is refused at once",
  { timeoutMs: 120_000 },
  async (defer) => {
    const { nodes, origin } = await startCluster(defer, ["bun", "deno"]);
    const anyKey = fc.oneof(
      fc.string({ unit: "binary", maxLength: 60 }),
      fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }),
      fc.constantFrom(
        "a/b",
        "//",
        "a?b#c",
        "100%",
        "%2F",
        "a+b",
        "a b",
        "ice cream",
        "x".repeat(1_024),
        "ä".repeat(513),
      ),
    );
    await fc.assert(
      fc.asyncProperty(anyKey, async (key) => {
        let path: string;
        try {
          path = encodeKeyPath(key);
        } catch {
          // Not even a client can write it; what a hostile one writes is in the tests of the HTTP edge.
          return;
        }
        for (const node of nodes) {
          const asked = origin.loads.length;
          const response = await fetch(`${node.url}/cache/dict/${path}`);
          const text = await response.text();
          if (response.status === 400) assert.equal(origin.loads.length, asked);
          else if (response.status === 200) assert.equal(text, key);
          // The origin's own URL cannot carry these two.
          else {assert.deepEqual(
              [response.status, /^\.{1,2}$|^missing/.test(key)],
              [404, true],
              `${text} for ${JSON.stringify(key)}`,
            );}
        }
      }),
      { numRuns: 300 },
    );
  },
);

test(
  "a node that is not in touch with all peers yet passes what it would have to load",
  { timeoutMs: 60_000 },
  async (defer) => {
    // Polling would have the silent one struck off in the middle of this.
    const { nats, origin, nodes: [old], args } = await startCluster(defer, ["bun"], ["--poll-misses", "100"]);
    const connection = await connect({ servers: nats.url });
    defer(() => connection.close());
    // A peer that accepts connections and says nothing: nobody can tell yet whether it holds anything.
    const silent = createServer((socket) => socket.on("error", () => {}));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    defer(() => silent.close());
    const url = `http://127.0.0.1:${(silent.address() as { port: number }).port}`;
    const times = { joined: new Date().toISOString(), version: "0.1.0", runtime: "none" };
    const ghost = {
      name: "ghost",
      url,
      incarnation: "01",
      key: "A".repeat(43),
      state: "serving",
      weight: 0.01,
      zone: "",
      ...times,
    };
    await (await connection.jetstream().views.kv("peers")).put("dict.ghost", JSON.stringify(ghost));
    const joiner = await startNode(defer, "deno", args);
    const peersOf = async () => (await old!.stats()).groups["dict"]!.roster.peers as PeerRecord[];
    await until(async () => (await peersOf()).length === 3, 10_000, () => "the old node never listed the other two");
    const peers = await peersOf();
    const rendezvous = new Rendezvous(peers);
    const hash = new PrefixHash("dict\0");
    const keys = Array.from({ length: 1_000 }, (_, i) => `key-${i}`);
    const key = keys.find((key) =>
      rendezvous.ranked(hash.hash(key), 3).map((at) => peers[at]!.url).join() === [joiner.url, old!.url, url].join()
    )!;
    const isReady = async () => (await fetch(`${joiner.url}/readyz`)).status === 200;
    const { text, cache } = await ask(old!, key);
    assert.equal(await isReady(), false, "this came too late to show anything");
    assert.equal(text, key);
    assert.match(cache, /detail=origin/, "the next in rank has loaded it");
    // It takes the value from there when it can.
    await until(isReady, 10_000, () => "it never gave the silent one up");
    assert.equal((await ask(joiner, key)).text, key);
    assert.equal((await joiner.stats()).groups["dict"]!.originLoads, 0);
    assert.equal(origin.loads.length, 1);
  },
);

test(
  "a node whose log nobody reads any more goes on, and leaves as every other",
  { timeoutMs: 60_000 },
  async (defer) => {
    await onBothRuntimes(async (kind) => {
      const { nodes: [node, other] } = await startCluster(defer, [kind, "bun"]);
      // As `main.ts 2>&1 | tee log` does at Ctrl+C: tee is the first to go.
      node!.child.stderr!.destroy();
      other!.signal("SIGINT");
      await other!.exited;
      await until(
        async () => (await node!.stats()).groups["dict"]!.roster.peers.length === 1,
        5_000,
        () => "still two",
      );
      assert.equal((await ask(node!, "piston")).text, "piston");
      assert.equal((await node!.end("SIGINT")).code, 0);
    });
  },
);

test("a signal that comes twice at once, as npm passes it on, is one", { timeoutMs: 60_000 }, async (defer) => {
  await onBothRuntimes(async (kind) => {
    const { nodes: [node] } = await startCluster(defer, [kind]);
    // Of another kind, as the system makes one of two that are alike.
    node!.signal("SIGINT");
    const { code } = await node!.end("SIGTERM");
    assert.equal(code, 0);
    assert.ok(node!.lines.some((line) => line.includes("removed myself from the peer list of dict before exiting")));
  });
});
