/** The yardstick of a key-value store on a socket: memcached over its text protocol. */
import { freePort } from "../support/free-port.ts";
import type { Defer } from "../support/test.ts";
import { type Cores, runPart, start } from "./processes.ts";
import type { Outcome } from "./types.ts";
import type { Load, LoadFigures } from "./wrk.ts";
import type { MemcachedOrder, MemcachedTold } from "./parts/memcached-load.ts";

export const memcached = "memcached, text protocol";
const scheme = "memcached:";

/** One thread on one core. @returns its URL; the first turn of load stores the values */
export async function startMemcached(defer: Defer, cores: Cores): Promise<string> {
  const port = await freePort();
  // Started by root, memcached wants the name of a user; otherwise it ignores it.
  const child = start(["memcached", "-l", "127.0.0.1", "-p", String(port), "-t", "1", "-u", "nobody"], { cores });
  defer(() => child.kill("SIGKILL"));
  return `${scheme}//127.0.0.1:${port}`;
}

export const isMemcached = (url: string): boolean => url.startsWith(scheme);

/** One turn like wrk's: a closed loop over connections, every reply compared. */
export async function loadMemcached(defer: Defer, outcome: Outcome, options: Load): Promise<LoadFigures> {
  const { keyFile, connections, turnMs, cores } = options;
  const port = Number(new URL(options.urls[0]!).port);
  const order: MemcachedOrder = { port, keyFile, connections, turnMs };
  const told = await runPart<MemcachedTold>(defer, "bun", "memcached-load.ts", [JSON.stringify(order)], { cores });
  outcome.errors += told.wrong;
  outcome.checked += told.requests - told.wrong;
  const busy = `its generator, a Bun program, used ${(100 * told.busy).toFixed(0)} % of its core`;
  const note = `${memcached}: another protocol than HTTP, so no contestant; ${busy}`;
  const at = outcome.notes.findIndex((one) => one.startsWith(memcached));
  if (at < 0) outcome.notes.push(note);
  else outcome.notes[at] = note;
  return told;
}
