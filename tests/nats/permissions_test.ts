/**
 * The users of lib/nats/README.md: what stands there is enough for a node and for an operator who looks, and each line of
 * a node's is needed.
 */
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { connect } from "nats";
import { connectOnce, parseNatsUrls } from "../../lib/nats/connect/connection.ts";
import { LogStream } from "../../lib/nats/log/log-stream.ts";
import { NatsStore } from "../../lib/nats/peer-store.ts";
import { MemoryLog } from "../support/log.ts";
import { type NatsServer, startNats, temporaryFolder } from "../support/nats-server.ts";
import { assembled, bothRuntimes, startNode } from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { PATIENCE, until } from "../support/until.ts";
import { realClock } from "../registry/support.ts";

const page = readFileSync(new URL("../../lib/nats/README.md", import.meta.url), "utf8");
const block = /```conf nats-server\.conf\n([^`]*)```/.exec(page)![1]!;
const how = { name: "test", timeoutMs: 10_000, clock: realClock, signal: new AbortController().signal };
/** Processes are started once. */
const isTypist = "Bun" in globalThis;
/** What a user was refused: the server's own words, such as `"user:node" - Publish Violation - Subject "x"`. */
const refusals = (output: string, user: string) =>
  output.split("\n").filter((line) => line.includes("Violation") && line.includes(`user:${user}"`));

/** A server with this configuration, on which `admin` may do everything. */
async function guarded(defer: Defer, configuration: string) {
  const path = `${await temporaryFolder(defer)}/nats.conf`;
  await writeFile(path, configuration);
  return await startNats(defer, { extraArgs: ["-c", path] });
}

const ask = async (url: string, init?: RequestInit) => {
  const response = await fetch(url, init);
  return { status: response.status, text: await response.text() };
};

if (isTypist) {
  test("nodes and an operator who looks need no more than the README says", { timeoutMs: 90_000 }, async (defer) => {
    const admin = `{ user: admin, password: "a" }`;
    const nats = await guarded(defer, block.replace("users: [", `users: [\n${admin}`));
    const urlOf = (login: string) => nats.url.replace("//", `//${login}@`);
    const args = ["--nats", urlOf("node:change-me"), "--groups-from-nats"];
    const [first, second] = await Promise.all(bothRuntimes.map((kind) => startNode(defer, kind, args)));
    await assembled([first!, second!]);

    const connection = await connect({ servers: nats.url, user: "admin", pass: "a" });
    defer(() => connection.close());
    const groups = await connection.jetstream().views.kv("peers-groups");
    await groups.put("wn", JSON.stringify({ origin: "wordnet:" }));
    for (const node of [first!, second!]) await node.line("serving the group wn as it is defined in NATS");
    await assembled([first!, second!], "wn");
    const key = `/cache/wn/piston`;
    for (const node of [first!, second!]) assert.equal((await ask(node.url + key)).status, 200);
    const purged = await ask(`${first!.url}${key}?wait`, { method: "PURGE" });
    assert.equal(purged.status, 200, purged.text);
    assert.equal(JSON.parse(purged.text).applied.length, 2, purged.text);

    if (await hasNatsCommand()) await looksAround(defer, nats.url);
    assert.equal((await second!.end()).code, 0);
    await second!.line("removed myself from the peer list of dict before exiting");
    await assembled([first!]);
    for (const user of ["node", "watcher"]) assert.deepEqual(refusals(nats.output, user), []);
  });
}

const hasNatsCommand = () =>
  new Promise<boolean>((done) => execFile("nats", ["--version"], (error) => done(error === null)));

/** The commands of the registry's page, by a user who may not change anything. */
async function looksAround(defer: Defer, server: string): Promise<void> {
  const login = ["--server", server, "--user", "watcher", "--password", "change-me-too"];
  const kv = (...args: string[]) =>
    new Promise<string>((done) =>
      execFile(
        "nats",
        [...login, "kv", ...args],
        { timeout: PATIENCE * 10_000 },
        (_error, stdout, stderr) => done(stdout + stderr),
      )
    );
  const key = /dict\.\S+/.exec(await kv("ls", "peers"))![0];
  assert.match(await kv("get", "peers", key, "--raw"), /"incarnation"/);
  assert.match(await kv("history", "peers", key), /PUT/);
  assert.match(await kv("get", "peers-groups", "wn", "--raw"), /wordnet/);
  assert.match(await kv("history", "peers-groups", "wn"), /PUT/);
  const watcher = spawn("nats", [...login, "kv", "watch", "peers", "dict.>"], { stdio: ["ignore", "pipe", "pipe"] });
  let watched = "";
  watcher.stdout.setEncoding("utf8").on("data", (text) => watched += text);
  const closed = new Promise((over) => watcher.on("close", over));
  defer(() => (watcher.kill("SIGKILL"), closed));
  await until(() => watched.includes(key), 10_000, () => `watched: ${watched}`);
}

/** The subjects that a node may publish on and subscribe to, as the page lists them. */
const linesOf = (kind: "publish" | "subscribe"): string[] => {
  const list = new RegExp(`${kind}: \\[([^\\]]*)\\]`).exec(block)![1]!.replaceAll(/#.*/g, "");
  return [...list.matchAll(/"([^"]+)"/g)].map(([, subject]) => subject!);
};

/** A node's user without one line, in an account of its own, and one who may do everything there. */
function accountWithout(missing: string | undefined, number: number): string {
  const list = (kind: "publish" | "subscribe") =>
    JSON.stringify(linesOf(kind).filter((line) => `${kind} ${line}` !== missing));
  const permissions = `{ publish: ${list("publish")}, subscribe: ${list("subscribe")} }`;
  const users = [
    `{ user: node${number}, password: p, permissions: ${permissions} }`,
    `{ user: admin${number}, password: p }`,
  ];
  return `A${number}: { jetstream: enabled, users: [${users.join(", ")}] }`;
}

/** A node's use of NATS, until `isDone` or a refusal: after a refusal some of it never happens. */
async function takePart(
  defer: Defer,
  url: string,
  isRefused: () => boolean,
  isDone: (seen: Seen) => boolean,
  act: (store: NatsStore) => unknown,
) {
  const parts = { clock: realClock, log: new MemoryLog(), requestTimeoutMs: 1_500, checkIntervalMs: 200 };
  const store = new NatsStore({ urls: [url], ...parts });
  defer(() => store.close());
  const seen: Seen = { isBack: false, records: 0, told: 0, defined: -1 };
  store.follow("dict");
  store.watch({
    onView: ({ entries }) => seen.records = entries.size,
    onAway: () => {},
    onBack: () => seen.isBack = true,
  });
  store.followLog({ restart: () => {}, take: () => seen.told++, settled: () => {}, away: () => {} });
  store.followDefinitions(({ definitions }) => seen.defined = definitions.size);
  await until(() => isDone(seen) || isRefused(), 15_000, () => JSON.stringify(seen));
  await act(store);
  await store.close();
  return seen;
}

interface Seen {
  isBack: boolean;
  records: number;
  told: number;
  defined: number;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const nothing = () => {};

/** Everything that a node does with NATS, first in an empty account, then in one with some content. */
async function doAll(defer: Defer, nats: NatsServer, number: number): Promise<Seen> {
  const [url, admins] = ["node", "admin"].map((user) => nats.url.replace("//", `//${user}${number}:p@`)) as [
    string,
    string,
  ];
  const isRefused = () => refusals(nats.output, `node${number}`).length > 0;
  await takePart(defer, url, isRefused, ({ isBack, defined }) => isBack && defined === 0, async (store) => {
    await store.put("dict.a", bytes("{}"), 0).catch(nothing);
    for (let at = 0; at < 3; at++) await store.publish("dict", bytes("{}")).catch(nothing);
    await store.catchUp();
  });
  const { connection: admin } = await connectOnce(parseNatsUrls([admins]), new Set(), how);
  defer(() => admin.close());
  for (const bucket of ["peers", "peers-groups"]) {
    const kv = await admin.jetstream().views.kv(bucket, { history: bucket === "peers" ? 1 : 10 });
    for (const name of ["b", "c", "d"]) await kv.put(`dict.${name}`, "{}");
  }
  const seen = await takePart(defer, url, isRefused, ({ records, defined }) => records === 4 && defined === 3, nothing);
  const { connection: node } = await connectOnce(parseNatsUrls([url]), new Set(), how);
  defer(() => node.close());
  const options = { bucket: "peers", replicas: 1, requestTimeoutMs: 500, clock: realClock };
  await (await LogStream.over(node, options)).remove().catch(nothing);
  return seen;
}

test("a node uses each of its permissions, and tries nothing else", { timeoutMs: 60_000 }, async (defer) => {
  const lines = (["publish", "subscribe"] as const).flatMap((kind) => linesOf(kind).map((line) => `${kind} ${line}`));
  assert.ok(lines.length > 15, lines.join());
  const accounts = [undefined, ...lines].map(accountWithout);
  const storage = `jetstream { max_file_store: 1TB }`;
  const nats = await guarded(defer, `${storage}\naccounts {\n${accounts.join("\n")}\n}\n`);
  const [whole] = await Promise.all(accounts.map((_, number) => doAll(defer, nats, number)));
  assert.deepEqual(whole, { isBack: true, records: 4, told: 0, defined: 3 });
  assert.deepEqual(refusals(nats.output, "node0"), []);
  const unneeded = () =>
    lines.filter((line, index) => {
      const refused = refusals(nats.output, `node${index + 1}`);
      const subject = line.split(" ")[1]!.replace(/[*>]$/, "");
      return !refused.some((text) => text.includes(subject));
    });
  // The server's output comes through a pipe, so it may be late.
  await until(() => unneeded().length === 0, 5_000, () => `needed by nobody: ${unneeded()}`);
});
