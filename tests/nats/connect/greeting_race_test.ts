/** Which server of a list a node takes. */
import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { connectOnce, parseNatsUrls } from "../../../lib/nats/connect/connection.ts";
import { GreetingRace } from "../../../lib/nats/connect/greeting-race.ts";
import { ManualClock } from "../../support/clock.ts";
import { freePort } from "../../support/free-port.ts";
import { startNats } from "../../support/nats-server.ts";
import { realClock } from "../../registry/support.ts";
import { type Defer, test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

/** A server that takes connections; what it says is up to the test. */
async function server(defer: Defer, onConnection: (socket: Socket) => void = () => {}) {
  const taken: Socket[] = [];
  const listener = createServer((socket) => {
    socket.on("error", () => {});
    socket.resume();
    taken.push(socket);
    onConnection(socket);
  });
  await new Promise<void>((listening) => listener.listen(0, "127.0.0.1", listening));
  defer(() => {
    for (const socket of taken) socket.destroy();
    listener.close();
  });
  const { port } = listener.address() as { port: number };
  return { taken, name: `127.0.0.1:${port}` };
}

const greet = (socket: Socket) =>
  void socket.write('INFO {"server_name":"x","version":"2.14.0","max_payload":1048576}\r\n');

function race(defer: Defer, servers: readonly string[]) {
  const clock = new ManualClock();
  const ending = new AbortController();
  const race = new GreetingRace(servers, { clock, timeoutMs: 2_000, signal: ending.signal });
  defer(() => race.close());
  return { clock, ending, race };
}

test("a server that swallows packets holds up the next one for 250 ms only", async (defer) => {
  const [silent, good, spare] = [await server(defer), await server(defer, greet), await server(defer, greet)];
  const { clock, race: looks } = race(defer, [silent.name, good.name, spare.name]);
  const next = looks.next();
  await until(() => silent.taken.length === 1, 5_000, () => "the first is looked at");
  await clock.advance(249);
  assert.equal(good.taken.length, 0);
  await clock.advance(1);
  assert.deepEqual(await next, { server: good.name, tookMs: 0 });
  await clock.advance(1_000);
  assert.equal(spare.taken.length, 0, "nobody has asked for another one");
  looks.close();
  assert.equal(clock.pending, 0);
  await until(() => silent.taken[0]!.readableEnded || silent.taken[0]!.destroyed, 5_000, () => "no connection is left");
});

test("a server that refuses costs no time, and one after the other is given until none is left", async (defer) => {
  const gone = `127.0.0.1:${await freePort()}`;
  const [one, two] = [await server(defer, greet), await server(defer, greet)];
  const { clock, race: looks } = race(defer, [gone, one.name, gone, two.name]);
  assert.equal((await looks.next())?.server, one.name);
  assert.equal((await looks.next())?.server, two.name);
  assert.equal(await looks.next(), undefined);
  assert.equal(clock.pending, 0);
});

test("if no server greets, the race ends with the last look's time", async (defer) => {
  const silent = [await server(defer), await server(defer)];
  const { clock, race: looks } = race(defer, silent.map(({ name }) => name));
  const next = looks.next();
  await until(() => silent[0]!.taken.length === 1, 5_000, () => "the first is looked at");
  await clock.advance(250);
  await until(() => silent[1]!.taken.length === 1, 5_000, () => "the second is looked at");
  await clock.advance(2_000);
  assert.equal(await next, undefined);
  assert.equal(clock.pending, 0);
});

test("an abandoned race looks at no further server", async (defer) => {
  const silent = await server(defer);
  const { clock, ending, race: looks } = race(defer, [silent.name, silent.name]);
  const next = looks.next();
  await until(() => silent.taken.length === 1, 5_000, () => "the first is looked at");
  ending.abort();
  assert.equal(await next, undefined);
  assert.equal(await looks.next(), undefined);
  assert.deepEqual([clock.pending, silent.taken.length], [0, 1]);
});

test("a node connects to the server that answers, wherever in the list the others stand", async (defer) => {
  const nats = await startNats(defer);
  const silent = await server(defer);
  // It greets, and then it hangs.
  const stuck = await server(defer, greet);
  const urls = [`nats://${silent.name}`, `nats://${stuck.name}`, nats.url];
  const how = { name: "test", timeoutMs: 500, clock: realClock, signal: new AbortController().signal };
  for (const order of [urls, [...urls].reverse()]) {
    const { connection } = await connectOnce(parseNatsUrls(order), new Set(), how);
    assert.equal(connection.getServer(), `127.0.0.1:${nats.port}`);
    await connection.close();
  }
});
