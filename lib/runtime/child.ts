/** This program as a child of itself: how a machine starts its workers. */
import { Bun, Deno, process } from "./globals.ts";
import { readLines } from "./lines.ts";
import { isAllPermitted } from "./settings.ts";

/** Whether packages come from npm's folder: then a twin must not fetch them into Deno's own cache. */
const usesNodeModules = import.meta.resolve("hono").includes("/node_modules/hono/");

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
  const flags = [
    isAllPermitted() ? "-A" : "-P",
    "--no-prompt",
    ...(usesNodeModules ? ["--node-modules-dir=manual"] : []),
  ];
  const command = [process.execPath, "run", ...flags, main, ...args];
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
