/** Asking another node whether it still runs, over real sockets. */
import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { PeerNetworks } from "../../../lib/config/texts/networks.ts";
import type { PeerRecord } from "../../../lib/core/roster.ts";
import { Challenges } from "../../../lib/peer/proof/challenges.ts";
import { challengeText, fieldOf, readClaim } from "../../../lib/peer/proof/fields.ts";
import { isAlive } from "../../../lib/peer/proof/is-alive.ts";
import { verify } from "../../../lib/peer/proof/keys.ts";
import { freePort } from "../../support/free-port.ts";
import { identityOf } from "../../support/identity.ts";
import { type Defer, test } from "../../support/test.ts";
import { record, systemClock } from "../support.ts";

const ASKER = record("a", "http://127.0.0.1:1", "02-a");
const prover = { self: ASKER, identity: identityOf(ASKER), verify };
const ask = (peer: PeerRecord, timeoutMs = 20_000) => isAlive(prover, peer, { timeoutMs });

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;

/** The URL of a server that answers so. */
async function serve(defer: Defer, answer: Answer): Promise<string> {
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  defer(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** What a node of this name and life says, which has the key of `signer`. */
function nodeOf({ name, incarnation }: PeerRecord, signer: PeerRecord): Answer {
  const challenges = new Challenges({ clock: systemClock, validMs: 5_000, maxUsed: 10 });
  return async ({ url, headers }, response) => {
    if (url !== "/_peer") return response.end(JSON.stringify({ status: "alive", name, incarnation }));
    const claim = readClaim(headers["muster-claim"] as string)!;
    const challenge = challenges.make();
    const signature = await identityOf(signer).sign(challengeText(claim, { name, incarnation }, challenge));
    response.writeHead(426, { "muster-challenge": fieldOf({ challenge, signature }) }).end();
  };
}

test("the node of the record is alive, also when it stands still for more than a second", async (defer) => {
  const node = record("a");
  const said = nodeOf(node, node);
  const url = await serve(defer, (request, response) => setTimeout(() => said(request, response), 1_200));
  assert.equal(await ask({ ...node, url }), true);
});

test("a node that is silent for the whole time is gone, and so is a closed port", async (defer) => {
  assert.equal(await ask(record("a", await serve(defer, () => {})), 50), false);
  assert.equal(await ask(record("a", `http://127.0.0.1:${await freePort()}`)), false);
});

test("a program at a node's address that knows its name and life is not mistaken for the node", async (defer) => {
  const node = record("a");
  const mallory = record("mallory");
  const other = record("a", node.url, "00-a");
  const answers: Record<string, Answer> = {
    "a key of its own": nodeOf(node, mallory),
    "another life": nodeOf(other, other),
    "another name": nodeOf(mallory, mallory),
    "no challenge": (_, response) => response.writeHead(426).end(),
    "nonsense": (_, response) => response.writeHead(426, { "muster-challenge": "x".repeat(138) }).end(),
    // All that a node asked for before.
    "its name and life": (_, response) => response.end(JSON.stringify({ name: "a", incarnation: node.incarnation })),
    "a redirect to the node": (_, response) => response.writeHead(302, { location: "http://127.0.0.1:1/_peer" }).end(),
  };
  for (const [what, answer] of Object.entries(answers)) {
    assert.equal(await ask({ ...node, url: await serve(defer, answer) }), false, what);
  }
});

test("an address outside the peers' networks is not asked, named by itself or by a name", async (defer) => {
  const url = await serve(defer, () => assert.fail("it was asked"));
  const networks = new PeerNetworks(["10.0.0.0/8"]);
  for (const place of [url, url.replace("127.0.0.1", "localhost"), url.replace("127.0.0.1", "[::ffff:127.0.0.1]")]) {
    assert.equal(await isAlive(prover, record("a", place), { timeoutMs: 20_000, networks }), false);
  }
});
