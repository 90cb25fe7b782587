/** Settings for the runtime itself, made before it runs this program, and differences between the two runtimes. */
import { readFileSync } from "node:fs";
import { execve } from "./execve.ts";
import { Bun, Deno, process } from "../globals.ts";

/** The runtime's name for the registry and the status: `bun 1.4.5`, `deno 2.9.5`. */
export function runtimeName(): string {
  return Bun !== undefined ? `bun ${Bun.version}` : `deno ${Deno!.version.deno}`;
}

/** Whether this runtime's server sends a text faster than bytes of a known length: Deno's does. */
export const isChunkedTextFaster = Bun === undefined;

/** Whether this runtime's maps find a number faster than a string: V8's do. */
export const isHashFaster = Bun === undefined;

/** The costs of a cache entry on this runtime: see lib/core/cache/memory.ts. Measured. */
export const entryCosts = Bun === undefined
  ? { entryBytes: 1_800, perBodyByte: 1.25 }
  : { entryBytes: 1_000, perBodyByte: 2 };

/**
 * Settings for a server that is busy, then idle, then busy again. Each runtime reads them from its environment before it
 * runs any code of this program.
 *
 * - `MIMALLOC_PURGE_DELAY`, `MIMALLOC_PURGE_HOLES`: Bun's allocator keeps free memory for 10 s. By default it returns all
 *   of it to the system after 0.1 s without work, and the next requests fault it in again. Measured with five nodes on two
 *   cores: a hit takes 23 us of CPU, and 40 us with the default.
 * - `BUN_CONFIG_MAX_HTTP_REQUESTS`: Bun allows 256 `fetch` calls in flight for all origins together, and one origin may
 *   hang. Chosen: more than the 1,024 of each HTTP origin.
 * - `--no-memory-reducer`: by default V8 collects twice after 8 s without work. The hidden classes of requests go with the
 *   last request, and the code that was optimised for them goes too.
 * - `--no-maglev`: without the middle compiler, hot code reaches the best compiler sooner. Measured with both V8 flags,
 *   five nodes, Zipf's keys and pauses of 15 s: a request takes 94 us of CPU, and 113 us without them.
 *
 * Tried but not used: a young generation fixed at its largest size of 16 MiB (hops take 8 % more CPU).
 */
export const RUNTIME_SETTINGS = {
  bun: { MIMALLOC_PURGE_DELAY: "10000", MIMALLOC_PURGE_HOLES: "0", BUN_CONFIG_MAX_HTTP_REQUESTS: "8192" },
  deno: { DENO_V8_FLAGS: "--no-memory-reducer,--no-maglev" },
};

/**
 * Replaces this process by the same command with `RUNTIME_SETTINGS` in its environment, unless they are already set.
 * The user's own settings stay; the user's V8 flags come last, so they override these.
 *
 * It does nothing on systems other than Linux, and under Deno without `-A`. It also does nothing with `--cwd` (the new
 * process would change the folder again), `--inspect` (the debugger would lose the process) and `--cpu-prof` (its timer
 * would end the new process).
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

/** Every permission that `-A` gives. */
const ALL_PERMISSIONS = ["read", "write", "net", "env", "run", "sys", "ffi"];

/** Whether this process runs with `-A`. Only for Deno. */
export function isAllPermitted(): boolean {
  return ALL_PERMISSIONS.every((name) => Deno!.permissions.querySync({ name }).state === "granted");
}
