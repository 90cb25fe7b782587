/** The log of invalidations on real nats-servers that fail in real ways. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { promisify } from "node:util";
import { connect } from "nats";
import { pause } from "../../../lib/core/base/time/timeout.ts";
import { UnavailableError } from "../../../lib/core/errors.ts";
import type { Label } from "../../../lib/core/invalidation/label.ts";
import { LogStream } from "../../../lib/nats/log/log-stream.ts";
import type { NatsStoreOptions } from "../../../lib/nats/peer-store.ts";
import { countsOf } from "../../registry/fleet.ts";
import { lossyProxy } from "../../registry/harnesses.ts";
import { administered, natsStoreOn, Recorder } from "../../registry/store/log_harnesses.ts";
import { bytesOf, realClock, until, Watcher } from "../../registry/support.ts";
import { freePort } from "../../support/free-port.ts";
import { startNats, startNatsCluster, temporaryFolder } from "../../support/nats-server.ts";
import { type Defer, test } from "../../support/test.ts";

const needs = { timeoutMs: 60_000 };
const STREAM = "peers-invalidations";
const run = promisify(execFile);

/** A node that follows the log, once it has been reached. */
async function followed(defer: Defer, urls: readonly string[], options: Partial<NatsStoreOptions> = {}) {
  const { store, log } = natsStoreOn(defer, urls, options);
  const recorder = new Recorder();
  store.followLog(recorder);
  await until("the first contact", () => recorder.isSettled, 30_000);
  return { store, log, recorder };
}

/** What was told, without the outages. */
const messagesOf = ({ told }: Recorder): string[] => told.filter((event) => event !== "away");

const rejectsWith = (isAmbiguous: boolean, message: RegExp) => (error: unknown): boolean =>
  error instanceof UnavailableError && error.isAmbiguous === isAmbiguous && message.test(error.message);

test(
  "the stream is made with bounds, in files, and a node that does not follow the log makes none",
  needs,
  async (defer) => {
    const { url } = await startNats(defer);
    const watcher = new Watcher(natsStoreOnly(defer, url));
    await until("the list of peers", () => watcher.isBack);
    await assert.rejects(administered(url, (jsm) => jsm.streams.info(STREAM)), /stream not found/);
    const { log } = await followed(defer, [url]);
    const { config } = await administered(url, (jsm) => jsm.streams.info(STREAM));
    assert.deepEqual(config.subjects, ["peers.invalidate.*"]);
    assert.deepEqual(
      [config.storage, config.num_replicas, config.retention, config.discard, config.allow_direct],
      ["file", 1, "limits", "old", true],
    );
    assert.deepEqual(
      [config.max_age, config.max_msgs, config.max_bytes, config.max_msg_size, config.max_msgs_per_subject],
      [3_600e9, 1_000_000, 256 * 1024 ** 2, 512 * 1024, -1],
    );
    assert.deepEqual(log.lines, []);
  },
);

function natsStoreOnly(defer: Defer, url: string) {
  return natsStoreOn(defer, [url], {}, false).store;
}

test("a stream with other settings is used, with one warning that names them", needs, async (defer) => {
  const { url } = await startNats(defer);
  await administered(
    url,
    (jsm) => jsm.streams.add({ name: STREAM, subjects: ["peers.invalidate.*"], max_msgs: 5, allow_direct: true }),
  );
  const { log, recorder, store } = await followed(defer, [url]);
  await store.publish("dict", bytesOf("one"));
  await until("it", () => recorder.label.sequence === 1);
  for (let i = 0; i < 3; i++) await store.catchUp();
  assert.deepEqual(log.lines, [
    `warn the stream ${STREAM} is not as it should be: max_age is 0, not 3600000000000; max_msgs is 5, not 1000000; ` +
    "max_bytes is -1, not 268435456; max_msg_size is -1, not 524288",
  ]);
});

test("nodes of different settings that make the stream at the same time use one", needs, async (defer) => {
  const { url } = await startNats(defer);
  const connection = await connect({ servers: url });
  defer(() => connection.close());
  const manager = await connection.jetstreamManager();
  const add = manager.streams.add.bind(manager.streams);
  // Just before this node's request comes the other one's.
  manager.streams.add = async (config) => {
    await add({ ...config, max_msgs: 7 });
    return await add(config);
  };
  const late = Object.create(connection, { jetstreamManager: { value: () => Promise.resolve(manager) } });
  const options = { bucket: "peers", replicas: 1, requestTimeoutMs: 1_000, clock: realClock };
  const state = await (await LogStream.over(late, options)).state();
  assert.equal(state.difference, "max_msgs is 7, not 1000000");
});

test("a message that an operator publishes by hand is delivered", { ...needs, programs: ["nats"] }, async (defer) => {
  const { url } = await startNats(defer);
  const { recorder } = await followed(defer, [url], { checkIntervalMs: 3_600_000 });
  await run("nats", ["--server", url, "pub", "peers.invalidate.dict", '{"all":true}']);
  await until("it", () => recorder.label.sequence === 1);
  assert.deepEqual(recorder.told, ["restart 0", 'take 1 dict {"all":true}']);
});

test("a stream that is deleted for good under a running node is made again", needs, async (defer) => {
  const { url } = await startNats(defer);
  // So rare a check that only the publisher can find out.
  const { store, recorder, log } = await followed(defer, [url], { checkIntervalMs: 3_600_000 });
  const { recorder: other } = await followed(defer, [url]);
  const first = await store.publish("dict", bytesOf("one"));
  await administered(url, (jsm) => jsm.streams.delete(STREAM));
  await assert.rejects(store.publish("dict", bytesOf("lost")), UnavailableError);
  await until("the new life", () => recorder.label.epoch > first.epoch && other.label.epoch > first.epoch);
  assert.equal(recorder.label.epoch, other.label.epoch);
  const label = await store.publish("dict", bytesOf("two"));
  assert.deepEqual(label, { epoch: recorder.label.epoch, sequence: 1 });
  await until("it", () => recorder.label.sequence === 1 && other.label.sequence === 1);
  assert.deepEqual(recorder.told, ["restart 0", "take 1 dict one", "restart 0", "take 1 dict two"]);
  assert.deepEqual(log.lines, []);
});

test("a message that another life of the stream took has no label that could mislead", needs, async (defer) => {
  const { url } = await startNats(defer);
  const { store, recorder } = await followed(defer, [url], { checkIntervalMs: 3_600_000 });
  await administered(url, async (jsm) => {
    const { config } = await jsm.streams.info(STREAM);
    await jsm.streams.delete(STREAM);
    await jsm.streams.add(config);
  });
  const { epoch } = recorder.label;
  await assert.rejects(store.publish("dict", bytesOf("one")), rejectsWith(true, /made again/));
  await until("the new life", () => recorder.label.epoch > epoch && recorder.isSettled);
  await store.publish("dict", bytesOf("two"));
  await until("it", () => recorder.label.sequence === 2);
});

test(
  "a server that was killed is followed from where the node was, and its stream has the same life",
  needs,
  async (defer) => {
    const server = await startNats(defer);
    const proxy = await lossyProxy(defer, server.port);
    const { store, recorder } = await followed(defer, [`nats://127.0.0.1:${proxy.port}`]);
    const { epoch } = await store.publish("dict", bytesOf("1"));
    await until("it", () => recorder.label.sequence === 1);
    await server.stop("SIGKILL");
    await until("the outage", () => recorder.isAway);
    proxy.cut();
    await server.restart();
    const connection = await connect({ servers: server.url });
    defer(() => connection.close());
    for (let i = 2; i <= 2_500; i++) connection.publish("peers.invalidate.wn", String(i));
    await connection.flush();
    proxy.mend();
    await until("all of it", () => recorder.label.sequence === 2_500 && recorder.isSettled);
    assert.deepEqual(
      messagesOf(recorder),
      ["restart 0", "take 1 dict 1", ...Array.from({ length: 2_499 }, (_, i) => `take ${i + 2} wn ${i + 2}`)],
    );
    assert.equal(recorder.label.epoch, epoch);
  },
);

test(
  "more messages than the stream keeps are a gap for a node that was cut off, and no fewer",
  needs,
  async (defer) => {
    const server = await startNats(defer);
    await administered(
      server.url,
      (jsm) => jsm.streams.add({ name: STREAM, subjects: ["peers.invalidate.*"], max_msgs: 5, allow_direct: true }),
    );
    const proxy = await lossyProxy(defer, server.port);
    const { recorder } = await followed(defer, [`nats://127.0.0.1:${proxy.port}`]);
    const { store: other } = await followed(defer, [server.url]);
    const missed = async (count: number): Promise<string[]> => {
      proxy.cut();
      await until("the outage", () => recorder.isAway);
      recorder.events.length = 0;
      for (let i = 0; i < count; i++) await other.publish("dict", bytesOf("x"));
      proxy.mend();
      await until("the return", () => recorder.isSettled && !recorder.isAway);
      return recorder.told;
    };
    assert.deepEqual(await missed(5), [1, 2, 3, 4, 5].map((i) => `take ${i} dict x`));
    assert.deepEqual(await missed(6), ["restart 11"]);
    assert.deepEqual(await missed(0), []);
  },
);

test("a message that an operator deletes is a gap only for nodes that did not get it", needs, async (defer) => {
  const server = await startNats(defer);
  const proxy = await lossyProxy(defer, server.port);
  const { recorder } = await followed(defer, [`nats://127.0.0.1:${proxy.port}`]);
  const { store: other, recorder: witness } = await followed(defer, [server.url]);
  proxy.cut();
  for (let i = 1; i <= 4; i++) await other.publish("dict", bytesOf(String(i)));
  await until("the witness", () => witness.label.sequence === 4);
  await administered(server.url, (jsm) => jsm.streams.deleteMessage(STREAM, 3));
  proxy.mend();
  await until("the gap", () => recorder.isSettled && recorder.label.sequence === 4);
  assert.deepEqual(messagesOf(recorder), ["restart 0", "take 1 dict 1", "take 2 dict 2", "restart 4"]);
  await other.publish("dict", bytesOf("5"));
  await until("the next", () => recorder.label.sequence === 5 && witness.label.sequence === 5);
  assert.deepEqual(witness.told, ["restart 0", ...[1, 2, 3, 4, 5].map((i) => `take ${i} dict ${i}`)]);
});

test(
  "a server that says nothing leaves a message in doubt, and the log is away until it speaks",
  needs,
  async (defer) => {
    const server = await startNats(defer);
    const { store, recorder } = await followed(defer, [server.url], { requestTimeoutMs: 300 });
    server.signal("SIGSTOP");
    await until("all of its threads stand still", () => isStopped(server.pid));
    await assert.rejects(store.publish("dict", bytesOf("one")), rejectsWith(true, /has not said whether/));
    await until("the outage", () => recorder.isAway);
    server.signal("SIGCONT");
    await until("the return", () => !recorder.isAway && recorder.isSettled);
    const { sequence } = await store.publish("dict", bytesOf("two"));
    await until("it", () => recorder.label.sequence === sequence);
    // The first one may have come, before or after; or it was lost with its connection.
    const told = messagesOf(recorder).map((event) => event.replace(/\d/, "n"));
    assert.equal(told.filter((event) => event === "take n dict two").length, 1);
    assert.ok(told.filter((event) => event === "take n dict one").length <= 1 && told[0] === "restart n", told.join());
  },
);

function isStopped(pid: number): boolean {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.every((thread) => /^State:\s+T/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8")));
}

test("a message that the server refuses was not added, and its publisher knows", needs, async (defer) => {
  const file = `${await temporaryFolder(defer)}/nats.conf`;
  const permissions = { publish: ["$KV.peers.>", "$JS.API.>", "peers.invalidate.dict"], subscribe: [">"] };
  const users = [{ user: "node", password: "pw", permissions }];
  await writeFile(file, JSON.stringify({ authorization: { users }, max_payload: 100_000 }));
  const server = await startNats(defer, { extraArgs: ["-c", file] });
  const { store, recorder } = await followed(defer, [`nats://node:pw@127.0.0.1:${server.port}`]);
  await assert.rejects(store.publish("wn", bytesOf("x")), rejectsWith(false, /permissions.*nothing was invalidated/i));
  await assert.rejects(
    store.publish("dict", new Uint8Array(100_001)),
    rejectsWith(false, /max_payload.*nothing was invalidated/i),
  );
  assert.equal((await store.publish("dict", bytesOf("one"))).sequence, 1);
  await until("it", () => recorder.label.sequence === 1);
});

test("where the stream cannot be made the list of peers works, and it is tried again", needs, async (defer) => {
  const server = await startNats(defer);
  // Another stream takes the messages already.
  await administered(server.url, (jsm) => jsm.streams.add({ name: "other", subjects: ["peers.>"] }));
  const { store, log } = natsStoreOn(defer, [server.url], {}, false);
  const watcher = new Watcher(store);
  const recorder = new Recorder();
  store.followLog(recorder);
  await until("the list of peers", () => watcher.isBack);
  await until("the outage", () => recorder.isAway);
  const revision = await store.put("dict.a", bytesOf("a"), 0);
  await until("the record", () => watcher.last?.revision === revision);
  await assert.rejects(store.publish("dict", bytesOf("x")), rejectsWith(false, /nothing was invalidated/));
  await store.catchUp();
  // Several more tries, none of which is told.
  await pause(realClock, 700, new AbortController().signal);
  assert.deepEqual(log.lines, ["warn invalidations are away: subjects overlap with an existing stream"]);
  await administered(server.url, (jsm) => jsm.streams.delete("other"));
  await until("the first contact", () => recorder.isSettled && !recorder.isAway);
  assert.deepEqual(recorder.events, ["away", "restart 0", "settled 0"]);
  assert.deepEqual(log.lines.slice(1), ["info invalidations are back"]);
  log.lines.length = 0;
  await administered(server.url, async (jsm) => {
    await jsm.streams.delete(STREAM);
    await jsm.streams.add({ name: "other", subjects: ["peers.>"] });
  });
  await until("the next outage", () => recorder.isAway && log.lines.length > 0);
  assert.deepEqual(log.lines, ["warn invalidations are away: subjects overlap with an existing stream"], "told again");
  assert.deepEqual(watcher.events, ["back"]);
});

test("a stream that takes other messages too is read past them", needs, async (defer) => {
  const server = await startNats(defer);
  await administered(
    server.url,
    (jsm) => jsm.streams.add({ name: STREAM, subjects: ["peers.invalidate.*", "elsewhere"], allow_direct: true }),
  );
  const { store, recorder, log } = await followed(defer, [server.url]);
  const connection = await connect({ servers: server.url });
  defer(() => connection.close());
  for (const text of ["no", "nor this"]) connection.publish("elsewhere", text);
  await connection.flush();
  const { sequence } = await store.publish("dict", bytesOf("one"));
  await store.catchUp();
  assert.equal(sequence, 3);
  assert.deepEqual(recorder.told, ["restart 0", "take 3 dict one"]);
  assert.match(log.lines.join(), /subjects is peers\.invalidate\.\*,elsewhere, not peers\.invalidate\.\*/);
});

test("a login that may not hear the bell finds news and a lost stream nevertheless", needs, async (defer) => {
  const file = `${await temporaryFolder(defer)}/nats.conf`;
  const permissions = { publish: [">"], subscribe: ["_INBOX.>", "$KV.peers.>"] };
  const users = [{ user: "deaf", password: "pw", permissions }, { user: "admin", password: "pw" }];
  await writeFile(file, JSON.stringify({ authorization: { users } }));
  const server = await startNats(defer, { extraArgs: ["-c", file] });
  const { store, recorder } = await followed(defer, [`nats://deaf:pw@127.0.0.1:${server.port}`], {
    checkIntervalMs: 5_000,
  });
  const { epoch } = await store.publish("dict", bytesOf("one"));
  await store.catchUp();
  assert.deepEqual(recorder.told, ["restart 0", "take 1 dict one"]);
  const connection = await connect({ servers: server.url, user: "admin", pass: "pw" });
  await (await connection.jetstreamManager()).streams.delete(STREAM);
  await connection.close();
  // Nobody hears the message, which the server says at once.
  const sinceMs = performance.now();
  await assert.rejects(store.publish("dict", bytesOf("lost")), rejectsWith(false, /nothing was invalidated/));
  await until("the new life", () => recorder.label.epoch > epoch && recorder.isSettled);
  assert.ok(performance.now() - sinceMs < 4_500, "it did not wait for the next check");
});

test(
  "an account without the right to make the stream, or without room for it, keeps its list of peers",
  needs,
  async (defer) => {
    const file = `${await temporaryFolder(defer)}/nats.conf`;
    const permissions = { publish: { allow: [">"], deny: [`$JS.API.STREAM.CREATE.${STREAM}`] } };
    const accounts = {
      rightless: { jetstream: "enabled", users: [{ user: "rightless", password: "pw", permissions }] },
      full: { jetstream: { max_streams: 1 }, users: [{ user: "full", password: "pw" }] },
    };
    await writeFile(file, JSON.stringify({ accounts }));
    const server = await startNats(defer, { extraArgs: ["-c", file] });
    for (
      const [user, reason] of [["rightless", /permissions violation/i], ["full", /maximum number of streams/i]] as const
    ) {
      const { store, log } = natsStoreOn(defer, [`nats://${user}:pw@127.0.0.1:${server.port}`], {}, false);
      const watcher = new Watcher(store);
      const recorder = new Recorder();
      store.followLog(recorder);
      await until("the list of peers", () => watcher.isBack);
      await until("the outage", () => recorder.isAway);
      const revision = await store.put("dict.a", bytesOf("a"), 0);
      await until("the record", () => watcher.last?.revision === revision);
      assert.match(log.lines.join("\n"), reason);
      assert.match(log.lines[0]!, /^warn invalidations are away: /);
      assert.deepEqual([recorder.events, watcher.events], [["away"], ["back"]]);
    }
  },
);

test("a node may contact the log more often than the list of peers", needs, async (defer) => {
  const { url } = await startNats(defer);
  const { recorder } = await followed(defer, [url], { checkIntervalMs: 3_600_000, logCheckIntervalMs: 100 });
  for (let i = 0; i < 5; i++) {
    const before = recorder.askedAtMs;
    const sinceMs = performance.now();
    await until("the next contact", () => recorder.askedAtMs > before);
    assert.ok(performance.now() - sinceMs < 5_000);
  }
});

test(
  "five nodes are told within milliseconds, and two hundred messages a second cost few questions",
  needs,
  async (defer) => {
    const monitorPort = await freePort();
    const { url } = await startNats(defer, { extraArgs: ["-m", String(monitorPort)] });
    const nodes = await Promise.all(
      Array.from({ length: 5 }, () => followed(defer, [url], { checkIntervalMs: 3_600_000 })),
    );
    const [{ store }] = nodes as [typeof nodes[0]];
    const tookMs: number[] = [];
    for (let i = 0; i < 40; i++) {
      const sinceMs = performance.now();
      const label: Label = await store.publish("dict", bytesOf("x"));
      await Promise.all(nodes.map((node) => node.store.catchUp()));
      tookMs.push(performance.now() - sinceMs);
      for (const { recorder } of nodes) assert.ok(recorder.label.sequence >= label.sequence);
    }
    const medianMs = tookMs.toSorted((one, other) => one - other)[20]!;
    assert.ok(medianMs < 50, `${medianMs} ms`);

    const connection = await connect({ servers: url });
    defer(() => connection.close());
    const before = await countsOf(monitorPort);
    for (let i = 0; i < 400; i++) {
      connection.publish("peers.invalidate.dict", "x");
      await pause(realClock, 5, new AbortController().signal);
    }
    await until("all of them", () => nodes.every(({ recorder }) => recorder.label.sequence === 440));
    const after = await countsOf(monitorPort);
    // Each message once to each node; and each node asks twice at most every 25 ms, and rings once.
    const asked = after.in_msgs - before.in_msgs - 400;
    assert.ok(asked < 5 * 2 * (3_000 / 25), `${asked} questions for 400 messages`);
    for (const { recorder } of nodes) assert.equal(recorder.told.length, 441, "each once");
  },
);

test(
  "a cluster loses the leader of the stream while messages are published: none is lost, none is told twice",
  { timeoutMs: 90_000 },
  async (defer) => {
    const { servers } = await startNatsCluster(defer, 3);
    const urls = servers.map(({ url }) => url);
    const nodes = await Promise.all(
      Array.from({ length: 3 }, () => followed(defer, urls, { replicas: 3, checkIntervalMs: 1_000 })),
    );
    const { config, cluster } = await administered(urls[0]!, (jsm) => jsm.streams.info(STREAM));
    assert.equal(config.num_replicas, 3);
    const leader = servers[Number(cluster!.leader!.slice(1))]!;
    const acknowledged = new Map<number, string>();
    let refused = 0;
    const { epoch } = nodes[0]!.recorder.label;
    for (let i = 0; acknowledged.size < 120; i++) {
      if (acknowledged.size === 40 && refused === 0) await leader.stop("SIGKILL");
      const text = `m${i}`;
      try {
        const label = await nodes[i % 3]!.store.publish("dict", bytesOf(text));
        assert.equal(label.epoch, epoch);
        assert.ok(!acknowledged.has(label.sequence), "a sequence is given once");
        acknowledged.set(label.sequence, text);
      } catch (error) {
        assert.ok(error instanceof UnavailableError, String(error));
        refused++;
        await pause(realClock, 100, new AbortController().signal);
      }
    }
    assert.ok(refused > 0, "the outage was noticed");
    const last = Math.max(...acknowledged.keys());
    for (const { recorder } of nodes) {
      await until("all of them", () => recorder.label.sequence >= last && recorder.isSettled, 20_000);
      const [restart, ...taken] = messagesOf(recorder);
      assert.equal(restart, "restart 0");
      assert.deepEqual(taken.map((event) => Number(event.split(" ")[1])), taken.map((_, i) => i + 1));
      for (const [sequence, text] of acknowledged) assert.equal(taken[sequence - 1], `take ${sequence} dict ${text}`);
    }
  },
);
