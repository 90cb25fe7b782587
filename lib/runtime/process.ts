/** The process that this program is: its command line, environment, output, signals and clock. */
import { readFileSync } from "node:fs";
import { type Clock, steady } from "../core/base/clock.ts";
import { type Output, process } from "./globals.ts";
import { lineSplitter } from "./lines.ts";

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
