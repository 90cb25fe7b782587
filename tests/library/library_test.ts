/** Muster inside a program: what a program gives to nodes, and what it gets from them. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "nats";
import {
  Answer,
  BadKeyError,
  ConfigError,
  createNode,
  type GroupOptions,
  type LoadOptions,
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OverloadedError,
  UnavailableError,
} from "../../lib/mod.ts";
import { readOptions } from "../../lib/library/config.ts";
import type { groupFields } from "../../lib/config/group-fields.ts";
import { getJson } from "../../lib/registry/get-json.ts";
import { certificateFor } from "../support/certificates.ts";
import { freePort } from "../support/free-port.ts";
import { startNats } from "../support/nats-server.ts";
import { temporaryDirectory } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
/** Nothing else waits for these nodes. */
const drainTimeout = "2s";

/** The fields of a group in the JSON file that are no options here. */
type FieldsOf<T> = T extends unknown ? keyof T : never;
const missing: Exclude<keyof typeof groupFields, FieldsOf<GroupOptions>>[] = [];

/** A node on its own. */
async function nodeOf<G extends Record<string, GroupOptions>>(
  defer: Defer,
  groups: G,
) {
  const node = await createNode({ nats: "off", drainTimeout, groups });
  defer(() => node.close());
  return node;
}

test("what one node has loaded another node of the same process gets through its memory", async (defer) => {
  const { url } = await startNats(defer);
  const loads: string[] = [];
  const nodeNamed = async (name: string) => {
    const load = (key: string) => {
      loads.push(key);
      return `${key} by ${name}`;
    };
    const node = await createNode({
      name,
      nats: [url],
      drainTimeout,
      groups: { render: { type: "text", load } },
    });
    defer(() => node.close());
    await node.ready;
    return node;
  };
  const first = await nodeNamed("a");
  assert.deepEqual([first.name, first.isReady], ["a", true]);
  const keys = Array.from({ length: 40 }, (_, i) => `key ${i}`);
  const got = async (node: typeof first) => {
    const found = new Map<string, string>();
    for await (const { key, value } of node.group("render").getMany(keys)) {
      found.set(key, value!);
    }
    return [...found].sort().map(([, value]) => value);
  };
  const byFirst = await got(first);
  const second = await nodeNamed("b");
  assert.deepEqual(
    await got(second),
    byFirst,
    "the second node owns keys by now, and takes their values over",
  );
  assert.equal(loads.length, keys.length);
  const { after, applied, behind } = await second.group("render").invalidate({
    keys: [keys[0]!],
  }, { waitMs: 5_000 });
  assert.deepEqual([[...applied].sort(), behind], [["a", "b"], []]);
  await first.group("render").get(keys[0]!, { after });
  assert.equal(loads.length, keys.length + 1);
});

test("a group takes every field that it has in the JSON file, and its policy counts", async (defer) => {
  const none: never[] = missing;
  assert.deepEqual(none, []);
  let loads = 0;
  const node = await nodeOf(defer, {
    absent: { negativeTtlMs: 60_000, load: () => void loads++ as undefined },
  });
  for (let i = 0; i < 2; i++) {
    await assert.rejects(node.group("absent").get("k"), NotFoundError);
  }
  assert.equal(loads, 1);
});

test("the poll options are those of the command, and so are their rules", () => {
  const groups = { a: { load: () => "" } };
  const { config } = readOptions({
    nats: "off",
    groups,
    pollInterval: "50ms",
    pollTimeout: "1s",
    pollMisses: 3,
    pollJitter: 0.25,
  });
  assert.deepEqual(config.polling, { pollIntervalMs: 50, pollTimeoutMs: 1_000, pollMisses: 3, pollJitter: 0.25 });
  assert.equal(config.groupsFromNats, false);
  const wrong = { nats: "off", groups, pollInterval: "soon", pollMisses: 0, groupsFromNats: "yes" as never };
  assert.throws(() => readOptions(wrong), (error: Error) => {
    const faults = [
      "pollInterval must be a time",
      "pollMisses must be a whole",
      "groupsFromNats must be true or false",
    ];
    for (const fault of faults) assert.ok(error.message.includes(`  ${fault}`), error.message);
    return error instanceof ConfigError;
  });
});

test("a node inside a program serves the groups that NATS defines, if it is to", async (defer) => {
  const { url } = await startNats(defer);
  const nodeNamed = async (name: string, groupsFromNats: boolean) => {
    const groups = { own: { type: "text", load: () => name } } as const;
    const node = await createNode({ name, nats: url, drainTimeout, groups, groupsFromNats });
    defer(() => node.close());
    await node.ready;
    return node;
  };
  const [taking, plain] = await Promise.all([nodeNamed("taking", true), nodeNamed("plain", false)]);
  const connection = await connect({ servers: url });
  defer(() => connection.close());
  const definitions = await connection.jetstream().views.kv("peers-groups");
  await definitions.put("notes", JSON.stringify({ origin: "none:", writable: true }));
  const path = `http://127.0.0.1:${taking.port}/cache/notes/k`;
  await until(
    async () => (await fetch(path, { method: "PUT", body: "written" })).status === 200,
    10_000,
    () => "it never served the group",
  );
  const statusOf = async (node: typeof plain) =>
    (await node.fetch(new Request("http://localhost/cache/notes/k"))).status;
  assert.deepEqual(await Promise.all([taking, plain].map(statusOf)), [200, 404]);
  assert.equal(await taking.group("own").get("k"), await plain.group("own").get("k"));
});

test("two nodes in one process share nothing", async (defer) => {
  const [one, other] = await Promise.all([
    nodeOf(defer, { same: { type: "text", load: () => "one" } }),
    nodeOf(defer, { same: { type: "text", load: () => "other" } }),
  ]);
  assert.equal(await one.group("same").get("key"), "one");
  assert.equal(await other.group("same").get("key"), "other");
  assert.notEqual(one.port, other.port);
  await one.close();
  assert.equal(await other.group("same").get("key"), "other");
});

test("values have the type of their group, and belong to the caller", async (defer) => {
  const node = await nodeOf(defer, {
    bytes: { load: () => new Uint8Array([1, 2, 3]) },
    text: { type: "text", load: () => new Response("from a response").body! },
    json: { type: "json", load: (key) => Promise.resolve({ key, list: [1] }) },
    answer: {
      type: "json",
      load: (key) => new Answer({ body: key }, { tags: ["t"] }),
    },
    response: {
      type: "json",
      load: () => Response.json({ from: "elsewhere" }),
    },
  });
  const bytes: Uint8Array<ArrayBuffer> = await node.group("bytes").get("k");
  bytes.fill(0);
  assert.deepEqual([...await node.group("bytes").get("k")], [1, 2, 3]);
  const said: string = await node.group("text").get("k");
  assert.equal(said, "from a response");
  const value: { key: string; list: number[] } = await node.group("json").get(
    "k",
  );
  value.list.push(2);
  assert.deepEqual(await node.group("json").get("k"), { key: "k", list: [1] });
  const answered: { body: string } = await node.group("answer").get("k");
  assert.deepEqual(
    answered,
    { body: "k" },
    "an object with a body is a value like any other",
  );
  const unknown: unknown = await node.group("response").get("k");
  assert.deepEqual(unknown, { from: "elsewhere" });
  // @ts-expect-error: the names of the groups are known
  assert.throws(() => node.group("nothing"), /Cannot find the group nothing/);
});

test("an answer names its own lifetime and tags, and gets the expired value", async (defer) => {
  const stales: LoadOptions["stale"][] = [];
  let loads = 0;
  const node = await nodeOf(defer, {
    short: {
      ttlMs: 60_000,
      staleIfErrorMs: 60_000,
      load(_key, { stale }) {
        stales.push(stale);
        return {
          body: `load ${++loads}`,
          contentType: "text/css",
          ttlMs: 1,
          tags: ["sheet"],
        };
      },
    },
    long: {
      type: "json",
      load: () => new Answer(++loads, { tags: ["page"], ttlMs: 60_000 }),
    },
  });
  const short = node.group("short");
  assert.equal(text(await short.get("k")), "load 1");
  await until(
    async () => text(await short.get("k")) === "load 2",
    5_000,
    () => "it never expired",
  );
  assert.equal(stales[0], undefined);
  assert.deepEqual([text(stales[1]!.body), stales[1]!.contentType], [
    "load 1",
    "text/css",
  ]);
  const long = node.group("long");
  const before: number = await long.get("k");
  await long.invalidate({ tags: ["another"] });
  assert.equal(await long.get("k"), before);
  await long.invalidate({ tags: ["page"] });
  assert.equal(await long.get("k"), before + 1);
});

test("errors of a load come by their class", async (defer) => {
  const node = await nodeOf(defer, {
    failing: {
      type: "text",
      loadTimeoutMs: 50,
      async load(key, { signal }) {
        if (key === "nothing") return undefined;
        if (key === "missing") throw new NotFoundError("not here");
        if (key === "busy") throw new OverloadedError("later");
        if (key === "hang") {
          await new Promise((_resolve, reject) => signal.addEventListener("abort", reject));
        }
        if (key === "number") return 7 as unknown as string;
        throw new RangeError("broken");
      },
    },
    short: { load: () => "four", valueBytesMax: 3 },
    json: { type: "json", load: (key) => key === "null" ? null : () => {} },
    written: { origin: "none:", writable: true, type: "json" },
  });
  const failing = node.group("failing");
  await assert.rejects(failing.get("nothing"), NotFoundError);
  await assert.rejects(failing.get("missing"), NotFoundError);
  await assert.rejects(failing.get("busy"), OverloadedError);
  await assert.rejects(failing.get("hang"), OriginTimeoutError);
  await assert.rejects(failing.get("number"), OriginError);
  await assert.rejects(failing.get("other"), (error: OriginError) => {
    assert.ok(error instanceof OriginError);
    assert.match(error.message, /RangeError: broken/);
    return true;
  });
  for (const key of ["", "\n", "x".repeat(1_025)]) {
    await assert.rejects(failing.get(key), BadKeyError);
  }
  await assert.rejects(failing.get("k", { after: "nonsense" }), BadKeyError);
  await assert.rejects(node.group("short").get("k"), OriginError);
  await assert.rejects(node.group("json").get("null"), NotFoundError);
  await assert.rejects(node.group("json").get("function"), OriginError);
  await assert.rejects(node.group("written").get("k"), NotFoundError);
});

test("a caller who leaves ends only its own wait", async (defer) => {
  const loading = Promise.withResolvers<string>();
  let loads = 0;
  const node = await nodeOf(defer, {
    slow: { type: "text", load: () => (loads++, loading.promise) },
  });
  const slow = node.group("slow");
  const leaving = new AbortController();
  const left = slow.get("k", { signal: leaving.signal });
  const staying = slow.get("k");
  leaving.abort(new Error("gone"));
  await assert.rejects(left, /gone/);
  loading.resolve("value");
  assert.equal(await staying, "value");
  assert.equal(loads, 1);
});

test("many values come in order of arrival, a bounded number at a time, and one bad key does not end them", async (defer) => {
  const loading = new Map<string, PromiseWithResolvers<string>>();
  const begun: string[] = [];
  let mostInFlight = 0;
  const node = await nodeOf(defer, {
    slow: {
      type: "text",
      load(key) {
        begun.push(key);
        const ready = Promise.withResolvers<string>();
        loading.set(key, ready);
        mostInFlight = Math.max(mostInFlight, loading.size);
        return ready.promise.finally(() => loading.delete(key));
      },
    },
  });
  const slow = node.group("slow");
  const some = slow.getMany(["a", "b", "", "c"]);
  assert.ok(
    (await some.next()).value!.error instanceof BadKeyError,
    "the bad key needs no load",
  );
  await until(() => begun.length === 3, 5_000, () => `begun: ${begun}`);
  for (const key of ["c", "a", "b"]) {
    loading.get(key)!.resolve(key.toUpperCase());
    assert.deepEqual((await some.next()).value, {
      key,
      value: key.toUpperCase(),
    });
  }
  assert.deepEqual(await some.next(), { done: true, value: undefined });

  const many = slow.getMany(Array.from({ length: 200 }, (_, i) => `many ${i}`));
  const first = many.next();
  await until(
    () => loading.size === 64,
    5_000,
    () => `${loading.size} in flight`,
  );
  loading.get("many 63")!.resolve("it");
  assert.equal((await first).value!.key, "many 63");
  await many.return();
  assert.equal(mostInFlight, 64);
  for (const { resolve } of loading.values()) resolve("late");
  assert.ok(begun.length <= 3 + 65, "a reader who leaves is not loaded for");
});

test("a writable group takes values of its type", async (defer) => {
  const node = await nodeOf(defer, {
    sessions: {
      origin: "none:",
      writable: true,
      type: "json",
      valueBytesMax: 100,
    },
    sheets: { type: "text", load: () => "loaded", writable: true },
    pages: { load: () => "loaded" },
  });
  const { after } = await node.group("sessions").put("7", { user: "ada" });
  assert.deepEqual(await node.group("sessions").get("7", { after }), {
    user: "ada",
  });
  await assert.rejects(
    node.group("sessions").put("7", "x".repeat(99)),
    RangeError,
  );
  await assert.rejects(node.group("sessions").put("7", undefined), TypeError);
  await node.group("sheets").put("main", "written", {
    contentType: "text/css",
  });
  const served = await node.fetch(
    new Request("http://localhost/cache/sheets/main"),
  );
  assert.deepEqual([await served.text(), served.headers.get("content-type")], [
    "written",
    "text/css",
  ]);
  await assert.rejects(
    node.group("sheets").put("main", "x", { contentType: "text/css\nx: y" }),
    TypeError,
  );
  await assert.rejects(
    node.group("pages").put("k", new Uint8Array(1)),
    /Cannot put into pages/,
  );
  await assert.rejects(node.group("pages").invalidate({}), /covers nothing/);
  await assert.rejects(
    node.group("pages").invalidate({ all: true }, { waitMs: -1 }),
    RangeError,
  );
});

test("a value that is put has a lifetime of its own, where the group honours those", async (defer) => {
  const node = await nodeOf(defer, {
    free: { origin: "none:", writable: true, type: "text", ttlMs: 60_000 },
    firm: { origin: "none:", writable: true, type: "text", ttlMs: 60_000, honourOrigin: false },
  });
  const ttlOf = async (group: string, key: string) => {
    const { headers } = await fetch(`http://127.0.0.1:${node.port}/cache/${group}/${key}`);
    return Number(/ttl=(-?\d+)/.exec(headers.get("cache-status")!)![1]);
  };
  for (const name of ["free", "firm"] as const) {
    await node.group(name).put("long", "v", { ttlMs: 600_000 });
    await node.group(name).put("plain", "v");
  }
  assert.ok(await ttlOf("free", "long") > 500);
  for (const [group, key] of [["free", "plain"], ["firm", "long"]]) assert.ok(await ttlOf(group!, key!) <= 60);
  await node.group("free").put("short", "v", { ttlMs: 1 });
  const get = () => node.group("free").get("short").then(() => false, (error) => error instanceof NotFoundError);
  await until(get, 5_000, () => "it never expired");
  for (const ttlMs of [0, -1, 1.5, NaN, Infinity]) {
    await assert.rejects(node.group("free").put("k", "v", { ttlMs }), RangeError);
  }
});

test("fetch answers as the node does, but for changes and for other nodes", async (defer) => {
  const node = await nodeOf(defer, {
    render: { load: (key) => `<h1>${key}</h1>`, writable: true },
  });
  const status = async (path: string, init?: RequestInit) => {
    return (await node.fetch(new Request(`http://localhost${path}`, init)))
      .status;
  };
  const answer = await node.fetch(
    new Request("http://localhost/cache/render/home"),
  );
  assert.equal(await answer.text(), "<h1>home</h1>");
  assert.equal(await status("/readyz"), node.isReady ? 200 : 503);
  assert.equal(await status("/_peer"), 404);
  assert.equal(
    await status("/cache/render/home", { method: "PUT", body: "x" }),
    403,
  );
  const own = await fetch(`http://127.0.0.1:${node.port}/cache/render/home`);
  assert.equal(await own.text(), "<h1>home</h1>");
});

test("fetch shows the figures and takes changes only from operators, as it cannot tell who asks", async (defer) => {
  const token = "a-token-of-the-program";
  const adminTokenFile = join(temporaryDirectory(defer), "token");
  writeFileSync(adminTokenFile, token, { mode: 0o600 });
  const paths = ["/stats", "/metrics", "/"];
  const groups = { g: { load: () => "", writable: true } };
  const statuses = async (options: { publicStats?: boolean; adminTokenFile?: string }, sent?: string) => {
    const node = await createNode({ nats: "off", groups, ...options });
    defer(() => node.close());
    const headers: Record<string, string> = sent === undefined ? {} : { authorization: `Bearer ${sent}` };
    const asked = [...paths.map((path) => ["GET", path]), ["PUT", "/cache/g/k"]];
    return await Promise.all(asked.map(async ([method, path]) => {
      const request = new Request(`http://localhost${path}`, { method: method!, headers });
      return (await node.fetch(request)).status;
    }));
  };
  assert.deepEqual(await statuses({}), [403, 403, 403, 403]);
  assert.deepEqual(await statuses({ publicStats: true }), [200, 200, 200, 403]);
  assert.deepEqual(await statuses({ adminTokenFile }), [401, 401, 401, 401]);
  assert.deepEqual(await statuses({ adminTokenFile }, token), [200, 200, 200, 200]);
  await assert.rejects(
    createNode({ nats: "off", groups, adminTokenFile: join(adminTokenFile, "nosuch") }),
    /adminTokenFile must be a file that can be read/,
  );
  const wrong = { nats: "off", groups, publicStats: "yes" } as unknown as Parameters<typeof createNode>[0];
  await assert.rejects(createNode(wrong), /publicStats must be true or false/);
});

test("a wrong option is refused with every fault, in the words of the options", async () => {
  const load = () => "";
  const options = {
    nats: "off",
    name: "a b",
    addr: "nowhere",
    workers: 2,
    groups: {
      "bad name": { load },
      both: { load, origin: "none:" },
      neither: {},
      fields: { load, ttlMs: 0, typo: 1, type: "xml" },
      origin: { origin: "ftp://x" },
    },
  };
  const faults = await createNode(
    options as unknown as Parameters<typeof createNode>[0],
  ).then(
    () => assert.fail("it must be refused"),
    (error) => {
      assert.ok(error instanceof ConfigError);
      return error.message;
    },
  );
  for (
    const told of [
      /^10 faults in the options of createNode:$/m,
      /^\s+there is no option workers$/m,
      /^\s+the name of a group must be 1 to 64 characters out of A-Z a-z 0-9 _ -: "bad name"$/m,
      /^\s+groups\.origin must have an origin that can be used: .*"ftp:\/\/x"$/m,
      /^\s+groups\.both must have load or origin, not both$/m,
      /^\s+groups\.neither must have load or origin$/m,
      /^\s+groups\.fields\.type must be one of "bytes", "text", "json"$/m,
      /^\s+groups\.fields has an unknown field "typo"$/m,
      /^\s+groups\.fields\.ttlMs must be a whole number from 1/m,
      /^\s+addr must be host:port .*: it is "nowhere"$/m,
      /^\s+name must be 1 to 128 characters .*: it is "a b"$/m,
    ]
  ) assert.match(faults, told);
  assert.doesNotMatch(faults, /--|in the file|load:/);
  for (
    const wrong of [
      undefined,
      {},
      { nats: "off" },
      { nats: "off", groups: {} },
      { nats: 7, groups: { a: { load } } },
      { nats: "off", groups: { a: { load } }, serve: [] },
      { nats: "nats://127.0.0.1:1", groups: { a: { load } }, serve: ["b"] },
    ]
  ) {
    await assert.rejects(
      createNode(wrong as unknown as Parameters<typeof createNode>[0]),
      ConfigError,
    );
  }
});

test("a program that does not serve a group gets its values from one that does", async (defer) => {
  const { url: nats } = await startNats(defer);
  const loads: string[] = [];
  const shared = { nats, drainTimeout };
  const words = (who: string) => ({
    words: {
      type: "text" as const,
      load: (key: string) => (loads.push(`${who} ${key}`), key.toUpperCase()),
    },
  });
  await using serving = await createNode({
    ...shared,
    name: "serving",
    groups: words("serving"),
  });
  await serving.ready;
  await using asking = await createNode({
    ...shared,
    name: "asking",
    groups: words("asking"),
    serve: [],
  });
  await asking.ready;
  assert.equal(await asking.group("words").get("roster"), "ROSTER");
  await asking.group("words").invalidate({ keys: ["roster"] }, {
    waitMs: 1_000,
  });
  assert.equal(await asking.group("words").get("roster"), "ROSTER");
  assert.deepEqual(loads, ["serving roster", "serving roster"]);
});

test("other nodes may have an address of their own, encrypted", { programs: ["openssl"] }, async (defer) => {
  const folder = temporaryDirectory(defer);
  const { cert } = await certificateFor(folder, "IP:127.0.0.1", "own");
  const [tlsCert, tlsKey] = [join(folder, "own.pem"), join(folder, "own.key")];
  const options = { nats: "off", drainTimeout, groups: { g: { load: () => "v" } }, publicStats: true };
  const node = await createNode({ ...options, peerAddr: "127.0.0.1:0", tlsCert, tlsKey, tlsCa: tlsCert });
  defer(() => node.close());
  const { url } = await (await fetch(`http://127.0.0.1:${node.port}/stats`)).json() as { url: string };
  const { name } = await getJson(`${url}/healthz`, 5_000, { ca: cert }) as { name: string };
  assert.deepEqual([url.slice(0, 8), name], ["https://", node.name]);
  assert.equal((await fetch(`http://127.0.0.1:${node.port}/_peer`)).status, 404);
  await assert.rejects(createNode({ ...options, peerAddr: "127.0.0.1:0", tlsCert }), /tlsKey must be given too/);
  await assert.rejects(createNode({ ...options, tlsCert, tlsKey }), /peerAddr must be given too/);
});

test("an address that is taken is an error of createNode", async (defer) => {
  const { port } = await nodeOf(defer, { a: { load: () => "" } });
  const taken = createNode({
    nats: "off",
    addr: `127.0.0.1:${port}`,
    groups: { a: { load: () => "" } },
  });
  await assert.rejects(taken, /Cannot listen on/);
});

test("a closed node answers what was in flight, and nothing more", async () => {
  const loading = Promise.withResolvers<string>();
  const node = await createNode({
    nats: "off",
    drainTimeout,
    groups: {
      slow: {
        type: "text",
        load: (key) => key === "k" ? loading.promise : new Promise<never>(() => {}),
      },
    },
  });
  const slow = node.group("slow");
  const inFlight = slow.get("k");
  const hung = assert.rejects(slow.get("never"), UnavailableError);
  const closing = node.close();
  assert.equal(node.close(), closing);
  loading.resolve("value");
  assert.equal(await inFlight, "value");
  await closing;
  await hung;
  assert.equal(node.isReady, false);
  await assert.rejects(slow.get("k"), UnavailableError);
  await assert.rejects(slow.invalidate({ all: true }), UnavailableError);
  await assert.rejects(fetch(`http://127.0.0.1:${node.port}/healthz`));
});

test("without NATS a node can be asked, is not ready, and says why to its log only", async (defer) => {
  const lines: string[] = [];
  const log = {
    warn: (message: string, facts: object) => void lines.push(`${message} ${JSON.stringify(facts)}`),
  };
  const nats = `127.0.0.1:${await freePort()}`;
  const node = await createNode({
    nats,
    drainTimeout,
    log,
    groups: { render: { type: "text", load: (key) => key } },
  });
  defer(() => node.close());
  assert.equal(await node.group("render").get("k"), "k");
  await until(
    () => lines.length > 0,
    10_000,
    () => "it has never said that NATS is away",
  );
  assert.equal(node.isReady, false);
  await assert.rejects(
    node.group("render").invalidate({ all: true }),
    UnavailableError,
  );
  await node.close();
  await assert.rejects(node.ready, UnavailableError);
});

test("a reload changes a running node's groups, and the types of their values", async (defer) => {
  const loads: string[] = [];
  const loadBy = (name: string) => (key: string) => {
    loads.push(`${name} ${key}`);
    return `${key} by ${name}`;
  };
  const first = { type: "text", load: loadBy("first") } as const;
  const lines: string[] = [];
  const node = await createNode({
    nats: "off",
    drainTimeout,
    groups: { kept: first, ended: first },
    log: { info: (message) => void lines.push(message) },
  });
  defer(() => node.close());
  const [kept, ended] = [node.group("kept"), node.group("ended")];
  assert.deepEqual([await kept.get("a"), await ended.get("a")], ["a by first", "a by first"]);
  const next = await node.reload({
    groups: {
      kept: { type: "text", load: loadBy("second"), ttlMs: 60_000 },
      users: { type: "json", load: (id) => ({ id, visits: 1 }) },
    },
  });
  assert.equal(next, node as unknown);
  const { visits } = await next.group("users").get("7");
  assert.equal(visits + 1, 2);
  assert.equal(next.group("kept") as unknown, kept);
  assert.deepEqual([await kept.get("a"), await kept.get("b")], ["a by first", "b by second"], "values stay");
  assert.deepEqual(loads, ["first a", "first a", "second b"]);
  assert.throws(() => node.group("ended"), /Cannot find the group ended as this node was not given it/);
  await assert.rejects(ended.get("a"), /UnavailableError: the node was reloaded without the group ended/);
  assert.equal((await node.fetch(new Request("http://h.test/cache/ended/a"))).status, 404);
  assert.ok(lines.includes("reloaded: added the group users; changed the group kept (ttlMs); ended the group ended"));
  // Another function with the same policy, and the ended group again.
  await next.reload({ groups: { kept: { type: "text", load: loadBy("third"), ttlMs: 60_000 }, ended: first } });
  assert.deepEqual([await kept.get("c"), await kept.get("b")], ["c by third", "b by second"]);
  assert.equal(await ended.get("a"), "a by first");
  assert.equal(loads.length, 5, "its values had been dropped");
});

test("a group that a reload has added gets another function by the next one", async (defer) => {
  const groupOf = (value: string) => ({ page: { type: "text", load: () => value } } as const);
  const node = await nodeOf(defer, groupOf("0"));
  const next = await node.reload({ groups: { ...groupOf("1"), more: { type: "text", load: () => "first" } } });
  assert.equal(await next.group("more").get("a"), "first");
  await next.reload({ groups: { ...groupOf("1"), more: { type: "text", load: () => "second" } } });
  assert.equal(await next.group("more").get("b"), "second");
});

test("a reload that cannot be followed changes nothing, and says what cannot change", async (defer) => {
  const groups = { page: { type: "text", load: () => "old" } } as const;
  const node = await createNode({ nats: "off", drainTimeout, groups, log: { error() {} } });
  defer(() => node.close());
  assert.equal(await node.group("page").get("k"), "old");
  const page = { type: "text", load: () => "new" } as const;
  const refused = async (options: object, ...faults: string[]) => {
    await assert.rejects(node.reload(options as { groups: typeof groups }), (error: Error) => {
      assert.equal(error.name, "ConfigError");
      for (const fault of faults) assert.ok(error.message.includes(fault), `${fault}: ${error.message}`);
      return true;
    });
  };
  await refused(
    { groups: { page, more: { load: () => "", ttlMs: "soon" } }, zone: "z" },
    "1 fault in the options of reload",
    "zone cannot change while the node runs: close it, and create another",
  );
  await refused({ groups: { page, more: { load: () => "", ttlMs: "soon" } } }, "groups.more.ttlMs must be");
  await refused({ groups: { page }, colour: "red" }, "there is no option colour");
  await refused({ groups: { page }, log: { error() {} } }, "log cannot change while the node runs");
  await refused({}, "groups must be given");
  await refused({ groups: { page: { ...page, type: "json" } } }, "groups.page.type cannot change while the node runs");
  await refused({ groups: { page, more: { origin: "module:./there-is-none.ts" } } }, "there is no such file");
  await node.group("page").invalidate({ all: true });
  assert.equal(await node.group("page").get("k"), "old");
  // All of createNode's options may be given again.
  await node.reload({ nats: "off", drainTimeout, groups: { page } } as { groups: typeof groups });
  assert.equal(await node.group("page").get("other"), "new");
});

test("reloads run in the order of their calls, and none runs after the close", async () => {
  const groupOf = (value: string) => ({ page: { type: "text", load: () => value } } as const);
  const node = await createNode({ nats: "off", drainTimeout, groups: groupOf("0") });
  const both = await Promise.allSettled([
    node.reload({ groups: groupOf("1") }),
    node.reload({ groups: { page: { type: "json" as "text", load: () => "" } } }),
    node.reload({ groups: groupOf("2") }),
  ]);
  assert.deepEqual(both.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
  assert.equal(await node.group("page").get("k"), "2");
  const closing = node.close();
  await assert.rejects(node.reload({ groups: groupOf("3") }), UnavailableError);
  await closing;
  await assert.rejects(node.reload({ groups: groupOf("3") }), UnavailableError);
});

test("a get in flight is answered though a reload ends its group, and other nodes learn of the new group", async (defer) => {
  const { url } = await startNats(defer);
  const gate = Promise.withResolvers<void>();
  const slow = { slow: { type: "text", load: (key: string) => gate.promise.then(() => key) } } as const;
  const fast = { fast: { type: "text", load: (key: string) => key } } as const;
  const start = async (name: string, groups: typeof slow | typeof fast) => {
    const node = await createNode({ name, nats: url, drainTimeout, groups: groups as typeof slow });
    defer(() => node.close());
    await node.ready;
    return node;
  };
  const node = await start("a", slow);
  const other = await start("b", fast) as unknown as Awaited<ReturnType<typeof nodeOf<typeof fast>>>;
  const asked = node.group("slow").get("k");
  const next = await node.reload({ groups: fast });
  gate.resolve();
  assert.equal(await asked, "k");
  assert.equal(await next.group("fast").get("k"), "k");
  const stats = async () => await (await fetch(`http://127.0.0.1:${other.port}/stats`)).text();
  await until(async () => (await stats()).includes('"name":"a"'), 10_000, () => "b does not list a");
});
