/** The store for Keyv, by Keyv's own suite, and what is built on Keyv. */
import assert from "node:assert/strict";
import { createCache } from "cache-manager";
import { Cacheable } from "cacheable";
import { Keyv, type KeyvStoreAdapter } from "keyv";
import suite from "@keyv/test-suite";
import { KeyvStore } from "../../lib/plugs/keyv.ts";
import { createNode } from "../../lib/mod.ts";
import { startNats } from "../support/nats-server.ts";
import { test } from "../support/test.ts";
import { textGroup, Vitest } from "./foreign-suite.ts";

const group = await textGroup();
const store = (): KeyvStoreAdapter => new KeyvStore(group);

const vitest = new Vitest("Keyv's suite");
suite(vitest as unknown as Parameters<typeof suite>[0], Keyv, store);
test("Keyv's suite is all there", () => assert.ok(vitest.count >= 35, `${vitest.count} tests`));

test("a lifetime given to Keyv ends the value in the cluster, too", async () => {
  const keyv = new Keyv({ store: store(), namespace: "short" });
  // Keyv itself would find it expired: so the node is asked.
  await keyv.set("k", "v", 60_000);
  assert.match(await group.get("short:k"), /"v"/);
  await keyv.set("k", "v", 0.5);
  await assert.rejects(
    async () => {
      for (;;) await group.get("short:k");
    },
    { name: "NotFoundError" },
  );
});

test("a value that no serializer has written is refused", async () => {
  await assert.rejects(new KeyvStore(group).set("k", { a: 1 }), /must be a text/);
});

test("many keys are written and deleted in messages of bounded size", async () => {
  const many = new KeyvStore(group);
  const keys = Array.from({ length: 250 }, (_, i) => `${'"'.repeat(1_020)}${i}`);
  await many.setMany(keys.map((key) => ({ key, value: "v" })));
  assert.equal(await many.deleteMany(keys), true);
  assert.deepEqual(await many.getMany(keys), keys.map(() => undefined));
});

test("cache-manager runs a function once, and keeps what it gave under a lifetime", async () => {
  const cache = createCache({ stores: [new Keyv({ store: store(), namespace: "manager" })] });
  let runs = 0;
  const wrapped = () => cache.wrap("k", () => Promise.resolve({ run: ++runs }), 60_000);
  assert.deepEqual([await wrapped(), await wrapped()], [{ run: 1 }, { run: 1 }]);
  await cache.mset([{ key: "a", value: 1 }, { key: "b", value: 2 }]);
  assert.deepEqual(await cache.mget(["a", "b", "c"]), [1, 2, undefined]);
  assert.ok((await cache.ttl("k"))! > Date.now());
  await cache.del("k");
  assert.equal(await cache.get("k"), undefined);
  await cache.clear();
  assert.deepEqual(await cache.mget(["a", "b"]), [undefined, undefined]);
});

test("the second layers of two cacheables, on two nodes, are one", async (defer) => {
  const { url } = await startNats(defer);
  const cacheableOn = async (name: string) => {
    const node = await createNode({
      name,
      nats: url,
      drainTimeout: "2s",
      groups: { second: { origin: "none:", writable: true, type: "text" } },
    });
    defer(() => node.close());
    await node.ready;
    const store = new KeyvStore(node.group("second"), { waitMs: 5_000 });
    return new Cacheable({ secondary: new Keyv({ store }) });
  };
  const first = await cacheableOn("a");
  const second = await cacheableOn("b");
  const keys = Array.from({ length: 20 }, (_, i) => `k${i}`);
  for (const key of keys) await first.set(key, { key }, "1h");
  assert.deepEqual(await Promise.all(keys.map((key) => second.get(key))), keys.map((key) => ({ key })));
  await first.delete("k7");
  const third = new Cacheable({ secondary: second.secondary! });
  assert.equal(await third.get("k7"), undefined);
});
