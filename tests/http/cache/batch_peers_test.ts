/** Many keys in one request, through links of the test's own runtime: how many messages the owners get. */
import assert from "node:assert/strict";
import type { CancelSignal } from "../../../lib/core/base/cancel.ts";
import { Group } from "../../../lib/core/group/group.ts";
import type { PeerPicker } from "../../../lib/core/ports.ts";
import type { Value } from "../../../lib/core/value.ts";
import { createApp } from "../../../lib/http/app.ts";
import { PeerHub } from "../../../lib/peer/hub.ts";
import { text } from "../../core/cluster.ts";
import { getBy, getFrom } from "../../peer/memory.ts";
import { record, serveHub, systemClock, valueOf } from "../../peer/support.ts";
import { identityOf } from "../../support/identity.ts";
import { MemoryLog } from "../../support/log.ts";
import { type Defer, test } from "../../support/test.ts";
import { MemoryGroup } from "../support.ts";

function hubOf(defer: Defer, name: string, get: (group: string, key: string) => Promise<Value>): PeerHub {
  const hub = new PeerHub({
    self: { name, incarnation: `01-${name}` },
    identity: identityOf({ name, incarnation: `01-${name}` }),
    groups: ["dict"],
    revisions: () => ({}),
    service: { get: getBy(get) },
    clock: systemClock,
    log: new MemoryLog(),
  });
  defer(() => hub.close());
  return hub;
}

/** An app on node `a`, whose peers `b` and `c` own the keys that begin with their names. */
async function nodeWithPeers(defer: Defer) {
  const asked: string[] = [];
  const hub = hubOf(defer, "a", () => Promise.reject(new Error("nobody asks a")));
  const records = await Promise.all(["b", "c"].map(async (name) => {
    const peer = hubOf(defer, name, (_, key) => {
      asked.push(key);
      return Promise.resolve(valueOf(`${key} of ${name}`));
    });
    const { url, stop } = await serveHub(() => peer);
    defer(stop);
    peer.setPeers([record("a")]);
    return record(name, url);
  }));
  hub.setPeers(records);
  const signal: CancelSignal = new AbortController().signal;
  await Promise.all(
    ["b", "c"].map((name) => getFrom(hub.peer(name)!, "dict", `${name} warm-up`, { signal, timeoutMs: 10_000 })),
  );
  asked.length = 0;
  const picker: PeerPicker = {
    pick: (key) => hub.peer(key[0]!),
    ranked: (key) => [hub.peer(key[0]!)],
    rankedBefore: () => [],
    holders: () => [],
  };
  const origin = { load: (key: string) => Promise.resolve(text(`${key} of a`)) };
  const group = new Group({
    name: "dict",
    origin,
    picker,
    clock: systemClock,
    budgetBytes: 10_000_000,
    loadTimeoutMs: 10_000,
  });
  const served = { group, invalidation: new MemoryGroup("dict"), isWritable: false, valueBytesMax: 1_000 };
  const app = createApp({
    node: {
      name: "a",
      incarnation: "01-a",
      version: "0.1.0",
      runtime: "test 1",
      isReady: () => true,
      stats: () => ({}),
      roster: () => undefined,
    },
    groups: new Map([["dict", served]]),
    clock: systemClock,
    log: new MemoryLog(),
  });
  /** @returns the bodies by key, and how many frames went to each owner */
  const batch = async (keys: readonly string[]) => {
    const frames = () => hub.stats().map(({ framesOut }) => framesOut);
    const before = frames();
    const response = await app.request("http://h/cache/dict/_get", { method: "POST", body: JSON.stringify({ keys }) });
    const lines = (await response.text()).split("\n").slice(0, -1).map((line) => JSON.parse(line));
    const bodies = new Map<string, string>(lines.map(({ key, body }) => [key, body]));
    return { bodies, lines: lines.length, frames: frames().map((count, i) => count - before[i]!) };
  };
  return { asked, batch };
}

const keysOf = (count: number) => Array.from({ length: count }, (_, i) => `${"abc"[i % 3]} ${i}`);
const expected = (keys: readonly string[]) => new Map(keys.map((key) => [key, `${key} of ${key[0]}`]));

test("the keys of a batch reach each owner in one message", async (defer) => {
  const { asked, batch } = await nodeWithPeers(defer);
  const keys = keysOf(256);
  const first = await batch(keys);
  assert.deepEqual(first.bodies, expected(keys));
  assert.deepEqual(first.frames, [1, 1]);
  assert.equal(asked.length, 170);
  const again = await batch(keys);
  assert.deepEqual(again.bodies, expected(keys));
  assert.deepEqual(again.frames, [0, 0], "this node has copies");
});

test("the longest batch reaches each owner in a few messages, and a key that stands twice is asked for once", async (defer) => {
  const { asked, batch } = await nodeWithPeers(defer);
  const keys = keysOf(999);
  const { bodies, lines, frames } = await batch([...keys.slice(0, 2), ...keys.slice(1)]);
  assert.equal(lines, 1_000);
  assert.deepEqual(bodies, expected(keys));
  assert.equal(asked.length, 666);
  // 256 keys, then at least 128 at a time.
  assert.ok(Math.max(...frames) <= 7, `${frames} frames`);
});
