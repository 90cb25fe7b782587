/** Whoever answers in the place of a peer: the node is `a`, and dials `b`. */
import assert from "node:assert/strict";
import { PeerError } from "../../../lib/core/errors.ts";
import { createServer } from "node:net";
import { PeerHub } from "../../../lib/peer/hub.ts";
import { identityOf } from "../../support/identity.ts";
import { MemoryLog } from "../../support/log.ts";
import { type Defer, test } from "../../support/test.ts";
import { getBy, MemoryNetwork } from "../memory.ts";
import { answerToClaim } from "../raw.ts";
import { record, systemClock, valueOf } from "../support.ts";

const FORBIDDEN = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
const probed = { timeoutMs: 200 };

/** Answers the first request of each connection with `first`, and each later one with a 403. */
async function impostor(defer: Defer, first: (head: Uint8Array) => Promise<string>) {
  const heads: string[] = [];
  const server = createServer((socket) => {
    defer(() => socket.destroy());
    socket.on("error", () => {});
    let isFirst = true;
    socket.on("data", async (head) => {
      heads.push(head.toString("latin1"));
      const answer = isFirst ? first(head) : FORBIDDEN;
      isFirst = false;
      socket.write(await answer);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  defer(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as { port: number }).port}`, heads };
}

function dialer(defer: Defer, log: MemoryLog): PeerHub {
  const self = { name: "a", incarnation: "01-a" };
  const a = new PeerHub({
    self,
    identity: identityOf(self),
    groups: ["dict"],
    revisions: () => ({}),
    service: { get: getBy(() => valueOf("x")) },
    clock: systemClock,
    log,
  });
  defer(() => a.close());
  return a;
}

const until = async (holds: () => boolean) => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 5));
};

test("an end without the peer's key gets no proof, and is no sign of life, whatever it answers", async (defer) => {
  const others: ((head: Uint8Array) => Promise<string>)[] = [
    (head) => answerToClaim(head, record("c")),
    (head) => answerToClaim(head, record("b", "http://b", "02-b")),
    async (head) => (await answerToClaim(head, record("b"))).replace(/(?<=Challenge: )./, (c) => c === "_" ? "-" : "_"),
    () => Promise.resolve("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n"),
    () => Promise.resolve("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\nMuster-Challenge: x y\r\n\r\n"),
    () => Promise.resolve(FORBIDDEN),
  ];
  await Promise.all(others.map(async (other, i) => {
    const log = new MemoryLog();
    const { url, heads } = await impostor(defer, other);
    const a = dialer(defer, log);
    a.setPeers([record("b", url)]);
    await until(() => heads.length >= 3);
    assert.ok(heads.every((head) => !/muster-proof|upgrade/i.test(head)), `${i}: ${heads}`);
    await assert.rejects(a.link("b")!.probe(probed), PeerError, `${i}`);
    assert.equal(a.stats()[0]!.state, "down");
    const expected = i < 5 ? /impostor: another node answers there/ : /unreachable: the claim was answered with 403/;
    assert.match(log.lines.join("\n"), expected, `${i}`);
  }));
});

test("an answer that was recorded from the peer is no use at another dial", async (defer) => {
  let recorded: Promise<string> | undefined;
  const { url, heads } = await impostor(defer, (head) => recorded ??= answerToClaim(head, record("b")));
  const a = dialer(defer, new MemoryLog());
  a.setPeers([record("b", url)]);
  // The first dial was answered by the peer itself, and refused; the others hear the record.
  await until(() => heads.length >= 4);
  assert.deepEqual(heads.map((head) => /muster-proof/i.test(head)), [false, true, ...heads.slice(2).map(() => false)]);
  await assert.rejects(a.link("b")!.probe(probed), PeerError);
});

test("a peer that has proved itself and refuses the upgrade is alive", async (defer) => {
  const { url, heads } = await impostor(defer, (head) => answerToClaim(head, record("b")));
  const a = dialer(defer, new MemoryLog());
  a.setPeers([record("b", url)]);
  await until(() => heads.length >= 3);
  await a.link("b")!.probe(probed);
  assert.notEqual(a.stats()[0]!.state, "open");
});

test("a peer with another key in the roster is another life, also under the same incarnation", async (defer) => {
  const net = new MemoryNetwork();
  const [a, b] = [net.hub("a"), net.hub("b")];
  defer(() => a.close());
  defer(() => b.close());
  b.setPeers([record("a", "http://a")]);
  a.setPeers([record("b", "http://b")]);
  await net.tick();
  const link = a.peer("b");
  a.setPeers([{ ...record("b", "http://b"), key: record("c").key }]);
  assert.notEqual(a.peer("b"), link);
  await net.clock.advance(1_000);
  assert.equal(a.stats()[0]!.state, "down");
});

test("a peer that leaves the roster between its proof and its hello is not welcomed", async (defer) => {
  const net = new MemoryNetwork();
  const [a, b] = [net.hub("a"), net.hub("b")];
  defer(() => a.close());
  defer(() => b.close());
  b.setPeers([record("a", "http://a")]);
  a.setPeers([record("b", "http://b")]);
  net.dialed[0]!.stalled = true;
  await net.tick();
  b.setPeers([]);
  net.dialed[0]!.deliver();
  await net.tick();
  assert.notEqual(net.dialed[0]!.closedWith, undefined);
  assert.notEqual(a.stats()[0]!.state, "open");
});
