/** Nodes as users run them: processes of `main.ts`, on Bun and on Deno with its least permissions. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import process from "node:process";
import type { Defer } from "./test.ts";
import { until } from "./until.ts";

export type RuntimeKind = "bun" | "deno";
export const bothRuntimes: readonly RuntimeKind[] = ["bun", "deno"];

/** Runs the same on both runtimes at once, since most of the time it waits for processes. */
export async function onBothRuntimes(run: (kind: RuntimeKind) => Promise<void>): Promise<void> {
  await Promise.all(bothRuntimes.map(run));
}

/** The repository's root. */
export const root = resolve(import.meta.dirname!, "..", "..");

/** The pinned runtime, else the one on PATH. */
export function runtimeProgram(kind: RuntimeKind): string {
  const pinned = join(root, "node_modules", ".bin", kind);
  return existsSync(pinned) ? pinned : kind;
}

/** Makes Deno use npm's packages, so that a test neither downloads nor fills Deno's own cache. */
export const NPM_PACKAGES = "--node-modules-dir=manual";

/** How to run a program of the project; its file and arguments follow. */
export function runCommand(kind: RuntimeKind, permissions: "-A" | "-P" = "-A"): string[] {
  return [runtimeProgram(kind), "run", ...(kind === "deno" ? [permissions, "--no-prompt", NPM_PACKAGES] : [])];
}

/** How to run a node of the checkout in `from`; its options follow. */
export function commandOf(kind: RuntimeKind, permissions: "-A" | "-P" = "-P", from = root): string[] {
  return [...runCommand(kind, permissions), join(from, "main.ts")];
}

/** Makes a new directory, and removes it at the end. */
export function temporaryDirectory(defer: Defer): string {
  const directory = mkdtempSync(join(tmpdir(), "muster-"));
  // The server of a killed node may still write there for a moment.
  defer(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  return directory;
}

export class NodeProcess<Kind extends string = RuntimeKind> {
  readonly kind: Kind;
  readonly child: ChildProcess;
  /** The lines that it wrote to standard error. */
  readonly lines: string[] = [];
  stdout = "";
  exitCode: number | null | undefined;
  readonly exited: Promise<number | null>;
  url = "";

  constructor(kind: Kind, child: ChildProcess) {
    this.kind = kind;
    this.child = child;
    let rest = "";
    child.stderr!.setEncoding("utf8").on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop()!;
      this.lines.push(...lines);
    });
    child.stdout!.setEncoding("utf8").on("data", (chunk: string) => this.stdout += chunk);
    this.exited = new Promise((done) => child.on("close", (code) => done(this.exitCode = code)));
  }

  /** Waits for a line that contains `text`; fails with the lines that came instead. */
  async line(text: string | RegExp, timeoutMs = 15_000): Promise<string> {
    const find = () => this.lines.find((line) => typeof text === "string" ? line.includes(text) : text.test(line));
    await until(() => find() !== undefined || this.exitCode !== undefined, timeoutMs, () => this.account(String(text)));
    const found = find();
    if (found === undefined) throw new Error(`ended without the line: ${this.account(String(text))}`);
    return found;
  }

  account(wanted: string): string {
    return `${this.kind} node (exit code ${this.exitCode}) never wrote ${wanted}; it wrote:\n${this.lines.join("\n")}`;
  }

  /** Sends a signal by process id: Deno's `child.kill` loses the exit code of a child. */
  signal(name: NodeJS.Signals): void {
    if (this.exitCode === undefined) process.kill(this.child.pid!, name);
  }

  /** Ends the process and waits for its end. */
  async end(
    signal: "SIGTERM" | "SIGINT" | "SIGHUP" | "SIGKILL" = "SIGTERM",
  ): Promise<{ code: number | null; tookMs: number }> {
    const sinceMs = performance.now();
    this.signal(signal);
    const code = await this.exited;
    return { code, tookMs: performance.now() - sinceMs };
  }

  async stats(): Promise<NodeStats> {
    return await (await fetch(`${this.url}/stats`)).json() as NodeStats;
  }
}

export interface NodeStats {
  name: string;
  groups: Record<
    string,
    {
      originLoads: number;
      peerLoads: number;
      peerErrors: number;
      hedges: number;
      mainCache: { items: number };
      roster: { revision: number; peers: { url: string }[] };
    }
  >;
}

export interface SpawnOptions {
  /** @default `root` */
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The folder whose `main.ts` is run: another release. @default this checkout */
  readonly root?: string;
}

/** Starts a node with these arguments, and kills it at the end if it still runs. */
export function spawnNode(defer: Defer, kind: RuntimeKind, args: string[], options: SpawnOptions = {}): NodeProcess {
  const from = options.root ?? root;
  return spawnProgram(defer, kind, [...commandOf(kind, "-P", from), ...args], { ...options, cwd: options.cwd ?? from });
}

/** Starts a node, however it is packed, and kills it at the end if it still runs. */
export function spawnProgram<Kind extends string>(
  defer: Defer,
  kind: Kind,
  command: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): NodeProcess<Kind> {
  const [program, ...args] = command;
  const env: Record<string, string | undefined> = { ...process.env, ...options.env };
  for (const name of Object.keys(env)) {
    // The user's environment variables must not change the test.
    if ((name.startsWith("MUSTER_") || name === "NATS_URL") && options.env?.[name] === undefined) delete env[name];
  }
  const child = spawn(program!, args, {
    cwd: options.cwd ?? root,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const node = new NodeProcess(kind, child);
  defer(() => node.end("SIGKILL"));
  return node;
}

/** Starts a node on a free port and waits until it listens. */
export async function startNode(
  defer: Defer,
  kind: RuntimeKind,
  args: string[] = [],
  options: SpawnOptions = {},
): Promise<NodeProcess> {
  const node = spawnNode(defer, kind, ["--addr", "127.0.0.1:0", ...args], options);
  await listening(node);
  return node;
}

export async function listening(node: NodeProcess<string>): Promise<void> {
  const line = await node.line("listening on http://");
  node.url = /http:\/\/[^\s"]+/.exec(line)![0];
}

function told({ name, groups }: NodeStats, group: string): string {
  const roster = groups[group]?.roster;
  return `${name} (revision ${roster?.revision}): ${roster?.peers.map(({ url }) => url).join()}`;
}

/**
 * How often these nodes asked a second node for a key of the group, because the first was silent or failed. Each of these
 * asks may load the key again. On a busy machine a process may stand still long enough for that.
 */
export async function secondAsksOf(nodes: readonly NodeProcess[], group: string): Promise<number> {
  const all = await Promise.all(nodes.map((node) => node.stats()));
  return all.reduce((sum, { groups }) => sum + groups[group]!.hedges + groups[group]!.peerErrors, 0);
}

/**
 * @param loads the keys that the origin was asked for
 * @throws AssertionError a key was not loaded, another key was loaded, or there were more second loads than second asks
 */
export async function assertLoadedOnce(
  nodes: readonly NodeProcess[],
  group: string,
  loads: readonly string[],
  keys: readonly string[],
): Promise<void> {
  assert.deepEqual([...new Set(loads)].sort(), keys.toSorted());
  if (loads.length === keys.length) return;
  // Chosen: even on a busy machine, a healthy fleet loads less than a tenth of its keys again.
  const more = Math.min(await secondAsksOf(nodes, group), Math.ceil(keys.length / 10));
  assert.ok(loads.length <= keys.length + more, `${loads.length} loads of ${keys.length} keys, ${more} second asks`);
}

/** Waits until every one of these nodes is ready and lists them all at one revision; returns that revision. */
export async function assembled(nodes: NodeProcess[], group = "dict", timeoutMs = 15_000): Promise<number> {
  const urls = nodes.map(({ url }) => url).sort().join();
  let seen: NodeStats[] = [];
  await until(
    async () => {
      const ready = await Promise.all(nodes.map(async ({ url }) => (await fetch(`${url}/readyz`)).status === 200));
      seen = await Promise.all(nodes.map((node) => node.stats()));
      const rosters = seen.map(({ groups }) => groups[group]?.roster);
      return ready.every(Boolean) &&
        rosters.every((roster) =>
          roster?.peers.map(({ url }) => url).sort().join() === urls && roster.revision === rosters[0]!.revision
        );
    },
    timeoutMs,
    () => `the nodes never agreed on ${urls}:\n${seen.map((stats) => told(stats, group)).join("\n")}`,
  );
  return seen[0]!.groups[group]!.roster.revision;
}
