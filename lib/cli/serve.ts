/** `serve`: reads the options, starts a node or workers, and runs until a signal. It runs when it is imported. */
import { commandIn } from "../config/command-line/commands.ts";
import { type Config, doubtsOf } from "../config/config.ts";
import { environmentNames, parseConfig } from "../config/parse.ts";
import { ConfigError } from "../core/errors.ts";
import type { Log } from "../core/base/log.ts";
import { AccessQueue } from "../node/log/access-queue.ts";
import { tokenDoubtsOf } from "../node/doors/admin-tokens.ts";
import { createLog } from "../node/log/logging.ts";
import { Node } from "../node/node.ts";
import { checkOrigins } from "../node/reload/check-origins.ts";
import { Reloader } from "../node/reload/reloader.ts";
import { parseOrigin } from "../origins/origin.ts";
import { writeLines } from "../runtime/lines-out.ts";
import {
  commandLine,
  coreCount,
  environment,
  exit,
  isRereadable,
  isTerminal,
  onStopSignal,
  onWarning,
  readTextFile,
  rereadTextFile,
  systemClock,
  writeError,
  writeOut,
} from "../runtime/process.ts";
import { onReloadSignal } from "../runtime/reload-signal.ts";
import { type ServiceManager, serviceManager } from "../runtime/service-manager.ts";
import { Machine } from "../workers/machine.ts";
import { WORKER } from "../workers/messages.ts";
import { Worker } from "../workers/worker.ts";

/**
 * Signals within this time of the first count as one: Ctrl+C reaches every process of the terminal, and npm passes it
 * on to its child again. Chosen: longer than npm takes, shorter than a person needs for a second Ctrl+C.
 */
const SAME_SIGNAL_MS = 100;

/** The program of this process: a node, several workers, or one of them. */
interface Program {
  start(): Promise<void>;
  /** Never throws. */
  stop(): Promise<void>;
  /** Ends at once everything that `stop` would end in its own time. */
  abandon?(): void;
  readonly failed: Promise<Error>;
  /** Resolves when it is ready for the first time. */
  readonly ready: Promise<void>;
  /** Whether it would answer a request. */
  isAlive(): Promise<boolean>;
}

/** Whether this is a worker; the supervisor then reads the options. */
const isWorker = commandLine()[0] === WORKER;

/** @throws ConfigError */
function readOptions(readFile: (path: string) => string, running?: Config) {
  return parseConfig({
    argv: commandIn(commandLine())!.rest,
    env: environment(environmentNames),
    readVariable: (name) => environment([name])[name],
    readFile,
    isTerminal: isTerminal(),
    running,
    checkOrigin: (text) => void parseOrigin(text),
  });
}

function optionsAtStart() {
  const texts = new Map<string, string>();
  try {
    const parsed = readOptions((path) => {
      const text = readTextFile(path);
      texts.set(path, text);
      return text;
    });
    return { parsed, texts };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    writeError(`${error.message}\n`);
    return exit(2);
  }
}

interface FromOptions {
  readonly program: Program;
  readonly log: Log;
  readonly access: AccessQueue;
  readonly drainTimeoutMs: number;
  readonly reloader: Reloader;
  readonly manager: ServiceManager | undefined;
}

function fromOptions(): FromOptions {
  const { parsed, texts } = optionsAtStart();
  if (parsed.kind !== "run") {
    writeOut(parsed.text);
    return exit(0);
  }
  const { config, file } = parsed;
  const log: Log = createLog({
    format: config.log,
    write: (line) => writeError(`${line}\n`),
    nowMs: Date.now,
    lowestLevel: () => program.config.logLevel,
  });
  const count = config.workers === "auto" ? coreCount() : config.workers;
  const access = new AccessQueue(writeLines, { clock: systemClock, log });
  const parts = { clock: systemClock, log };
  const program = count === 1
    ? new Node(config, { ...parts, writeAccess: access.write })
    : new Machine(config, count, { ...parts, writeAccess: access.write });
  for (const doubt of [...doubtsOf(config), ...tokenDoubtsOf(config)]) log.warn(doubt);
  const manager = serviceManager(environment, systemClock, log);
  const reloader = new Reloader({
    path: file !== undefined && isRereadable(file) ? file : undefined,
    text: file === undefined ? undefined : texts.get(file),
    readFile: rereadTextFile,
    readOptions: (readFile, running) => {
      const again = readOptions(readFile, running);
      if (again.kind !== "run") throw new TypeError("Cannot read options that ask for help");
      return again.config;
    },
    checkOrigins: (groups, serve) => checkOrigins(groups, serve, systemClock),
    program,
    watcher: manager,
    ...parts,
  });
  return { program, log, access, drainTimeoutMs: config.drainTimeoutMs, reloader, manager };
}

async function fromSupervisor(): Promise<{ program: Program; log: Log; drainTimeoutMs: number; over: Promise<void> }> {
  try {
    const worker = await Worker.receive(systemClock);
    const { log, drainTimeoutMs, dismissed } = worker;
    return { program: worker, log, drainTimeoutMs, over: dismissed };
  } catch (error) {
    writeError(`${(error as Error).message}\n`);
    return exit(2);
  }
}

// A worker has no manager: its supervisor talks to systemd.
const { program, log, access, drainTimeoutMs, over, reloader, manager } = isWorker
  ? { ...await fromSupervisor(), access: undefined, reloader: undefined, manager: undefined }
  : { ...fromOptions(), over: undefined };

function exitNow(code: number): never {
  program.abandon?.();
  return exit(code);
}

// A JSON log must hold only JSON, so the runtime's warnings go through it.
onWarning((text) => log.warn(text));

let stoppingSinceMs: number | undefined;
async function stop(code: number): Promise<void> {
  // A failure during the stop does not change how this program ends.
  if (stoppingSinceMs !== undefined) return;
  stoppingSinceMs = systemClock.nowMs();
  reloader?.stop();
  // Ends everything that hangs a little early, so that the exit itself is in time. 50 ms: chosen.
  systemClock.after(drainTimeoutMs - 50, () => exitNow(code));
  manager?.stopping(drainTimeoutMs);
  await program.stop();
  await access?.flushed();
  exit(code);
}

onStopSignal((signal) => {
  if (stoppingSinceMs === undefined) {
    log.info(`${signal}: leaving`, {}, { signal });
    void stop(0);
  } else if (systemClock.nowMs() - stoppingSinceMs >= SAME_SIGNAL_MS) {
    log.info(`${signal} again: exiting at once`, {}, { signal });
    exitNow(1);
  }
});
onReloadSignal((signal) => {
  if (reloader === undefined) log.info(`${signal}: it is the supervisor that reads the options`, {}, { signal });
  else void reloader.reload();
});
void over?.then(() => stop(0));
void program.failed.then((error) => {
  log.error(error.message);
  void stop(error instanceof ConfigError ? 2 : 1);
});
void program.ready.then(() => manager?.ready());
try {
  await program.start();
  manager?.watch(() => program.isAlive());
} catch (error) {
  log.error(error instanceof Error ? error.message : String(error));
  await stop(1);
}
