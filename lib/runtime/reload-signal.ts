/** The signals at which a process reads its configuration again. */
import { Deno, process } from "./globals.ts";

/** Deno opens its debugger 1 to 4 ms after the signal (measured); a busy machine may take longer. Chosen. */
const CLOSE_DEBUGGER_AFTER_MS = [0, 1, 2, 5, 10, 20, 50, 100, 500, 2_000];

/**
 * Calls `listener` at every SIGUSR1 and SIGUSR2. They end a process that does not listen. Windows has neither.
 *
 * Since 2.9.2 Deno also opens its debugger at 127.0.0.1:9229 on SIGUSR1, where every user of the machine could run code
 * as this process (denoland/deno#35738). No flag turns that off, so this closes it again at once. It also closes a
 * debugger of `--inspect`, as the two look the same. SIGUSR2 opens nothing.
 */
export function onReloadSignal(listener: (signal: string) => void): void {
  if (process.platform === "win32") return;
  process.on("SIGUSR2", () => listener("SIGUSR2"));
  process.on("SIGUSR1", () => {
    closeDebugger();
    listener("SIGUSR1");
  });
}

function closeDebugger(): void {
  if (Deno === undefined) return;
  void import("node:inspector").then(({ close }) => {
    for (const afterMs of CLOSE_DEBUGGER_AFTER_MS) setTimeout(close, afterMs);
  });
}
