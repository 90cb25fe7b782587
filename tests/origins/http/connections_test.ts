import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { Connections } from "../../../lib/origins/http/connections.ts";
import { SiteOrigin } from "../../../lib/origins/http/site-origin.ts";
import { TemplateOrigin } from "../../../lib/origins/http/template-origin.ts";
import { systemClock } from "../../../lib/runtime/process.ts";
import { settle } from "../../support/clock.ts";
import { test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

const never = new AbortController().signal;

/** A connection that closes when the test says so. */
class FakeSocket extends EventEmitter {
  destroyed = false;
  closed = false;
  destroy(): void {
    this.destroyed = true;
  }
  end(): void {
    this.closed = true;
    this.emit("close");
  }
}

function agent() {
  const sockets: FakeSocket[] = [];
  const freeSockets: FakeSocket[] = [];
  const byName = (list: FakeSocket[]) => ({ "a:1": list as unknown as Socket[] });
  return { fake: { sockets, freeSockets }, agent: { sockets: byName(sockets), freeSockets: byName(freeSockets) } };
}

function settled(promise: Promise<void>): () => boolean {
  let isSettled = false;
  void promise.then(() => isSettled = true, () => {});
  return () => isSettled;
}

test("an idle connection is closed in favour of a new one, which waits until it has closed", async () => {
  const connections = new Connections();
  const [kept, once] = [agent(), agent()];
  connections.add(kept.agent, once.agent);
  connections.bound(2);
  const [idle, used] = [new FakeSocket(), new FakeSocket()];
  kept.fake.freeSockets.push(idle);
  once.fake.sockets.push(used);
  connections.uses(used as unknown as Socket);
  assert.equal(connections.hasRoom(kept.agent), true, "it can go over the idle one");
  assert.equal(connections.hasRoom(undefined), false);
  assert.equal(idle.destroyed, true);
  // Node's agents forget such a connection at their next request, before it has closed.
  kept.fake.freeSockets.pop();
  assert.equal(connections.hasRoom(undefined), false);
  const isChanged = settled(connections.changed(never));
  await settle();
  assert.equal(isChanged(), false);
  idle.end();
  await settle();
  assert.equal(isChanged(), true);
  assert.equal(connections.hasRoom(undefined), true);
});

test("a request waits for a connection in use or closing; a leaving caller stops waiting", async () => {
  const connections = new Connections();
  const { fake, agent: made } = agent();
  connections.add(made);
  connections.bound(1);
  const used = new FakeSocket();
  fake.sockets.push(used);
  connections.uses(used as unknown as Socket);
  assert.equal(connections.hasRoom(made), false);
  const leaving = new AbortController();
  const left = assert.rejects(connections.changed(leaving.signal), /left/);
  leaving.abort(new Error("left"));
  await left;
  const isChanged = settled(connections.changed(never));
  fake.freeSockets.push(fake.sockets.pop()!);
  connections.freed();
  await settle();
  assert.equal(isChanged(), true);
  assert.equal(connections.hasRoom(made), true);
  // The connections of a removed client count until they have closed.
  connections.remove(made);
  assert.equal(connections.hasRoom(undefined), false);
  used.end();
  assert.equal(connections.hasRoom(undefined), true);
  await assert.rejects(connections.changed(AbortSignal.abort(new Error("gone"))), /gone/);
});

test("without a limit there is always room", () => {
  const connections = new Connections();
  const { fake, agent: made } = agent();
  connections.add(made);
  for (let i = 0; i < 100; i++) fake.sockets.push(new FakeSocket());
  assert.equal(connections.hasRoom(undefined), true);
});

test("an origin that redirects to itself sees no more connections than it may", async (defer) => {
  let [open, most] = [0, 0];
  const server = createServer(({ url }, response) => {
    response.writeHead(url!.startsWith("/to/") ? 200 : 302, { location: `/to${url}`, "content-length": 2 }).end("hi");
  });
  server.on("connection", (socket) => {
    most = Math.max(most, ++open);
    socket.on("close", () => open--);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const origin = new TemplateOrigin({ template: `http://127.0.0.1:${port}/{key}` }, { clock: systemClock });
  defer(() => origin.close());
  origin.keepIdle(3);
  for (let round = 0; round < 3; round++) {
    const loads = ["a", "b", "c"].map((key) => origin.load(key + round, never));
    for (const { status = 200 } of await Promise.all(loads)) assert.equal(status, 200);
    // The server may not have heard yet that a connection has ended.
    await until(() => open <= 3, 5_000, () => `${open} are open`);
  }
  assert.ok(open <= 3 && most <= 6, `${open} are open, ${most} were`);
});

test("an origin that another one replaces keeps no idle connections, and its loads go on", async (defer) => {
  const open = new Set<Socket>();
  const held: (() => void)[] = [];
  const server = createServer(({ url }, response) => {
    if (url === "/held") held.push(() => response.end("held"));
    else response.end("hi");
  });
  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  for (const kind of [TemplateOrigin, SiteOrigin]) {
    const [template, base] = [`http://127.0.0.1:${port}/{key}`, `http://127.0.0.1:${port}/`];
    const origin = new kind({ template, base }, { clock: systemClock });
    defer(() => origin.close());
    origin.keepIdle(3);
    const slow = origin.load("held", never);
    await until(() => held.length === 1, 5_000, () => "it was not asked");
    await Promise.all(["a", "b"].map((key) => origin.load(key, never)));
    assert.equal(open.size, 3);
    origin.retire();
    await until(() => open.size === 1, 5_000, () => `${open.size} are open`);
    for (const key of ["c", "d", "e"]) await origin.load(key, never);
    held.pop()!();
    assert.equal(new TextDecoder().decode((await slow).body), "held");
    await until(() => open.size === 0, 5_000, () => `${open.size} are open`);
  }
});

test("a redirect to one host more ends no load that is under way to another", async (defer) => {
  const held: (() => void)[] = [];
  const server = createServer(({ url, headers: { host } }, response) => {
    const [, key] = url!.split("/");
    if (host!.startsWith("127.")) {
      response.writeHead(302, { location: `http://${key}.test:${host!.split(":")[1]}/${key}`, "content-length": 0 })
        .end();
    } else if (key === "held") held.push(() => response.end("held"));
    else response.end("hi");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  defer(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const lookup = ((_host: string, options: { all?: boolean }, found: (...args: unknown[]) => void) => {
    if (options.all) found(null, [{ address: "127.0.0.1", family: 4 }]);
    else found(null, "127.0.0.1", 4);
  }) as never;
  const origin = new TemplateOrigin({ template: `http://127.0.0.1:${port}/{key}` }, { clock: systemClock, lookup });
  defer(() => origin.close());
  const slow = origin.load("held", never);
  await until(() => held.length === 1, 5_000, () => "it was not asked");
  for (let i = 0; i < 20; i++) await origin.load(`k${i}`, never);
  held[0]!();
  assert.equal(new TextDecoder().decode((await slow).body), "held");
});
