/** Whether this program was packed into one file, and where the files lie that it then reads. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Bun, Deno, process } from "./globals.ts";

/**
 * `sources`: from this repository, or from a package of it. `bundle`: all of it in one file of JavaScript. `executable`: that
 * file together with the runtime.
 */
export type Packing = "sources" | "bundle" | "executable";

/** How this program was packed, by where a module finds itself: in a bundle all modules are one file. */
export const packing: Packing = packingOf(import.meta.url, Deno?.build.standalone === true);

/** @param url of the module in lib/runtime/packed.ts, as it finds itself */
export function packingOf(url: string, isStandalone: boolean): Packing {
  // Bun's executables hold their file in a folder that is not on any disk.
  if (isStandalone || (Bun !== undefined && /\/(\$bunfs|~BUN)\//.test(url))) return "executable";
  return /\/runtime\/packed\.[jt]s$/.test(url) ? "sources" : "bundle";
}

/**
 * A file or folder that was laid beside the bundle or the executable. `undefined`: there is none, and what it stands for
 * comes from where the packages are.
 */
export function besideProgram(name: string): string | undefined {
  if (packing === "sources") return undefined;
  const program = packing === "bundle" ? fileURLToPath(import.meta.url) : process.execPath;
  const path = join(dirname(program), name);
  try {
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined; // Deno's permissions do not let this program look
  }
}
