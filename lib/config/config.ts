/**
 * Makes one checked configuration from flags, variables, the JSON file and the defaults. DESIGN section 5. The options are
 * data, in options.ts.
 */
import manifest from "../../package.json" with { type: "json" };
import { type ConfigFile, readConfigFile, shown } from "./file.ts";
import { defaultPolicy, type FileGroup, groupFields } from "./group-fields.ts";
import { readTokens } from "./admin-token.ts";
import { headerValue } from "./headers.ts";
import { hostInUrl, type HostPort, isLoopback, isUnspecified, type NatsSetting } from "./addresses.ts";
import { readFlags } from "./flags.ts";
import { loginFaults, type NatsLogin } from "./nats-login.ts";
import { secretsIn } from "./secret.ts";
import { MOST_WORKERS, type Option, options, redacted, splitGroups } from "./options.ts";
import { ConfigError } from "../core/errors.ts";
import { commands, type CommandText, SERVE } from "./commands.ts";
import { commandHelp, helpText, markdownTables, type OptionText } from "./help.ts";

/** A group with its policy; the fields are those of the file, see groupFields. */
export interface GroupConfig extends Omit<FileGroup, "ttlMs" | "headers"> {
  readonly name: string;
  /** As `parseOrigin` reads it: `wordnet:`, `http(s)://…{key}…`, `module:path` and others; may hold a password. */
  readonly origin: string;
  /** `null`: values do not expire. */
  readonly ttlMs: number | null;
  /** Names in lower case. Values may be secrets: they are never logged or shown. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export type NatsConfig = NatsSetting | {
  /** Use 127.0.0.1:`port`; start the bundled server there if nothing listens. */
  readonly kind: "embedded";
  readonly port: number;
  readonly storeDir: string;
};

export interface Config {
  readonly addr: HostPort;
  /** As given, without a slash at its end; see {@link advertised}. */
  readonly advertise: string | undefined;
  /** As given; see {@link advertised}. */
  readonly name: string | undefined;
  readonly nats: NatsConfig;
  /** For servers that `nats` names; empty for the bundled server, whose login is in its store. */
  readonly natsLogin: NatsLogin;
  /** The path of the cluster's secret. */
  readonly secretFile: string | undefined;
  /** Where the other nodes are answered; `undefined`: at `addr`. */
  readonly peerAddr: HostPort | undefined;
  /** Files that encrypt `peerAddr`, both or none. */
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  /** A file with the authorities to trust; `undefined`: the system's. */
  readonly tlsCa: string | undefined;
  readonly bucket: string;
  readonly replicas: number;
  /** At least one; their names are distinct. */
  readonly groups: readonly GroupConfig[];
  /** Whether it serves the groups of the bucket `<bucket>-groups`, too. */
  readonly groupsFromNats: boolean;
  /** The path of the file with the operators' token; it was sound when the options were read. */
  readonly adminTokenFile: string | undefined;
  /** Whether everybody may see the statistics. */
  readonly publicStats: boolean;
  /** The groups that it serves itself, those of the bucket included; `undefined`: all. */
  readonly serve: readonly string[] | undefined;
  readonly log: "text" | "json";
  /** 0.01 to 100; 1 is an ordinary share of the keys. */
  readonly weight: number;
  /** `""` for none. */
  readonly zone: string;
  /** Networks in which it connects to peers, as `PeerNetworks` takes them; none: everywhere. */
  readonly peerNetworks: readonly string[];
  /** 1: this process is the node. More: it starts this many processes. */
  readonly workers: number | "auto";
  readonly drainTimeoutMs: number;
  readonly polling: PollingConfig;
}

export interface PollingConfig {
  readonly pollIntervalMs: number;
  readonly pollTimeoutMs: number;
  /** Polls without an answer in a row, before others are asked. */
  readonly pollMisses: number;
  /** A share of the interval, 0 to 0.5. */
  readonly pollJitter: number;
}

export type Parsed =
  | {
    readonly kind: "run";
    readonly config: Config;
    /** The switches that were given of the command's own. */
    readonly switches: ReadonlySet<string>;
  }
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "version"; readonly text: string };

export interface ConfigInput {
  /** What follows the program's name, or the words of a command that takes these options, too. */
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
  /** @throws ConfigError the rule that an origin's text breaks */
  readonly checkOrigin: (origin: string) => void;
}

/** This package's version, as `--version` prints it. */
export const version: string = manifest.version;

/** Every variable that {@link parseConfig} reads: Deno's permissions name each one. */
export const environmentNames: readonly string[] = Object.values(options).map((option) => option.env);

/** The most faults that one message lists. Chosen: each option and each field of a group can be wrong once. */
const MAX_FAULTS = 100;
/** Of a path or of an origin's fault, a message shows so many characters. Chosen. */
const MAX_SHOWN = 500;

/** The longest name in the registry, in characters: the rule of --name. */
const maxNameLength = 128;

const switches = { help: "Print this and exit", version: "Print the version and exit" } as const;

/** The fields of the JSON file beside its groups. */
const fileFields = new Map(
  Object.entries(options).flatMap(([field, { kind }]) =>
    kind === "groups" || kind === "flag only" ? [] : [[field, kind]]
  ),
);

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
  // Help comes first, whatever else is wrong.
  if (flags.has("help")) return { kind: "help", text: helpOf(command) };
  if (flags.has("version") && faults.length === 0) return { kind: "version", text: `${version}\n` };
  const config = new Reader(flags, input, faults).config();
  if (faults.length > 0) {
    const count = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
    const more = faults.length > MAX_FAULTS ? [`and ${faults.length - MAX_FAULTS} more`] : [];
    const lines = [...faults.slice(0, MAX_FAULTS), ...more].map((fault) => `  ${fault}\n`);
    throw new ConfigError(`${count} in the options:\n${lines.join("")}See --help.`);
  }
  return { kind: "run", config, switches: new Set(own.map(({ flag }) => flag).filter((flag) => flags.has(flag))) };
}

function helpOf(command: CommandText | undefined): string {
  if (command === undefined || command.words === SERVE) {
    return helpText(texts, Object.values(groupFields), version, Object.values(commands));
  }
  return commandHelp(command, texts.filter(({ flag }) => flag === "help"), version);
}

/** The URL and name under which a node with these options is listed, once it listens for them on `actualPort`. */
export function advertised(
  config: Pick<Config, "addr" | "peerAddr" | "tlsCert" | "advertise" | "name">,
  actualPort: number,
): { url: string; name: string } {
  const { host } = config.peerAddr ?? config.addr;
  const url = config.advertise ?? `http${config.tlsCert === undefined ? "" : "s"}://${hostInUrl(host)}:${actualPort}`;
  const { hostname, port, protocol } = new URL(url);
  const place = `${hostname}:${port || (protocol === "https:" ? "443" : "80")}`;
  return { url, name: config.name ?? place.replace(/[^A-Za-z0-9_-]/g, "-") };
}

/** Warnings for the log: options that are allowed but probably a mistake. */
export function doubtsOf(config: Pick<Config, "addr" | "peerAddr" | "advertise" | "nats">): string[] {
  const { advertise, nats, peerAddr } = config;
  const addr = peerAddr ?? config.addr;
  if (advertise !== undefined || nats.kind !== "urls") return [];
  const isElsewhere = nats.urls.some((url) => !isLoopback(new URL(url).hostname));
  if (!isUnspecified(addr.host) && !(isLoopback(addr.host) && isElsewhere)) return [];
  return [
    `other nodes cannot reach this node at ${addr.host}, which means the local machine on each of them: use --advertise`,
  ];
}

/** The name of worker `number` (from 1) of the machine `base`. */
export function workerName(base: string, number: number): string {
  return `${base}-w${number}`;
}

type Field = keyof typeof options;
type Read<F extends Field> = NonNullable<ReturnType<(typeof options)[F]["read"]>>;

/** A text with its place, for the fault. */
interface Said {
  readonly text: string;
  readonly where: string;
  /** Replaces the text in the fault if it may be part of a secret. */
  readonly unshown?: string;
}

/** Whether an origin is `http(s)://host/base/*`. */
function isSite(origin: string): boolean {
  return /^https?:.*\/\*$/is.test(origin);
}

function cut(text: string): string {
  return text.length <= MAX_SHOWN ? text : `${text.slice(0, MAX_SHOWN)}…`;
}

class Reader {
  readonly #flags: ReadonlyMap<string, readonly string[]>;
  readonly #input: ConfigInput;
  readonly #faults: string[];
  #file: ConfigFile = { values: new Map(), faults: [] };
  #path = "";

  constructor(flags: ReadonlyMap<string, readonly string[]>, input: ConfigInput, faults: string[]) {
    this.#flags = flags;
    this.#input = input;
    this.#faults = faults;
    const path = this.#optional("config");
    if (path === undefined) return;
    this.#path = cut(path);
    this.#readFile(path);
  }

  /** Invalid if there are faults. */
  config(): Config {
    const embedded = { kind: "embedded", port: this.#value("natsPort"), storeDir: this.#value("natsStore") } as const;
    const serve = this.#optional("serve");
    const config: Config = {
      addr: this.#value("addr"),
      peerAddr: this.#optional("peerAddr"),
      tlsCert: this.#optional("tlsCert"),
      tlsKey: this.#optional("tlsKey"),
      tlsCa: this.#optional("tlsCa"),
      advertise: this.#optional("advertise"),
      name: this.#optional("name"),
      nats: this.#optional("nats") ?? embedded,
      natsLogin: this.#natsLogin(),
      secretFile: this.#optional("secretFile"),
      bucket: this.#value("bucket"),
      replicas: this.#value("replicas"),
      groups: this.#groups(serve),
      groupsFromNats: this.#value("groupsFromNats"),
      adminTokenFile: this.#adminTokenFile(),
      publicStats: this.#value("publicStats"),
      serve,
      log: this.#optional("log") ?? (this.#input.isTerminal ? "text" : "json"),
      weight: this.#value("weight"),
      zone: this.#value("zone"),
      peerNetworks: this.#optional("peerNetworks") ?? [],
      workers: this.#value("workers"),
      drainTimeoutMs: this.#value("drainTimeout"),
      polling: {
        pollIntervalMs: this.#value("pollInterval"),
        pollTimeoutMs: this.#value("pollTimeout"),
        pollMisses: this.#value("pollMisses"),
        pollJitter: this.#value("pollJitter"),
      },
    };
    if (this.#faults.length === 0) this.#judge(config);
    return config;
  }

  #checkSecret(path: string): void {
    try {
      secretsIn(this.#input.readFile(path));
    } catch (error) {
      this.#faults.push(`--secret-file must be a file that can be used: ${(error as Error).message}`);
    }
  }

  #natsLogin(): NatsLogin {
    const given = {
      creds: this.#optional("natsCreds"),
      nkey: this.#optional("natsNkey"),
      user: this.#optional("natsUser"),
      passwordFile: this.#optional("natsPasswordFile"),
      tokenFile: this.#optional("natsTokenFile"),
      ca: this.#optional("natsCa"),
      cert: this.#optional("natsCert"),
      key: this.#optional("natsKey"),
    };
    return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  }

  /** Checks rules between options. */
  #judge(config: Config): void {
    this.#judgePeerAddr(config);
    const isOne = config.workers === 1;
    const most = isOne ? maxNameLength : maxNameLength - workerName("", MOST_WORKERS).length;
    if (advertised(config, 65535).name.length > most) {
      const what = config.name === undefined ? "given: the advertised host makes a name" : "shorter: it is a name";
      this.#faults.push(`--name must be ${what} of over ${most} characters`);
    }
    if (config.secretFile !== undefined) this.#checkSecret(config.secretFile);
    this.#faults.push(...loginFaults(config.natsLogin, config.nats, this.#input.readFile));
    if (!isOne && config.advertise?.startsWith("https:")) {
      this.#faults.push("--advertise must be http:// with more than one of --workers: each has a port of its own");
    }
    this.#judgeServe(config);
  }

  #judgeServe({ serve, groups, groupsFromNats, nats }: Config): void {
    if (serve === undefined) return;
    const unknown = groupsFromNats ? undefined : serve.find((name) => !groups.some((group) => group.name === name));
    if (unknown !== undefined) this.#faults.push(`--serve must name groups of this node: it has no group ${unknown}`);
    const unserved = groups.find(({ name }) => !serve.includes(name));
    if (nats.kind === "off" && unserved !== undefined) {
      this.#faults.push(
        `--serve must name all groups with --nats off: there is no other node to ask for ${unserved.name}`,
      );
    }
  }

  /** No fault shows anything of the file but its path. */
  #adminTokenFile(): string | undefined {
    const path = this.#optional("adminTokenFile");
    if (path === undefined) return undefined;
    try {
      const read = readTokens(this.#input.readFile(path));
      if (!("fault" in read)) return path;
      this.#faults.push(`--admin-token-file must be ${options.adminTokenFile.rule}: ${shown(path)}: ${read.fault}`);
    } catch (error) {
      this.#faults.push(
        `--admin-token-file must be a file that can be read: ${shown(path)}: ${(error as Error).message}`,
      );
    }
    return path;
  }

  #judgePeerAddr({ peerAddr, tlsCert, tlsKey, workers }: Config): void {
    if ((tlsCert === undefined) !== (tlsKey === undefined)) {
      this.#faults.push(`--tls-${tlsCert === undefined ? "cert" : "key"} must be given too: each needs the other`);
    } else if (tlsCert !== undefined && peerAddr === undefined) {
      this.#faults.push("--peer-addr must be given too: it is what --tls-cert encrypts");
    }
    if (peerAddr !== undefined && workers !== 1) {
      this.#faults.push("--peer-addr must not be given with more than one of --workers: each has an address for peers");
    }
  }

  /** A flag or the variable decides which groups there are; their policies still come from the file. */
  #groups(serve: Config["serve"]): GroupConfig[] {
    const file = this.#file.groups;
    const flags = this.#flags.get(options.group.flag)?.map((text) => ({ text, where: "" }));
    const inFile = file &&
      [...file].map(([name, { origin }]) => ({ text: `${name}=${origin}`, where: "in the file " }));
    const groups = new Map<string, GroupConfig>();
    const ttlMs = this.#optional("ttl") ?? null;
    const fallback = [{ text: options.group.fallback, where: "" }];
    const all: readonly Said[] = flags ?? this.#groupsInEnv() ?? inFile ?? fallback;
    for (const said of all) {
      const group = this.#read("group", said);
      if (group === undefined) continue;
      if (groups.has(group.name)) {
        const name = said.unshown === undefined ? group.name : "one";
        this.#faults.push(`--group must name each group once: ${said.where}${name} stands twice`);
      }
      this.#checkOrigin(group, said);
      const policy = { ...defaultPolicy, ...file?.get(group.name), ...group };
      const headers = this.#headers(policy, serve?.includes(group.name) ?? true);
      groups.set(group.name, { ...policy, headers, ttlMs: policy.ttlMs === undefined ? ttlMs : policy.ttlMs });
    }
    this.#checkHosts([...groups.values()]);
    this.#checkWritable([...groups.values()]);
    return [...groups.values()];
  }

  /** Reads what the group sends to its origin; the files and variables of groups that are not served are left alone. */
  #headers(
    { name, origin, headers }: FileGroup & { readonly name: string },
    isServed: boolean,
  ): GroupConfig["headers"] {
    const { env, readFile, readVariable = (variable) => env[variable] } = this.#input;
    if (headers.length > 0 && !/^https?:/i.test(origin)) {
      this.#faults.push(`--config ${this.#path}: groups.${name}.headers must not be set: the origin is no HTTP origin`);
      return [];
    }
    return headers.map(([header, source]) => {
      if (!isServed) return [header, ""];
      const read = headerValue(source, { readFile, readVariable });
      if ("value" in read) return [header, read.value];
      this.#faults.push(`--config ${this.#path}: groups.${name}.headers.${header} must ${read.fault}`);
      return [header, ""];
    });
  }

  /** A request's host names one group, and that is a site: no other origin takes a path as it is. */
  #checkHosts(groups: readonly GroupConfig[]): void {
    const owners = new Map<string, string>();
    for (const { name, origin, hosts } of groups) {
      const at = `--config ${this.#path}: groups.${name}.hosts`;
      if (hosts.length > 0 && !isSite(origin)) {
        this.#faults.push(`${at} must not be set: the origin is no site, as http(s)://host/base/* is`);
      }
      for (const host of hosts) {
        const other = owners.get(host);
        if (other !== undefined) this.#faults.push(`${at} must not name ${host}: the group ${other} has it`);
        owners.set(host, name);
      }
    }
  }

  /** A site's own PUT and DELETE go through to it; and nothing could ever be in a group without writes and an origin. */
  #checkWritable(groups: readonly GroupConfig[]): void {
    for (const { name, origin, writable } of groups) {
      const at = `groups.${name}.writable`;
      if (writable && isSite(origin)) {
        this.#faults.push(`--config ${this.#path}: ${at} must not be true: a site takes PUT and DELETE itself`);
      }
      if (!writable && origin === "none:") {
        const where = this.#path === "" ? "in the file of --config" : `in ${this.#path}`;
        this.#faults.push(`--group ${name} must be writable, as its origin is none:, so set ${at} to true ${where}`);
      }
    }
  }

  #groupsInEnv(): Said[] | undefined {
    const { env } = options.group;
    const text = this.#input.env[env] || undefined;
    return text === undefined ? undefined : splitGroups(text).map((group) => ({ ...group, where: `in ${env} ` }));
  }

  #checkOrigin({ name, origin }: { name: string; origin: string }, said: Said): void {
    try {
      this.#input.checkOrigin(origin);
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      if (said.unshown !== undefined) return this.#refuse("group", said);
      // A message has the text as it is or as JSON. A function replaces it, as `$&` in a text would insert the origin again.
      const forms = [origin, JSON.stringify(origin).slice(1, -1)];
      const reason = forms.reduce((text, form) => text.replaceAll(form, () => redacted(form)), error.message);
      this.#faults.push(`--group ${name} must have an origin that can be used: ${cut(reason)}`);
    }
  }

  /** The value of an option with a fallback. If it is `undefined`, there is a fault and everything is refused. */
  #value<F extends Field>(field: F): Read<F> {
    return this.#optional(field) as Read<F>;
  }

  #optional<F extends Field>(field: F): Read<F> | undefined {
    const option: OptionText = options[field];
    const flag = this.#flags.get(option.flag)?.at(-1);
    if (flag !== undefined) return this.#read(field, { text: flag, where: "" });
    const env = this.#input.env[option.env] || undefined;
    if (env !== undefined) return this.#read(field, { text: env, where: `in ${option.env} ` });
    const file = this.#file.values.get(field);
    if (file !== undefined) return this.#read(field, { text: file, where: `${field} in the file ` });
    return option.fallback === undefined ? undefined : this.#read(field, { text: option.fallback, where: "" });
  }

  #read<F extends Field>(field: F, said: Said): Read<F> | undefined {
    const value = options[field].read(said.text);
    if (value === undefined) this.#refuse(field, said);
    return value as Read<F> | undefined;
  }

  #refuse(field: Field, { text, where, unshown }: Said): void {
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
