/**
 * The messages between supervisor and worker, one JSON object per line: to the worker's standard input, and from its
 * standard output. Pipes, not signals: a pipe closes however the supervisor ends, so no worker outlives it. And under
 * Deno's least permissions a process may not send signals.
 */
import type { Config } from "../config/config.ts";
import type { HostPort } from "../config/texts/addresses.ts";
import type { ConfigFigures } from "../http/figures.ts";
import type { ToFollower, ToLog } from "./pipe-log.ts";
import type { ToStore, ToWatcher } from "./pipe-store.ts";

/** The argument that makes a process a worker. Its options come through the pipe. */
export const WORKER = "worker";

/** The options of a worker: the first message. */
export interface WorkerSetup {
  readonly name: string;
  readonly machine: { readonly name: string; readonly url: string };
  /** The names of all workers of the machine, with its own. */
  readonly workers: readonly string[];
  /** The shared address; the port is never 0. */
  readonly sharedAddr: HostPort;
  /** The host where other nodes reach this worker's own port. */
  readonly reachedAt: string;
  /**
   * Begins each message of this worker, see {@link messageReader}. A supervisor of the release before sends no mark.
   */
  readonly mark?: string;
  /** The token that opens the statistics of every worker of this machine to the others. */
  readonly statsToken: string;
  /** Its `addr` is the address of the worker's own listener. */
  readonly config: Config;
  /** The state of the file of `--config`, which the supervisor reads for the worker. */
  readonly file?: ConfigFigures | undefined;
}

/** The place at which the other workers find a worker; without a port while it does not run. */
export interface WorkerPlace {
  readonly name: string;
  readonly port?: number;
}

export type ToWorker =
  | { readonly type: "setup"; readonly setup: WorkerSetup }
  | { readonly type: "workers"; readonly workers: readonly WorkerPlace[] }
  /** Follow these options. The supervisor has checked them. */
  | { readonly type: "reload"; readonly config: Config }
  /** The supervisor has read the file again. */
  | { readonly type: "file"; readonly file: ConfigFigures }
  | { readonly type: "stop" }
  | ToWatcher
  | ToFollower;

export type FromWorker =
  /** The worker's own listener is up. */
  | { readonly type: "listening"; readonly port: number }
  /** The worker takes connections at the shared address. */
  | { readonly type: "sharing" }
  /** The worker ends, for a reason that would also stop a new process. Its log tells the reason. */
  | { readonly type: "refuses" }
  /** Lines of the access log, with their line feeds. */
  | { readonly type: "access"; readonly lines: string }
  | ToStore
  | ToLog;

/** Encodes a message for the pipe. @param mark of the setup, for a message to the supervisor */
export function lineOf(message: ToWorker | FromWorker, mark = ""): string {
  return `${mark}${JSON.stringify(message)}\n`;
}

/**
 * Separates a worker's messages from its program's output: an origin in code or an exporter of spans may print to
 * standard output too. An origin may print a client's key, so only the two processes know the mark.
 *
 * @param onPrinted gets each line that is no message, without its end
 * @returns a function for each line of the worker's standard output. @throws SyntaxError a message that is no JSON
 */
export function messageReader(
  mark: string,
  onMessage: (message: FromWorker) => void,
  onPrinted: (line: string) => void,
): (line: string) => void {
  let isMarking = false;
  return (line) => {
    const at = line.indexOf(mark);
    if (at < 0) {
      const message = isMarking ? undefined : unmarked(line);
      return message === undefined ? onPrinted(line) : onMessage(message);
    }
    isMarking = true;
    // The program printed text without a line end before the message.
    if (at > 0) onPrinted(line.slice(0, at));
    onMessage(JSON.parse(line.slice(at + mark.length)) as FromWorker);
  };
}

/**
 * Reads a message of a worker of the release before, which has no mark. Its first message comes before its first
 * request.
 */
function unmarked(line: string): FromWorker | undefined {
  try {
    const message = JSON.parse(line) as FromWorker | null;
    return typeof message?.type === "string" ? message : undefined;
  } catch {
    return undefined;
  }
}
