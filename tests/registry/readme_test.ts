/** The commands that lib/registry/README.md gives to operators, each run as it stands there. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { NatsStore } from "../../lib/nats/peer-store.ts";
import { MemoryLog } from "../support/log.ts";
import { startNats } from "../support/nats-server.ts";
import { type Defer, test } from "../support/test.ts";
import { until as lookUntil } from "../support/until.ts";
import { nodeOn, realClock, recordOf, until } from "./support.ts";

const page = readFileSync(new URL("../../lib/registry/README.md", import.meta.url), "utf8");
const name = "127-0-0-1-8000";

/** What each command prints, at least. */
const expected: readonly [begin: string, told: RegExp][] = [
  ["nats kv ls peers", /dict\.127-0-0-1-8000/],
  ["nats kv get ", /^\{"name":"127-0-0-1-8000"/],
  ["nats kv history ", /PUT/],
  ["nats kv del ", /Deleted|dict\.127-0-0-1-8000|^$/],
  ["nats stream info ", /KV_peers/],
  ["nats kv watch ", /PUT.*dict\.127-0-0-1-8000/],
];

/** Runs a line of the page in a shell until it has printed what is expected; a watch never ends by itself. */
async function run(defer: Defer, line: string, url: string, told: RegExp): Promise<void> {
  const child = spawn("/bin/sh", ["-c", `exec ${line}`], {
    env: { ...globalThis.process.env, NATS_URL: url },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  let code: number | null | undefined;
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => output += text);
  const closed = new Promise<void>((over) =>
    child.on("close", (exitCode) => {
      code = exitCode;
      over();
    })
  );
  defer(async () => {
    child.kill("SIGKILL");
    await closed;
  });
  const isWatch = line.includes(" watch ");
  await lookUntil(() => isWatch ? told.test(output) : code !== undefined, 15_000, () => `${line}: ${output}`);
  assert.match(output, told, line);
  if (!isWatch) assert.equal(code, 0, `${line}: ${output}`);
}

test(
  "every command of the registry's README does what it says",
  { programs: ["nats"], timeoutMs: 60_000 },
  async (defer) => {
    const commands = [...page.matchAll(/```sh[^\n]*\n([^`]*)```/g)].flatMap(([, block]) => block!.trim().split("\n"))
      .filter((line) => !line.startsWith("export "));
    assert.equal(commands.length, expected.length, "each is checked");
    const { url } = await startNats(defer);
    const log = new MemoryLog();
    const store = new NatsStore({ urls: [url], clock: realClock, log });
    const harness = { open: async () => ({ store, loseNextAnswer() {} }) };
    const { membership } = await nodeOn(harness, defer, recordOf(name));
    membership.start();
    await until("the node is listed", () => membership.joined("dict"));
    for (const [index, line] of commands.entries()) {
      const [begin, told] = expected[index]!;
      assert.ok(line.startsWith(begin), line);
      await run(defer, line, url, told);
    }
    await until("it has put itself back", () => membership.joined("dict") && membership.roster("dict").revision >= 3);
  },
);
