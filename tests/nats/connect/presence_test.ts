import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { createServer, type Socket } from "node:net";
import { greets, lookAt } from "../../../lib/nats/connect/presence.ts";
import { ManualClock } from "../../support/clock.ts";
import { until } from "../../support/embedded-process.ts";
import { freePort } from "../../support/free-port.ts";
import { startNats, temporaryFolder } from "../../support/nats-server.ts";
import { type Defer, test } from "../../support/test.ts";

/** A server that is anything but NATS; answers its port, and the connections that it has taken. */
async function stranger(
  defer: Defer,
  onConnection: (socket: Socket) => void,
): Promise<{ port: number; taken: Socket[] }> {
  const taken: Socket[] = [];
  const port = await freePort();
  const server = createServer((socket) => {
    socket.on("error", () => {});
    taken.push(socket);
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  defer(() => {
    for (const socket of taken) socket.destroy();
    server.close();
  });
  return { port, taken };
}

test("a NATS server is seen by name, held through its pings, and missed when it dies", async (defer) => {
  const config = `${await temporaryFolder(defer)}/nats.conf`;
  await writeFile(config, JSON.stringify({ ping_interval: "200ms", ping_max: 2, server_name: "somebody" }));
  const monitorPort = await freePort();
  const server = await startNats(defer, { extraArgs: ["-c", config, "-m", String(monitorPort)] });
  const clock = new ManualClock();
  const sight = await lookAt({ port: server.port, clock });
  defer(() => sight.close());
  sight.hold();
  assert.equal(sight.presence, "nats");
  assert.equal(sight.serverName, "somebody");
  assert.equal(clock.pending, 0);
  let isLost = false;
  const lost = sight.lost.then(() => isLost = true);
  // A client that answers no PING is ended after the third, when it is 0.6 s old.
  const ageMs = async (): Promise<number> => {
    const page = await (await fetch(`http://127.0.0.1:${monitorPort}/connz`)).json();
    return page.connections.length === 0 ? 0 : Date.parse(page.now) - Date.parse(page.connections[0].start);
  };
  await until(async () => isLost || await ageMs() > 1_500, "it has outlived seven pings");
  assert.equal(isLost, false);
  await server.stop("SIGKILL");
  await lost;
});

test("where nothing listens no server is seen", async () => {
  const clock = new ManualClock();
  const sight = await lookAt({ port: await freePort(), clock });
  assert.equal(sight.presence, "nobody");
  await sight.lost;
  assert.equal(clock.pending, 0);
});

test("a greeting that comes in pieces is understood", async (defer) => {
  const { port, taken } = await stranger(defer, (socket) => socket.write('INFO {"server_'));
  const looking = lookAt({ port, clock: new ManualClock() });
  await until(() => taken.length === 1, "it has connected");
  taken[0]!.write('name":"x"}\r');
  taken[0]!.write("\n");
  const sight = await looking;
  assert.deepEqual([sight.presence, sight.serverName], ["nats", "x"]);
  sight.close();
  await sight.lost;
});

for (
  const [what, greeting] of [
    ["greets otherwise", "220 mail.example ESMTP\r\n"],
    ["says INFO and no JSON", "INFO {nonsense\r\n"],
    ["never ends its line", "INFO {" + "x".repeat(70_000)],
    ["says INFO twice before it is asked anything", "INFO {}\r\nINFO {}\r\n"],
    ["begins a second line before it is asked anything", "INFO {}\r\nI"],
  ] as const
) {
  test(`a server that ${what} is something other than NATS`, async (defer) => {
    const { port } = await stranger(defer, (socket) => socket.write(greeting));
    const sight = await lookAt({ port, clock: new ManualClock() });
    assert.equal(sight.presence, "other");
    await sight.lost;
  });
}

test("a server that ends the connection without a word is something other than NATS", async (defer) => {
  const { port } = await stranger(defer, (socket) => socket.end());
  assert.equal((await lookAt({ port, clock: new ManualClock() })).presence, "other");
});

test("a server that says nothing for two seconds is something other than NATS", async (defer) => {
  const { port, taken } = await stranger(defer, () => {});
  const clock = new ManualClock();
  const looking = lookAt({ port, clock });
  await until(() => taken.length === 1, "it has connected");
  await clock.advance(1_999);
  assert.equal(clock.pending, 1);
  await clock.advance(1);
  assert.equal((await looking).presence, "other");
});

test("a look for a greeting leaves no connection behind, and ends when it is given up", async (defer) => {
  const server = await startNats(defer);
  const live = new AbortController();
  assert.equal(await greets(`127.0.0.1:${server.port}`, { clock: new ManualClock(), signal: live.signal }), 0);
  const { port, taken } = await stranger(defer, () => {});
  const looking = greets(`127.0.0.1:${port}`, { clock: new ManualClock(), signal: live.signal });
  await until(() => taken.length === 1, "it has connected");
  live.abort();
  assert.equal(await looking, undefined);
  await until(() => taken[0]!.destroyed || taken[0]!.readyState !== "open", "the connection is closed");
});

test("a program that sends INFO without end is dropped after a megabyte, and costs the node no time", async (defer) => {
  let sentBytes = 0;
  const flood = "INFO {}\r\n".repeat(7_000);
  const { port } = await stranger(defer, (socket) => {
    socket.write("INFO {}\r\n");
    const pour = (): void => {
      while (!socket.destroyed) {
        sentBytes += flood.length;
        if (!socket.write(flood)) return;
      }
    };
    socket.once("data", pour);
    socket.on("drain", pour);
  });
  const sight = await lookAt({ port, clock: new ManualClock() });
  assert.equal(sight.presence, "nats");
  sight.hold();
  await sight.lost;
  // What the kernel holds for the two of them comes on top.
  assert.ok(sentBytes < 32 * 1024 * 1024, `${sentBytes} bytes were taken`);
});
