/** Dialing with networks: what counts is the address that a name has at that moment. */
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { PeerNetworks } from "../../../lib/config/texts/networks.ts";
import { dialTcp } from "../../../lib/peer/socket/tcp.ts";
import { test } from "../../support/test.ts";
import { until } from "../../support/until.ts";

/** For an end that speaks with nobody in particular. */
const TRUSTING = { claim: "claim", answer: () => Promise.resolve("proof") };

test("no connection is made to an address outside the networks, given by itself or by a name", async (defer) => {
  let connections = 0;
  const server = createServer((socket) => (connections++, socket.destroy()));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => server.close());
  const { port } = server.address() as { port: number };
  const closed = (url: string, networks: PeerNetworks) =>
    new Promise<string>((done) => {
      dialTcp(url, TRUSTING, networks).handler = { opened: () => done("opened"), received: () => {}, closed: done };
    });
  const elsewhere = new PeerNetworks(["10.0.0.0/8"]);
  for (const scheme of ["ws", "wss"]) {
    assert.throws(() => dialTcp(`${scheme}://127.0.0.1:${port}`, TRUSTING, elsewhere), /outside --peer-networks/);
    assert.equal(
      await closed(`${scheme}://localhost:${port}`, elsewhere),
      "localhost has no address in --peer-networks",
    );
  }
  assert.equal(connections, 0);
  const here = new PeerNetworks(["127.0.0.0/8"]);
  for (const host of ["127.0.0.1", "localhost"]) await closed(`ws://${host}:${port}`, here);
  await until(() => connections === 2, 5_000, () => `${connections} connections`);
});
