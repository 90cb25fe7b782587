/**
 * Several processes with the embedded NATS server, on both runtimes: which one starts it, which one takes it over.
 * Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { connect, type KV } from "nats";
import {
  type EmbeddedProcess,
  groupOf,
  loginOf,
  processesOf,
  type RuntimeName,
  serversOf,
  startEmbedded,
  until,
} from "../../support/embedded-process.ts";
import { freePort } from "../../support/free-port.ts";
import { greets, temporaryFolder } from "../../support/nats-server.ts";
import { type Defer, test } from "../../support/test.ts";

/** Measured at 0.25 s on an idle machine; a busy one may take longer, and must get there. */
const takeOverMs = 5_000;
const pairs: [RuntimeName, RuntimeName][] = [["bun", "deno"], ["deno", "bun"]];

async function withBucket<T>(
  { port, storeDir }: { port: number; storeDir: string },
  use: (bucket: KV) => Promise<T>,
): Promise<T> {
  const nc = await connect({ servers: `nats://127.0.0.1:${port}`, reconnect: false, ...loginOf(storeDir) });
  try {
    return await use(await nc.jetstream().views.kv("peers", { history: 1 }));
  } finally {
    await nc.close();
  }
}

async function place(defer: Defer): Promise<{ port: number; storeDir: string }> {
  return { port: await freePort(), storeDir: await temporaryFolder(defer) };
}

for (const [first, second] of pairs) {
  test(`the server of a ${first} node that is killed dies with it, and a ${second} node takes over its store`, async (defer) => {
    const { port, storeDir } = await place(defer);
    const owner = startEmbedded(defer, first, port, storeDir);
    await owner.said("started");
    const survivor = startEmbedded(defer, second, port, storeDir);
    await survivor.said("started");
    assert.equal(survivor.lines.length, 1, "the survivor uses what is there");
    const revision = await withBucket({ port, storeDir }, (bucket) => bucket.put("dict.a", "kept"));
    const [pid] = serversOf(storeDir);

    const killedAtMs = Date.now();
    owner.signal("SIGKILL");
    await until(() => !serversOf(storeDir).includes(pid!), "the server of the dead node is gone", takeOverMs);
    await until(async () => serversOf(storeDir).length === 1 && await greets(port), "there is another", takeOverMs);
    const tookMs = Date.now() - killedAtMs;
    assert.ok(tookMs < takeOverMs, `the take-over took ${tookMs} ms`);
    const entry = await withBucket({ port, storeDir }, (bucket) => bucket.get("dict.a"));
    assert.equal(entry?.string(), "kept");
    assert.equal(entry?.revision, revision);

    survivor.signal("SIGTERM");
    await survivor.said("stopped");
    await until(() => processesOf(storeDir).length === 0, "nothing is left");
  });
}

test("of three nodes that start at once, and later of the two that remain, exactly one runs the server", async (defer) => {
  const { port, storeDir } = await place(defer);
  const runtimes: RuntimeName[] = ["bun", "deno", "bun"];
  let nodes = runtimes.map((runtime) => startEmbedded(defer, runtime, port, storeDir));
  for (let round = 0; nodes.length > 0; round++) {
    await Promise.all(nodes.map((node) => node.said("started")));
    await until(async () => processesOf(storeDir).length === 3 && await greets(port), "one server, sh and guard");
    await until(() => startsOf(nodes).length === 1, "one node says that it started it");
    assert.equal(serversOf(storeDir).length, 1);
    await withBucket({ port, storeDir }, async (bucket) => {
      if (round > 0) assert.equal((await bucket.get("dict.a"))?.string(), `round ${round - 1}`);
      await bucket.put("dict.a", `round ${round}`);
    });
    const owner = startsOf(nodes)[0]!;
    owner.signal(round === 0 ? "SIGKILL" : "SIGTERM");
    await owner.exited;
    nodes = nodes.filter((node) => node !== owner);
  }
  await until(() => processesOf(storeDir).length === 0, "nothing is left");
});

function startsOf(nodes: EmbeddedProcess[]): EmbeddedProcess[] {
  return nodes.filter(({ lines }) => lines.some((line) => String(line.log).includes("started the bundled")));
}

for (const runtime of ["bun", "deno"] as const) {
  test(`Ctrl+C in the terminal of a ${runtime} node does not reach its server before the node stops it`, async (defer) => {
    const { port, storeDir } = await place(defer);
    const node = startEmbedded(defer, runtime, port, storeDir);
    await node.said("started");
    const [pid] = serversOf(storeDir);
    const nc = await connect({ servers: `nats://127.0.0.1:${port}`, reconnect: false, ...loginOf(storeDir) });
    defer(() => nc.close());
    node.signalGroup("SIGINT");
    await node.said("SIGINT");
    assert.equal(groupOf(node.pid), node.pid);
    assert.notEqual(groupOf(pid!), node.pid, "the signal went to every process of the node's group");
    await nc.flush();
    assert.deepEqual(serversOf(storeDir), [pid]);
    await nc.close();
    node.signal("SIGTERM");
    await node.said("stopped");
    assert.deepEqual(serversOf(storeDir), []);
  });

  test(`a ${runtime} node that is killed while its server starts leaves nothing behind`, async (defer) => {
    const { port, storeDir } = await place(defer);
    for (let round = 0; round < 5; round++) {
      const node = startEmbedded(defer, runtime, port, storeDir);
      await until(() => processesOf(storeDir).length > 0, "the start has begun");
      node.signal("SIGKILL");
      await node.exited;
      await until(() => processesOf(storeDir).length === 0, "nothing is left");
      assert.equal(await greets(port), false);
    }
  });
}

test("a server that does not end in time is killed, and only then is its store opened again", async (defer) => {
  const { port, storeDir } = await place(defer);
  const owner = startEmbedded(defer, "bun", port, storeDir);
  await owner.said("started");
  const survivor = startEmbedded(defer, "deno", port, storeDir);
  await survivor.said("started");
  const [pid] = serversOf(storeDir);
  // A stopped process takes no SIGTERM, but holds its port and its lock.
  globalThis.process.kill(pid!, "SIGSTOP");
  owner.signal("SIGKILL");
  await until(() => serversOf(storeDir).length !== 1 || serversOf(storeDir)[0] !== pid, "another server", 12_000);
  assert.ok(!serversOf(storeDir).includes(pid!), "never two at once");
  await until(() => startsOf([survivor]).length === 1, "the survivor says that it started it");
  assert.equal(await greets(port), true);
});
