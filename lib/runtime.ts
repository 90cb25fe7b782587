/**
 * The edge to Bun and Deno: the only file that names either of them, or `process`. Both are reached through
 * `globalThis` with the few members that are used here, since no type package describes both.
 */
import { readFileSync } from "node:fs";
import type { Context, MiddlewareHandler } from "hono";
import type { WSEvents } from "hono/ws";
import { type Clock, steady } from "./core/clock.ts";
import { lineSplitter, readLines } from "./core/lines.ts";
import { execve, type Foreign } from "./runtime-execve.ts";
import { WEBSOCKET_OPTIONS } from "./runtime-websocket.ts";

interface BunServer {
  readonly port: number;
  stop(closeActiveConnections?: boolean): Promise<void>;
}
interface DenoServer {
  readonly addr: { port: number };
  shutdown(): Promise<void>;
}
type Fetch = (request: Request, env?: unknown) => Response | Promise<Response>;

/** What both runtimes give of a child that has its standard input and output on pipes. */
interface Child {
  readonly pid: number;
  readonly stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  kill(signal: string): void;
}
interface BunChild extends Child {
  readonly stdin: { write(text: string): unknown; flush(): unknown };
  readonly exited: Promise<number>;
}
interface Output {
  write(text: string): boolean;
  on(event: "error", listener: () => void): void;
  listenerCount(event: "error"): number;
}
interface DenoChild extends Child {
  readonly stdin: WritableStream<Uint8Array<ArrayBuffer>>;
  readonly status: Promise<{ code: number }>;
}

const { Bun, Deno, process } = globalThis as unknown as {
  Bun?: {
    version: string;
    serve(options: Record<string, unknown>): BunServer;
    spawn(command: string[], options: Record<string, unknown>): BunChild;
  };
  Deno?: {
    version: { deno: string };
    serve(options: Record<string, unknown>, handler: Fetch): DenoServer;
    Command: new (program: string, options: Record<string, unknown>) => { spawn(): DenoChild };
    permissions: { querySync(descriptor: { name: string }): { state: string } };
  } & Foreign;
  process: {
    argv: string[];
    execArgv: string[];
    execPath: string;
    platform: string;
    execve?(file: string, args: string[], env: Record<string, string | undefined>): never;
    env: Record<string, string | undefined>;
    exit(code: number): never;
    on(event: string, listener: (...args: unknown[]) => void): void;
    stdin: { setEncoding(encoding: string): void; on(event: string, listener: (chunk: string) => void): void };
    stderr: Output & { isTTY?: boolean };
    stdout: Output;
  };
};

/** A listening HTTP server. */
export interface Listener {
  readonly port: number;
  /** Accepts no more and resolves when what is in flight has been answered. */
  stop(): Promise<void>;
}

/** No route takes a body. */
const MAX_REQUEST_BODY_BYTES = 64 * 1024;
/** Bun's longest, and longer than the slowest load: an answer that is awaited is not an idle connection. */
const IDLE_TIMEOUT_SECONDS = 255;

/** For the registry and the status: `bun 1.4.5`, `deno 2.9.5`. */
export function runtimeName(): string {
  return Bun !== undefined ? `bun ${Bun.version}` : `deno ${Deno!.version.deno}`;
}

/** Whether this runtime's server sends text in one chunk faster than bytes of a known length: Deno's does. */
export const isChunkedTextFaster = Bun === undefined;

/** Whether this runtime's maps find a number sooner than a string: V8's do. */
export const isHashFaster = Bun === undefined;

/**
 * What suits a server that is busy, then at rest, then busy, in variables that each runtime reads before all code of ours.
 *
 * Bun's allocator, mimalloc, keeps what is free for ten seconds, and what is free beside memory in use. By default all of it
 * goes back to the system within 0.1 s, whenever the process has nothing to do for a moment, and the next requests fault it
 * in again: with five nodes on two cores, 40 us of CPU for a hit instead of 23. Of `fetch`es it has 256 in the air by
 * default, for all origins together, of which one may hang.
 *
 * V8 leaves a process at rest alone. By default it collects twice after 8 s of rest: with the last request go the hidden
 * classes of requests, and with these all code that was optimised for them. Without the compiler in the middle, code that is
 * hot reaches the best one sooner. Five nodes with Zipf's keys and rests of 15 s: 113 us of CPU a request, with both 94. (A
 * young generation that stays at the 16 MiB that it may grow to does not pay: hops take 8 % more CPU.)
 */
export const RUNTIME_SETTINGS = {
  bun: { MIMALLOC_PURGE_DELAY: "10000", MIMALLOC_PURGE_HOLES: "0", BUN_CONFIG_MAX_HTTP_REQUESTS: "8192" },
  deno: { DENO_V8_FLAGS: "--no-memory-reducer,--no-maglev" },
};

/**
 * Starts this process anew, as it was started, unless its environment has `RUNTIME_SETTINGS` already. What the user has set
 * stays, or stands behind and so wins. It does nothing elsewhere than on Linux, where `--cwd` would be followed twice, where
 * a debugger would be lost, where the timer of `--cpu-prof` would end the new program, and under Deno without `-A`.
 */
export function startWithSettings(): void {
  if (process.platform !== "linux" || (Deno !== undefined && !isAllPermitted())) return;
  const env: typeof process.env = { ...RUNTIME_SETTINGS[Bun !== undefined ? "bun" : "deno"], ...process.env };
  const [ours, given] = [RUNTIME_SETTINGS.deno.DENO_V8_FLAGS, process.env.DENO_V8_FLAGS];
  if (Deno !== undefined && given && !given.startsWith(ours)) env.DENO_V8_FLAGS = `${ours},${given}`;
  if (Object.keys(env).every((name) => env[name] === process.env[name])) return;
  const command = readFileSync("/proc/self/cmdline", "utf8").split("\0").slice(0, -1);
  if (command.some((argument) => /^--(cwd|inspect|cpu-prof)/.test(argument))) return;
  if (process.execve !== undefined) process.execve(process.execPath, command, env);
  else if (Deno !== undefined) execve(Deno, process.execPath, command, env);
}

/** What stands behind `main.ts` on the command line. */
export function commandLine(): string[] {
  return process.argv.slice(2);
}

/** Reads only the named variables: under Deno's least permissions the others may not even be listed. */
export function environment(names: readonly string[]): Record<string, string | undefined> {
  return Object.fromEntries(names.map((name) => [name, process.env[name]]));
}

/** @throws what node:fs throws */
export function readTextFile(path: string): string {
  return readFileSync(path, "utf8");
}

/** Whether standard error is a terminal. */
export function isTerminal(): boolean {
  return process.stderr.isTTY === true;
}

/** To standard error, as it is; lost in silence when the reader is gone: a node is to go on without its log, and to leave. */
export function writeError(text: string): void {
  write(process.stderr, text);
}

/** To standard output, as it is. */
export function writeOut(text: string): void {
  process.stdout.write(text);
}

/** To standard output, for a reader that may be gone: then it is lost in silence. */
export function tell(text: string): void {
  write(process.stdout, text);
}

function write(stream: Output, text: string): void {
  // Without a listener an error ends the process. Bun throws where Deno emits.
  if (stream.listenerCount("error") === 0) stream.on("error", () => {});
  try {
    stream.write(text);
  } catch { /* nobody reads */ }
}

/** Calls `listener` with each line of standard input, and `onEnd` when there will be no more. */
export function onInputLine(listener: (line: string) => void, onEnd: () => void): void {
  const split = lineSplitter(listener);
  process.stdin.setEncoding("utf8");
  process.stdin.on("data", split);
  process.stdin.on("end", onEnd);
  process.stdin.on("error", onEnd);
}

/** How many cores this process may use. */
export function coreCount(): number {
  return navigator.hardwareConcurrency;
}

/** Ends the process at once. */
export function exit(code: number): never {
  return process.exit(code);
}

/** Calls `listener` at every SIGINT and SIGTERM. */
export function onStopSignal(listener: (signal: string) => void): void {
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => listener(signal));
}

/** The clock of this machine. */
export const systemClock: Clock = {
  nowMs: steady(Date.now),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => clearTimeout(timer);
  },
};

/** This program, started once more. */
export interface Twin {
  readonly pid: number;
  /** Its exit code; 128 and more when a signal ended it. */
  readonly exited: Promise<number>;
  /** To its standard input. What a process that has ended does not read is lost in silence. */
  write(text: string): void;
  /** Ends it at once. */
  kill(): void;
}

/** All that Deno can be permitted, as `-A` does. */
const ALL_PERMISSIONS = ["read", "write", "net", "env", "run", "sys", "ffi"];

function isAllPermitted(): boolean {
  return ALL_PERMISSIONS.every((name) => Deno!.permissions.querySync({ name }).state === "granted");
}

/**
 * Starts this program with other arguments, in a session of its own: Ctrl+C reaches every process of the terminal's
 * foreground group, and the twin is to stop when it is told. It writes to the same standard error.
 *
 * Under Deno it has all permissions where this process has them, else those of deno.json (`-P`), which permit no
 * program but /bin/sh. Its environment is this process's: Deno's own way to start it reads none of it.
 *
 * @param onLine gets each line that it writes to standard output
 * @throws Error the runtime does not permit it
 */
export function startTwin(args: readonly string[], onLine: (line: string) => void): Twin {
  const main = process.argv[1]!;
  const streams = { stdin: "piped", stdout: "piped", stderr: "inherit", detached: true };
  if (Bun !== undefined) {
    const command = [process.execPath, ...process.execArgv, "run", main, ...args];
    const child = Bun.spawn(command, { ...streams, stdin: "pipe", stdout: "pipe" });
    void readLines(child.stdout, onLine);
    // To one that has just ended it throws, at once or later.
    const write = (text: string): void =>
      void (async () => {
        child.stdin.write(text);
        await child.stdin.flush();
      })().catch(() => {});
    return { pid: child.pid, exited: child.exited, write, kill: () => child.kill("SIGKILL") };
  }
  const command = [process.execPath, "run", isAllPermitted() ? "-A" : "-P", "--no-prompt", main, ...args];
  const child = new Deno!.Command("/bin/sh", { args: ["-c", 'exec "$@"', "sh", ...command], ...streams }).spawn();
  void readLines(child.stdout, onLine);
  const writer = child.stdin.getWriter();
  return {
    pid: child.pid,
    exited: child.status.then(({ code }) => code),
    write: (text) => void writer.write(new TextEncoder().encode(text)).catch(() => {}),
    kill: () => child.kill("SIGKILL"),
  };
}

/** Turns a request for a WebSocket into one whose events go to what `makeEvents` returns. */
export async function webSocketEndpoint(makeEvents: (context: Context) => WSEvents): Promise<MiddlewareHandler> {
  // Each adapter names its runtime when it is loaded, so only the one that fits may be.
  return Bun !== undefined
    ? (await import("hono/bun")).upgradeWebSocket(makeEvents)
    : (await import("hono/deno")).upgradeWebSocket(makeEvents as (context: Context) => WSEvents<WebSocket>);
}

/**
 * Listens for HTTP and WebSockets.
 *
 * @param address.isShared whether other processes of this user may listen there too (SO_REUSEPORT): the kernel then
 * spreads the connections among them
 * @param fetch answers a request; under Bun its second argument is the server, which Hono's upgradeWebSocket asks for
 * @throws Error the address cannot be had: in use, not of this machine, or not permitted
 */
export async function listen(
  address: { host: string; port: number; isShared?: boolean },
  fetch: Fetch,
): Promise<Listener> {
  const { host: hostname, port, isShared: reusePort = false } = address;
  try {
    if (Bun !== undefined) {
      const { websocket } = await import("hono/bun");
      const server = Bun.serve({
        hostname,
        port,
        reusePort,
        fetch,
        idleTimeout: IDLE_TIMEOUT_SECONDS,
        maxRequestBodySize: MAX_REQUEST_BODY_BYTES,
        websocket: { ...websocket, ...WEBSOCKET_OPTIONS },
      });
      return { port: server.port, stop: () => server.stop() };
    }
    const server = Deno!.serve({ hostname, port, reusePort, onListen() {} }, fetch);
    return { port: server.addr.port, stop: () => server.shutdown() };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot listen on ${hostname}:${port}: ${reason}`, { cause: error });
  }
}
