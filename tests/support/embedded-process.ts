/** Processes of `tests/fixtures/embedded-node.ts` on either runtime, and the processes that they start. */
import { until as lookUntil } from "./until.ts";
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { NPM_PACKAGES } from "./node.ts";
import { nkeyAuthenticator } from "nats";
import type { Defer } from "./test.ts";

export type RuntimeName = "bun" | "deno";

export interface EmbeddedProcess {
  pid: number;
  /** Its output, one JSON object per line. */
  lines: Record<string, unknown>[];
  exited: Promise<void>;
  signal(name: NodeJS.Signals): void;
  /** To every process of its process group, as a terminal does on Ctrl+C. */
  signalGroup(name: NodeJS.Signals): void;
  /** Resolves when it has printed a line with this event. */
  said(event: string): Promise<void>;
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const fixture = fileURLToPath(new URL("../fixtures/embedded-node.ts", import.meta.url));
/** The permissions that the embedded server needs on Deno. */
const permissions = [
  "--no-prompt",
  "--allow-read",
  "--allow-net=127.0.0.1",
  "--allow-run=/bin/sh",
  "--allow-env=PATH,NATS_SERVER_BIN,NODE_V8_COVERAGE",
];

export function startEmbedded(
  defer: Defer,
  runtime: RuntimeName,
  port: number,
  storeDir: string,
): EmbeddedProcess {
  const binary = `${root}/node_modules/.bin/${runtime}`;
  const args = runtime === "bun" ? [fixture] : ["run", NPM_PACKAGES, ...permissions, fixture];
  const child = spawn(binary, [...args, String(port), storeDir], {
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
    cwd: root,
  });
  const lines: Record<string, unknown>[] = [];
  let unread = "";
  let isOver = false;
  const exited = new Promise<void>((resolve) =>
    child.once("exit", () => {
      isOver = true;
      resolve();
    })
  );
  child.stdout!.on("data", (chunk) => {
    const parts = (unread + chunk).split("\n");
    unread = parts.pop()!;
    lines.push(...parts.map((part) => JSON.parse(part)));
  });
  const signal = (name: NodeJS.Signals): void => {
    if (!isOver) globalThis.process.kill(child.pid!, name);
  };
  defer(async () => {
    signal("SIGKILL");
    await exited;
    await until(() => processesOf(storeDir).length === 0, "no process on the store", 8_000);
  });
  return {
    pid: child.pid!,
    lines,
    exited,
    signal,
    signalGroup: (name) => void globalThis.process.kill(-child.pid!, name),
    said: (event) => until(() => lines.some((line) => line.event === event), `${runtime} says ${event}`),
  };
}

/** The login for an operator's client, read from the store. */
export function loginOf(storeDir: string) {
  return {
    authenticator: nkeyAuthenticator(new TextEncoder().encode(readFileSync(`${storeDir}/nkey`, "utf8").trim())),
  };
}

/** The nats-servers that serve this store. */
export function serversOf(storeDir: string): number[] {
  return running().filter(({ argv }) => argv[1] === "-c" && argv[2] === `${storeDir}/nats-server.conf`)
    .map(({ pid }) => pid);
}

/** The nats-servers of this store, and the shells that guard them. */
export function processesOf(storeDir: string): number[] {
  const guards = running().filter(({ argv }) => argv[0] === "/bin/sh" && argv.includes(storeDir));
  return [...serversOf(storeDir), ...guards.map(({ pid }) => pid)];
}

/** The id of a process's group. */
export function groupOf(pid: number): number {
  // The name, in brackets, may contain anything; state, parent and group follow it.
  return Number(readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").pop()!.split(" ")[2]);
}

/** Zombies have no arguments, and are left out. */
function running(): { pid: number; argv: string[] }[] {
  const found: { pid: number; argv: string[] }[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      found.push({ pid: Number(entry), argv: readFileSync(`/proc/${entry}/cmdline`, "utf8").split("\0") });
    } catch {
      // It has ended in the meantime.
    }
  }
  return found;
}

/** Resolves when the condition holds, and rejects, naming it, when it does not within `timeoutMs`. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeoutMs = 10_000,
): Promise<void> {
  await lookUntil(condition, timeoutMs, () => what);
}
