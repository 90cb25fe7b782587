/** For the tests of commands: a terminal that remembers. */
import { runCommand } from "../../lib/cli/run.ts";
import { isReadableByAll, readTextFile, systemClock } from "../../lib/runtime/process.ts";

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly isColoured?: boolean;
  readonly stopped?: AbortSignal;
  /** Is told of each piece of output. */
  readonly onOut?: (text: string) => void;
}

/** Runs a command in this process. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { env = {}, isColoured = false, stopped = new AbortController().signal, onOut = () => {} } = options;
  let [out, err] = ["", ""];
  const code = await runCommand(argv, {
    out: (text) => {
      const piece = typeof text === "string" ? text : new TextDecoder().decode(text);
      out += piece;
      onOut(piece);
      return Promise.resolve();
    },
    err: (text) => void (err += text),
    isTerminal: isColoured,
    isColoured,
    env: (names) => Object.fromEntries(names.map((name) => [name, env[name]])),
    readFile: readTextFile,
    isReadableByAll,
    clock: systemClock,
    stopped,
  });
  return { code, out, err };
}
