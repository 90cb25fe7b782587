/** The log of invalidations of a machine without NATS. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import process from "node:process";
import { bothRuntimes } from "../support/node.ts";
import { startOrigin } from "../support/origin.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { startMachine, statsOf, whole, workersOf } from "./support.ts";

interface LogStats {
  readonly epoch: number;
  readonly applied: number;
}

for (const kind of bothRuntimes) {
  test(
    `workers on ${kind} share one log without NATS, also with a worker that comes anew`,
    { timeoutMs: 60_000 },
    async (defer) => {
      const origin = await startOrigin(defer);
      const machine = await startMachine(defer, kind, ["--nats", "off", "--group", `dict=${origin.template}`]);
      await whole(machine);
      const logs = async () => (await statsOf(machine)).workers.map((worker) => (worker as { log?: LogStats }).log);
      const are = async (applied: number): Promise<void> => {
        let seen: (LogStats | undefined)[] = [];
        await until(
          async () => (seen = await logs()).every((log) => log?.applied === applied),
          10_000,
          () => `${JSON.stringify(seen)} is not ${applied}\n${machine.lines.join("\n")}`,
        );
        assert.equal(new Set(seen.map((log) => log!.epoch)).size, 1, "one log");
        assert.ok(seen[0]!.epoch > 0);
      };
      const invalidate = async (): Promise<number> => {
        const body = '{"prefixes":["ü"]}';
        const headers = { "content-type": "application/json" };
        const url = `${machine.url}/_admin/groups/dict/invalidate`;
        const answer = await fetch(url, { method: "POST", headers, body });
        assert.equal(answer.status, 200, await answer.clone().text());
        return (await answer.json()).sequence;
      };
      await are(0);
      assert.equal(await invalidate(), 1);
      assert.equal(await invalidate(), 2);
      await are(2);
      const [[name, pid]] = [...workersOf(machine)] as [[string, number]];
      process.kill(pid, "SIGKILL");
      await until(
        () => ![pid, undefined].includes(workersOf(machine).get(name)),
        10_000,
        () => "the worker never came anew",
      );
      await whole(machine);
      await are(2);
      assert.equal(await invalidate(), 3);
      await are(3);
    },
  );
}
