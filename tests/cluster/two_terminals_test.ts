/** Two nodes with nothing set up, at the default ports. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { connect } from "node:net";
import { assembled, listening, type NodeProcess, spawnNode, temporaryDirectory } from "../support/node.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";

/** Whether something listens on this port of 127.0.0.1. */
function listens(port: number): Promise<boolean> {
  return new Promise((answer) => {
    const socket = connect(port, "127.0.0.1");
    socket.on("connect", () => (socket.destroy(), answer(true))).on("error", () => answer(false));
  });
}

const define = async (node: NodeProcess, word: string) => {
  const response = await fetch(`${node.url}/define/${word}`);
  return { text: await response.text(), cache: response.headers.get("cache-status") };
};

for (const signal of ["SIGINT", "SIGKILL"] as const) {
  test(
    `two terminals with nothing set up, and the first one ended by ${signal}`,
    { timeoutMs: 90_000 },
    async (defer) => {
      for (const port of [4222, 8000, 8001]) {
        assert.equal(await listens(port), false, `port ${port} must be free for this`);
      }
      const cwd = temporaryDirectory(defer);
      // The README's commands, in a folder of their own so that the store starts empty.
      const first = spawnNode(defer, "bun", [], { cwd });
      await listening(first);
      const second = spawnNode(defer, "deno", ["--addr", "127.0.0.1:8001"], { cwd });
      await listening(second);
      await assembled([first, second]);
      assert.deepEqual([first.url, second.url], ["http://127.0.0.1:8000", "http://127.0.0.1:8001"]);
      await first.line(
        /got new peer list of dict \(revision \d+\): http:\/\/127\.0\.0\.1:8000 http:\/\/127\.0\.0\.1:8001/,
      );
      await first.line("started the bundled nats-server");

      const answers = [];
      for (const node of [first, second, first, second]) {
        answers.push(await define(node, "piston"));
      }
      assert.equal(new Set(answers.map(({ text }) => text)).size, 1);
      assert.match(answers[0]!.text, /piston/);
      const stats = await Promise.all([first, second].map((node) => node.stats()));
      assert.equal(stats.reduce((sum, { groups }) => sum + groups["dict"]!.originLoads, 0), 1);

      const { code } = await first.end(signal);
      assert.equal(code, signal === "SIGINT" ? 0 : null);
      // The second one has the cache, and starts NATS again on the same store.
      assert.match((await define(second, "piston")).text, /piston/);
      await second.line("started the bundled nats-server");
      await until(() => listens(4222), 5_000, () => second.account("that NATS is back"));
      if (signal === "SIGINT") await assembled([second]);

      // The first terminal again: it finds the second one, and takes over what its killed life left listed.
      const again = spawnNode(defer, "bun", [], { cwd });
      await listening(again);
      await assembled([again, second]);
      for (const node of [again, second]) assert.equal((await node.end("SIGINT")).code, 0, node.lines.join("\n"));
      assert.equal(await listens(4222), false, "no nats-server outlives its node");
    },
  );
}
