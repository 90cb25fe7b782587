import assert from "node:assert/strict";
import { PeerNetworks, readNetworks } from "../../../lib/config/texts/networks.ts";
import { test } from "../../support/test.ts";

test("networks are read as they are meant, and nothing else is taken", () => {
  assert.deepEqual(readNetworks("10.0.0.0/8, 192.168.1.7,fd00::/8,::1"), [
    "10.0.0.0/8",
    "192.168.1.7/32",
    "fd00::/8",
    "::1/128",
  ]);
  const wrong = [
    "",
    "10",
    "10.1/16",
    "10.0.0.0/33",
    "fd00::/129",
    "host",
    "10.0.0.0/8,",
    "0x0a000000/8",
    "10.0.0.0/8/8",
  ];
  for (const text of [...wrong, Array(101).fill("10.0.0.1").join()]) {
    assert.equal(readNetworks(text), undefined, text);
  }
});

test("an address is judged by its bits, however it is written", () => {
  const networks = new PeerNetworks(readNetworks("10.1.0.0/16,fd00::/8,127.0.0.1")!);
  const inside = ["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3", "::ffff:0a01:0203", "fd12::1", "127.0.0.1"];
  const outside = [
    "10.2.0.0",
    "127.0.0.2",
    "::ffff:10.2.0.1",
    "fe80::1",
    "::1",
    "0.0.0.0",
    "::",
    "localhost",
    "",
    "10.1",
  ];
  for (const address of inside) assert.equal(networks.isAllowed(address), true, address);
  for (const address of outside) assert.equal(networks.isAllowed(address), false, address);
  assert.equal(new PeerNetworks([]).isAllowed("8.8.8.8"), true);
});

test("the host of a URL is judged at once when it is an address", () => {
  const networks = new PeerNetworks(["10.0.0.0/8"]);
  // URL reads the other forms of an address as that address.
  for (const host of ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"]) {
    assert.match(networks.faultOf(`http://${host}:1`) ?? "", /outside --peer-networks/, host);
  }
  for (const host of ["10.1.2.3", "[::ffff:10.1.2.3]", "localhost"]) {
    assert.equal(networks.faultOf(`http://${host}:1`), undefined);
  }
});

test("a name is judged by what it resolves to, at the moment of the connection", async () => {
  const look = (networks: string[], all: boolean) =>
    new Promise<unknown>((done) =>
      new PeerNetworks(networks).lookup.lookup!("localhost", { all }, (error, found) => done(error?.message ?? found))
    );
  assert.equal(await look(["10.0.0.0/8"], true), "localhost has no address in --peer-networks");
  assert.equal(await look(["127.0.0.0/8"], false), "127.0.0.1");
  assert.deepEqual(await look(["127.0.0.0/8"], true), [{ address: "127.0.0.1", family: 4 }]);
  assert.equal(new PeerNetworks([]).lookup.lookup, undefined, "where all are allowed, the system looks it up");
});
