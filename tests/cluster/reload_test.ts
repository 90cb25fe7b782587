/** Nodes whose configuration changes while they run, as users run them. Runs once: it starts nodes on both runtimes. */
import assert from "node:assert/strict";
import { execFile, execFileSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import type { ConfigFigures } from "../../lib/http/figures.ts";
import { startNats } from "../support/nats-server.ts";
import {
  assembled,
  bothRuntimes,
  listening,
  type NodeProcess,
  spawnNode,
  startNode,
  temporaryDirectory,
} from "../support/node.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { startMachine, statsOf as machineStatsOf, whole, workersOf } from "../workers/support.ts";

const needs = { timeoutMs: 60_000 };
/** The node looks every 2 s, and once more 200 ms later; the rest is for a busy machine. */
const SEEN_WITHIN_MS = 15_000;

interface Told {
  readonly config: ConfigFigures;
  readonly findings: { readonly what: string; readonly detail: string }[];
  readonly groups: Record<string, { gets: number; mainCache: { items: number } }>;
}

const statsOf = async (node: NodeProcess) => await (await fetch(`${node.url}/stats`)).json() as Told;

async function statusOf(node: NodeProcess, path: string): Promise<number> {
  const answer = await fetch(`${node.url}${path}`);
  await answer.body?.cancel();
  return answer.status;
}

/** A file that is put in the place of the one before, as editors do. */
function put(path: string, content: object | string): void {
  writeFileSync(`${path}.new`, typeof content === "string" ? content : JSON.stringify(content));
  renameSync(`${path}.new`, path);
}

const serves = (node: NodeProcess, group: string) =>
  until(
    async () => await statusOf(node, `/cache/${group}/k`) === 200,
    SEEN_WITHIN_MS,
    () => node.account(`that it serves ${group}`),
  );

for (const kind of bothRuntimes) {
  test(`a node on ${kind} follows its file at a signal, and by itself`, needs, async (defer) => {
    const { template: origin } = await startOrigin(defer);
    const file = join(temporaryDirectory(defer), "muster.json");
    put(file, { groups: { a: { origin } } });
    const node = await startNode(defer, kind, ["--config", file, "--nats", "off", "--log", "text"]);
    const started = (await statsOf(node)).config;
    assert.deepEqual([started.path, started.needRestart, started.fault], [file, [], undefined]);
    for (const signal of ["SIGUSR1", "SIGUSR2"] as const) {
      node.signal(signal);
      const told = () => node.lines.filter((line) => line.includes("nothing has changed")).length;
      await until(() => told() === (signal === "SIGUSR1" ? 1 : 2), 5_000, () => node.account("a second line"));
    }
    put(file, {
      groups: { a: { origin, ttlMs: 60_000 }, b: { origin } },
      addr: "127.0.0.1:1",
      zone: "z",
      logLevel: "debug",
    });
    node.signal("SIGUSR2");
    await node.line("added the group b; changed the group a (ttlMs); the log level is debug");
    await node.line(/warn {2}--zone has changed in .*needs a restart/); // and not --addr, as the flag wins over the file
    assert.equal(await statusOf(node, "/cache/b/k"), 200);

    put(file, { groups: { b: { origin, ttlMs: "soon" } } });
    await node.line(/error read .* again, and changed nothing: 1 fault in the options: .*ttlMs must be a whole number/);
    assert.equal(await statusOf(node, "/cache/a/k"), 200);
    const { config, findings } = await statsOf(node);
    assert.match(config.fault!.reason, /groups\.b\.ttlMs must/);
    assert.deepEqual(findings.map(({ what }) => what), ["bad-config", "needs-restart"]);

    put(file, { groups: { b: { origin } } });
    await node.line("ended the group a");
    assert.deepEqual([await statusOf(node, "/cache/a/k"), await statusOf(node, "/cache/b/k")], [404, 200]);
    assert.deepEqual((await statsOf(node)).findings, []);
    assert.equal((await node.end()).code, 0, node.lines.join("\n"));
  });

  test(`a node on ${kind} reads a pipe once, and waits for no second writer`, needs, async (defer) => {
    const { template: origin } = await startOrigin(defer);
    const pipe = join(temporaryDirectory(defer), "muster.pipe");
    execFileSync("mkfifo", [pipe]);
    const starting = startNode(defer, kind, ["--config", pipe, "--nats", "off", "--log", "text"]);
    await writeFile(pipe, JSON.stringify({ groups: { a: { origin } } }));
    const node = await starting;
    node.signal("SIGUSR2");
    await node.line("there is nothing to read again: --config names no regular file");
    assert.deepEqual([await statusOf(node, "/cache/a/k"), (await statsOf(node)).config], [200, undefined]);
    assert.equal((await node.end()).code, 0, node.lines.join("\n"));
  });

  test(`a node on ${kind} follows a file behind a link that moves, as Kubernetes moves it`, needs, async (defer) => {
    const { template: origin } = await startOrigin(defer);
    const folder = temporaryDirectory(defer);
    const version = (name: string, content: object) => {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, "muster.json"), JSON.stringify(content));
      symlinkSync(name, join(folder, "..data_tmp"));
      renameSync(join(folder, "..data_tmp"), join(folder, "..data"));
    };
    version("..1", { groups: { a: { origin } } });
    symlinkSync("..data/muster.json", join(folder, "muster.json"));
    const node = await startNode(defer, kind, ["--config", join(folder, "muster.json"), "--nats", "off"]);
    version("..2", { groups: { a: { origin }, b: { origin } } });
    rmSync(join(folder, "..1"), { recursive: true });
    await serves(node, "b");
    version("..3", { groups: { c: { origin } } });
    await serves(node, "c");
    assert.equal(await statusOf(node, "/cache/b/k"), 404);
    assert.ok(!node.lines.some((line) => line.includes("changed nothing")), node.lines.join("\n"));
  });

  test(`a machine of workers on ${kind} follows its file, with a worker that starts later`, needs, async (defer) => {
    const { template: origin } = await startOrigin(defer);
    const file = join(temporaryDirectory(defer), "muster.json");
    put(file, { groups: { dict: { origin } } });
    const machine = await startMachine(defer, kind, ["--nats", "off", "--config", file]);
    await whole(machine);
    put(file, { groups: { dict: { origin }, more: { origin } } });
    machine.signal("SIGUSR2");
    await machine.line("added the group more");
    const all = async (isSo: (config: ConfigFigures, groups: string[]) => boolean) => {
      const { workers } = await machineStatsOf(machine);
      return workers.every((worker) => {
        const { config } = worker as unknown as Told;
        return worker.groups !== undefined && isSo(config, Object.keys(worker.groups));
      });
    };
    const wait = (what: string, isSo: Parameters<typeof all>[0]) =>
      until(() => all(isSo), SEEN_WITHIN_MS, () => machine.account(`that all workers ${what}`));
    await wait("have it", (_, groups) => groups.join() === "dict,more");
    put(file, "{");
    await wait("tell the fault", ({ fault }) => fault?.reason.includes("is not JSON") === true);
    const [pid] = workersOf(machine).values();
    process.kill(pid!, "SIGKILL");
    await machine.line("has ended with exit code");
    await whole(machine);
    await wait("have it still", ({ fault }, groups) => fault !== undefined && groups.join() === "dict,more");
    assert.equal((await machine.end()).code, 0, machine.lines.join("\n"));
  });
}

test("Deno opens its debugger at SIGUSR1, and the node closes it", needs, async (defer) => {
  const { template } = await startOrigin(defer);
  const node = await startNode(defer, "deno", ["--nats", "off", "--group", `a=${template}`]);
  // Deno takes the signal half a second after its start at the earliest.
  await until(
    async () => {
      node.signal("SIGUSR1");
      await new Promise((later) => setTimeout(later, 50));
      return node.lines.some((line) => line.includes("Debugger listening"));
    },
    5_000,
    () => node.account("that its debugger listens"),
  );
  const [id] = /[0-9a-f-]{36}/.exec(await node.line("Debugger listening"))!;
  const isOpen = async () => {
    try {
      return (await (await fetch("http://127.0.0.1:9229/json/list")).text()).includes(id);
    } catch {
      return false;
    }
  };
  await until(async () => !await isOpen(), 3_000, () => "the debugger stays open");
  assert.equal(await statusOf(node, "/healthz"), 200);
});

test("under load, reloads fail no request on either runtime", { timeoutMs: 180_000 }, async (defer) => {
  const origin = await startOrigin(defer);
  const nats = await startNats(defer);
  const file = join(temporaryDirectory(defer), "muster.json");
  const groupsOf = (round: number) => ({
    hot: {
      origin: origin.template,
      ttlMs: 600_000 + round,
      budgetBytes: round % 2 === 0 ? 2 ** 26 : 2 ** 24,
      maxConcurrent: 10 + round,
      replicas: 1 + round % 2,
    },
    // Another origin each time.
    moving: { origin: `${origin.template}?round=${round}` },
    [`other${round}`]: { origin: origin.template },
  });
  put(file, { groups: groupsOf(0) });
  const nodes = await Promise.all(bothRuntimes.map(async (kind) => {
    const node = spawnNode(defer, kind, ["--addr", "127.0.0.1:0", "--config", file, "--nats", nats.url]);
    await listening(node);
    return node;
  }));
  await assembled(nodes, "hot");
  // Of two that are listed at once neither may use its share of the origin's limit before the time of a load is over.
  for (const node of nodes) {
    const mayLoad = async () => await statusOf(node, `/cache/hot/${node.kind}`) === 200;
    await until(mayLoad, 30_000, () => node.account("that hot may be loaded"));
  }
  let [asked, isOver] = [0, false];
  const failures: string[] = [];
  const ask = async (node: NodeProcess, group: string, key: string) => {
    const answer = await fetch(`${node.url}/cache/${group}/${key}`).catch(String);
    asked++;
    if (typeof answer === "string") return failures.push(answer);
    const [told] = (await answer.text()).split("?");
    if (told !== key || answer.status !== 200) failures.push(`${group} ${answer.status}: ${told}`);
  };
  const client = async (node: NodeProcess, seed: number) => {
    for (let i = seed; !isOver; i += 7) await ask(node, i % 5 === 0 ? "moving" : "hot", `k${i % 500}`);
  };
  const clients = Array.from({ length: 8 }, (_, i) => client(nodes[i % 2]!, i));
  for (let round = 1; round <= 5; round++) {
    put(file, { groups: groupsOf(round) });
    for (const node of nodes) node.signal("SIGUSR2");
    for (const node of nodes) await node.line(`added the group other${round}`);
    const since = asked;
    await until(() => asked > since + 200, 30_000, () => `${asked} requests`);
  }
  isOver = true;
  await Promise.all(clients);
  assert.deepEqual(failures, []);
  assert.ok(asked > 1_000, String(asked));
  const fromOrigin = origin.loads.filter((key) => /^k\d+$/.test(key)).length;
  assert.ok(fromOrigin <= 2 * 500, `${fromOrigin} loads of 500 values: they stay`);
});

async function withBucket(defer: Defer) {
  const nats = await startNats(defer);
  const file = join(temporaryDirectory(defer), "muster.json");
  const kv = async (...command: string[]) =>
    (await promisify(execFile)("nats", ["-s", nats.url, "kv", ...command], { encoding: "utf8" })).stdout;
  return { nats, file, kv };
}

test(
  "a group of the file takes the place of one that NATS defines, and gives it back",
  { ...needs, programs: ["nats"] },
  async (defer) => {
    const { template: origin, loads } = await startOrigin(defer);
    const { nats, file, kv } = await withBucket(defer);
    put(file, { groups: { own: { origin } } });
    const args = ["--config", file, "--nats", nats.url, "--groups-from-nats", "--log", "text"];
    const nodes = await Promise.all(bothRuntimes.map((kind) => startNode(defer, kind, args)));
    await until(async () => (await kv("ls")).includes("peers-groups"), 5_000, () => "no bucket");
    await kv("put", "peers-groups", "both", JSON.stringify({ origin }));
    await Promise.all(nodes.map((node) => serves(node, "both")));
    await assembled(nodes, "both");
    // Until they knew each other, both may have loaded it.
    const before = loads.length;
    put(file, { groups: { own: { origin }, both: { origin, ttlMs: 60_000 } } });
    for (const node of nodes) {
      node.signal("SIGUSR2");
      await node.line("added the group both");
      await node.line(/cannot follow the definition of the group both: .* which come first/);
      assert.equal(await statusOf(node, "/cache/both/k"), 200);
    }
    assert.equal(loads.length, before, "its values stay");
    put(file, { groups: { own: { origin } } });
    for (const node of nodes) {
      node.signal("SIGUSR2");
      await node.line("ended the group both");
      await serves(node, "both");
    }
    await assembled(nodes, "both");
  },
);
