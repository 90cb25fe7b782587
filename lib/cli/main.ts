/** The program: a node, or a command. It runs when it is imported. */
import { commandIn, SERVE } from "../config/command-line/commands.ts";
import {
  commandLine,
  environment,
  exit,
  isOutTerminal,
  isReadableByAll,
  onStopSignal,
  readTextFile,
  systemClock,
  writeError,
  writeWhole,
} from "../runtime/process.ts";
import { WORKER } from "../workers/messages.ts";

const argv = commandLine();
// Load only one of the two: a command needs no server, and a node needs no commands.
if (argv[0] === WORKER || commandIn(argv)?.name === SERVE) await import("./serve.ts");
else await asCommand();

async function asCommand(): Promise<never> {
  const { runCommand } = await import("./run.ts");
  const stopping = new AbortController();
  onStopSignal(() => {
    // A second signal ends a program that does not stop.
    if (stopping.signal.aborted) exit(1);
    stopping.abort();
  });
  const isTerminal = isOutTerminal();
  const running = runCommand(argv, {
    out: writeWhole,
    err: writeError,
    isTerminal,
    isColoured: isTerminal && !environment(["NO_COLOR"])["NO_COLOR"],
    env: environment,
    readFile: readTextFile,
    isReadableByAll,
    clock: systemClock,
    stopped: stopping.signal,
  });
  return exit(await running);
}
