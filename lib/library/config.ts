/**
 * Turns the options of `createNode` into the configuration of a node, by the same rules as the JSON file of `--config`.
 */
import { isDeepStrictEqual } from "node:util";
import type { Config } from "../config/config.ts";
import { parseConfig } from "../config/parse.ts";
import { options as optionTable } from "../config/options.ts";
import { ConfigError } from "../core/errors.ts";
import type { LoadOptions } from "../origins/module/contract.ts";
import { parseOrigin } from "../origins/origin.ts";
import { environment, readTextFile } from "../runtime/process.ts";
import { codecs } from "./codec.ts";
import type { NodeOptions, ReloadOptions, ValueType } from "./options.ts";

/** The parts of a group that a file cannot hold. */
export interface InCode {
  readonly type: ValueType;
  /** `undefined`: the group has an origin in the command's form. */
  readonly load: ((key: string, options: LoadOptions) => unknown) | undefined;
}

/** The options, checked. */
export interface Read {
  readonly config: Config;
  readonly groups: ReadonlyMap<string, InCode>;
}

/** The name of the file that the options replace, for messages. */
const FILE = "createNode";
/** Stands for the origin of a group with a `load` function. */
const LOADED = "load:";
/** The options that it shares with the command, besides `nats` and the groups. */
const SHARED = [
  ...["name", "addr", "advertise", "bucket", "replicas", "weight", "zone", "drainTimeout", "adminTokenFile"],
  ...["farewell", "pollInterval", "pollTimeout", "pollMisses", "pollJitter", "serve"],
  ...["natsCreds", "natsNkey", "natsUser", "natsPasswordFile", "natsTokenFile", "natsCa", "natsCert", "natsKey"],
  ...["peerNetworks", "secretFile", "peerAddr", "tlsCert", "tlsKey", "tlsCa"],
];
/** Those that are on or off. */
const SWITCHES = ["publicStats", "groupsFromNats"];
const TYPES = Object.keys(codecs).map((type) => JSON.stringify(type)).join(", ");

/** @param call the called function @throws ConfigError naming every fault. Logins in URLs are left out. */
export function readOptions(options: NodeOptions, call = FILE): Read {
  const faults: string[] = [];
  if (!isObject(options)) throw refusal(["the options must be an object"], call);
  const { log: _log, nats, groups: given, ...rest } = options as unknown as Record<
    string,
    unknown
  >;
  if (nats === undefined) faults.push('nats must be given: "off" runs this node on its own');
  if (given === undefined) faults.push("groups must be given");
  for (const field of SWITCHES) {
    if (rest[field] !== undefined && typeof rest[field] !== "boolean") faults.push(`${field} must be true or false`);
  }
  const unknown = Object.keys(rest).filter((field) => ![...SHARED, ...SWITCHES].includes(field));
  for (const field of unknown) faults.push(`there is no option ${field}`);
  const groups = new Map<string, InCode>();
  const policies = isObject(given)
    ? Object.fromEntries(Object.entries(given).map(([name, group]) => [name, inFile(name, group, groups, faults)]))
    : given;
  const urls = Array.isArray(nats) ? nats.join() : nats;
  const shared = Object.fromEntries(SHARED.map((field) => [field, rest[field]]));
  shared.addr ??= "127.0.0.1:0";
  for (const field of SWITCHES) shared[field] = rest[field] === true ? "on" : "off";
  // In the command's form, `none:` means no group at all.
  if (Array.isArray(rest.serve)) shared.serve = rest.serve.join() || "none:";
  const config = parsed({ ...shared, groups: policies, nats: urls }, faults);
  if (config === undefined || faults.length > 0) throw refusal(faults, call);
  return { config, groups };
}

/**
 * The options of a reload, with the same rules.
 *
 * @param started the options of `createNode`
 * @throws ConfigError naming every fault, and every changed option other than `groups`
 */
export function readReload(options: ReloadOptions, started: NodeOptions): Read {
  if (!isObject(options)) throw refusal(["the options must be an object"], "reload");
  const { groups, ...rest } = options as unknown as Record<string, unknown>;
  const before = started as unknown as Record<string, unknown>;
  const changed = Object.entries(rest).filter(([field, value]) =>
    value !== undefined && !isDeepStrictEqual(value, before[field])
  );
  const faults = changed.map(([field]) =>
    ["log", "nats", ...SHARED, ...SWITCHES].includes(field)
      ? `${field} cannot change while the node runs: close it, and create another`
      : `there is no option ${field}`
  );
  if (groups === undefined) faults.push("groups must be given");
  if (faults.length > 0) throw refusal(faults, "reload");
  return readOptions({ ...started, groups: groups as NodeOptions["groups"] }, "reload");
}

/** Puts the parts that no file can hold into `groups`. @returns the rest */
function inFile(name: string, group: unknown, groups: Map<string, InCode>, faults: string[]): unknown {
  if (!isObject(group)) return group;
  const { load, type = "bytes", ...policy } = group;
  const at = `groups.${name}`;
  const fault = (text: string) => void faults.push(`${at}${text}`);
  if (optionTable.group.read(`${name}=none:`) === undefined) {
    faults.push(`the name of a group must be 1 to 64 characters out of A-Z a-z 0-9 _ -: ${JSON.stringify(name)}`);
    return undefined;
  }
  if (!Object.hasOwn(codecs, String(type))) fault(`.type must be one of ${TYPES}`);
  if (load !== undefined && typeof load !== "function") fault(".load must be a function");
  if (load !== undefined && policy.origin !== undefined) fault(" must have load or origin, not both");
  if (load === undefined && policy.origin === undefined) fault(" must have load or origin");
  if (load !== undefined && policy.headers !== undefined) fault(".headers must not be set where load is");
  groups.set(name, { type: type as ValueType, load: load as InCode["load"] });
  // Without an origin, the fault was already reported above.
  const isInCode = load !== undefined || policy.origin === undefined;
  return isInCode ? { ...policy, headers: undefined, origin: LOADED } : policy;
}

/** Adds to the faults. JSON leaves `undefined` fields out. */
function parsed(file: object, faults: string[]): Config | undefined {
  try {
    const text = JSON.stringify(file, (_field, value) => typeof value === "function" ? "a function" : value);
    const read = parseConfig({
      argv: ["--config", FILE],
      env: {},
      readVariable: (name) => environment([name])[name],
      readFile: (path) => path === FILE ? text : readTextFile(path),
      isTerminal: false,
      checkOrigin: (origin) => origin === LOADED || void parseOrigin(origin),
    });
    return read.kind === "run" ? read.config : undefined;
  } catch (error) {
    // JSON cannot hold a BigInt or a circular value.
    if (error instanceof TypeError) faults.push(`the options must be what JSON can say: ${error.message}`);
    else if (error instanceof ConfigError) faults.push(...faultsIn(error.message));
    else throw error;
    return undefined;
  }
}

/** The faults in the words of the options, as there is no command line and no file. */
function faultsIn(message: string): string[] {
  const lines = message.split("\n").filter((line) => line.startsWith("  "));
  return lines.map((line) =>
    line.trim()
      .replace(`--config ${FILE}: `, "")
      .replace(/^--group (\S+) must/, "groups.$1 must")
      .replace(/^--([a-z-]+)/, (_flag, name: string) => name.replace(/-(.)/g, (_dash, letter) => letter.toUpperCase()))
      .replace(/: (?:\S+ )?in the file /, ": ")
      .replace(new RegExp(` in ${FILE}$`), "")
  );
}

function refusal(faults: readonly string[], call: string): ConfigError {
  const count = faults.length === 1 ? "1 fault" : `${faults.length} faults`;
  return new ConfigError(`${count} in the options of ${call}:\n${faults.map((fault) => `  ${fault}`).join("\n")}`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
