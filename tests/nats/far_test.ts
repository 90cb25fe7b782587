/** NATS over a long way: 400 ms from a question to its answer. */
import assert from "node:assert/strict";
import type { Config } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/parse.ts";
import { Node } from "../../lib/node/node.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { startDelayingProxy } from "../support/delaying-proxy.ts";
import { MemoryLog } from "../support/log.ts";
import { startNats } from "../support/nats-server.ts";
import { startOrigin } from "../support/origin.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";

const ONE_WAY_MS = 200;

function configOf(natsPort: number, template: string): Config {
  const argv = ["--nats", `nats://127.0.0.1:${natsPort}`, "--addr", "127.0.0.1:0", "--group", `far=${template}`];
  const parsed = parseConfig({ argv, env: {}, readFile: () => "", isTerminal: false, checkOrigin: () => {} });
  assert.ok(parsed.kind === "run");
  return parsed.config;
}

async function start(config: Config) {
  const log = new MemoryLog();
  const node = new Node(config, { clock: systemClock, log });
  await node.start();
  const get = (key: string) => fetch(`http://127.0.0.1:${node.port}/cache/far/${key}`).then((answer) => answer.text());
  let stopped: Promise<void> | undefined;
  return { node, log, get, stop: () => stopped ??= node.stop() };
}

test("a node becomes ready and shares its loads though NATS is 400 ms away", async (defer) => {
  const origin = await startOrigin(defer);
  const nats = await startNats(defer);
  const near = await start(configOf(nats.port, origin.template));
  const far = await start(configOf(await startDelayingProxy(defer, nats.port, ONE_WAY_MS), origin.template));
  const stop = () => Promise.all([near.stop(), far.stop()]);
  defer(stop);
  const keys = Array.from({ length: 20 }, (_, index) => `k${index}`);
  await until(() => near.node.isReady(), 10_000, () => near.log.lines.join("\n"));
  for (const key of keys) assert.equal(await near.get(key), key);
  // Asked before it knows of the other node.
  assert.deepEqual(await Promise.all(keys.map((key) => far.get(key))), keys);
  await until(() => far.node.isReady(), 10_000, () => far.log.lines.join("\n"));
  assert.deepEqual(origin.loads.toSorted(), keys.toSorted(), "each by one load, of either node");
  await stop();
  const goodbye = "info removed myself from the peer list of far before exiting";
  assert.ok(far.log.lines.includes(goodbye), far.log.lines.join("\n"));
  assert.ok(!far.log.lines.some((line) => line.includes("NATS is")), far.log.lines.join("\n"));
});
