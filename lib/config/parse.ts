/**
 * Makes one checked configuration from flags, variables, the JSON file and the defaults. DESIGN section 5. The options are
 * data, in options.ts.
 */
import { ConfigError } from "../core/errors.ts";
import { readTokens } from "./texts/admin-token.ts";
import { commands, type CommandText, SERVE } from "./command-line/commands.ts";
import { type Config, version } from "./config.ts";
import { shown } from "./file.ts";
import { readFlags } from "./command-line/flags.ts";
import { groupFields } from "./group-fields.ts";
import { GroupReader } from "./groups.ts";
import { commandHelp, helpText, markdownTables, type OptionText } from "./command-line/help.ts";
import type { NatsLogin } from "./texts/nats-login.ts";
import { options } from "./options.ts";
import { faultsBetween } from "./rules.ts";
import { type ConfigInput, OptionValues } from "./values.ts";

export type Parsed =
  | {
    readonly kind: "run";
    readonly config: Config;
    /** The file of `--config`; `undefined`: none was given. */
    readonly file: string | undefined;
    /** The given values of the command's own options: the text by flag, `""` for a switch. */
    readonly own: ReadonlyMap<string, string>;
  }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "version"; readonly text: string };

/** Every variable that {@link parseConfig} reads: Deno's permissions name each one. */
export const environmentNames: readonly string[] = Object.values(options).map((option) => option.env);

/** The most faults that one message lists. Chosen: each option and each field of a group can be wrong once. */
const MAX_FAULTS = 100;
const switches = { help: "Print this and exit", version: "Print the version and exit" } as const;

const texts: readonly OptionText[] = [
  ...Object.values(options),
  ...Object.entries(switches).map(([flag, description]) => (
    { flag, value: "", env: "", rule: "", description }
  )),
];

/** The option table in Markdown: one table of options, one of the fields of a group in the JSON file. */
export function optionTableMarkdown(): string {
  return markdownTables(texts, Object.values(groupFields));
}

/**
 * Reads the options: a flag overrides its variable, the variable the file, the file the default. An empty variable counts
 * as unset.
 *
 * @throws ConfigError naming every fault: the option, its rule and the value. Users and passwords in URLs are left out.
 */
export function parseConfig(input: ConfigInput): Parsed {
  const faults: string[] = [];
  const { command } = input;
  const own = Object.values(command?.options ?? {});
  const flags = readFlags([...texts, ...own], input.argv, faults);
  // Help comes first, even if other options are wrong.
  if (flags.has("help")) return { kind: "help", text: helpOf(command) };
  if (flags.has("version") && faults.length === 0) return { kind: "version", text: `${version}\n` };
  const values = new OptionValues(flags, input, faults);
  const config = configOf(values, input, faults);
  if (faults.length > 0) {
    const count = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
    const more = faults.length > MAX_FAULTS ? [`and ${faults.length - MAX_FAULTS} more`] : [];
    const lines = [...faults.slice(0, MAX_FAULTS), ...more].map((fault) => `  ${fault}\n`);
    throw new ConfigError(`${count} in the options:\n${lines.join("")}See --help.`);
  }
  const given = own.flatMap(({ flag }) => (flags.get(flag) ?? []).slice(-1).map((text) => [flag, text] as const));
  return { kind: "run", config, file: values.optional("config"), own: new Map(given) };
}

function helpOf(command: CommandText | undefined): string {
  if (command === undefined || command.words === SERVE) {
    return helpText(texts, Object.values(groupFields), version, Object.values(commands));
  }
  return commandHelp(command, texts.filter(({ flag }) => flag === "help"), version);
}

/** The result is not valid if there are faults. */
function configOf(values: OptionValues, input: ConfigInput, faults: string[]): Config {
  const embedded = { kind: "embedded", port: values.value("natsPort"), storeDir: values.value("natsStore") } as const;
  const serve = values.optional("serve");
  const config: Config = {
    addr: values.value("addr"),
    peerAddr: values.optional("peerAddr"),
    tlsCert: values.optional("tlsCert"),
    tlsKey: values.optional("tlsKey"),
    tlsCa: values.optional("tlsCa"),
    advertise: values.optional("advertise"),
    name: values.optional("name"),
    nats: values.optional("nats") ?? embedded,
    natsLogin: natsLoginOf(values),
    secretFile: values.optional("secretFile"),
    bucket: values.value("bucket"),
    replicas: values.value("replicas"),
    groups: new GroupReader(values, input, faults).read((input.running ?? { serve }).serve),
    groupsFromNats: values.value("groupsFromNats"),
    adminTokenFile: adminTokenFileOf(values, input, faults),
    publicStats: values.value("publicStats"),
    accessLog: values.value("accessLog"),
    serve,
    log: values.optional("log") ?? (input.isTerminal ? "text" : "json"),
    logLevel: values.value("logLevel"),
    weight: values.value("weight"),
    zone: values.value("zone"),
    peerNetworks: values.optional("peerNetworks") ?? [],
    workers: values.value("workers"),
    drainTimeoutMs: values.value("drainTimeout"),
    farewellMs: values.value("farewell"),
    polling: {
      pollIntervalMs: values.value("pollInterval"),
      pollTimeoutMs: values.value("pollTimeout"),
      pollMisses: values.value("pollMisses"),
      pollJitter: values.value("pollJitter"),
    },
  };
  if (faults.length === 0) faults.push(...faultsBetween(config, input.readFile));
  return config;
}

function natsLoginOf(values: OptionValues): NatsLogin {
  const given = {
    creds: values.optional("natsCreds"),
    nkey: values.optional("natsNkey"),
    user: values.optional("natsUser"),
    passwordFile: values.optional("natsPasswordFile"),
    tokenFile: values.optional("natsTokenFile"),
    ca: values.optional("natsCa"),
    cert: values.optional("natsCert"),
    key: values.optional("natsKey"),
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** A fault shows only the path of the file, nothing of its contents. */
function adminTokenFileOf(
  values: OptionValues,
  { readFile }: ConfigInput,
  faults: string[],
): string | undefined {
  const path = values.optional("adminTokenFile");
  if (path === undefined) return undefined;
  try {
    const read = readTokens(readFile(path));
    if (!("fault" in read)) return path;
    faults.push(`--admin-token-file must be ${options.adminTokenFile.rule}: ${shown(path)}: ${read.fault}`);
  } catch (error) {
    faults.push(
      `--admin-token-file must be a file that can be read: ${shown(path)}: ${(error as Error).message}`,
    );
  }
  return path;
}
