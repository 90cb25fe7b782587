/**
 * The limit of an origin for the whole cluster, while nodes join, are killed and come back.
 * Runs once, alone: it keeps five processes busy, and judges moments.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { startNats } from "../support/nats-server.ts";
import {
  assembled,
  listening,
  type NodeProcess,
  type RuntimeKind,
  spawnNode,
  temporaryDirectory,
} from "../support/node.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";

const SLOTS = 8;
/** How long a request takes at the origin, in milliseconds: at least, and by how much more at most. */
const [LEAST_MS, MORE_MS] = [50, 350];
/** Of each node. Chosen: enough that all slots are always taken, so that a share that grows too early is seen. */
const CLIENTS = 8;
/** Short, as a larger share is used only after it and two seconds more. */
const LOAD_TIMEOUT_MS = 1_000;

interface CountingOrigin {
  readonly url: string;
  readonly open: () => number;
  /** The most requests that were ever open. */
  readonly most: () => number;
  /** The most connections, idle ones included, that were ever open. */
  readonly mostConnections: () => number;
  readonly served: () => number;
  /** Forgets the most. */
  reset(): void;
}

/** How many connections to a local port their clients hold open, as Linux lists them. */
function establishedTo(port: number): number {
  const remote = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = readFileSync("/proc/net/tcp", "latin1").split("\n").map((row) => row.trim().split(/\s+/));
  return rows.filter(([, , to, state]) => to?.endsWith(remote) && state === "01").length;
}

async function startCountingOrigin(defer: Defer): Promise<CountingOrigin> {
  let [open, most, served] = [0, 0, 0];
  let [connections, mostConnections] = [0, 0];
  const server = createServer((_request, response) => {
    most = Math.max(most, ++open);
    const timer = setTimeout(() => {
      served++;
      response.end("value");
    }, LEAST_MS + Math.random() * MORE_MS);
    // Also when the client has gone.
    response.on("close", () => {
      open--;
      clearTimeout(timer);
    });
  });
  // An idle connection stays until the node closes it.
  server.keepAliveTimeout = 0;
  server.on("connection", (socket) => {
    connections++;
    socket.on("close", () => connections--);
  });
  // This process may hear of a new connection before it hears of an older one's end, so where it counts too many, the
  // kernel has the word: an end that its client has closed is established no more.
  const look = setInterval(() => {
    const { port } = server.address() as AddressInfo;
    const open = connections <= SLOTS ? connections : establishedTo(port);
    mostConnections = Math.max(mostConnections, open);
  }, 10);
  defer(() => clearInterval(look));
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  defer(() => {
    server.closeAllConnections();
    return new Promise((closed) => server.close(closed));
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    open: () => open,
    most: () => most,
    mostConnections: () => mostConnections,
    served: () => served,
    reset: () => void (most = open),
  };
}

/** The limit of each node by its own figures. */
async function limitsOf(nodes: readonly NodeProcess[]): Promise<number[]> {
  return await Promise.all(nodes.map(async (node) => {
    const { groups } = await node.stats() as unknown as { groups: { slow: { guard: { limit: number } } } };
    return groups.slow.guard.limit;
  }));
}

test("five nodes never have a ninth request at the origin, also while two are killed and come back", {
  timeoutMs: 120_000,
}, async (defer) => {
  const [nats, origin] = await Promise.all([startNats(defer), startCountingOrigin(defer)]);
  const path = join(temporaryDirectory(defer), "muster.json");
  const policy = { maxConcurrent: SLOTS, maxQueued: 1_000, queueTimeoutMs: 500, loadTimeoutMs: LOAD_TIMEOUT_MS };
  writeFileSync(path, JSON.stringify({ groups: { slow: { origin: `${origin.url}/{key}`, ...policy } } }));
  const kinds: RuntimeKind[] = ["bun", "deno", "bun", "deno", "bun"];
  const start = (at: number) => {
    const options = ["--addr", "127.0.0.1:0", "--name", `n${at}`, "--nats", nats.url, "--config", path];
    return spawnNode(defer, kinds[at]!, [...options, "--poll-interval", "100ms", "--poll-misses", "3"]);
  };
  const nodes = kinds.map((_, at) => start(at));

  // Clients of every node that listens, with keys that no node has: from before the nodes know of each other.
  let isOver = false;
  let count = 0;
  const statuses = new Map<number, number>();
  const client = async (at: number) => {
    while (!isOver) {
      const node = nodes[at]!;
      if (node.url === "" || node.exitCode !== undefined) await new Promise((goOn) => setTimeout(goOn, 20));
      else {
        const answer = await fetch(`${node.url}/cache/slow/${count++}`).then(async (response) => {
          await response.arrayBuffer();
          return response.status;
        }).catch(() => 0);
        statuses.set(answer, (statuses.get(answer) ?? 0) + 1);
      }
    }
  };
  const clients = Promise.all(nodes.flatMap((_, at) => Array.from({ length: CLIENTS }, () => client(at))));
  defer(() => {
    isOver = true;
    return clients;
  });
  const allAtWork = async (what: string) => {
    await assembled(nodes, "slow", 30_000);
    let limits: number[] = [];
    const sum = () => limits.reduce((total, limit) => total + limit, 0);
    await until(
      async () => {
        limits = await limitsOf(nodes);
        assert.ok(sum() <= SLOTS, `${what}: ${limits}`);
        return sum() === SLOTS;
      },
      20_000,
      () => `${what}: the shares never came to ${SLOTS}: ${limits}`,
    );
    origin.reset();
    await until(() => origin.most() === SLOTS, 20_000, () => `${what}: at most ${origin.most()} at once`);
  };
  const noNinth = setInterval(() => assert.ok(origin.most() <= SLOTS, `${origin.most()} at once`), 50);
  defer(() => clearInterval(noNinth));

  await Promise.all(nodes.map(listening));
  await allAtWork("cold start");
  for (const round of [1, 2]) {
    const killed = round === 1 ? [0, 1] : [2, 3];
    await Promise.all(killed.map((at) => nodes[at]!.end("SIGKILL")));
    const before = origin.served();
    await until(() => origin.served() > before + 50, 20_000, () => "the survivors load nothing");
    for (const at of killed) nodes[at] = start(at);
    await Promise.all(killed.map((at) => listening(nodes[at]!)));
    await allAtWork(`round ${round}`);
  }
  isOver = true;
  await clients;

  // No key is without a node that may load it, whichever node is asked; one that is busy says to come again.
  await Promise.all(nodes.map(async ({ url }, at) => {
    for (let round = 0; round < 5; round++) {
      let answer = "";
      const ask = async () => {
        const response = await fetch(`${url}/cache/slow/last-${round}-${at}`);
        answer = `${response.status} ${await response.text()}`;
        return response.status !== 503;
      };
      await until(ask, 10_000, () => `${url}: ${answer}`);
      assert.equal(answer, "200 value");
    }
  }));
  assert.ok(origin.most() <= SLOTS, `${origin.most()} at once`);
  assert.ok(origin.mostConnections() <= SLOTS, `${origin.mostConnections()} connections at once`);
  // The others came when no node was listed yet, waited too long for a slot, or asked a node that was killed.
  const seen = [...statuses.keys()].sort((a, b) => a - b);
  assert.deepEqual(seen.filter((status) => ![0, 200, 503, 504].includes(status)), []);
});
