/** The store in NATS on a real nats-server, or on an imitation of an old one. */
import { UnavailableError } from "../../lib/core/errors.ts";
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { connect, StorageType } from "nats";
import { parseNatsUrls } from "../../lib/nats/connect/connection.ts";
import { NatsStore, type NatsStoreOptions } from "../../lib/nats/peer-store.ts";
import { freePort } from "../support/free-port.ts";
import { MemoryLog } from "../support/log.ts";
import { startNats } from "../support/nats-server.ts";
import { type Defer, test } from "../support/test.ts";
import { countsOf } from "../registry/fleet.ts";
import { bytesOf, realClock, until, Watcher } from "../registry/support.ts";

function storeOn(defer: Defer, urls: string[], options: Partial<NatsStoreOptions> = {}) {
  const log = new MemoryLog();
  const store = new NatsStore({
    urls,
    clock: realClock,
    log,
    requestTimeoutMs: 500,
    checkIntervalMs: 200,
    retryMostMs: 300,
    ...options,
  });
  defer(() => store.close());
  return { store, log };
}

test("URLs of NATS may hold a user or a token, and never show them in an error", () => {
  assert.deepEqual(parseNatsUrls(["nats://127.0.0.1:4222"]), { servers: ["127.0.0.1:4222"], auth: {} });
  assert.deepEqual(parseNatsUrls(["127.0.0.1", "nats://ann:s%40t@h:1"]), {
    servers: ["127.0.0.1:4222", "h:1"],
    auth: { user: "ann", pass: "s@t" },
  });
  assert.deepEqual(parseNatsUrls(["tls://tok@[::1]:5"]), { servers: ["[::1]:5"], auth: { token: "tok", tls: {} } });
  for (const urls of [[], ["http://u:secret@h:1"], ["nats://"], ["nats://u:secret@h:x"]]) {
    assert.throws(
      () => parseNatsUrls(urls),
      (error) => error instanceof TypeError && !error.message.includes("secret"),
    );
  }
});

test("a server that wants a password gets the one in the URL", { timeoutMs: 60_000 }, async (defer) => {
  const server = await startNats(defer, { extraArgs: ["--user", "ann", "--pass", "s@t"] });
  const good = new Watcher(storeOn(defer, [`nats://ann:s%40t@127.0.0.1:${server.port}`]).store);
  const bad = new Watcher(storeOn(defer, [`nats://ann:no@127.0.0.1:${server.port}`]).store);
  await until("the good one is in", () => good.isBack);
  await until("the bad one is told", () => bad.events[0] === "away");
});

test("another reason for being away is logged, once for each absence", { timeoutMs: 60_000 }, async (defer) => {
  const server = await startNats(defer);
  const { store, log } = storeOn(defer, [server.url]);
  const watcher = new Watcher(store);
  await until("the first contact", () => watcher.isBack);
  const others = () => log.lines.filter((line) => line.startsWith("warn NATS is still away, now for another reason: "));
  const refusals = () => others().filter((line) => /authorization/i.test(line));
  for (let round = 1; round <= 2; round++) {
    await server.stop();
    await until("it is away", () => watcher.events.at(-1) === "away");
    const strict = await startNats(defer, { port: server.port, extraArgs: ["--user", "ann", "--pass", "s@t"] });
    await until("the refusal is told", () => refusals().length === round);
    await strict.stop();
    const before = others().length;
    await server.restart();
    await until("it is back", () => watcher.isBack && watcher.events.at(-1) !== "away");
    assert.equal(refusals().length, round, "once");
    assert.ok(others().length - before <= 2, log.lines.join("\n"));
  }
});

test(
  "a store tells since when it is connected, how often it was, and how far away NATS is",
  { timeoutMs: 60_000 },
  async (defer) => {
    const server = await startNats(defer);
    const clock = { ...realClock, fineMs: () => performance.now() };
    const { store } = storeOn(defer, [server.url], { clock });
    const { isConnected, roundTripMs, connections } = store.contact;
    assert.deepEqual([isConnected, roundTripMs, connections], [false, undefined, 0]);
    const watcher = new Watcher(store);
    await until("the first contact", () => watcher.isBack && store.contact.roundTripMs !== undefined);
    const first = store.contact;
    assert.deepEqual([first.isConnected, first.connections], [true, 1]);
    assert.ok(first.roundTripMs! > 0 && first.roundTripMs! < 500, String(first.roundTripMs));
    await server.stop();
    await until("it is away", () => !store.contact.isConnected);
    const away = store.contact;
    assert.ok(away.sinceMs > first.sinceMs);
    await server.restart();
    await until("it is back", () => store.contact.isConnected);
    assert.equal(store.contact.connections, 2);
    assert.ok(store.contact.sinceMs > away.sinceMs);
  },
);

test("a message of the log comes with its age, by the clock of the server", { timeoutMs: 60_000 }, async (defer) => {
  const server = await startNats(defer);
  // The clock of this node is an hour behind: it must not count.
  const clock = { ...realClock, nowMs: () => realClock.nowMs() - 3_600_000 };
  const { store } = storeOn(defer, [server.url], { clock });
  const ages: (number | undefined)[] = [];
  let isSettled = false;
  store.followLog({
    restart() {},
    take: (_sequence, _group, _data, ageMs) => void ages.push(ageMs),
    settled: () => void (isSettled = true),
    away() {},
  });
  new Watcher(store);
  await until("the log is followed", () => isSettled);
  for (let i = 0; i < 3; i++) await store.publish("dict", bytesOf('{"all":true}'));
  await until("three messages", () => ages.length === 3);
  assert.ok(ages.every((ageMs) => ageMs !== undefined && ageMs >= 0 && ageMs < 5_000), String(ages));
  assert.ok(ages.some((ageMs) => ageMs! > 0), String(ages));
});

test("the bucket is made with a history of one, in files", { timeoutMs: 60_000 }, async (defer) => {
  const server = await startNats(defer);
  const { store, log } = storeOn(defer, [server.url]);
  const watcher = new Watcher(store);
  await until("the first contact", () => watcher.isBack);
  const connection = await connect({ servers: server.url });
  defer(() => connection.close());
  const { config } = await (await connection.jetstreamManager()).streams.info("KV_peers");
  assert.deepEqual([config.max_msgs_per_subject, config.storage, config.num_replicas], [1, "file", 1]);
  assert.deepEqual(log.lines, []);
});

test("a bucket with other settings is used, with one warning that names them", { timeoutMs: 60_000 }, async (defer) => {
  const server = await startNats(defer);
  const connection = await connect({ servers: server.url });
  defer(() => connection.close());
  await connection.jetstream().views.kv("peers", { history: 5, storage: StorageType.Memory, ttl: 60_000 });
  const { store, log } = storeOn(defer, [server.url], { replicas: 3 });
  const watcher = new Watcher(store);
  await until("the first contact", () => watcher.isBack);
  assert.deepEqual(log.lines, [
    "warn the bucket peers is not as it should be: history is 5, not 1; " +
    "storage is memory, not file: it is lost when the server stops; replicas is 1, not 3; " +
    "records expire after 60000 ms: live peers will come and go",
  ]);
});

test("several replicas are refused on a server that does not keep revisions apart there", async (defer) => {
  const old = createServer((socket) => {
    const info = { server_id: "x", version: "2.9.10", proto: 1, headers: true, max_payload: 1048576, jetstream: true };
    socket.write(`INFO ${JSON.stringify(info)}\r\n`);
    socket.on("data", (data) => String(data).includes("PING") && socket.write("PONG\r\n"));
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => old.listen(0, "127.0.0.1", resolve));
  defer(() => new Promise((resolve) => old.close(resolve)));
  const { store } = storeOn(defer, [`nats://127.0.0.1:${(old.address() as { port: number }).port}`], { replicas: 3 });
  const reason = await new Promise<string>((resolve) => {
    store.watch({ onView() {}, onBack() {}, onAway: resolve });
  });
  assert.equal(
    reason,
    "nats-server 2.9.10 does not keep revisions apart in a bucket with 3 replicas: 2.10 or newer does",
  );
});

test("a server that stops answering is noticed and found again", { timeoutMs: 60_000 }, async (defer) => {
  const server = await startNats(defer);
  const { store } = storeOn(defer, [server.url]);
  const watcher = new Watcher(store);
  await until("the first contact", () => watcher.isBack);
  const a = await store.put("dict.a", bytesOf("a"), 0);
  server.signal("SIGSTOP");
  await until("the silence", () => watcher.events.at(-1) === "away");
  await assert.rejects(store.put("dict.a", bytesOf("b"), a), UnavailableError);
  server.signal("SIGCONT");
  await until("the return", () => watcher.isBack);
  const b = await store.put("dict.a", bytesOf("b"), a);
  await until("the view", () => watcher.last?.revision === b);
});

test("the first server of the list may be down", { timeoutMs: 60_000 }, async (defer) => {
  const server = await startNats(defer);
  const { store } = storeOn(defer, [`nats://127.0.0.1:${await freePort()}`, server.url]);
  const watcher = new Watcher(store);
  await until("the first contact", () => watcher.isBack);
});

test(
  "a store that nobody greets leaves no connection behind, and is closed at once",
  { timeoutMs: 60_000 },
  async (defer) => {
    const open = new Set<Socket>();
    let tries = 0;
    const silent = createServer((socket) => {
      tries++;
      open.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => open.delete(socket));
      socket.resume();
    });
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    defer(() => new Promise((resolve) => silent.close(resolve)));
    for (const isSilent of [true, false]) {
      const port = isSilent ? (silent.address() as { port: number }).port : await freePort();
      const { store } = storeOn(defer, [`nats://127.0.0.1:${port}`]);
      const watcher = new Watcher(store);
      await until("the attempt failed once", () => watcher.events[0] === "away");
      const triesBefore = tries;
      if (isSilent) await until("the next try", () => tries > triesBefore);
      const startMs = performance.now();
      await store.close();
      // It waits for the running work, but not for the whole second that is allowed.
      assert.ok(performance.now() - startMs < 900);
      await until("all connections are closed", () => open.size === 0);
    }
  },
);

test(
  "the store survives a burst of changes, and a bucket that is deleted for good",
  { timeoutMs: 60_000 },
  async (defer) => {
    const server = await startNats(defer);
    const { store } = storeOn(defer, [server.url], { requestTimeoutMs: 10_000 });
    const watcher = new Watcher(store);
    await until("the first contact", () => watcher.isBack);
    await Promise.all(Array.from({ length: 300 }, (_, i) => store.put(`dict.n${i}`, bytesOf(String(i)), 0)));
    await until(
      "all of them",
      () => Object.keys(watcher.last!.values).length === 300 && watcher.last!.revision === 300,
    );
    const connection = await connect({ servers: server.url });
    defer(() => connection.close());
    await (await connection.jetstreamManager()).streams.delete("KV_peers");
    await until("the empty bucket", () => watcher.last!.revision === 0 && watcher.isBack);
    assert.equal(await store.put("dict.a", bytesOf("a"), 0), 1);
  },
);

test("a change in another group is no reason to read a group again", { timeoutMs: 60_000 }, async (defer) => {
  const monitorPort = await freePort();
  const server = await startNats(defer, { extraArgs: ["-m", String(monitorPort)] });
  const { store } = storeOn(defer, [server.url], { checkIntervalMs: 50 });
  const watcher = new Watcher(store);
  await until("the first contact", () => watcher.isBack);
  for (let i = 0; i < 200; i++) await store.put(`dict.n${i}`, bytesOf("here"), 0);
  await until("all of them", () => Object.keys(watcher.last!.values).length === 200);
  const before = await countsOf(monitorPort);
  const views = watcher.views.length;
  for (let i = 0; i < 10; i++) {
    await store.put("other.x", bytesOf(String(i)), i === 0 ? 0 : 200 + i);
    // Several checks pass between two writes.
    await new Promise((resolve) => setTimeout(resolve, 120));
  }
  const after = await countsOf(monitorPort);
  assert.equal(watcher.views.length, views, "nothing was read again");
  const told = after.out_msgs - before.out_msgs;
  assert.ok(told < 200, `${told} messages, where reading everything takes 200`);
});

test("a store that is asked to hurry does not wait for the next check", { timeoutMs: 60_000 }, async (defer) => {
  const server = await startNats(defer);
  const { store } = storeOn(defer, [server.url], { checkIntervalMs: 3_600_000 });
  const watcher = new Watcher(store);
  await until("the first contact", () => watcher.isBack);
  await store.put("dict.a", bytesOf("a"), 0);
  await until("the record", () => watcher.last?.values["dict.a"] === "a");
  const connection = await connect({ servers: server.url });
  defer(() => connection.close());
  // A purge rings no bell.
  await (await connection.jetstreamManager()).streams.purge("KV_peers", { filter: "$KV.peers.dict.a" });
  store.hurry();
  await until("the purge", () => !("dict.a" in watcher.last!.values));
});
