/** Prints the option table, for `--help` and as Markdown. */

/** An option as the help describes it; options.ts adds the function that reads its text. */
export interface OptionText {
  /** Without dashes, e.g. `addr`. */
  readonly flag: string;
  /** The placeholder of the value, e.g. `host:port`; empty for a switch. */
  readonly value: string;
  /** The variable for the same option; `""`: none. */
  readonly env: string;
  /** The default, written like a flag's value. */
  readonly fallback?: string;
  /** The default as the help shows it. @default the fallback */
  readonly shownDefault?: string;
  /** Completes the sentence "it must be …"; `""` for a switch. */
  readonly rule: string;
  /** A sentence without its full stop. */
  readonly description: string;
}

/** A field of a group in the JSON file, as the help describes it. */
export interface FieldText {
  readonly field: string;
  /** The unit of a number, in plural. */
  readonly unit?: string;
  /** Absent if the field must be given. */
  readonly shownDefault?: string;
  readonly rule: string;
  readonly description: string;
}

const columns = 100;

/** A command as the help describes it; see the command table. */
export interface CommandHelp {
  /** As it is typed: `status`, `config check`. */
  readonly words: string;
  /** The names of its arguments; all must be given. */
  readonly args: readonly string[];
  /** A sentence without its full stop. */
  readonly description: string;
  readonly options: Readonly<Record<string, OptionText>>;
  /** Whether it also takes the options of `serve`. */
  readonly takesServe: boolean;
  /** What its exit codes 0 and 1 mean; 2 is always wrong input. */
  readonly exits: readonly [good: string, bad: string];
}

/** The text of `<command> --help`, ending with a line feed. @param more options that every command takes */
export function commandHelp(command: CommandHelp, more: readonly OptionText[], version: string): string {
  const { words, args, description, options, takesServe, exits: [good, bad] } = command;
  const usage = [words, ...args.map((name) => name.endsWith("…") ? `[<${name}>]` : `<${name}>`), "[options]"].join(" ");
  const all = [...Object.values(options), ...more];
  return [
    `muster ${version}`,
    "",
    `usage: bun run main.ts ${usage}    (or deno run -P main.ts, or npm start -- )`,
    "",
    ...wrapped(`${description}.`, ""),
    ...(takesServe ? wrapped("It takes the options of serve, too: see --help.", "") : []),
    "",
    ...all.flatMap(optionEntry),
    "",
    ...wrapped(`Exit codes: 0, ${good}; 1, ${bad}; 2, the arguments cannot be used.`, ""),
  ].join("\n") + "\n";
}

/** The text of `--help`, ending with a line feed. */
export function helpText(
  options: readonly OptionText[],
  fields: readonly FieldText[],
  version: string,
  commands: readonly CommandHelp[] = [],
): string {
  const lines = [
    `muster ${version}: a peer-to-peer read-through cache whose peers call the roll in NATS`,
    "",
    "usage: npm start -- [command] [options]",
    "       bun run main.ts [command] [options]",
    "       deno run -P main.ts [command] [options]",
    "",
    "The commands, each with its own --help:",
    "",
    ...commands.flatMap(({ words, description }) => hanging(words, description)),
    "",
    "The options of serve:",
    "",
    ...wrapped("A flag overrides its variable, the variable overrides the file, the file overrides the default.", ""),
    "-addr=… is the same as --addr …",
    "",
  ];
  lines.push(...options.flatMap(optionEntry));
  lines.push(
    "",
    'In the file, fields have the names of the flags (nats-port is "natsPort"), and groups look like this:',
    "",
  );
  lines.push('  "groups": { "dict": { "origin": "wordnet:", "budgetBytes": 67108864 } }', "", "with these fields:", "");
  for (const field of fields) {
    lines.push(...entry(field.field, [shownDefault(field) || "must be given"], meaning(field)));
  }
  return lines.join("\n") + "\n";
}

/** Two tables in Markdown: the options, then the fields of a group in the JSON file. */
export function markdownTables(options: readonly OptionText[], fields: readonly FieldText[]): string {
  const optionRows = options.map((option) => [
    code(option.value === "" ? `--${option.flag}` : `--${option.flag} ${option.value}`),
    option.env === "" ? "" : code(option.env),
    option.shownDefault ?? (option.fallback === undefined ? "" : code(option.fallback)),
    meaning(option).join(" "),
  ]);
  const fieldRows = fields.map((field) => [
    code(field.field),
    field.shownDefault === undefined ? "" : code(field.shownDefault),
    meaning(field).join(" "),
  ]);
  return [
    ...table(["flag", "env", "default", "meaning"], optionRows),
    "",
    ...table(["field of a group in the JSON file", "default", "meaning"], fieldRows),
  ].join("\n");
}

function optionEntry(option: OptionText): string[] {
  const value = option.value === "" ? "" : ` ${option.value}`;
  return entry(`--${option.flag}${value}`, [option.env, shownDefault(option)], meaning(option));
}

/** A word with its meaning beside it. */
function hanging(word: string, text: string): string[] {
  const indent = " ".repeat(17);
  const [first = "", ...more] = wrapped(text, indent);
  return [`  ${word.padEnd(15)}${first.trimStart()}`, ...more];
}

function shownDefault(text: { readonly fallback?: string; readonly shownDefault?: string }): string {
  const shown = text.shownDefault ?? text.fallback;
  return shown === undefined ? "" : `default: ${shown}`;
}

function meaning(text: { readonly description: string; readonly rule: string; readonly unit?: string }): string[] {
  const unit = text.unit === undefined ? "" : `, in ${text.unit}`;
  return text.rule === "" ? [`${text.description}.`] : [`${text.description}.`, `It must be ${text.rule}${unit}.`];
}

function entry(head: string, notes: readonly string[], sentences: readonly string[]): string[] {
  const first = `  ${head.padEnd(21)} ${notes.filter((note) => note !== "").join(", ")}`.trimEnd();
  return [first, ...sentences.flatMap((sentence) => wrapped(sentence, "      "))];
}

function wrapped(text: string, indent: string): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && indent.length + line.length + 1 + word.length > columns) {
      lines.push(indent + line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, indent + line];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return [head, head.map(() => "---"), ...rows].map((cells) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`
  );
}

function code(text: string): string {
  return "`" + text + "`";
}
