import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { Config } from "../../lib/config/config.ts";
import { parseConfig } from "../../lib/config/parse.ts";
import { completed } from "../../lib/workers/completed.ts";
import { lineOf, type ToWorker, WORKER } from "../../lib/workers/messages.ts";
import { bothRuntimes, commandOf, NodeProcess } from "../support/node.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";

const file = JSON.stringify({
  drainTimeout: "7s",
  pollMisses: 9,
  groups: { site: { origin: "http://127.0.0.1:9/*", hosts: ["a.example"], ttlMs: 60_000, replicas: 2, retries: 3 } },
});

function configOf(argv: readonly string[]): Config {
  const parsed = parseConfig({ argv, env: {}, readFile: () => file, isTerminal: false, checkOrigin: () => {} });
  assert.ok(parsed.kind === "run");
  return parsed.config;
}

/** As it comes out of the pipe. */
function travelled<T>(value: T): T {
  return JSON.parse(JSON.stringify(value));
}

test("options that a supervisor of this release sends are taken as they are", () => {
  const config = configOf(["--config", "file", "--nats", "off", "--workers", "2"]);
  assert.deepEqual(travelled(completed(travelled(config))), travelled(config));
});

test("options that a supervisor of another release does not know get their defaults, and the others stay", () => {
  const [config, defaults] = [configOf(["--config", "file"]), configOf([])];
  const [group, defaultGroup] = [config.groups[0]!, defaults.groups[0]!];
  const { retries: _retries, hosts: _hosts, ...olderGroup } = group;
  const { publicStats: _publicStats, drainTimeoutMs: _drainTimeoutMs, ...older } = config;
  const { pollMisses: _pollMisses, ...olderPolling } = config.polling;
  const sent = travelled({ ...older, groups: [olderGroup], polling: olderPolling }) as unknown as Config;
  const { retries, hosts } = defaultGroup;
  assert.notEqual(retries, group.retries);
  assert.notEqual(defaults.drainTimeoutMs, config.drainTimeoutMs);
  assert.deepEqual(
    travelled(completed(sent)),
    travelled({
      ...config,
      publicStats: defaults.publicStats,
      drainTimeoutMs: defaults.drainTimeoutMs,
      polling: { ...config.polling, pollMisses: defaults.polling.pollMisses },
      groups: [{ ...group, retries, hosts }],
    }),
  );
});

test("options of a later release do no harm", () => {
  const config = configOf(["--config", "file"]);
  const later = travelled({ ...config, ofALaterRelease: { x: 1 } });
  assert.deepEqual({ ...completed(later), ofALaterRelease: undefined }, {
    ...completed(travelled(config)),
    ofALaterRelease: undefined,
  });
});

for (const kind of bothRuntimes) {
  test(`a worker on ${kind} completes what is read again as well`, { timeoutMs: 30_000 }, async (defer) => {
    const [program, ...args] = commandOf(kind);
    const child = spawn(program!, [...args, WORKER, "w1"], { stdio: ["pipe", "pipe", "pipe"] });
    const worker = new NodeProcess(kind, child);
    defer(async () => {
      child.stdin.end();
      await worker.exited;
    });
    const say = (message: ToWorker) => child.stdin.write(lineOf(message));
    const config = configOf(["--config", "file", "--nats", "off", "--addr", "127.0.0.1:0", "--log", "text"]);
    const setup = {
      name: "w1",
      machine: { name: "m", url: "http://127.0.0.1:9" },
      workers: ["w1"],
      sharedAddr: { host: "127.0.0.1", port: 9 },
      reachedAt: "127.0.0.1",
      statsToken: "t",
      config,
    };
    say({ type: "setup", setup });
    const portIn = () => /"type":"listening","port":(\d+)/.exec(worker.stdout)?.[1];
    await until(() => portIn() !== undefined, 15_000, () => worker.account("its port"));
    const { hosts: _hosts, ...older } = config.groups[0]!;
    const added = { ...older, name: "b" } as Config["groups"][number];
    say({ type: "reload", config: { ...config, groups: [...config.groups, added] } });
    const groups = async () => {
      const answer = await fetch(`http://127.0.0.1:${portIn()}/stats`);
      return Object.keys((await answer.json() as { groups: object }).groups);
    };
    await until(async () => (await groups()).includes("b"), 5_000, () => worker.account("the group b"));
  });
}
