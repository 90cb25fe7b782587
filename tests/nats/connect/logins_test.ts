/** Every way to log in to NATS, against real servers that refuse all others. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import type { NatsLogin } from "../../../lib/config/texts/nats-login.ts";
import type { Clock } from "../../../lib/core/base/clock.ts";
import { connectOnce, parseNatsUrls } from "../../../lib/nats/connect/connection.ts";
import { makeAccount, makeAuthority, makeNkey } from "../../support/nats-logins.ts";
import { startNats, temporaryFolder } from "../../support/nats-server.ts";
import { assembled, bothRuntimes, startNode } from "../../support/node.ts";
import { type Defer, test } from "../../support/test.ts";

const clock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};
const needsOpenssl = { programs: ["openssl"] };
const how = { name: "test", timeoutMs: 3_000, clock, signal: new AbortController().signal };

/** A server with this configuration. */
async function natsWith(defer: Defer, configuration: string) {
  const folder = await temporaryFolder(defer);
  await writeFile(`${folder}/nats.conf`, configuration);
  return await startNats(defer, { extraArgs: ["-c", `${folder}/nats.conf`] });
}

/** Connects, asks for JetStream's answer, and leaves. Rejects as `connectOnce` does. */
async function logIn(url: string, login: NatsLogin, gossip: string[] = []): Promise<void> {
  const { connection } = await connectOnce({ ...parseNatsUrls([url]), login }, new Set(gossip), how);
  try {
    await connection.flush();
  } finally {
    await connection.close();
  }
}

async function fileOf(defer: Defer, text: string): Promise<string> {
  const path = `${await temporaryFolder(defer)}/secret`;
  await writeFile(path, text, { mode: 0o600 });
  return path;
}

const refused = /refuses the login \(Authorization Violation\)$/;

test("a creds file opens a server of accounts, and nothing else does", async (defer) => {
  const [ours, theirs] = [makeAccount(), makeAccount()];
  const { url } = await natsWith(defer, ours.configuration);
  await logIn(url, { creds: await fileOf(defer, ours.creds) });
  // As an editor of another system saves it.
  await logIn(url, { creds: await fileOf(defer, ours.creds.replaceAll("\n", "\r\n")) });
  await assert.rejects(logIn(url, {}), refused);
  await assert.rejects(logIn(url, { creds: await fileOf(defer, theirs.creds) }), refused);
});

test("an NKEY's seed opens a server that knows its public key, and another seed does not", async (defer) => {
  const [ours, theirs] = [makeNkey(), makeNkey()];
  const { url } = await natsWith(defer, `authorization: { users: [{ nkey: ${ours.publicKey} }] }`);
  await logIn(url, { nkey: await fileOf(defer, `# of the fleet\n${ours.seed}\n`) });
  await assert.rejects(logIn(url, {}), refused);
  await assert.rejects(logIn(url, { nkey: await fileOf(defer, theirs.seed) }), refused);
});

test("a password and a token are read from the first line of their files, again for each connection", async (defer) => {
  const server = await natsWith(defer, `authorization: { user: m, password: "p w:@/" }`);
  const passwordFile = await fileOf(defer, "wrong\n");
  await assert.rejects(logIn(server.url, { user: "m", passwordFile }), refused);
  await writeFile(passwordFile, "p w:@/\r\nnot this\n");
  await logIn(server.url, { user: "m", passwordFile });
  await logIn(server.url.replace("//", `//m:${encodeURIComponent("p w:@/")}@`), {});
  const other = await natsWith(defer, `authorization: { token: "t0ken" }`);
  await logIn(other.url, { tokenFile: await fileOf(defer, "t0ken") });
  await logIn(other.url.replace("//", "//t0ken@"), {});
  await assert.rejects(logIn(other.url, { tokenFile: await fileOf(defer, "other") }), refused);
});

test("a missing or wrong file is named, and its content is not shown", async (defer) => {
  const { url } = await startNats(defer);
  const path = await fileOf(defer, "SUSECRET\n");
  for (const field of ["creds", "nkey"] as const) {
    await assert.rejects(logIn(url, { [field]: path }), (error: Error) => {
      assert.ok(error.message.includes(path) && !error.message.includes("SUSECRET"), error.message);
      return true;
    });
    await assert.rejects(logIn(url, { [field]: `${path}-gone` }), /cannot read .*-gone: ENOENT/);
  }
});

test("a private authority vouches for a server, by name and by address", needsOpenssl, async (defer) => {
  const folder = await temporaryFolder(defer);
  const { ca, issue } = makeAuthority(folder);
  const stranger = makeAuthority(folder, "stranger");
  const byAddress = issue("address", "IP:127.0.0.1");
  const byName = issue("name", "DNS:localhost");
  const tls = ({ cert, key }: typeof byName) => `tls { cert_file: "${cert}", key_file: "${key}" }`;
  const [atAddress, atName] = [await natsWith(defer, tls(byAddress)), await natsWith(defer, tls(byName))];
  const named = `localhost:${atName.port}`;
  await logIn(`tls://127.0.0.1:${atAddress.port}`, { ca });
  await logIn(`tls://${named}`, { ca });
  // The options of a certificate ask for TLS by themselves.
  await logIn(`nats://${named}`, { ca });
  // A certificate for "localhost" is none for an address, and another one is none for "localhost".
  await assert.rejects(logIn(`tls://127.0.0.1:${atName.port}`, { ca }), /altnames/);
  await assert.rejects(logIn(`tls://localhost:${atAddress.port}`, { ca }), /altnames/);
  await assert.rejects(logIn(`tls://${named}`, { ca: stranger.ca }), /certificate/);
  await assert.rejects(logIn(`tls://${named}`, {}), /certificate/);
  // A server of the cluster that is known by its address only is checked by the name that was configured.
  await atAddress.stop();
  await logIn(`tls://localhost:${atAddress.port}`, { ca }, [`127.0.0.1:${atName.port}`]);
});

test("no login goes in the clear to a server without TLS, when TLS was asked for", needsOpenssl, async (defer) => {
  const { ca } = makeAuthority(await temporaryFolder(defer));
  const { url } = await startNats(defer);
  await assert.rejects(logIn(url, { ca, user: "m", passwordFile: await fileOf(defer, "pw") }), /tls/);
});

test(
  "a client certificate is shown, and a server that wants one refuses a node without",
  needsOpenssl,
  async (defer) => {
    const { ca, issue } = makeAuthority(await temporaryFolder(defer));
    const server = issue("server", "DNS:localhost,IP:127.0.0.1");
    const { cert, key } = issue("client", "DNS:client");
    const wanting = `ca_file: "${ca}", verify: true`;
    const { port } = await natsWith(
      defer,
      `tls { cert_file: "${server.cert}", key_file: "${server.key}", ${wanting} }`,
    );
    await logIn(`tls://127.0.0.1:${port}`, { ca, cert, key });
    // Again and again: what the server's refusal leaves of a socket must not end this process.
    for (let tries = 0; tries < 10; tries++) {
      await assert.rejects(logIn(`tls://127.0.0.1:${port}`, { ca }), /may want a client certificate/);
    }
  },
);

test("late lines from a server that refused a login end no process", async (defer) => {
  const { url } = await startNats(defer);
  await logIn(url, {});
  const isPassed = (fields: object): boolean => {
    const error = Object.assign(new Error("late"), fields);
    return !globalThis.dispatchEvent(new ErrorEvent("error", { error, cancelable: true }));
  };
  // As Deno emits it on a socket that nats.js no longer listens to.
  assert.equal(isPassed({ code: "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED" }), true);
  assert.equal(isPassed({ code: "ECONNRESET", syscall: "read" }), true);
});

test("nodes on both runtimes join over TLS with certificates and a creds file", {
  ...needsOpenssl,
  timeoutMs: 60_000,
}, async (defer) => {
  if (!("Bun" in globalThis)) return; // once: its subject is in processes of their own
  const folder = await temporaryFolder(defer);
  const { ca, issue } = makeAuthority(folder);
  const server = issue("server", "DNS:localhost");
  const { cert, key } = issue("client", "DNS:client");
  const { configuration, creds } = makeAccount();
  const wanting = `ca_file: "${ca}", verify: true`;
  const tls = `tls { cert_file: "${server.cert}", key_file: "${server.key}", ${wanting} }`;
  const { port } = await natsWith(defer, `${tls}\n${configuration}`);
  const login = ["--nats-creds", await fileOf(defer, creds), "--nats-ca", ca, "--nats-cert", cert, "--nats-key", key];
  const nodes = await Promise.all(
    bothRuntimes.map((kind) => startNode(defer, kind, ["--nats", `tls://localhost:${port}`, ...login])),
  );
  await assembled(nodes);
  for (const node of nodes) {
    const inList = Buffer.from(readFileSync(`/proc/${node.child.pid}/cmdline`)).toString();
    assert.ok(!inList.includes("SU") && !node.lines.join().includes("SU"), "no seed in the process list or the log");
  }
});
