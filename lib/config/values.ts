/** The value of each option: from its flag, else its variable, else the JSON file, else the default. */
import type { CommandText } from "./command-line/commands.ts";
import type { Config } from "./config.ts";
import { type ConfigFile, readConfigFile, shown } from "./file.ts";
import type { OptionText } from "./command-line/help.ts";
import { type Option, options, redacted } from "./options.ts";

export interface ConfigInput {
  /** The arguments after the program's name, or after the words of a command that also takes these options. */
  readonly argv: readonly string[];
  /** That command. @default serve */
  readonly command?: CommandText;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a variable that the file names for a header; may throw. @default `env` */
  readonly readVariable?: (name: string) => string | undefined;
  /** Returns the text of a file; may throw. */
  readonly readFile: (path: string) => string;
  /** Whether standard error is a terminal: the default of `--log`. */
  readonly isTerminal: boolean;
  /** The options of a running program, which needs the headers of the groups that it serves. @default the program starts */
  readonly running?: Pick<Config, "serve"> | undefined;
  /** @throws ConfigError the rule that an origin's text breaks */
  readonly checkOrigin: (origin: string) => void;
}

/** The field of an option in the table. */
export type Field = keyof typeof options;
/** The type of the option's value. */
export type Read<F extends Field> = NonNullable<ReturnType<(typeof options)[F]["read"]>>;

/** A text with its place, for the fault. */
export interface Said {
  readonly text: string;
  readonly where: string;
  /** Replaces the text in the fault if it may be part of a secret. */
  readonly unshown?: string;
}

/** How many characters of a path or of an origin's fault a message shows. Chosen. */
const MAX_SHOWN = 500;

/** The fields of the JSON file besides its groups. */
const fileFields = new Map(
  Object.entries(options).flatMap(([field, { kind }]) =>
    kind === "groups" || kind === "flag only" ? [] : [[field, kind]]
  ),
);

/** The part of a text that a fault shows. */
export function cut(text: string): string {
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}

/** The given options. After an option was read, its fault is in `faults`. */
export class OptionValues {
  readonly #flags: ReadonlyMap<string, readonly string[]>;
  readonly #input: Pick<ConfigInput, "env" | "readFile">;
  readonly #faults: string[];
  #file: ConfigFile = { values: new Map(), faults: [] };
  #path = "";

  constructor(flags: ReadonlyMap<string, readonly string[]>, input: ConfigInput, faults: string[]) {
    this.#flags = flags;
    this.#input = input;
    this.#faults = faults;
    const path = this.optional("config");
    if (path === undefined) return;
    this.#path = cut(path);
    this.#readFile(path);
  }

  /** The path of the file for faults; `""`: there is no file. */
  get path(): string {
    return this.#path;
  }

  /** The groups of the file, by name; `undefined`: it names none. */
  get groupsInFile(): ConfigFile["groups"] {
    return this.#file.groups;
  }

  /** All values that were given with the flag of an option. */
  given(field: Field): readonly string[] | undefined {
    return this.#flags.get(options[field].flag);
  }

  /** The value of an option with a fallback. `undefined` means a fault, and then everything is refused. */
  value<F extends Field>(field: F): Read<F> {
    return this.optional(field) as Read<F>;
  }

  /** The value of an option; `undefined`: it was not given, or there is a fault. */
  optional<F extends Field>(field: F): Read<F> | undefined {
    const option: OptionText = options[field];
    const flag = this.#flags.get(option.flag)?.at(-1);
    if (flag !== undefined) return this.read(field, { text: flag, where: "" });
    const env = this.#input.env[option.env] || undefined;
    if (env !== undefined) return this.read(field, { text: env, where: `in ${option.env} ` });
    const file = this.#file.values.get(field);
    if (file !== undefined) return this.read(field, { text: file, where: `${field} in the file ` });
    return option.fallback === undefined ? undefined : this.read(field, { text: option.fallback, where: "" });
  }

  /** Reads a text by an option's rule. `undefined`: the text breaks the rule, and the fault is noted. */
  read<F extends Field>(field: F, said: Said): Read<F> | undefined {
    const value = options[field].read(said.text);
    if (value === undefined) this.refuse(field, said);
    return value as Read<F> | undefined;
  }

  /** Adds the fault of a text that breaks an option's rule. */
  refuse(field: Field, { text, where, unshown }: Said): void {
    const { flag, rule, mayHoldSecret }: Option<unknown> = options[field];
    const what = unshown ?? `it is ${shown(mayHoldSecret ? redacted(text) : text)}`;
    this.#faults.push(`--${flag} must be ${rule}: ${where}${what}`);
  }

  #readFile(path: string): void {
    try {
      this.#file = readConfigFile(this.#input.readFile(path), fileFields);
      for (const fault of this.#file.faults) this.#faults.push(`--config ${this.#path}: ${fault}`);
    } catch (error) {
      this.#faults.push(`--config must be a file that can be read: ${shown(path)}: ${cut((error as Error).message)}`);
    }
  }
}
