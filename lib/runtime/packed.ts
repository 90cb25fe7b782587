/** Whether this program is packed into one file, and where the files beside it are. */
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Bun, Deno, process } from "./globals.ts";

/**
 * `sources`: from this repository or a package of it. `bundle`: one file of JavaScript. `executable`: that file
 * together with the runtime.
 */
export type Packing = "sources" | "bundle" | "executable";

/** How this program is packed, by the URL of this module: in a bundle all modules are one file. */
export const packing: Packing = packingOf(import.meta.url, Deno?.build.standalone === true);

/** @param url the URL of the module in lib/runtime/packed.ts, as that module sees it */
export function packingOf(url: string, isStandalone: boolean): Packing {
  // Bun's executables hold their file in a virtual folder.
  if (isStandalone || (Bun !== undefined && /\/(\$bunfs|~BUN)\//.test(url))) return "executable";
  return /\/runtime\/packed\.[jt]s$/.test(url) ? "sources" : "bundle";
}

/**
 * The path of a file or folder beside the bundle or the executable. `undefined`: there is none, so use the file from
 * the packages.
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
