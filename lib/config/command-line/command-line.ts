/** Reads the command line of one command by the command table. */
import { type CommandOption, commands, type CommandText } from "./commands.ts";
import { version } from "../config.ts";
import { shown } from "../file.ts";
import { readFlags } from "./flags.ts";
import { commandHelp, type OptionText } from "./help.ts";
import { options, redacted } from "../options.ts";
import { ConfigError } from "../../core/errors.ts";

type OptionsOf<C extends CommandText> = C["options"];
type Value<O> = O extends { readonly read: (text: string) => infer T }
  ? O extends { readonly isMany: true } ? readonly NonNullable<T>[]
  : O extends { readonly fallback: string } ? NonNullable<T>
  : NonNullable<T> | undefined
  : boolean;

/** The options of a command by name; a switch is true or false. */
export type Values<C extends CommandText> = { readonly [K in keyof OptionsOf<C>]: Value<OptionsOf<C>[K]> };

/** A command line that can be used. */
export type Asked<C extends CommandText> =
  | { readonly kind: "run"; readonly args: readonly string[]; readonly values: Values<C> }
  | { readonly kind: "help"; readonly text: string };

const help: OptionText = { flag: "help", value: "", env: "", rule: "", description: "Print this and exit" };

/**
 * Reads the arguments after the words of a command that does not take the options of `serve`.
 *
 * @throws ConfigError every fault in one message
 */
export function readCommand<C extends CommandText>(
  command: C,
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Asked<C> {
  const table = Object.entries<CommandOption>(command.options);
  const faults: string[] = [];
  const args: string[] = [];
  const flags = readFlags([...table.map(([, option]) => option), help], argv, faults, args);
  if (flags.has("help")) return { kind: "help", text: commandHelp(command, [help], version) };
  const most = command.args.some((name) => name.endsWith("…")) ? Infinity : command.args.length;
  const least = command.args.filter((name) => !name.endsWith("…")).length;
  if (args.length < least) faults.push(`there must be ${command.args.map((name) => `<${name}>`).join(" ")}`);
  for (const arg of args.slice(most)) faults.push(`there is one argument too many: ${shown(redacted(arg))}`);
  const values: Record<string, unknown> = {};
  for (const [field, option] of table) {
    const given = flags.get(option.flag);
    if (option.read === undefined) values[field] = given !== undefined;
    else if (option.isMany) values[field] = (given ?? []).map((text) => readValue(option, text, "", faults));
    else values[field] = readOne(option, given?.at(-1), env, faults);
  }
  if (faults.length > 0) throw faultsIn(command.words, faults);
  return { kind: "run", args, values: values as Values<C> };
}

/** The error for a command line that names no command. Its options may belong to any command. */
export function noSuchCommand(argv: readonly string[]): ConfigError {
  const all = Object.values<CommandText>(commands);
  const texts = [...all.flatMap((command) => Object.values(command.options)), ...Object.values(options), help];
  const faults: string[] = [];
  const [word = ""] = argv[0] === "--" ? argv.slice(1) : argv;
  readFlags(texts, argv, faults, []);
  const first = `there is no command ${shown(redacted(word))}: there are ${all.map(({ words }) => words).join(", ")}`;
  const count = faults.length === 0 ? "1 fault" : `${faults.length + 1} faults`;
  return new ConfigError(
    `${count} in the arguments:\n${[first, ...faults].map((fault) => `  ${fault}\n`).join("")}See --help.`,
  );
}

/** @param words of the command */
export function faultsIn(words: string, faults: readonly string[]): ConfigError {
  const count = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
  return new ConfigError(
    `${count} in the arguments of ${words}:\n${faults.map((fault) => `  ${fault}\n`).join("")}See ${words} --help.`,
  );
}

function readOne(
  option: CommandOption,
  flag: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
  faults: string[],
): unknown {
  if (flag !== undefined) return readValue(option, flag, "", faults);
  const variable = option.env === "" ? undefined : env[option.env] || undefined;
  if (variable !== undefined) return readValue(option, variable, `in ${option.env} `, faults);
  return option.fallback === undefined ? undefined : option.read!(option.fallback);
}

function readValue({ flag, rule, mayHoldSecret, read }: CommandOption, text: string, where: string, faults: string[]) {
  const value = read!(text);
  if (value === undefined) {
    faults.push(`--${flag} must be ${rule}: ${where}it is ${shown(mayHoldSecret ? redacted(text) : text)}`);
  }
  return value;
}
