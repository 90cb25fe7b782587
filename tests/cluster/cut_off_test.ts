/**
 * One node of three has no way to the origin. Its keys are served by every node, it says so, and it finds the way again. Both
 * runtimes take their turn. Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { startBadOrigin } from "../support/bad-origin.ts";
import { startNats } from "../support/nats-server.ts";
import { assembled, assertLoadedOnce, type NodeProcess, startNode, temporaryDirectory } from "../support/node.ts";
import { askRaw } from "../support/raw-client.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";

const KEYS = 40;
const kinds = ["bun", "deno", "bun"] as const;

test(
  "keys of a node without a way to the origin are served by all nodes, and it says so",
  { timeoutMs: 60_000 },
  async (defer) => {
    let cutOff = "";
    const answered: string[] = [];
    const [nats, origin] = await Promise.all([
      startNats(defer),
      startBadOrigin(defer, ({ head, path }) => {
        if (new RegExp(`^x-node: ${cutOff}\r?$`, "im").test(head)) return ["RESET"];
        answered.push(path);
        return [`HTTP/1.1 200 OK\r\nContent-Length: ${path.length}\r\n\r\n${path}`];
      }),
    ]);
    const folder = temporaryDirectory(defer);
    const nodes = await Promise.all(kinds.map((kind, i) => {
      const path = join(folder, `${i}.json`);
      // A field's value is no part of what nodes compare.
      const group = { origin: `${origin.url}/{key}`, headers: { "x-node": `n${i}` } };
      const site = { origin: `${origin.url}/site/*` };
      writeFileSync(path, JSON.stringify({ groups: { words: group, site } }));
      return startNode(defer, kind, ["--nats", nats.url, "--config", path, "--log", "text"]);
    }));
    await assembled(nodes, "words");
    const get = async (node: NodeProcess, target: string) => {
      const { status, body } = await askRaw(node.url, { target });
      return `${status} ${body}`;
    };
    for (const [i, lost] of [nodes[0]!, nodes[1]!].entries()) {
      cutOff = `n${i}`;
      answered.length = 0;
      for (let k = 0; k < KEYS; k++) {
        const path = `/k${i}-${k}`;
        const all = await Promise.all(nodes.map((node) => get(node, `/cache/words${path}`)));
        assert.deepEqual(all, nodes.map(() => `200 ${path}`), `key ${path} with n${i} cut off`);
      }
      const paths = Array.from({ length: KEYS }, (_, k) => `/k${i}-${k}`);
      await assertLoadedOnce(nodes, "words", answered, paths);
      // For a second after an answer of the origin, one request of many may be lost without a word.
      let k = KEYS;
      const told = () => lost.lines.filter((line) => line.includes("cannot reach the origin of words"));
      await until(
        async () => {
          await get(lost, `/cache/words/k${i}-${k++}`);
          return told().length > 0;
        },
        10_000,
        () => lost.lines.join("\n"),
      );
      const ready = await askRaw(lost.url, { target: "/readyz" });
      assert.equal(ready.status, 200);
      assert.match(JSON.parse(ready.body).origins.words, /^unreachable since \d{4}-\d\d-\d\dT/);
      const { groups } = await lost.stats() as unknown as {
        groups: Record<string, { originUnreachable: number; originUnreachableSince?: string }>;
      };
      assert.equal(groups.words!.originUnreachable, 1);
      assert.match(groups.words!.originUnreachableSince!, /^\d{4}-/);
      assert.match(
        (await askRaw(lost.url, { target: "/metrics" })).body,
        /^muster_origin_unreachable\{group="words"\} 1$/m,
      );
      for (const node of nodes) {
        if (node !== lost) {
          assert.equal(
            JSON.parse((await askRaw(node.url, { target: "/readyz" })).body).origins,
            undefined,
          );
        }
      }
      cutOff = "";
      const found = () => lost.lines.filter((line) => line.includes("reaches the origin of words again"));
      await until(
        async () => {
          await get(lost, `/cache/words/k${i}-${k++}`);
          return found().length > 0;
        },
        10_000,
        () => lost.lines.join("\n"),
      );
      assert.equal(found().length, 1);
      assert.equal(told().length, 1);
      assert.equal(JSON.parse((await askRaw(lost.url, { target: "/readyz" })).body).origins, undefined);
    }
    for (const node of nodes) {
      for (
        const target of [
          "/cache/site/..%2Fsecret",
          "/cache/site/a/..%2f..%5csecret",
          "/cache/site/%252e%252e%252fsecret",
        ]
      ) {
        assert.match(await get(node, target), /^400 /, target);
      }
      assert.match(await get(node, "/cache/words/..%2Fsecret"), /^4\d\d /);
    }
    assert.ok(!origin.seen.some(({ path }) => path.includes("secret")));
  },
);
