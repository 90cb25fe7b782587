/** One machine that goes from release to release: its workers, and the store of its NATS. Runs once: it starts processes. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { connect } from "nats";
import { loginOf } from "../support/embedded-process.ts";
import { freePort } from "../support/free-port.ts";
import { temporaryFolder } from "../support/nats-server.ts";
import { assembled, type NodeProcess, onBothRuntimes, root, startNode } from "../support/node.ts";
import { startOrigin } from "../support/origin.ts";
import { buildReleaseBefore, MISUNDERSTANDING, testWithReleaseBefore } from "../support/release-before.ts";
import { until } from "../support/until.ts";
import { ask, startMachine, whole, workersOf } from "../workers/support.ts";

function assertUnderstood(nodes: readonly NodeProcess[]): void {
  for (const { kind, lines } of nodes) {
    assert.deepEqual(lines.filter((line) => MISUNDERSTANDING.test(line)), [], kind);
  }
}

interface LogState {
  readonly created: string;
  readonly messages: number;
}

/** The stream of invalidations in the server of a store. */
async function logOf(port: number, store: string): Promise<LogState> {
  const connection = await connect({ servers: `nats://127.0.0.1:${port}`, ...loginOf(store) });
  try {
    const { created, state } = await (await connection.jetstreamManager()).streams.info("peers-invalidations");
    return { created: String(created), messages: state.messages };
  } finally {
    await connection.close();
  }
}

for (const [title, isBack] of [["the release before", false], ["this release", true]] as const) {
  testWithReleaseBefore(
    `the store of a bundled server that ${title} has made serves the other one`,
    { timeoutMs: 120_000 },
    async (defer) => {
      const release = buildReleaseBefore(defer);
      const [first, second] = isBack ? [{}, release] : [release, {}];
      await onBothRuntimes(async (kind) => {
        const [store, origin] = [`${await temporaryFolder(defer)}/nats`, await startOrigin(defer)];
        const port = await freePort();
        const args = ["--nats-port", `${port}`, "--nats-store", store, "--group", `g=${origin.template}`];
        const one = await startNode(defer, kind, args, first);
        await assembled([one], "g");
        const invalidate = async (node: NodeProcess, keys: string[]) => {
          const body = JSON.stringify({ keys });
          const headers = { "content-type": "application/json" };
          const path = `${node.url}/_admin/groups/g/invalidate`;
          // While its connection to NATS is new, a node refuses what it cannot keep.
          const isTaken = async () => (await fetch(path, { method: "POST", headers, body })).status === 200;
          await until(isTaken, 15_000, () => node.account("the invalidation"));
        };
        await invalidate(one, ["a"]);
        const before = await logOf(port, store);
        // The first one's server serves both; then it leaves, and the second one takes its server and its store over.
        const two = await startNode(defer, kind, args, second);
        const revision = await assembled([one, two], "g");
        const get = async (node: NodeProcess, key: string) => (await fetch(`${node.url}/cache/g/${key}`)).text();
        for (const key of ["b", "c", "d", "e"]) for (const node of [one, two]) assert.equal(await get(node, key), key);
        assert.equal((await one.end()).code, 0);
        await two.line("started the bundled nats-server");
        assert.ok(await assembled([two], "g") > revision);
        for (const key of ["b", "c", "d", "e"]) assert.equal(await get(two, key), key);
        assert.deepEqual(origin.loads.toSorted(), ["b", "c", "d", "e"], "what was handed over is still good");
        await invalidate(two, ["b"]);
        const after = await logOf(port, store);
        assert.equal(after.created, before.created);
        assert.ok(after.messages > before.messages);
        assert.equal((await two.end()).code, 0);
        assertUnderstood([one, two]);
      });
    },
  );
}

/** Puts the files of another release into a folder, as an upgrade in place does. */
function replaceFiles(folder: string, from: string): void {
  for (const part of ["lib", "main.ts", "package.json", "deno.json"]) {
    rmSync(join(folder, part), { recursive: true, force: true });
    cpSync(join(from, part), join(folder, part), { recursive: true });
  }
}

testWithReleaseBefore(
  "workers that a supervisor of the other release starts again from new files serve on, forth and back",
  { timeoutMs: 120_000 },
  async (defer) => {
    const release = buildReleaseBefore(defer);
    await onBothRuntimes(async (kind) => {
      for (const [from, to] of [[release.root, root], [root, release.root]] as const) {
        const folder = join(await temporaryFolder(defer), "installed");
        mkdirSync(folder);
        symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
        replaceFiles(folder, from);
        const machine = await startMachine(defer, kind, ["--nats", "off"], { root: folder });
        await whole(machine);
        replaceFiles(folder, to);
        for (const [name, pid] of workersOf(machine)) {
          process.kill(pid, "SIGKILL");
          await machine.line(`${name} has ended with exit code 137`);
          // The other worker may be back, and not yet listen at the shared address.
          const isBack = () => ask(`${machine.url}/readyz`).then(({ status }) => status === 200, () => false);
          await until(isBack, 20_000, () => machine.account("that it serves again"));
          await whole(machine);
        }
        const answer = await fetch(`${machine.url}/define/roster`);
        assert.equal(answer.status, 200, await answer.text());
        assertUnderstood([machine]);
        assert.equal((await machine.end()).code, 0, machine.lines.join("\n"));
      }
    });
  },
);
