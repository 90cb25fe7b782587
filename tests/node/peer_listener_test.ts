/** An address for the peers alone, with and without TLS, on the runtime that runs the test. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { advertised, type Config } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/parse.ts";
import type { Clock } from "../../lib/core/base/clock.ts";
import { Node } from "../../lib/node/node.ts";
import { PeerListener, PeerTls } from "../../lib/node/doors/peer-listener.ts";
import { MemoryStream } from "../../lib/registry/store/memory-log.ts";
import { MemoryBucket } from "../../lib/registry/store/memory-store.ts";
import type { PeerRecord } from "../../lib/core/roster.ts";
import { isAlive } from "../../lib/peer/proof/is-alive.ts";
import { verify } from "../../lib/peer/proof/keys.ts";
import { getJson } from "../../lib/registry/get-json.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { type Certificate, certificateFor } from "../support/certificates.ts";
import { ManualClock } from "../support/clock.ts";
import { identityOf } from "../support/identity.ts";
import { MemoryLog } from "../support/log.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

function configOf(origin: string, options: readonly string[]): Config {
  const argv = ["--nats", "off", "--addr", "127.0.0.1:0", "--drain-timeout", "2s", "--group", `g=${origin}`];
  const input = { env: {}, readFile: () => "", isTerminal: false, checkOrigin: () => {} };
  const parsed = parseConfig({ argv: [...argv, "--peer-addr", "127.0.0.1:0", ...options], ...input });
  assert.ok(parsed.kind === "run");
  return parsed.config;
}

/** Two nodes that share a registry. */
async function startPair(defer: Defer, options: readonly string[], clock = systemClock) {
  const origin = await startOrigin(defer);
  const [bucket, stream, log] = [new MemoryBucket(), new MemoryStream(systemClock), new MemoryLog()];
  const nodes = await Promise.all([1, 2].map(async () => {
    const config = configOf(origin.template, options);
    const listedAs = (port: number) => advertised(config, port);
    const worker = { listedAs, store: bucket.open(), log: stream.open() };
    const node = new Node(config, { clock, log, worker });
    await node.start();
    defer(() => node.stop());
    return node;
  }));
  return { nodes: nodes as [Node, Node], log };
}

async function statsOf(node: Node) {
  return await (await fetch(`http://127.0.0.1:${node.port}/stats`)).json() as {
    url: string;
    incarnation: string;
    links: { state: string; opens: number }[];
    groups: { g: { roster: { peers: PeerRecord[] } } };
  };
}

const isLinked = async (node: Node) => (await statsOf(node)).links[0]?.state === "open";

test("peers meet at their own address, and neither address does the other's work", async (defer) => {
  const { nodes: [a, b], log } = await startPair(defer, []);
  await until(async () => await isLinked(a) && await isLinked(b), 5_000, () => log.lines.join("\n"));
  const { url } = await statsOf(a);
  assert.notEqual(new URL(url).port, String(a.port));
  const statusOf = async (url: string) => {
    const response = await fetch(url);
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await statusOf(`http://127.0.0.1:${a.port}/_peer`), 404);
  assert.equal(await statusOf(`http://127.0.0.1:${a.port}/cache/g/k`), 200);
  assert.equal(await statusOf(`${url}/_peer`), 426);
  for (const path of ["/cache/g/k", "/stats", "/metrics", "/", "/_admin/groups/g/invalidate", "/readyz"]) {
    assert.equal(await statusOf(url + path), 404, path);
  }
  assert.ok(log.lines.some((line) => line.endsWith(`listening on http://127.0.0.1:${a.port}`)));
  assert.ok(log.lines.some((line) => line.endsWith(`other nodes reach me at ${url}`)));
});

/** Writes certificates for 127.0.0.1 to files. */
async function certificates(defer: Defer) {
  const folder = mkdtempSync(join(tmpdir(), "muster-peers-"));
  defer(() => rmSync(folder, { recursive: true }));
  const [first, second] = await Promise.all(
    ["first", "second"].map((file) => certificateFor(folder, "IP:127.0.0.1", file)),
  ) as [Certificate, Certificate];
  const at = (name: string) => join(folder, name);
  const write = ({ cert, key }: Certificate) => {
    writeFileSync(at("cert.pem"), cert);
    writeFileSync(at("key.pem"), key);
  };
  write(first);
  writeFileSync(at("ca.pem"), first.cert + second.cert);
  writeFileSync(at("other-ca.pem"), (await certificateFor(folder, "IP:127.0.0.1", "other")).cert);
  return { first, second, at, write };
}

test(
  "peers meet over TLS by a CA of their own, and a node that trusts another one does not connect",
  { programs: ["openssl"] },
  async (defer) => {
    const { at, first } = await certificates(defer);
    const tls = ["--tls-cert", at("cert.pem"), "--tls-key", at("key.pem")];
    const { nodes: [a, b], log } = await startPair(defer, [...tls, "--tls-ca", at("ca.pem")]);
    await until(async () => await isLinked(a) && await isLinked(b), 5_000, () => log.lines.join("\n"));
    const { groups } = await statsOf(a);
    const record = groups.g.roster.peers.find(({ name }) => name === a.name)!;
    assert.match(record.url, /^https:/);
    const self = { name: "asker", incarnation: "1" };
    const ask = (ca?: string) =>
      isAlive({ self, identity: identityOf(self), verify }, record, { timeoutMs: 2_000, ca });
    assert.deepEqual([await ask(first.cert), await ask()], [true, false]);
    const others = await startPair(defer, [...tls, "--tls-ca", at("other-ca.pem")]);
    const isTold = () =>
      others.log.lines.some((line) => /cannot connect to peer .*: unreachable: .*certificate/i.test(line));
    await until(isTold, 5_000, () => others.log.lines.join("\n"));
    assert.equal(await isLinked(others.nodes[0]) || await isLinked(others.nodes[1]), false);
  },
);

/** What the certificate at the port is, with an open connection. */
async function shownAt(port: number, ca: string, defer: Defer) {
  const socket = connectTls({ host: "127.0.0.1", port, ca });
  defer(() => socket.destroy());
  socket.on("error", () => {});
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", () => resolve());
    socket.once("close", () => reject(new Error("closed")));
  });
  return { socket, serial: socket.getPeerCertificate().serialNumber };
}

test(
  "a certificate that changes is shown to new connections; a broken one changes nothing",
  { programs: ["openssl"] },
  async (defer) => {
    const { first, second, at, write } = await certificates(defer);
    const [clock, log] = [new ManualClock(), new MemoryLog()];
    const files = { tlsCert: at("cert.pem"), tlsKey: at("key.pem"), tlsCa: undefined };
    const tls = new PeerTls({ files, clock, log });
    const address = { host: "127.0.0.1", port: 0 };
    const fetch = () => new Response("{}");
    const listener = await PeerListener.open({ address, fetch, tls, clock, log });
    defer(() => listener.stop());
    const ca = first.cert + second.cert;
    const before = await shownAt(listener.port, ca, defer);

    writeFileSync(at("cert.pem"), second.cert);
    for (let i = 0; i < 3; i++) await clock.advance(10_000);
    assert.equal((await shownAt(listener.port, ca, defer)).serial, before.serial);
    assert.equal(log.lines.length, 1);
    assert.match(log.lines[0]!, /^warn Cannot use --tls-key: it is not the key .*: the ones before stay in use/);

    write(second);
    await clock.advance(10_000);
    let after: string | undefined;
    while (after === undefined || after === before.serial) {
      await clock.advance(5);
      after = await shownAt(listener.port, ca, defer).then(({ serial }) => serial, () => undefined);
    }
    assert.deepEqual(await getJson(`https://127.0.0.1:${listener.port}/`, 2_000, { ca }), {});
    tls.close();
  },
);

test(
  "peers stay connected when a certificate changes; on Deno, whose server closes their connections, they connect again",
  { programs: ["openssl"] },
  async (defer) => {
    const { at, write, second } = await certificates(defer);
    const tls = ["--tls-cert", at("cert.pem"), "--tls-key", at("key.pem"), "--tls-ca", at("ca.pem")];
    // The files are looked at every 10 s: here at once.
    const after: Clock["after"] = (ms, action) => systemClock.after(ms === 10_000 ? 50 : ms, action);
    const { nodes: [a, b], log } = await startPair(defer, tls, { ...systemClock, after });
    const areLinked = async () => await isLinked(a) && await isLinked(b);
    await until(areLinked, 5_000, () => log.lines.join("\n"));
    write(second);
    const changes = () => log.lines.filter((line) => line.includes("certificate for other nodes has changed")).length;
    await until(() => changes() === 2, 5_000, () => log.lines.join("\n"));
    const leastOpens = "Deno" in globalThis ? 2 : 1;
    const opensOf = async (node: Node) => (await statsOf(node)).links[0]!.opens;
    await until(async () => await areLinked() && await opensOf(a) >= leastOpens, 5_000, () => log.lines.join("\n"));
    if (leastOpens === 1) assert.deepEqual([await opensOf(a), await opensOf(b)], [1, 1]);
  },
);

test(
  "files that are no certificate, no key or not a pair are refused when the node starts",
  { programs: ["openssl"] },
  async (defer) => {
    const { at, second } = await certificates(defer);
    const [clock, log] = [new ManualClock(), new MemoryLog()];
    writeFileSync(at("nothing.pem"), "secret nonsense");
    writeFileSync(at("second.key.pem"), second.key);
    const cases: [string, string, string | undefined, RegExp][] = [
      ["missing.pem", "key.pem", undefined, /^Cannot use --tls-cert .*missing\.pem: /],
      ["nothing.pem", "key.pem", undefined, /^Cannot use --tls-cert: it is no certificate in PEM$/],
      ["cert.pem", "nothing.pem", undefined, /^Cannot use --tls-key: it is no private key in PEM$/],
      ["cert.pem", "second.key.pem", undefined, /^Cannot use --tls-key: it is not the key of the certificate/],
      ["cert.pem", "key.pem", "nothing.pem", /^Cannot use --tls-ca: it is no certificate in PEM$/],
    ];
    for (const [cert, key, ca, message] of cases) {
      const files = { tlsCert: at(cert), tlsKey: at(key), tlsCa: ca && at(ca) };
      assert.throws(() => new PeerTls({ files, clock, log }), { message });
    }
    assert.equal(clock.pending, 0);
  },
);
