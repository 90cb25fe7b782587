/** The cost of a node before and while it serves: its start, and its memory per entry. */
import { join } from "node:path";
import { contestantsOf, golang, label, startCluster } from "../clusters.ts";
import { atMost, both, Judge } from "../figures.ts";
import { firstKeys, keyFile } from "../keys.ts";
import { rssOf } from "../machine.ts";
import { startOrigin } from "../origin.ts";
import { start } from "../processes.ts";
import type { Bench, Row } from "../types.ts";
import { freePort } from "../../support/free-port.ts";
import { bothRuntimes, commandOf, NodeProcess, type RuntimeKind, temporaryDirectory } from "../../support/node.ts";
import { until } from "../../support/until.ts";
import { fill } from "../wrk.ts";

const maxStartMs = 15_000;

export const startUp: Row = {
  id: "start",
  what: "start: command to first answered request, embedded NATS included",
  how:
    "a fresh NATS store each time; asked again and again until /readyz says that it has joined, then one word of WordNet",
  maxSeconds: [10, 60],
  targets: { "first answer": both(atMost(600), atMost(800)) },
  async run(bench, outcome) {
    const judge = new Judge(startUp, outcome);
    let expected: string | undefined;
    for (let round = 0; round < bench.rounds; round++) {
      for (const kind of bothRuntimes) {
        bench.step(`round ${round + 1}: ${label(kind)}`);
        const { readyMs, answeredMs, text } = await oneStart(bench, kind);
        // Both runtimes read the same dictionary.
        expected ??= text;
        if (text.includes(word) && text === expected) outcome.checked++;
        else outcome.errors++;
        judge.add(label(kind), "joined", "ms", readyMs);
        judge.add(label(kind), "first answer", "ms", answeredMs);
      }
    }
    for (const kind of bothRuntimes) judge.absolute(kind, "first answer", "first answer", label(kind));
  },
};

const word = "piston";

async function oneStart(bench: Bench, kind: RuntimeKind) {
  const [port, natsPort] = [await freePort(), await freePort()];
  const store = join(temporaryDirectory(bench.defer), "nats");
  const where = ["--addr", `127.0.0.1:${port}`, "--nats-port", String(natsPort), "--nats-store", store];
  const sinceMs = performance.now();
  const node = new NodeProcess(kind, start([...commandOf(kind, "-A"), ...where]));
  bench.defer(() => node.end("SIGKILL"));
  const url = `http://127.0.0.1:${port}`;
  await until(() => isOk(`${url}/readyz`), maxStartMs, () => node.account("an answer"));
  const readyMs = performance.now() - sinceMs;
  const response = await fetch(`${url}/define/${word}`);
  const text = await response.text();
  const answeredMs = performance.now() - sinceMs;
  if (response.status !== 200) throw new Error(node.account("a definition"));
  await node.end();
  return { readyMs, answeredMs, text };
}

async function isOk(url: string): Promise<boolean> {
  try {
    const response = await fetch(url);
    await response.arrayBuffer();
    return response.status === 200;
  } catch {
    return false;
  }
}

const maxFillMs = 200_000;

export const memory: Row = {
  id: "memory",
  what: "resident memory per entry of 1 KiB at 500,000 entries",
  how:
    "a node filled over HTTP under a budget of 2 GiB; resident memory after the fill, settled, less that before, per entry; once",
  maxSeconds: [12, 300],
  targets: { "bytes per entry: ours / golang/groupcache's": both(atMost(1.3), atMost(1.5)) },
  async run(bench, outcome) {
    const judge = new Judge(memory, outcome);
    const keys = bench.quick ? 1_000 : 500_000;
    if (bench.quick) outcome.notes.push(`--quick: ${keys} entries`);
    const file = keyFile(bench.defer, firstKeys(keys));
    const budgets = [2 * 1024 ** 3];
    for (const contestant of contestantsOf(bench, outcome)) {
      bench.step(`filling ${label(contestant)}`);
      const origin = await startOrigin(bench.defer);
      const { nodes, urls } = await startCluster(bench, contestant, { origin, budgets });
      const pid = nodes[0]!.child.pid!;
      const before = rssOf(pid);
      await fill(bench.defer, outcome, urls[0]!, { keyFile: file, connections: 32, timeoutMs: maxFillMs });
      judge.add(label(contestant), "right after the fill", "bytes per entry", (rssOf(pid) - before) / keys);
      judge.add(
        label(contestant),
        "bytes per entry",
        "bytes per entry",
        (await settled(pid, bench.quick) - before) / keys,
      );
      await nodes[0]!.end("SIGKILL");
    }
    for (const kind of bothRuntimes) {
      const verdict = "bytes per entry: ours / golang/groupcache's";
      judge.ratio(kind, verdict, "bytes per entry", label(kind), golang, bench.go.reason);
    }
  },
};

/** Resident memory after it has stopped falling, as collectors give memory back late. */
async function settled(pid: number, isQuick: boolean): Promise<number> {
  let least = rssOf(pid);
  let quietMs = 0;
  const stepMs = 250;
  for (let waitedMs = 0; waitedMs < (isQuick ? 250 : 15_000) && quietMs < 4_000; waitedMs += stepMs) {
    await new Promise((resolve) => setTimeout(resolve, stepMs));
    const now = rssOf(pid);
    quietMs = now < least * 0.995 ? 0 : quietMs + stepMs;
    least = Math.min(least, now);
  }
  return least;
}
