/** Runs one command other than `serve`, and returns its exit code. */
import { commandIn, type CommandName, commands, commandVariables } from "../config/command-line/commands.ts";
import { faultsIn, noSuchCommand, readCommand } from "../config/command-line/command-line.ts";
import type { Config } from "../config/config.ts";
import { environmentNames, parseConfig, type Parsed } from "../config/parse.ts";
import { ConfigError, UnavailableError } from "../core/errors.ts";
import { parseOrigin } from "../origins/origin.ts";
import { completions } from "./local/completions.ts";
import { configCheck } from "./local/config-check.ts";
import { doctor } from "./registry/doctor.ts";
import { health } from "./nodes/health.ts";
import { explain, get, purge } from "./nodes/keys.ts";
import { peers } from "./registry/peers.ts";
import { signedText } from "./local/sign.ts";
import { simulate } from "./nodes/simulate.ts";
import { groups, status } from "./nodes/status.ts";
import { plain } from "./table.ts";
import { CommandError, type ExitCode, type Terminal } from "./terminal.ts";
import { top } from "./nodes/top.ts";

type Run = (rest: readonly string[], terminal: Terminal) => Promise<ExitCode>;

/** `serve` is no function: see serve.ts. */
const run: Readonly<Record<Exclude<CommandName, "serve">, Run>> = {
  status: (rest, terminal) => ofNode(commands.status, rest, terminal, (values) => status(values, terminal)),
  health: (rest, terminal) => ofNode(commands.health, rest, terminal, (values) => health(values, terminal)),
  groups: (rest, terminal) => ofNode(commands.groups, rest, terminal, (values) => groups(values, terminal)),
  get: (rest, terminal) => ofNode(commands.get, rest, terminal, (values, args) => get(values, args, terminal)),
  explain: (rest, terminal) =>
    ofNode(commands.explain, rest, terminal, (values, args) => explain(values, args, terminal)),
  purge: (rest, terminal) => ofNode(commands.purge, rest, terminal, (values, args) => purge(values, args, terminal)),
  top: (rest, terminal) => ofNode(commands.top, rest, terminal, (values) => top(values, terminal)),
  simulate: (rest, terminal) => ofNode(commands.simulate, rest, terminal, (values) => simulate(values, terminal)),
  peers: (rest, terminal) =>
    ofServe(
      "peers",
      rest,
      terminal,
      (config, given) => peers(config, { json: given.has("json"), watch: given.has("watch") }, terminal),
    ),
  doctor: (rest, terminal) =>
    ofServe("doctor", rest, terminal, (config, given) => doctor(config, { json: given.has("json") }, terminal)),
  configCheck: (rest, terminal) =>
    ofServe(
      "configCheck",
      rest,
      terminal,
      (config, given) => {
        const from = given.get("from");
        const read = from === undefined ? undefined : readServe("configCheck", [...rest, "--config", from], terminal);
        const before = read?.kind === "run" ? read.config : undefined;
        const again = before && readServe("configCheck", rest, terminal, before);
        const follows = again?.kind === "run" ? again.config : config;
        return configCheck(follows, { json: given.has("json"), before }, terminal);
      },
    ),
  completions: (rest, terminal) =>
    ofNode(commands.completions, rest, terminal, async (_values, [shell]) => {
      const script = completions(shell!);
      if (script === undefined) throw faultsIn("completions", ["there are completions for bash, zsh and fish"]);
      await terminal.out(script);
      return 0;
    }),
  sign: (rest, terminal) => sign(rest, terminal),
};

/**
 * Runs what the command line names. A fault goes to standard error; with `--json`, it also goes to standard output as
 * JSON.
 */
export async function runCommand(argv: readonly string[], terminal: Terminal): Promise<ExitCode> {
  const isJson = argv.includes("--json");
  try {
    const named = commandIn(argv);
    if (named === undefined) throw noSuchCommand(argv);
    return await run[named.name as Exclude<CommandName, "serve">](named.rest, terminal);
  } catch (error) {
    if (!(error instanceof ConfigError || error instanceof CommandError || error instanceof UnavailableError)) {
      throw error;
    }
    const { message } = error;
    if (isJson) await terminal.out(`${JSON.stringify({ ok: false, error: message })}\n`);
    terminal.err(`${message.split("\n").map(plain).join("\n")}\n`);
    return error instanceof ConfigError ? 2 : 1;
  }
}

async function ofNode<C extends typeof commands[CommandName]>(
  command: C,
  rest: readonly string[],
  terminal: Terminal,
  start: (
    values: Extract<ReturnType<typeof readCommand<C>>, { kind: "run" }>["values"],
    args: readonly string[],
  ) => Promise<ExitCode>,
): Promise<ExitCode> {
  const asked = readCommand(command, rest, terminal.env(commandVariables));
  if (asked.kind === "run") return await start(asked.values, asked.args);
  await terminal.out(asked.text);
  return 0;
}

type TakesServe = "peers" | "doctor" | "configCheck";

/** @param running the options of a running node that is to follow the new ones @throws ConfigError */
function readServe(name: TakesServe, rest: readonly string[], terminal: Terminal, running?: Config): Parsed {
  return parseConfig({
    argv: rest,
    command: commands[name],
    env: terminal.env(environmentNames),
    readVariable: (variable) => terminal.env([variable])[variable],
    readFile: terminal.readFile,
    isTerminal: terminal.isTerminal,
    running,
    checkOrigin: (text) => void parseOrigin(text),
  });
}

async function ofServe(
  name: TakesServe,
  rest: readonly string[],
  terminal: Terminal,
  start: (config: Config, given: ReadonlyMap<string, string>) => Promise<ExitCode>,
): Promise<ExitCode> {
  const parsed = readServe(name, rest, terminal);
  if (parsed.kind === "run") return await start(parsed.config, parsed.own);
  await terminal.out(parsed.text);
  return 0;
}

async function sign(rest: readonly string[], terminal: Terminal): Promise<ExitCode> {
  if (rest.includes("--help")) return await ofNode(commands.sign, ["--help"], terminal, () => Promise.resolve(0));
  const { MUSTER_SECRET_FILE } = terminal.env(["MUSTER_SECRET_FILE"]);
  await terminal.out(signedText(rest, MUSTER_SECRET_FILE || undefined, terminal.readFile));
  return 0;
}
