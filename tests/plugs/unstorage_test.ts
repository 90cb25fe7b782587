/**
 * The `http` driver of unstorage, as it comes, against `/cache/<group>/` of a writable group. Unstorage does not publish the
 * tests of its drivers, so these are ours, by what its guide says of a storage.
 */
import assert from "node:assert/strict";
import { after } from "node:test";
import { createStorage, prefixStorage } from "unstorage";
import httpDriver from "unstorage/drivers/http";
import { createNode } from "../../lib/mod.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";

const node = await createNode({
  nats: "off",
  drainTimeout: "2s",
  groups: { notes: { origin: "none:", writable: true }, others: { origin: "none:", writable: true } },
});
after(() => node.close());
const driverOf = (group: string) => httpDriver({ base: `http://127.0.0.1:${node.port}/cache/${group}` });
const storageOf = (group: string) => createStorage({ driver: driverOf(group) });
const storage = storageOf("notes");

test("unstorage finds what it has set, and nothing else", async () => {
  await storage.setItem("s1:a", "a text");
  assert.equal(await storage.hasItem("s1:a"), true);
  assert.equal(await storage.getItem("s1:a"), "a text");
  assert.equal(await storage.hasItem("s1:b"), false);
  assert.equal(await storage.getItem("s1:b"), null);
  await storage.setItem("s1:a", "another");
  assert.equal(await storage.getItem("s1:a"), "another");
  await storage.removeItem("s1:a");
  assert.deepEqual([await storage.hasItem("s1:a"), await storage.getItem("s1:a")], [false, null]);
  await storage.removeItem("s1:a");
});

test("unstorage gets values back as they were: JSON, numbers, bytes, and nothing of them", async () => {
  const values: unknown[] = [{ json: "works" }, [1, null], true, false, 0, " ", "null text", '{"a":', "€ 😀"];
  for (const value of values) {
    await storage.setItem("data:value", value as string);
    assert.deepEqual(await storage.getItem("data:value"), value);
  }
  const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
  await storage.setItemRaw("data:raw", bytes);
  assert.deepEqual(new Uint8Array(await storage.getItemRaw<ArrayBuffer>("data:raw") as ArrayBuffer), bytes);
  await storage.setItem("data:value", null as unknown as string);
  assert.equal(await storage.getItem("data:value"), null);
});

test("unstorage sets and gets many, under any key", async () => {
  const keys = ["t:1", "t:2", "deep:er:and:deeper", "with space", "per%cent", "ü", "q+&=", "@"];
  await storage.setItems(keys.map((key) => ({ key, value: `value of ${key}` })));
  const got = await storage.getItems([...keys, "t:none"]);
  assert.deepEqual(got.map(({ value }) => value), [...keys.map((key) => `value of ${key}`), null]);
});

test("unstorage's time to live is the value's lifetime", async () => {
  await storage.setItem("short", "v", { ttl: 0.05 });
  await storage.setItem("long", "v", { ttl: 60 });
  await storage.setItem("kept", "v");
  await until(async () => await storage.getItem("short") === null, 5_000, () => "it never expired");
  assert.deepEqual([await storage.getItem("long"), await storage.getItem("kept")], ["v", "v"]);
  await assert.rejects(storage.setItem("k", "v", { headers: { "x-ttl": "soon" } }), /400/);
  const { mtime, ttl } = await storage.getMeta("long");
  assert.deepEqual([mtime, ttl], [undefined, undefined], "neither is told; the lifetime stands in Cache-Status");
});

test("unstorage clears under a base, and everything, of its own group only", async () => {
  const others = storageOf("others");
  const all = async () => {
    const values = [storage, prefixStorage(storage, "a"), prefixStorage(storage, "ab"), prefixStorage(storage, "a:b")];
    return await Promise.all([...values, others].map((storage) => storage.getItem("k")));
  };
  for (const key of ["k", "a:k", "ab:k", "a:b:k"]) await storage.setItem(key, key);
  await others.setItem("k", "other");
  // A storage asks its driver only for bases that are mounted.
  await driverOf("notes").clear!("a:", {});
  assert.deepEqual(await all(), ["k", null, "ab:k", null, "other"]);
  await storage.clear();
  assert.deepEqual(await all(), [null, null, null, null, "other"]);
});

test("a key that ends with a colon is no base", async () => {
  const url = `http://127.0.0.1:${node.port}/cache/notes`;
  const send = async (method: string, path: string) =>
    (await fetch(`${url}/${path}`, { method, ...(method === "PUT" && { body: "v" }) })).status;
  for (const key of ["%3A", "a/%3A", "a/b", "a:"]) assert.equal(await send("PUT", key), 200);
  for (const key of ["%3A", "a/%3A", "a:"]) assert.equal(await send("DELETE", key), 200);
  const found = await Promise.all(["%3A", "a/%3A", "a:", "a/b"].map((key) => send("GET", key)));
  assert.deepEqual(found, [404, 404, 404, 200]);
});

test("unstorage is told that a cache has no list of keys", async () => {
  await assert.rejects(storage.getKeys(), /404/);
});
