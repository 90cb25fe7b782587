/**
 * A node that leaves says so while it still serves, for as long as --farewell says.
 * Runs once: its subject is in processes of their own.
 */
import assert from "node:assert/strict";
import { startNats } from "../support/nats-server.ts";
import { assembled, type NodeProcess, onBothRuntimes, type RuntimeKind, startNode } from "../support/node.ts";
import { startOrigin } from "../support/origin.ts";
import { type Defer, test } from "../support/test.ts";
import { until } from "../support/until.ts";
import { ask, startMachine, whole } from "../workers/support.ts";

const needs = { timeoutMs: 60_000 };
/** How often the load balancer looks at /readyz. */
const POLL_MS = 1_000;

/** Two nodes, of which the second will leave. */
async function pair(defer: Defer, kind: RuntimeKind, args: string[]): Promise<[NodeProcess, NodeProcess]> {
  const [nats, origin] = await Promise.all([startNats(defer), startOrigin(defer)]);
  const all = ["--nats", nats.url, "--group", `g=${origin.template}`, ...args];
  const nodes = await Promise.all([startNode(defer, kind, all), startNode(defer, kind, all)]) as [
    NodeProcess,
    NodeProcess,
  ];
  await assembled(nodes, "g");
  return nodes;
}

const readiness = async (node: NodeProcess) => (await ask(`${node.url}/readyz`)).status;

/** A load balancer: each request goes to the next node that was ready at the last look, on a connection of its own. */
class Balancer {
  readonly failures: string[] = [];
  answered = 0;
  /** The longest time from the start of one check to the end of the next. */
  longestLookMs = 0;
  readonly #nodes: readonly NodeProcess[];
  #ready: readonly NodeProcess[];
  #isOver = false;

  constructor(nodes: readonly NodeProcess[]) {
    this.#nodes = this.#ready = nodes;
  }

  end(): void {
    this.#isOver = true;
  }

  /** Looks every `POLL_MS`, the first time now. */
  async look(): Promise<void> {
    for (let lookedAtMs = performance.now(); !this.#isOver;) {
      const looks = await Promise.all(this.#nodes.map((node) => readiness(node).catch(() => 0)));
      this.#ready = this.#nodes.filter((_, at) => looks[at] === 200);
      this.longestLookMs = Math.max(this.longestLookMs, performance.now() - lookedAtMs);
      lookedAtMs = performance.now();
      await new Promise((over) => setTimeout(over, POLL_MS));
    }
  }

  async serve(): Promise<void> {
    for (let turn = 0; !this.#isOver; turn++) {
      const node = this.#ready[turn % this.#ready.length]!;
      try {
        const { status, text } = await ask(`${node.url}/cache/g/k${turn % 50}`);
        if (status !== 200 || text !== `k${turn % 50}`) this.failures.push(`${node.url}: ${status} ${text}`);
        this.answered++;
      } catch (error) {
        this.failures.push(`${node.url}: ${(error as Error).message}`);
      }
      await new Promise((over) => setTimeout(over, 5));
    }
  }
}

/** What clients see while the second node leaves right after a look of the load balancer. */
async function leave(defer: Defer, kind: RuntimeKind, args: string[]): Promise<Balancer> {
  const nodes = await pair(defer, kind, args);
  const balancer = new Balancer(nodes);
  const serving = [balancer.serve(), balancer.serve()];
  await until(() => balancer.answered > 100, 10_000, () => balancer.failures.join("\n"));
  const looking = balancer.look();
  assert.deepEqual(await Promise.all(nodes.map(readiness)), [200, 200]);
  const { code } = await nodes[1].end();
  assert.equal(code, 0);
  const enough = balancer.answered + 200;
  await until(() => balancer.answered > enough, 10_000, () => balancer.failures.join("\n"));
  balancer.end();
  await Promise.all([looking, ...serving]);
  return balancer;
}

test(
  "no request fails behind a load balancer that looks every second, with a farewell of two",
  { timeoutMs: 120_000 },
  async (defer) => {
    await onBothRuntimes(async (kind) => {
      let balancer = await leave(defer, kind, ["--farewell", "2s"]);
      // A balancer that could not check in time says nothing about the node.
      for (let tries = 1; tries < 4 && balancer.longestLookMs > 1_900; tries++) {
        balancer = await leave(defer, kind, ["--farewell", "2s"]);
      }
      assert.deepEqual(balancer.failures, [], `${kind}: it looked every ${balancer.longestLookMs} ms`);
      // It would notice: a farewell shorter than the time between two looks closes the port too early.
      const short = await leave(defer, kind, ["--farewell", "100ms"]);
      assert.ok(short.failures.length > 0, kind);
    });
  },
);

test(
  "values are served while /readyz says 503, and the port closes when the farewell is over",
  needs,
  async (defer) => {
    await onBothRuntimes(async (kind) => {
      const [, leaving] = await pair(defer, kind, ["--farewell", "1500ms", "--drain-timeout", "6s"]);
      await ask(`${leaving.url}/cache/g/held`);
      const sinceMs = performance.now();
      leaving.signal("SIGTERM");
      await until(async () => await readiness(leaving) === 503, 1_000, () => `${kind}: it never says that it leaves`);
      let closedMs: number | undefined;
      while (closedMs === undefined) {
        const answers = await Promise.all([ask(`${leaving.url}/cache/g/held`), ask(`${leaving.url}/readyz`)])
          .catch(() => undefined);
        if (answers === undefined) closedMs = performance.now() - sinceMs;
        else assert.deepEqual(answers.map(({ status }) => status), [200, 503], kind);
      }
      assert.ok(closedMs >= 1_450, `${kind}: it closed after ${closedMs} ms`);
      assert.equal(await leaving.exited, 0);
      // It is listed as draining until the farewell is over: only a listed node may ask the others.
      const lines = leaving.lines.join("\n");
      assert.match(lines, /as draining[^]*removed myself from the peer list of g before exiting/);
    });
  },
);

test("workers serve through the farewell too, and the machine says that it leaves", needs, async (defer) => {
  await onBothRuntimes(async (kind) => {
    const origin = await startOrigin(defer);
    // The shortest time for a stop that such a farewell may have.
    const times = ["--farewell", "1s", "--drain-timeout", "2.6s"];
    const machine = await startMachine(defer, kind, ["--nats", "off", "--group", `dict=${origin.template}`, ...times]);
    await whole(machine);
    const sinceMs = performance.now();
    machine.signal("SIGTERM");
    await until(async () => (await ask(`${machine.url}/readyz`)).status === 503, 1_000, () => `${kind}: still ready`);
    let servedMs = 0;
    while (await ask(`${machine.url}/cache/dict/k`).then(({ status }) => status === 200, () => false)) {
      servedMs = performance.now() - sinceMs;
    }
    assert.ok(servedMs >= 950, `${kind}: it served for ${servedMs} ms`);
    assert.equal(await machine.exited, 0, machine.lines.join("\n"));
    assert.ok(!machine.lines.some((line) => line.includes("did not stop in time")), machine.lines.join("\n"));
  });
});

test("a second Ctrl+C ends a farewell at once", needs, async (defer) => {
  await onBothRuntimes(async (kind) => {
    const node = await startNode(defer, kind, [
      ...["--nats", "off", "--group", "g=http://127.0.0.1:1/{key}"],
      ...["--farewell", "30s", "--drain-timeout", "40s"],
    ]);
    node.signal("SIGINT");
    await node.line("SIGINT: leaving");
    assert.equal(await readiness(node), 503);
    // Two signals within 100 ms are one.
    await new Promise((over) => setTimeout(over, 150));
    const { code, tookMs } = await node.end("SIGINT");
    assert.equal(code, 1);
    assert.ok(tookMs < 10_000, `${kind}: ${tookMs} ms`);
  });
});
