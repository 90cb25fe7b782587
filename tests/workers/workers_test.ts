/** Machines of several workers, on both runtimes. Runs once: its subject is in processes of their own. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { connect, type ConnectionOptions } from "nats";
import { loginOf } from "../support/embedded-process.ts";
import { answer, serveDict } from "../origins/dict/dict-server.ts";
import { freePort } from "../support/free-port.ts";
import { greets, startNats } from "../support/nats-server.ts";
import {
  assertLoadedOnce,
  bothRuntimes,
  type NodeProcess,
  onBothRuntimes,
  spawnNode,
  startNode,
  temporaryDirectory,
} from "../support/node.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { ask, isRunning, type MachineStats, startMachine, statsOf, whole, workersOf } from "./support.ts";

/** The keys of the registry that have a value. */
async function listed(natsUrl: string, login: Pick<ConnectionOptions, "authenticator"> = {}): Promise<string[]> {
  const connection = await connect({ servers: natsUrl, ...login });
  try {
    const bucket = await connection.jetstream().views.kv("peers");
    const keys: string[] = [];
    for await (const key of await bucket.keys()) keys.push(key);
    return keys.sort();
  } finally {
    await connection.close();
  }
}

async function allGone(pids: Iterable<number>, machine: NodeProcess): Promise<void> {
  const all = [...pids];
  assert.equal(all.length, 2);
  const left = () => all.filter(isRunning);
  await until(() => left().length === 0, 8_000, () => `${left()} still run: ${machine.lines.join("\n")}`);
}

const registries = [
  ["NATS", async (defer: Defer) => (await startNats(defer)).url],
  ["no NATS", async () => "off"],
] as const;

for (const kind of bothRuntimes) {
  for (const [registry, natsFor] of registries) {
    test(
      `workers on ${kind} share a port, the keys and every load, with ${registry}`,
      { timeoutMs: 60_000 },
      async (defer) => {
        const [nats, origin] = await Promise.all([natsFor(defer), startOrigin(defer)]);
        const machine = await startMachine(defer, kind, ["--nats", nats, "--group", `dict=${origin.template}`]);
        const { workers, groups, name } = await whole(machine);
        assert.deepEqual(workers.map((worker) => worker.name), [`${name}-w1`, `${name}-w2`]);
        const urls = workers.map(({ url }) => url);
        assert.equal(new Set([machine.url, ...urls]).size, 3);
        assert.deepEqual(groups["dict"]!.roster.peers.map(({ url }) => url), urls);
        assert.deepEqual([...workersOf(machine).keys()].sort(), workers.map((worker) => worker.name));
        if (nats !== "off") assert.deepEqual(await listed(nats), workers.map((worker) => `dict.${worker.name}`));

        const met = new Map<string, number>();
        for (let i = 0; i < 100; i++) {
          const { name } = JSON.parse((await ask(`${machine.url}/healthz`)).text);
          met.set(name, (met.get(name) ?? 0) + 1);
        }
        assert.deepEqual([...met.keys()].sort(), workers.map((worker) => worker.name));
        for (const [name, count] of met) assert.ok(count >= 20, `${name} had ${count} of 100 connections`);

        const keys = Array.from({ length: 40 }, (_, i) => `key-${i}`);
        for (const key of keys) {
          const answers = await Promise.all([1, 2, 3, 4, 5].map(() => ask(`${machine.url}/cache/dict/${key}`)));
          for (const answer of answers) assert.deepEqual(answer, { status: 200, text: key });
        }
        await assertLoadedOnce([machine], "dict", origin.loads, keys);

        const stats = await statsOf(machine);
        const sum = (figure: "gets" | "originLoads") =>
          stats.workers.reduce((sum, worker) => sum + (worker.groups as typeof stats.groups)["dict"]![figure], 0);
        assert.equal(stats.groups["dict"]!.originLoads, origin.loads.length);
        assert.equal(stats.groups["dict"]!.gets, sum("gets"));
        assert.ok(sum("gets") >= 200);
        for (const { groups } of stats.workers) assert.ok(groups["dict"]!.originLoads > 5, "each owns a share");
        const alone = await (await fetch(`${urls[0]}/stats`)).json();
        assert.deepEqual([alone.name, alone.workers], [workers[0]!.name, undefined]);
        const metrics = (await ask(`${machine.url}/metrics`)).text;
        for (const worker of workers) assert.ok(metrics.includes(`muster_worker_up{worker="${worker.name}"} 1`));

        assert.equal((await machine.end()).code, 0, machine.lines.join("\n"));
        assert.equal(machine.lines.filter((line) => line.includes("listening on ")).length, 1);
        if (nats !== "off") assert.deepEqual(await listed(nats), []);
      },
    );

    test(
      `a killed worker on ${kind} is started again, and the others serve meanwhile, with ${registry}`,
      { timeoutMs: 60_000 },
      async (defer) => {
        const [nats, origin] = await Promise.all([natsFor(defer), startOrigin(defer)]);
        const machine = await startMachine(defer, kind, ["--nats", nats, "--group", `dict=${origin.template}`]);
        const before = await whole(machine);
        const [name, pid] = [...workersOf(machine)][0]!;
        process.kill(pid, "SIGKILL");
        await machine.line(`${name} has ended with exit code 137`);
        for (let i = 0; i < 100; i++) {
          assert.deepEqual(await ask(`${machine.url}/cache/dict/k${i}`), { status: 200, text: `k${i}` });
        }
        const lives = (stats: typeof before) =>
          stats.workers.map((worker) => `${worker.name} ${worker.incarnation}`).join();
        await until(
          async () => (await statsOf(machine)).workers.every(({ fault }) => fault === undefined),
          10_000,
          () => `not back: ${machine.lines.join("\n")}`,
        );
        const after = await whole(machine);
        assert.notEqual(lives(after), lives(before));
        assert.deepEqual(after.workers.map(({ name }) => name), before.workers.map(({ name }) => name));
        assert.notEqual(workersOf(machine).get(name), pid);
        assert.equal((await machine.end("SIGINT")).code, 0);
      },
    );

    test(
      `no worker on ${kind} outlives its supervisor, however that ends, with ${registry}`,
      { timeoutMs: 60_000 },
      async (defer) => {
        const nats = await natsFor(defer);
        const killed = await startMachine(defer, kind, ["--nats", nats]);
        await whole(killed);
        const pids = workersOf(killed).values();
        await killed.end("SIGKILL");
        await allGone(pids, killed);
        // They have left as at every other stop, or have said that they could not.
        const said = (what: string) => killed.lines.filter((line) => line.includes(what)).length;
        const untold = said("could not tell NATS");
        assert.equal(said("removed myself") + untold, 2, killed.lines.join("\n"));
        if (nats !== "off") assert.ok((await listed(nats)).length <= untold, killed.lines.join("\n"));

        const hurried = await startMachine(defer, kind, ["--nats", nats]);
        await whole(hurried);
        const others = workersOf(hurried).values();
        hurried.signal("SIGINT");
        await hurried.line("SIGINT: leaving");
        // Sooner, it would be taken for the same one, sent on.
        await new Promise((resolve) => setTimeout(resolve, 150));
        const { code, tookMs } = await hurried.end("SIGINT");
        assert.equal(code, 1);
        assert.ok(tookMs < 3_000, `took ${tookMs} ms`);
        await allGone(others, hurried);
      },
    );
  }

  test(`a worker on ${kind} that is stopped leaves, and comes back`, { timeoutMs: 60_000 }, async (defer) => {
    const machine = await startMachine(defer, kind, ["--nats", "off"]);
    const before = await whole(machine);
    const [name, pid] = [...workersOf(machine)][1]!;
    process.kill(pid, "SIGTERM");
    await machine.line(new RegExp(`as draining .*worker=${name}`));
    // It takes no new connections, so whoever asks is answered by one that stays.
    for (let i = 0; i < 50; i++) {
      assert.notEqual(JSON.parse((await ask(`${machine.url}/healthz`)).text).name, name);
      if (!isRunning(pid)) break;
    }
    await machine.line(`${name} has ended with exit code 0`);
    await until(
      async () => (await statsOf(machine)).workers.every(({ fault }) => fault === undefined),
      10_000,
      () => `not back: ${machine.lines.join("\n")}`,
    );
    const incarnations = (stats: typeof before) => stats.workers.map(({ incarnation }) => incarnation);
    const after = incarnations(await whole(machine));
    assert.equal(incarnations(before).filter((life) => after.includes(life)).length, 1);
  });

  test(
    `a worker on ${kind} that its origin refuses when it is back leaves the machine to the others, until it may`,
    { timeoutMs: 60_000 },
    async (defer) => {
      let isKnown = true;
      const server = await serveDict(defer, {
        define: (word, client) => client.say(isKnown ? answer(word) : "550 Invalid database\r\n"),
      });
      const group = `dict=dict://127.0.0.1:${server.port}/db`;
      const machine = await startMachine(defer, kind, ["--nats", "off", "--group", group]);
      await whole(machine);
      const [name, pid] = [...workersOf(machine)][0]!;
      isKnown = false;
      process.kill(pid, "SIGKILL");
      await machine.line(`${name} refuses to run (exit code 2): starting it again in 200 ms`);
      await machine.line(`${name} refuses to run (exit code 2): starting it again in 400 ms`);
      assert.equal((await ask(`${machine.url}/healthz`)).status, 200);
      isKnown = true;
      await whole(machine);
      assert.deepEqual(await ask(`${machine.url}/cache/dict/a`), { status: 200, text: "a\n" });
      assert.equal((await machine.end()).code, 0, machine.lines.join("\n"));
    },
  );

  test(
    `the bundled NATS server outlives the workers on ${kind}, and no machine`,
    { timeoutMs: 60_000 },
    async (defer) => {
      const port = await freePort();
      const store = `${temporaryDirectory(defer)}/nats`;
      const machine = await startMachine(defer, kind, ["--nats-port", `${port}`, "--nats-store", store]);
      const { workers } = await whole(machine);
      for (const pid of workersOf(machine).values()) process.kill(pid, "SIGKILL");
      for (const { name } of workers) await machine.line(`${name} has ended with exit code 137`);
      assert.ok(await greets(port));
      await until(() => workersOf(machine).size === 2, 5_000, () => machine.lines.join("\n"));
      // With all listeners gone, the address refuses until a worker is back.
      const isBack = () => ask(`${machine.url}/readyz`).then(({ status }) => status === 200, () => false);
      await until(isBack, 10_000, () => machine.lines.join("\n"));
      await whole(machine);
      assert.equal(machine.lines.filter((line) => line.includes("started the bundled nats-server")).length, 1);
      assert.deepEqual(
        await listed(`nats://127.0.0.1:${port}`, loginOf(store)),
        workers.map(({ name }) => `dict.${name}`),
      );
      // As when the terminal's window is closed.
      assert.equal((await machine.end("SIGHUP")).code, 0, machine.lines.join("\n"));
      assert.equal(await greets(port), false);
      assert.ok(!machine.lines.some((line) => line.includes("could not tell NATS")), machine.lines.join("\n"));
    },
  );

  test(`what a machine on ${kind} cannot run with ends it, with one reason`, { timeoutMs: 60_000 }, async (defer) => {
    const run = async (args: string[]) => {
      const machine = spawnNode(defer, kind, ["--workers", "2", "--log", "text", ...args]);
      return { code: await machine.exited, lines: machine.lines.filter((line) => !line.includes("Warning")) };
    };
    const [node, nats] = await Promise.all([startNode(defer, kind, ["--nats", "off"]), startNats(defer)]);
    const first = await startMachine(defer, kind, ["--nats", nats.url, "--name", "m"]);
    for (const { url } of [node, first]) {
      const taken = await run(["--nats", "off", "--addr", new URL(url).host]);
      assert.equal(taken.code, 1);
      assert.equal(taken.lines.length, 1, taken.lines.join("\n"));
      assert.match(taken.lines[0]!, /Cannot listen on 127\.0\.0\.1:\d+: .*in use/);
    }
    const named = await run(["--nats", nats.url, "--addr", "127.0.0.1:0", "--name", "m"]);
    assert.equal(named.code, 1);
    assert.match(named.lines.join("\n"), /m-w[12] (refuses to run|ended before all workers were up)/);
    await whole(first);
    const wrong = await run(["--workers", "none"]);
    assert.equal(wrong.code, 2);
    assert.match(
      wrong.lines.join("\n"),
      /--workers must be a whole number from 1 to 256, or auto for one per core: it is "none"/,
    );
    const orphan = spawnNode(defer, kind, ["worker", "m-w1"]);
    assert.equal(await orphan.exited, 2);
    assert.match(orphan.lines.join("\n"), /use --workers/);
  });
}

test(
  "with a token a machine shows the figures of all workers to operators only",
  { timeoutMs: 60_000 },
  async (defer) => {
    const token = "a-token-of-operators";
    const file = join(temporaryDirectory(defer), "token");
    writeFileSync(file, token, { mode: 0o600 });
    await onBothRuntimes(async (kind) => {
      const machine = await startMachine(defer, kind, ["--nats", "off", "--admin-token-file", file]);
      const at = async (url: string, headers?: Record<string, string>) => await fetch(`${url}/stats`, { headers });
      const shown = async () =>
        await (await at(machine.url, { authorization: `Bearer ${token}` })).json() as MachineStats;
      await until(async () => (await shown()).workers.every(({ groups }) => groups !== undefined), 15_000, () => kind);
      for (const url of [machine.url, ...(await shown()).workers.map((worker) => worker.url)]) {
        assert.equal((await at(url)).status, 401, kind);
      }
      await machine.end();
    });
  },
);
