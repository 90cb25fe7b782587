/**
 * Writes whole lines to standard output and never blocks this process when their reader is slow.
 *
 * Measured with a reader that stands still: `process.stdout` stops the event loop on Deno, and `Bun.write` stops it on
 * Bun; the calls below do not. Up to 4,096 bytes are not mixed with the output of other processes on the same pipe.
 */
import { write } from "node:fs";
import type { Clock } from "../core/base/clock.ts";
import { Deno } from "./globals.ts";
import { systemClock } from "./process.ts";

const STDOUT = 1;
/**
 * The pause when a pipe is full that another program made non-blocking. Chosen: rare enough while a reader stands
 * still.
 */
const RETRY_MS = 10;

/** Resolves when the system has taken all of the text. @throws Error the reader is gone */
export async function writeLines(text: string, clock: Clock = systemClock): Promise<void> {
  let rest: Uint8Array<ArrayBuffer> = new TextEncoder().encode(text);
  while (rest.byteLength > 0) {
    try {
      const written = Deno === undefined ? await writeSome(rest) : await Deno.stdout.write(rest);
      rest = rest.subarray(written);
    } catch (error) {
      if (!isFull(error)) throw error;
      await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
    }
  }
}

function writeSome(bytes: Uint8Array<ArrayBuffer>): Promise<number> {
  return new Promise((resolve, reject) => {
    write(STDOUT, bytes, (error, written) => error === null ? resolve(written) : reject(error));
  });
}

function isFull(error: unknown): boolean {
  const { code, name } = error as { code?: unknown; name?: unknown };
  return code === "EAGAIN" || name === "WouldBlock";
}
