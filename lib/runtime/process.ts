/** This process: its command line, environment, output, signals and clock. */
import { readFileSync, statSync } from "node:fs";
import { type Clock, steady } from "../core/base/clock.ts";
import { type Output, process } from "./globals.ts";
import { lineSplitter } from "./lines.ts";
import { openFilesNow, ownFile } from "./open-files.ts";

/** The arguments after `main.ts` on the command line. */
export function commandLine(): string[] {
  return process.argv.slice(2);
}

/** Reads only the named variables, as Deno's least permissions do not let a program list the others. */
export function environment(names: readonly string[]): Record<string, string | undefined> {
  return Object.fromEntries(names.map((name) => [name, process.env[name]]));
}

/** @throws what node:fs throws */
export function readTextFile(path: string): string {
  return readFileSync(path, "utf8");
}

/** The longest file to read while requests wait. Chosen: it takes a few milliseconds, and options are far shorter. */
const MAX_REREAD_BYTES = 16 * 1024 * 1024;

/**
 * Whether a file can be read repeatedly while this process serves. A pipe gives its content only once; a second read
 * could block this process forever.
 */
export function isRereadable(path: string): boolean {
  try {
    return rereadFault(path) === undefined;
  } catch {
    return false;
  }
}

/** As `readTextFile`. @throws Error the file is not rereadable; what node:fs throws */
export function rereadTextFile(path: string): string {
  const fault = rereadFault(path);
  if (fault !== undefined) throw new Error(fault);
  return readTextFile(path);
}

function rereadFault(path: string): string | undefined {
  const stat = statSync(path);
  if (!stat.isFile()) return "it is not a regular file";
  return stat.size > MAX_REREAD_BYTES ? `it has more than ${MAX_REREAD_BYTES} bytes` : undefined;
}

/** Whether every user of this machine may read the file. @throws what node:fs throws */
export function isReadableByAll(path: string): boolean {
  return (statSync(path).mode & 0o004) !== 0;
}

/** Whether standard error is a terminal. */
export function isTerminal(): boolean {
  return process.stderr.isTTY === true;
}

/** Whether standard output is a terminal. */
export function isOutTerminal(): boolean {
  return process.stdout.isTTY === true;
}

/** Writes to standard error. The text is lost if the reader is gone: a node continues without its log. */
export function writeError(text: string): void {
  write(process.stderr, text);
}

/** Writes to standard output. */
export function writeOut(text: string): void {
  process.stdout.write(text);
}

/** Writes to standard output. Resolves when the system has taken all of it or the reader is gone. */
export function writeWhole(text: string | Uint8Array): Promise<void> {
  const { stdout } = process;
  if (stdout.listenerCount("error") === 0) stdout.on("error", () => {});
  return new Promise((resolve) => {
    try {
      stdout.write(text, () => resolve());
    } catch {
      resolve();
    }
  });
}

/** Writes to standard output. The text is lost if the reader is gone. */
export function tell(text: string): void {
  write(process.stdout, text);
}

function write(stream: Output, text: string): void {
  // Without a listener an error would end the process: Bun throws it, Deno emits it.
  if (stream.listenerCount("error") === 0) stream.on("error", () => {});
  try {
    stream.write(text);
  } catch { /* nobody reads */ }
}

/** Passes the runtime's warnings to `listener`. Otherwise both runtimes write them to standard error as plain text. */
export function onWarning(listener: (text: string) => void): void {
  // Remove the runtime's own listener, as it writes the text.
  process.removeAllListeners("warning");
  process.on("warning", (warning) => {
    const { name, message } = warning as Error;
    listener(`${name}: ${message}`);
  });
}

/** Calls `listener` with each line of standard input, and `onEnd` at its end. */
export function onInputLine(listener: (line: string) => void, onEnd: () => void): void {
  const split = lineSplitter(listener);
  process.stdin.setEncoding("utf8");
  process.stdin.on("data", split);
  process.stdin.on("end", onEnd);
  process.stdin.on("error", onEnd);
}

/** The number of cores that this process may use. */
export function coreCount(): number {
  return navigator.hardwareConcurrency;
}

/** Ends the process at once. */
export function exit(code: number): never {
  return process.exit(code);
}

/**
 * Calls `listener` at every SIGINT, SIGTERM and SIGHUP. SIGHUP comes when the terminal's window closes. A process that
 * was started to ignore SIGHUP, as by `nohup`, still ignores it.
 */
export function onStopSignal(listener: (signal: string) => void): void {
  const isIgnored = isHangupIgnored();
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => listener(signal));
  // As soon as Deno listens to any signal, it no longer ignores SIGHUP. So always listen, and ignore it here.
  process.on("SIGHUP", () => isIgnored || listener("SIGHUP"));
}

/** Linux lists the ignored signals as a hexadecimal mask; bit 0 is SIGHUP. */
function isHangupIgnored(): boolean {
  const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(ownFile("status"))?.[1];
  return mask !== undefined && (BigInt(`0x${mask}`) & 1n) === 1n;
}

/** This process's current use of resources, for `NodeFigures.usage` of lib/http. It takes some tens of microseconds. */
export function processUse() {
  const { rss: residentBytes, heapUsed: heapBytes } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  const { open: openFiles, max: maxOpenFiles } = openFilesNow();
  const cpuSeconds = (user + system) / 1e6;
  return { startedAtMs: performance.timeOrigin, residentBytes, heapBytes, cpuSeconds, openFiles, maxOpenFiles };
}

/** The clock of this machine. */
export const systemClock: Clock = {
  nowMs: steady(Date.now),
  fineMs: () => performance.now(),
  after(delayMs, action) {
    // Not below 0: for a past time both runtimes print a warning to standard error, even into a JSON log.
    const timer = setTimeout(action, Math.max(0, delayMs));
    return () => clearTimeout(timer);
  },
};
