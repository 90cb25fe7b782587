/**
 * Whole lines to standard output, without ever keeping this process waiting for their reader.
 *
 * Measured with a reader that stands still: `process.stdout` stops the event loop on Deno, and Bun's `Bun.write` does on Bun;
 * the calls below do not. What other processes write to the same pipe does not get between, up to 4,096 bytes.
 */
import { write } from "node:fs";
import type { Clock } from "../core/base/clock.ts";
import { Deno } from "./globals.ts";
import { systemClock } from "./process.ts";

const STDOUT = 1;
/** A pipe that another program has set not to block is full. Chosen: a reader that stands still is asked seldom. */
const RETRY_MS = 10;

/** Resolves when the system has taken all of it. @throws Error nobody will read it any more */
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
