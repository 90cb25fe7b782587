/** Machines as users run them: a supervisor and its workers, all of them processes. */
import { readFileSync } from "node:fs";
import { request } from "node:http";
import process from "node:process";
import {
  listening,
  type NodeProcess,
  type NodeStats,
  type RuntimeKind,
  spawnNode,
  type SpawnOptions,
} from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { until } from "../support/until.ts";

export interface MachineStats extends NodeStats {
  groups: Record<string, NodeStats["groups"][string] & { gets: number; cacheHits: number }>;
  workers: (NodeStats & { url: string; ready: boolean; incarnation: string; fault?: string })[];
}

/** Starts a machine of two workers on a free port, and waits until it listens. */
export async function startMachine(
  defer: Defer,
  kind: RuntimeKind,
  args: string[],
  options: SpawnOptions = {},
): Promise<NodeProcess> {
  const machine = spawnNode(
    defer,
    kind,
    ["--addr", "127.0.0.1:0", "--workers", "2", "--log", "text", ...args],
    options,
  );
  await listening(machine);
  return machine;
}

/** The ids of its workers' processes, by name. */
export function workersOf(machine: NodeProcess<string>): Map<string, number> {
  const { pid } = machine.child;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean);
  return new Map(children.flatMap((child) => {
    const words = readFileSync(`/proc/${child}/cmdline`, "utf8").split("\0").filter(Boolean);
    return words.at(-2) === "worker" ? [[words.at(-1)!, Number(child)] as const] : [];
  }));
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie has ended; only nobody has asked for its exit code.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One request on a connection of its own: the kernel chooses the worker anew. */
export function ask(url: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { agent: false, headers: { connection: "close" } }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => text += chunk);
      response.on("end", () => resolve({ status: response.statusCode!, text }));
      response.on("error", reject);
    });
    asked.on("error", reject).end();
  });
}

export async function statsOf(machine: NodeProcess<string>): Promise<MachineStats> {
  return JSON.parse((await ask(`${machine.url}/stats`)).text) as MachineStats;
}

/** Waits until every worker is up and lists as many peers as there are. */
export async function whole(machine: NodeProcess<string>, timeoutMs = 20_000): Promise<MachineStats> {
  let seen: MachineStats | undefined;
  await until(
    async () => {
      const { workers } = seen = await statsOf(machine);
      return workers.every(({ ready, groups }) => ready && groups["dict"]!.roster.peers.length === workers.length);
    },
    timeoutMs,
    () => `the machine never got whole: ${JSON.stringify(seen?.workers)}\n${machine.lines.join("\n")}`,
  );
  return seen!;
}
