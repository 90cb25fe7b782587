/** The one entry point: options -> node -> run until a signal. It exports nothing: Bun would serve a default export. */
import { environmentNames, parseConfig } from "./lib/config.ts";
import { ConfigError } from "./lib/core/errors.ts";
import { createLog } from "./lib/logging.ts";
import { Node } from "./lib/node.ts";
import { parseOrigin } from "./lib/origins/origin.ts";
import {
  commandLine,
  environment,
  exit,
  isTerminal,
  onStopSignal,
  readTextFile,
  systemClock,
  writeError,
  writeOut,
} from "./lib/runtime.ts";

function readOptions() {
  try {
    return parseConfig({
      argv: commandLine(),
      env: environment(environmentNames),
      readFile: readTextFile,
      isTerminal: isTerminal(),
      checkOrigin: (text) => void parseOrigin(text),
    });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    writeError(`${error.message}\n`);
    return exit(2);
  }
}

const parsed = readOptions();
if (parsed.kind !== "run") {
  writeOut(parsed.text);
  exit(0);
}
const { config } = parsed;
const log = createLog({
  format: config.log,
  write: (line) => writeError(`${line}\n`),
  nowMs: () => systemClock.nowMs(),
});
const node = new Node(config, { clock: systemClock, log });

let isStopping = false;
async function stop(code: number): Promise<void> {
  if (isStopping) return exit(code || 1);
  isStopping = true;
  // Whatever hangs: a little before the time is over, so that the end itself is within it.
  systemClock.after(config.drainTimeoutMs - 50, () => exit(code));
  await node.stop();
  exit(code);
}

onStopSignal((signal) => {
  log.info(isStopping ? `${signal} again: exiting at once` : `${signal}: leaving`);
  void stop(isStopping ? 1 : 0);
});
void node.failed.then((error) => {
  log.error(error.message);
  void stop(error instanceof ConfigError ? 2 : 1);
});
try {
  await node.start();
} catch (error) {
  log.error(error instanceof Error ? error.message : String(error));
  await stop(1);
}
