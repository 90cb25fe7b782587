/**
 * Bounds the open files of a node; nearly all are connections. Neither runtime's server bounds its connections. At the
 * limit of the system Bun's server spins and Deno's ends.
 */
import { closeSync, openSync, readFileSync } from "node:fs";
import type { Clock } from "../core/base/clock.ts";
import type { Log } from "../core/base/log.ts";
import { Deno } from "./globals.ts";
import { isAllPermitted } from "./start/settings.ts";

/**
 * The most open files, even if the system allows more. Chosen: on Deno so many clients that each send half of a head of
 * 64 KiB cost 1 GiB; 10,000 idle clients cost 58 MiB there, and 2 MiB on Bun (measured).
 */
const MAX_OPEN_FILES = 16_384;
/** The most files to keep free for peers, NATS and origins. Chosen: an eighth of the limit, at most this. */
const MAX_KEPT_FREE = 256;
/** Below this limit the log says so at start. Chosen. */
const LOW_LIMIT = 4_096;
/** The interval between two looks. Chosen: a look opens and closes one file, which takes 10 us. */
const LOOK_EVERY_MS = 250;

let isLimitTold = false;

/** `undefined`: not read yet. Kept, as on Deno without `-A` reading it costs a child process. */
let knownLimit: { readonly files: number | undefined } | undefined;

/** How many files this process may have open; `undefined` if the system does not tell. */
export function openFileLimit(): number | undefined {
  knownLimit ??= { files: readLimit() };
  return knownLimit.files;
}

/** How many files are open (or a few less), and how many may be. */
export function openFilesNow(): { readonly open: number; readonly max: number } {
  const limit = openFileLimit();
  return { open: lowestFreeFile() ?? limit ?? 0, max: maxOpenFiles(limit) };
}

function readLimit(): number | undefined {
  const text = /^Max open files\s+(\d+)/m.exec(ownFile("limits"))?.[1];
  return text === undefined ? undefined : Number(text);
}

/** From this number on, too many files are open. @param limit the system's */
export function maxOpenFiles(limit: number | undefined): number {
  if (limit === undefined) return MAX_OPEN_FILES;
  return Math.min(MAX_OPEN_FILES, limit - Math.min(MAX_KEPT_FREE, Math.ceil(limit / 8)));
}

/**
 * Calls `relieve` whenever too many files are open, and logs the first time.
 *
 * @param relieve ends the connections that wait for nothing
 * @param lowestFree the number that the next opened file would get; `undefined`: the limit is reached
 * @param patience this many looks in a row must find too many
 * @returns a function that ends the watch
 */
export function watchOpenFiles(
  relieve: () => void,
  clock: Clock,
  log: Log,
  limit: number | undefined = openFileLimit(),
  lowestFree: () => number | undefined = lowestFreeFile,
  patience = 1,
): () => void {
  const maxOpen = maxOpenFiles(limit);
  if (limit !== undefined && limit < LOW_LIMIT && !isLimitTold) {
    isLimitTold = true;
    log.warn(`this process may have only ${limit} files open, so at most ${maxOpen} connections: see ulimit -n`);
  }
  let isTold = false;
  let overs = 0;
  let cancel = () => {};
  const look = () => {
    const free = lowestFree();
    const isOver = free === undefined || free >= maxOpen;
    overs = isOver ? overs + 1 : 0;
    if (overs >= patience) {
      overs = 0;
      if (!isTold) {
        log.warn(`${free ?? limit} files are open, which is too many: idle connections are ended from now on`);
      }
      isTold = true;
      relieve();
    }
    cancel = clock.after(LOOK_EVERY_MS, look);
  };
  cancel = clock.after(LOOK_EVERY_MS, look);
  return () => cancel();
}

/** The system gives the lowest free number to a new file, so about this many files are open, or a few less. */
function lowestFreeFile(): number | undefined {
  try {
    const file = openSync("/dev/null", "r");
    closeSync(file);
    return file;
  } catch (error) {
    // Any other failure says nothing about the limit.
    return (error as { code?: string }).code === "EMFILE" ? undefined : 0;
  }
}

/**
 * Reads a file of `/proc/self`. Without `-A` Deno lets only a child process read one; the child inherits the facts that
 * it tells.
 */
export function ownFile(name: "limits" | "status"): string {
  const file = `/proc/self/${name}`;
  try {
    if (Deno === undefined || isAllPermitted()) return readFileSync(file, "utf8");
    // Ask first: without the permission a terminal would show a prompt.
    if (Deno.permissions.querySync({ name: "run", command: "/bin/sh" }).state !== "granted") return "";
    const { stdout } = new Deno.Command("/bin/sh", { args: ["-c", `cat ${file}`], stderr: "null" }).outputSync();
    return new TextDecoder().decode(stdout);
  } catch {
    return ""; // not Linux, or not permitted
  }
}
