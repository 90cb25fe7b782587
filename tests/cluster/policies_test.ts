/**
 * One node of three lets its values live for a shorter time than the others. Its clients get nothing older, whichever node owns
 * the key. Both runtimes take their turn. Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as passed } from "node:timers/promises";
import { startBadOrigin } from "../support/bad-origin.ts";
import { startNats } from "../support/nats-server.ts";
import { assembled, type NodeProcess, startNode, temporaryDirectory } from "../support/node.ts";
import { askRaw } from "../support/raw-client.ts";
import { test } from "../support/test.ts";

const KEYS = 100;
const TTL_MS = 2_000;
/** From the origin's word to the node's look at its clock, on a busy machine. */
const UNDER_WAY_MS = 1_000;

test(
  "a node's clients get nothing that is older than its own policy allows",
  { timeoutMs: 60_000 },
  async (defer) => {
    // Each answer says when it was made, and has no lifetime of its own.
    const loads: string[] = [];
    const [nats, origin] = await Promise.all([
      startNats(defer),
      startBadOrigin(defer, ({ path }) => {
        loads.push(path);
        const body = String(performance.now());
        return [`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`];
      }),
    ]);
    const folder = temporaryDirectory(defer);
    for (const kind of ["bun", "deno"] as const) {
      const nodes = await Promise.all(([kind, "bun", "deno"] as const).map((runtime, i) => {
        const path = join(folder, `${i}.json`);
        const policy = i === 0 ? { ttlMs: TTL_MS, ttlJitter: 0 } : {};
        writeFileSync(path, JSON.stringify({ groups: { words: { origin: `${origin.url}/{key}`, ...policy } } }));
        return startNode(defer, runtime, ["--nats", nats.url, "--config", path, "--bucket", `of-${kind}`]);
      }));
      await assembled(nodes, "words");
      const [strict, ...lenient] = nodes as [NodeProcess, ...NodeProcess[]];
      const madeAtMs = async (node: NodeProcess, k: number) => {
        const { status, body } = await askRaw(node.url, { target: `/cache/words/${kind}-${k}` });
        assert.equal(status, 200);
        return Number(body);
      };
      const keys = Array.from({ length: KEYS }, (_, k) => k);
      const first = await Promise.all(keys.map((k) => madeAtMs(lenient[k % 2]!, k)));
      const until = performance.now() + 2 * TTL_MS;
      while (performance.now() < until) await passed(until - performance.now());
      const sinceMs = performance.now();
      for (let round = 0; round < 3; round++) {
        for (const k of keys) {
          const oldestMs = performance.now() - TTL_MS - UNDER_WAY_MS;
          assert.ok(await madeAtMs(strict, k) >= oldestMs, `${kind}: key ${k} in round ${round}`);
        }
      }
      // All values are new at the start of the rounds, and again each time they expire.
      const spans = 1 + Math.ceil((performance.now() - sinceMs) / TTL_MS);
      assert.ok(loads.length <= KEYS + spans * KEYS, `${loads.length} loads`);
      // The others go by their own policy.
      const kept = await Promise.all(keys.map((k) => madeAtMs(lenient[k % 2]!, k)));
      assert.ok(kept.filter((atMs, k) => atMs === first[k]).length > KEYS / 3);
      loads.length = 0;
      await Promise.all(nodes.map((node) => node.end("SIGKILL")));
    }
  },
);
