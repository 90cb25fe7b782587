/**
 * What the supervisor and a worker tell each other, one JSON object a line: down on the worker's standard input, up on
 * its standard output. The pipe is more than a way for signals: it ends however the supervisor ends, so a worker never
 * outlives it, and under Deno's least permissions no process may send a signal to another.
 */
import type { Config } from "../config/config.ts";
import type { HostPort } from "../config/addresses.ts";
import type { ToStore, ToWatcher } from "./pipe-store.ts";

/** The word on the command line that makes a process a worker. Its options come down the pipe. */
export const WORKER = "worker";

/** Everything that a worker is made of; comes first. */
export interface WorkerSetup {
  readonly name: string;
  readonly machine: { readonly name: string; readonly url: string };
  /** Of all workers of the machine, this one among them. */
  readonly workers: readonly string[];
  /** What the workers share; the port is never 0. */
  readonly sharedAddr: HostPort;
  /** The host by which other nodes reach this worker's own port. */
  readonly reachedAt: string;
  /** With the address of the worker's own listener. */
  readonly config: Config;
}

/** A worker as its siblings find it; without a port while it does not run. */
export interface WorkerPlace {
  readonly name: string;
  readonly port?: number;
}

export type ToWorker =
  | { readonly type: "setup"; readonly setup: WorkerSetup }
  | { readonly type: "workers"; readonly workers: readonly WorkerPlace[] }
  | { readonly type: "stop" }
  | ToWatcher;

export type FromWorker =
  /** Its own listener is up. */
  | { readonly type: "listening"; readonly port: number }
  /** It takes connections at the shared address. */
  | { readonly type: "sharing" }
  /** It ends, for a reason that its next life will find as well until somebody mends it; its log tells. */
  | { readonly type: "refuses" }
  | ToStore;

/** A message as it goes over the pipe. */
export function lineOf(message: ToWorker | FromWorker): string {
  return `${JSON.stringify(message)}\n`;
}
