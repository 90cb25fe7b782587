import assert from "node:assert/strict";
import { createServer, type Socket } from "node:net";
import { BoundedTransport } from "../../../lib/nats/connect/transport.ts";
import { test } from "../../support/test.ts";

test("an error of a socket that the client has closed does not end the process", async (defer) => {
  const accepted: Socket[] = [];
  const server = createServer((socket) => {
    accepted.push(socket);
    socket.write('INFO {"server_id":"x","version":"2.14.0","max_payload":1048576}\r\n');
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(async () => {
    for (const socket of accepted) socket.destroy();
    await new Promise((closed) => server.close(closed));
  });
  const { port } = server.address() as { port: number };
  const transport = new BoundedTransport();
  await transport.connect({ hostname: "127.0.0.1", port, tlsName: "" }, {});
  const { socket } = transport;
  await transport.close();
  // Without a listener an emitter throws this error.
  socket.emit("error", new Error("write after end"));
  assert.equal(socket.destroyed, true);
});
