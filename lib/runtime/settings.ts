/** What a runtime is set to before it runs this program, and in what the two differ. */
import { readFileSync } from "node:fs";
import { execve } from "./execve.ts";
import { Bun, Deno, process } from "./globals.ts";

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

/** All that Deno can be permitted, as `-A` does. */
const ALL_PERMISSIONS = ["read", "write", "net", "env", "run", "sys", "ffi"];

/** Whether this process runs with `-A`; for Deno only. */
export function isAllPermitted(): boolean {
  return ALL_PERMISSIONS.every((name) => Deno!.permissions.querySync({ name }).state === "granted");
}
