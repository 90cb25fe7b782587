/** Starts the bench's programs, each on a core of its own where the machine has enough. */
import { type ChildProcess, spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import process from "node:process";
import { commandOf, listening, NodeProcess, root, runCommand, type RuntimeKind } from "../support/node.ts";
import type { Defer } from "../support/test.ts";
import { hasProgram } from "./machine.ts";

/** The cores that a program may use; undefined for all. */
export type Cores = string | undefined;

export const cores = availableParallelism();
const canPin = cores >= 2 && hasProgram("taskset");
/** Servers and load apart: the first core and the last one. */
export const serverCore: Cores = canPin ? "0" : undefined;
export const loadCore: Cores = canPin ? String(cores - 1) : undefined;

export interface StartOptions {
  readonly cores?: Cores;
  readonly env?: Record<string, string>;
}

/** Starts a program; taskset becomes the program, so the child's id is the program's. */
export function start(command: readonly string[], { cores, env }: StartOptions = {}): ChildProcess {
  const [program, ...args] = cores === undefined ? command : ["taskset", "-c", cores, ...command];
  const clean: Record<string, string | undefined> = { ...process.env, ...env };
  // The user's own variables must not reach a contestant.
  for (const name of Object.keys(clean)) if (/^(MUSTER_|NATS_URL$)/.test(name)) delete clean[name];
  return spawn(program!, args, { cwd: root, env: clean, stdio: ["ignore", "pipe", "pipe"] });
}

export type Server = NodeProcess<string>;

/** A server that writes `listening on http://…` to standard error; killed with the row. */
export async function startServer(
  defer: Defer,
  name: string,
  command: readonly string[],
  options: StartOptions = {},
): Promise<Server> {
  const server = new NodeProcess<string>(name, start(command, options));
  defer(() => server.end("SIGKILL"));
  await listening(server as NodeProcess);
  return server;
}

/**
 * A muster node of this runtime on a free port. The runtime's own flags come first. Under Deno it has all permissions: it
 * needs them to start itself anew with its settings.
 */
export function startMuster(
  defer: Defer,
  kind: RuntimeKind,
  args: readonly string[],
  { flags = [], ...options }: StartOptions & { flags?: readonly string[] } = {},
): Promise<Server> {
  const [program, run, ...rest] = commandOf(kind, "-A");
  return startServer(defer, kind, [program!, run!, ...flags, ...rest, "--addr", "127.0.0.1:0", ...args], options);
}

/** Runs a program of the bench to its end and returns the JSON that it prints last. */
export async function runPart<T>(
  defer: Defer,
  kind: RuntimeKind,
  file: string,
  args: readonly string[],
  options: StartOptions & { flags?: readonly string[]; timeoutMs?: number } = {},
): Promise<T> {
  const flags = kind === "deno" ? options.flags ?? [] : [];
  return JSON.parse(
    await runToEnd(
      defer,
      [...runCommand(kind), ...flags, `${root}/tests/bench/parts/${file}`, ...args],
      options,
    ),
  );
}

/** The output of a program, which is killed with the row or when it times out. */
export async function runToEnd(
  defer: Defer,
  command: readonly string[],
  options: StartOptions & { timeoutMs?: number } = {},
): Promise<string> {
  const child = new NodeProcess<string>(command[0]!, start(command, options));
  defer(() => child.end("SIGKILL"));
  const timer = setTimeout(() => child.signal("SIGKILL"), options.timeoutMs ?? 120_000);
  const code = await child.exited;
  clearTimeout(timer);
  if (code !== 0) throw new Error(`${command.join(" ")} ended with ${code}: ${child.lines.slice(-5).join("\n")}`);
  return child.stdout;
}
