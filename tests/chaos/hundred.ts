/** The registry alone: a hundred memberships in a few processes. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { freePort } from "../support/free-port.ts";
import { bothRuntimes, root, runCommand, type RuntimeKind } from "../support/node.ts";
import { startNats } from "../support/nats-server.ts";
import { until } from "../support/until.ts";
import { pause } from "./load.ts";
import { atMost, type Outcome, type Run, type Scenario } from "./result.ts";

const members = 100;
const processes = 4;
const equalWithinMs = 10_000;
const changes = 20;
/**
 * Derived: each node gets a notice, asks the leader once, and gets an answer. The rest is for checks that find nothing.
 */
const maxMessagesPerChange = 4 * members;

interface Told {
  isUp?: boolean;
  sizes?: [number, number];
  serving?: [number, number];
  revisions?: [number, number];
}

class MemberProcess {
  readonly child: ChildProcess;
  told: Told = {};
  isUp = false;
  hasEnded = false;
  errors = "";

  constructor(kind: RuntimeKind, natsUrl: string, first: number, count: number) {
    const file = join(root, "tests", "chaos", "hundred-member.ts");
    const [program, ...args] = [...runCommand(kind), file, natsUrl, String(first), String(count)];
    this.child = spawn(program!, args, { cwd: root, stdio: ["pipe", "pipe", "pipe"] });
    let rest = "";
    this.child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      for (const line of lines) {
        const told = JSON.parse(line) as Told;
        if (told.isUp) this.isUp = true;
        else this.told = told;
      }
    });
    this.child.stderr!.setEncoding("utf8").on(
      "data",
      (chunk: string) => this.errors = (this.errors + chunk).slice(-2_000),
    );
    this.child.on("close", () => this.hasEnded = true);
  }

  say(word: string): void {
    this.child.stdin!.write(`${word}\n`);
  }

  end(): void {
    if (!this.hasEnded) globalThis.process.kill(this.child.pid!, "SIGKILL");
  }
}

/** Whether all rosters of all processes have these counts of peers and serving peers, and one revision. */
function agree(all: readonly MemberProcess[], serving: number): boolean {
  const revision = all[0]!.told.revisions?.[0];
  return all.every(({ told }) =>
    told.sizes?.every((size) => size === members) && told.serving?.every((count) => count === serving) &&
    told.revisions!.every((other) => other === revision)
  );
}

async function messages(monitorPort: number): Promise<number> {
  const page = await (await fetch(`http://127.0.0.1:${monitorPort}/varz`)).json();
  return page.in_msgs + page.out_msgs;
}

async function hundredNodes(run: Run): Promise<Outcome> {
  const monitorPort = await freePort();
  const nats = await startNats(run.defer, { extraArgs: ["-m", String(monitorPort)] });
  const each = members / processes;
  const all = Array.from(
    { length: processes },
    (_, i) => new MemberProcess(bothRuntimes[i % bothRuntimes.length]!, nats.url, i * each, each),
  );
  run.defer(() => all.forEach((one) => one.end()));
  const account = () => all.map(({ told, errors }) => JSON.stringify(told) + errors).join("\n");
  run.watch(() => all.map(({ told }) => `${told.sizes?.join("-") ?? "none"} peers`).join(", "));
  await until(() => all.every(({ isUp }) => isUp), 30_000, account);
  run.say(`${members} memberships in ${processes} processes join at once`);
  const startedAtMs = performance.now();
  const before = await messages(monitorPort);
  for (const one of all) one.say("start");
  await until(() => agree(all, members), 60_000, account);
  const equalMs = Math.round(performance.now() - startedAtMs);
  const perJoin = Math.round((await messages(monitorPort) - before) / members);
  run.say(`all rosters are equal after ${equalMs} ms, with ${perJoin} messages for each join`);
  const perChange = await measureChanges(monitorPort, all, account);
  return {
    checks: [
      atMost("all rosters equal after", equalMs, equalWithinMs, " ms"),
      atMost("NATS messages per change", perChange, maxMessagesPerChange),
    ],
    notes: [`${perJoin} messages per join while all start`],
    details: { equalMs, perJoin, perChange },
  };
}

/** Messages per change, made one after the other, less the messages of an idle registry. */
async function measureChanges(
  monitorPort: number,
  all: readonly MemberProcess[],
  account: () => string,
): Promise<number> {
  const idleMs = 6_000;
  const idleBefore = await messages(monitorPort);
  await pause(idleMs);
  const idlePerMs = (await messages(monitorPort) - idleBefore) / idleMs;
  const before = await messages(monitorPort);
  const sinceMs = performance.now();
  for (let i = 0; i < changes; i++) {
    all[(i >> 1) % all.length]!.say(i % 2 === 0 ? "drain" : "serve");
    await until(() => agree(all, i % 2 === 0 ? members - 1 : members), 20_000, account);
  }
  const idle = idlePerMs * (performance.now() - sinceMs);
  return Math.round((await messages(monitorPort) - before - idle) / changes);
}

export const hundred: readonly Scenario[] = [
  {
    name: "hundred-nodes",
    title: "100 nodes started at once on one NATS (registry only)",
    notOnGo: "has no registry",
    run: hundredNodes,
  },
];
