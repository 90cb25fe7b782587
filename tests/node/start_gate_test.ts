/** What a node does with misses that come before it knows its peers. The registry is held back by the test. */
import assert from "node:assert/strict";
import type { Config } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/parse.ts";
import { Node } from "../../lib/node/node.ts";
import { MemoryStream } from "../../lib/registry/store/memory-log.ts";
import { MemoryBucket, type MemoryStore } from "../../lib/registry/store/memory-store.ts";
import type { PeerStore, StoreListener } from "../../lib/registry/store/store.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { MemoryLog } from "../support/log.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

function configOf(template: string): Config {
  const argv = ["--nats", "off", "--addr", "127.0.0.1:0", "--group", `g=${template}`, "--drain-timeout", "3s"];
  const parsed = parseConfig({ argv, env: {}, readFile: () => "", isTerminal: false, checkOrigin: () => {} });
  assert.ok(parsed.kind === "run");
  return parsed.config;
}

/** A store that tells nothing until the test says so. */
class HeldStore implements PeerStore {
  readonly #inner: MemoryStore;
  #listener: StoreListener | undefined;

  constructor(inner: MemoryStore) {
    this.#inner = inner;
  }

  get isWatched(): boolean {
    return this.#listener !== undefined;
  }

  release(): void {
    this.#inner.watch(this.#listener!);
  }

  away(): void {
    this.#listener!.onAway("refused");
  }

  watch(listener: StoreListener): void {
    this.#listener = listener;
  }

  read = (key: string) => this.#inner.read(key);
  put = (key: string, value: Uint8Array, replaces: number) => this.#inner.put(key, value, replaces);
  delete = (key: string, replaces: number) => this.#inner.delete(key, replaces);
  follow = (group: string) => this.#inner.follow(group);
  unfollow = (group: string) => this.#inner.unfollow(group);
  hurry = () => this.#inner.hurry();
  close = () => this.#inner.close();
}

const KEYS = Array.from({ length: 40 }, (_, index) => `k${index}`);

/** A node that serves with a full cache, and one that has just started and has heard nothing. */
async function startBoth(defer: Defer) {
  const origin = await startOrigin(defer);
  const bucket = new MemoryBucket();
  const stream = new MemoryStream(systemClock);
  const log = new MemoryLog();
  const start = async (store: PeerStore) => {
    const listedAs = (port: number) => ({ url: `http://127.0.0.1:${port}`, name: `n${port}` });
    const worker = { listedAs, store, log: stream.open() };
    const node = new Node(configOf(origin.template), { clock: systemClock, log, worker });
    await node.start();
    let stopped: Promise<void> | undefined;
    const stop = () => stopped ??= node.stop();
    const get = (key: string) => fetch(`http://127.0.0.1:${node.port}/cache/g/${key}`).then((answer) => answer.text());
    return { node, get, stop };
  };
  const old = await start(bucket.open());
  await until(() => old.node.isReady(), 5_000, () => log.lines.join("\n"));
  for (const key of KEYS) await old.get(key);
  const store = new HeldStore(bucket.open());
  const young = await start(store);
  await until(() => store.isWatched, 5_000, () => log.lines.join("\n"));
  defer(() => Promise.all([young.stop(), old.stop()]));
  const held = () => young.node.served("g")!.gate!.held;
  return { origin, old, young, store, held, log };
}

test("misses of a node that has just started wait for its peers, and cost the origin nothing", async (defer) => {
  const { origin, young, store, held, log } = await startBoth(defer);
  const answers = KEYS.map((key) => young.get(key));
  await until(() => held() === KEYS.length, 5_000, () => `${held()} wait`);
  assert.equal(young.node.isReady(), false);
  store.release();
  assert.deepEqual(await Promise.all(answers), KEYS);
  assert.deepEqual(origin.loads.length, KEYS.length, "all values came from the other node");
  await until(() => young.node.isReady(), 5_000, () => log.lines.join("\n"));
  assert.equal(held(), 0);
});

test("once NATS is known to be away, the misses go on to the origin", async (defer) => {
  const { origin, young, store, held } = await startBoth(defer);
  const answers = KEYS.map((key) => young.get(key));
  await until(() => held() === KEYS.length, 5_000, () => `${held()} wait`);
  assert.equal(origin.loads.length, KEYS.length);
  store.away();
  assert.deepEqual(await Promise.all(answers), KEYS);
  assert.equal(origin.loads.length, 2 * KEYS.length);
  assert.equal(await young.get("later"), "later", "nothing waits from then on");
});

test("a node that stops while it starts answers the requests that wait", async (defer) => {
  const { young, held } = await startBoth(defer);
  const answer = young.get("k1");
  await until(() => held() === 1, 5_000, () => `${held()} wait`);
  await young.stop();
  assert.equal(await answer, "k1");
});

test("a group that is added later waits for its own list, and one that goes lets its waiters go on", async (defer) => {
  const { young, store, held } = await startBoth(defer);
  const { groups } = configOf("http://127.0.0.1:1/{key}");
  const [group] = groups.filter(({ name }) => name === "g");
  young.node.addGroup({ ...group!, name: "later" });
  const gate = young.node.served("later")!.gate!;
  const answer = fetch(`http://127.0.0.1:${young.node.port}/cache/later/k`);
  await until(() => gate.held === 1, 5_000, () => `${gate.held} wait`);
  const removed = young.node.removeGroup("later");
  assert.equal((await answer).status, 502);
  await removed;
  young.node.changeGroup({ ...group!, origin: "http://127.0.0.1:2/{key}" });
  const changed = young.get("k");
  await until(() => held() === 1, 5_000, () => "the changed group still waits");
  store.release();
  await changed;
});

test("a node without NATS never waits", async (defer) => {
  const origin = await startOrigin(defer);
  const node = new Node(configOf(origin.template), { clock: systemClock, log: new MemoryLog() });
  await node.start();
  defer(() => node.stop());
  assert.equal(node.served("g")!.gate, undefined);
  assert.equal((await fetch(`http://127.0.0.1:${node.port}/cache/g/k`)).status, 200);
});
