/** Starts this program again as a child process, for the workers of a machine. */
import { Bun, Deno, process } from "./globals.ts";
import { readLines } from "./lines.ts";
import { packing } from "./packed.ts";
import { isAllPermitted } from "./start/settings.ts";

/** Whether packages come from npm's folder. If so, a twin must not fetch them into Deno's own cache. */
const usesNodeModules = packing === "sources" && import.meta.resolve("hono").includes("/node_modules/hono/");

/** This program, started again. */
export interface Twin {
  readonly pid: number;
  /** Its exit code; 128 or more if a signal ended it. */
  readonly exited: Promise<number>;
  /** Writes to its standard input. The text is lost if the process has ended. */
  write(text: string): void;
  /** Kills it. */
  kill(): void;
}

/**
 * Starts this program with other arguments. The child gets its own session: Ctrl+C reaches every process of the
 * terminal's foreground group, but only this process may stop the child. It shares this process's standard error.
 *
 * Under Deno the child gets all permissions if this process has them, else those of deno.json (`-P`). These permit only
 * /bin/sh, which passes on this process's environment.
 *
 * @param onLine gets each line that the child writes to standard output
 * @throws Error the runtime does not permit it
 */
export function startTwin(args: readonly string[], onLine: (line: string) => void): Twin {
  const main = process.argv[1]!;
  const streams = { stdin: "piped", stdout: "piped", stderr: "inherit", detached: true };
  if (Bun !== undefined) {
    const command = packing === "executable"
      ? [process.execPath, ...args]
      : [process.execPath, "run", ...process.execArgv, main, ...args];
    const child = Bun.spawn(command, { ...streams, stdin: "pipe", stdout: "pipe" });
    void readLines(child.stdout, onLine);
    // If the child has just ended, this throws now or later.
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
  const command = packing === "executable"
    ? [process.execPath, ...args]
    : [process.execPath, "run", ...flags, main, ...args];
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
