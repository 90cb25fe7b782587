/** The machine and the programs behind the figures. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cpus, release, totalmem } from "node:os";
import { root, runtimeProgram } from "../support/node.ts";

export interface Machine {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  /** Load average of the last minute when the bench began; above 0.3 something else was running. */
  readonly loadBefore: number;
  readonly versions: Readonly<Record<string, string>>;
}

const hashedMiB = 32;

/**
 * How much SHA-256 one core does now, in MiB/s. It takes a fraction of a second. Neighbours on the host can make a virtual
 * machine half as fast for an hour, and only a measurement shows it.
 */
export function hashingSpeed(): number {
  const block = new Uint8Array(1 << 20);
  const sinceMs = performance.now();
  for (let i = 0; i < hashedMiB; i++) createHash("sha256").update(block).digest();
  return hashedMiB / (performance.now() - sinceMs) * 1_000;
}

const lineInts = 16;
const lineCount = (8 << 20) / 64;
const readLines = 400_000;
/** Each cache line holds the place of the next one. Made at the first read. */
let chain: Int32Array | undefined;

/**
 * How long one core waits now for a random cache line out of 8 MiB, in nanoseconds. 8 MiB is about a node's working set,
 * and fits the processor's last cache, which neighbours share. It takes less than 0.1 s.
 */
export function memoryLatencyNs(): number {
  chain ??= chainOfLines();
  let at = 0;
  const sinceMs = performance.now();
  for (let i = 0; i < readLines; i++) at = chain[at]!;
  // Never true: an engine might drop a read whose result is not used.
  if (at < 0) throw new Error("the chain has an end");
  return (performance.now() - sinceMs) * 1e6 / readLines;
}

/** All lines in an order that no prefetcher predicts: a linear congruential generator of full period. */
function chainOfLines(): Int32Array {
  const made = new Int32Array(lineCount * lineInts);
  for (let line = 0; line < lineCount; line++) {
    made[lineInts * line] = lineInts * ((Math.imul(1_664_525, line) + 1_013_904_223) & (lineCount - 1));
  }
  return made;
}

/** Whether a program is on PATH. */
export function hasProgram(program: string): boolean {
  try {
    execFileSync("/bin/sh", ["-c", 'command -v "$0"', program], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function firstLineOf(program: string, ...args: string[]): string {
  try {
    // wrk prints its version with exit code 1.
    const command = '"$0" "$@" 2>&1 || true';
    return execFileSync("/bin/sh", ["-c", command, program, ...args], { encoding: "utf8" }).split("\n")[0]!;
  } catch {
    return "";
  }
}

function versionOf(program: string, ...args: string[]): string {
  return (hasProgram(program) ? /\d+(\.\d+)+[^\s,)]*/.exec(firstLineOf(program, ...args))?.[0] : undefined) ??
    "not here";
}

/** The version of a module of the Go contestants. */
function moduleVersion(module: string): string {
  const text = readFileSync(join(root, "tests/bench/contestants/go.mod"), "utf8");
  return new RegExp(`${module} v(\\S+)`).exec(text)?.[1]?.split("-")[0] ?? "not here";
}

/** Asks the machine and the programs. */
export function describeMachine(): Machine {
  const revision = firstLineOf("git", "-C", root, "rev-parse", "--short", "HEAD");
  const isChanged = firstLineOf("git", "-C", root, "status", "--porcelain", "lib", "main.ts") !== "";
  return {
    date: new Date().toISOString(),
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    loadBefore: Number(readFileSync("/proc/loadavg", "utf8").split(" ")[0]),
    versions: {
      muster: revision + (isChanged ? ", with changes" : ""),
      bun: versionOf(runtimeProgram("bun"), "--version"),
      deno: versionOf(runtimeProgram("deno"), "--version"),
      go: versionOf("go", "version"),
      "groupcache-go": moduleVersion("github.com/groupcache/groupcache-go/v3"),
      wrk: versionOf("wrk", "--version"),
      nginx: versionOf("nginx", "-v"),
      memcached: versionOf("memcached", "-V"),
    },
  };
}

/** Fields of /proc/pid/stat after the name: the state (3), then 4 and on. Times are in ticks of 10 ms. */
function statOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ").map(Number);
}

/** Minor page faults of a process since its start (field 10). */
export function minorFaultsOf(pid: number): number {
  return statOf(pid)[7]!;
}

/** User and system time of a process since its start (fields 14 and 15), in milliseconds. */
export function cpuMsOf(pid: number): number {
  const fields = statOf(pid);
  return (fields[11]! + fields[12]!) * 10;
}

/** How long ago a process was started (field 22, since the machine was), in milliseconds. */
export function ageMsOf(pid: number): number {
  return 1_000 * Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) - statOf(pid)[19]! * 10;
}

/** Resident memory of a process in bytes. */
export function rssOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) * 1_024;
}
