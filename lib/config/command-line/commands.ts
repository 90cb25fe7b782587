/** The command table: the words, arguments and options of every command. The parser, the help and the completions read it. */
import type { CommandHelp, OptionText } from "./help.ts";
import { options } from "../options.ts";

/** An option of a command with the function that reads its text, as in the option table. */
export interface CommandOption<T = unknown> extends OptionText {
  /** Whether it may be given more than once. */
  readonly isMany?: boolean;
  readonly mayHoldSecret?: boolean;
  /** Absent for a switch. Returns `undefined` for a text that breaks the rule. */
  readonly read?: (text: string) => T | undefined;
}

/** One command. */
export interface CommandText extends CommandHelp {
  /** Its own options, by their names in the code. */
  readonly options: Readonly<Record<string, CommandOption>>;
}

const plainSwitch = (flag: string, description: string): CommandOption => ({
  flag,
  value: "",
  env: "",
  rule: "",
  description,
});

/** An http(s) URL of scheme, host and port. */
function readNode(text: string): string | undefined {
  if (!/^https?:\/\/[^/?#@\s]+\/?$/i.test(text) || !URL.canParse(text)) return undefined;
  return new URL(text).origin;
}

const name = (text: string): string | undefined => text === "" || text.length > 1_024 ? undefined : text;

const json = plainSwitch("json", "Print JSON");
const ofNode = {
  node: {
    flag: "node",
    value: "url",
    env: "MUSTER_NODE",
    fallback: "http://127.0.0.1:8000",
    rule: "http://host[:port] or https://host[:port] without a path",
    description: "The node to ask",
    mayHoldSecret: true,
    read: readNode,
  },
  adminTokenFile: {
    flag: options.adminTokenFile.flag,
    value: options.adminTokenFile.value,
    env: options.adminTokenFile.env,
    shownDefault: "none: only a node on this machine answers then",
    rule: options.adminTokenFile.rule,
    description: "The token of operators, the same for all nodes of the fleet",
    read: options.adminTokenFile.read,
  },
} as const;
const site = plainSwitch("site", "The group is a site: the key is the rest of the path with its query, as it is");

/** The command that runs if none is named. */
export const SERVE = "serve";
const GOOD_ANSWER = "the node has answered";

/** Every command except internal ones. */
export const commands = {
  serve: {
    words: SERVE,
    args: [],
    description: "Run a node, or several; the default command",
    options: {},
    takesServe: true,
    exits: ["it was told to stop", "it cannot run"],
  },
  status: {
    words: "status",
    args: [],
    description: "Show every node of the fleet, and what is wrong",
    options: { ...ofNode, json },
    takesServe: false,
    exits: ["all is well", "something is wrong, or the node does not answer"],
  },
  health: {
    words: "health",
    args: [],
    description: "Ask a node whether it is alive, for programs that restart it",
    options: {
      node: ofNode.node,
      json,
      ready: plainSwitch("ready", "Ask whether it has joined and serves: not so while it starts and while it leaves"),
    },
    takesServe: false,
    exits: ["it is alive; with --ready: it is ready", "it is not, or does not answer within 2 s"],
  },
  get: {
    words: "get",
    args: ["group", "key"],
    description: "Print a value as a client gets it, and its source on standard error",
    options: { ...ofNode, json, site },
    takesServe: false,
    exits: ["there is the value", "there is no such value, or it cannot be had"],
  },
  explain: {
    words: "explain",
    args: ["group", "key"],
    description: "Show the owners and holders of a key, for how long they hold it, and why a get is a hit or a miss",
    options: { ...ofNode, json },
    takesServe: false,
    exits: [GOOD_ANSWER, "it, or one of the key's nodes, does not answer"],
  },
  purge: {
    words: "purge",
    args: ["group", "key…"],
    description: "Invalidate values on every node: by keys, or by the options",
    options: {
      ...ofNode,
      json,
      tag: {
        flag: "tag",
        value: "tag",
        env: "",
        rule: "a tag of 1 to 1,024 bytes",
        description: "All values with this tag; may be repeated",
        isMany: true,
        read: name,
      },
      prefix: {
        flag: "prefix",
        value: "text",
        env: "",
        rule: "a text of 1 to 1,024 bytes",
        description: "All keys that begin with this text; may be repeated",
        isMany: true,
        read: name,
      },
      all: plainSwitch("all", "All values of the group"),
      soft: plainSwitch("soft", "Make values stale instead of removing them"),
      wait: plainSwitch("wait", "Wait until every node has applied it, for 5 s at most"),
    },
    takesServe: false,
    exits: ["it is invalidated", "it is not; or with --wait: some node has not applied it yet"],
  },
  groups: {
    words: "groups",
    args: [],
    description: "Show the groups of a node with their figures",
    options: { ...ofNode, json },
    takesServe: false,
    exits: [GOOD_ANSWER, "it does not answer"],
  },
  top: {
    words: "top",
    args: [],
    description: "Show the fleet's rates, live",
    options: {
      ...ofNode,
      json,
      interval: {
        flag: "interval",
        value: "seconds",
        env: "",
        fallback: "1",
        rule: "a number of seconds from 0.1 to 3600",
        description: "The time between two looks",
        read: (text: string) => {
          const seconds = /^\d{1,4}(\.\d{1,3})?$/.test(text) ? Number(text) : 0;
          return seconds >= 0.1 && seconds <= 3_600 ? seconds * 1_000 : undefined;
        },
      },
      count: {
        flag: "count",
        value: "number",
        env: "",
        shownDefault: "until Ctrl+C",
        rule: "a whole number from 1 to 1000000",
        description: "How often to show them",
        read: (text: string) => /^[1-9]\d{0,5}$|^1000000$/.test(text) ? Number(text) : undefined,
      },
    },
    takesServe: false,
    exits: ["it was told to stop, or has shown them so often", "the node does not answer"],
  },
  peers: {
    words: "peers",
    args: [],
    description: "Show the lists of peers in NATS; changes nothing there",
    options: { json, watch: plainSwitch("watch", "Go on, with a line for each change") },
    takesServe: true,
    exits: ["the lists were read", "NATS cannot be reached, or has no such bucket"],
  },
  doctor: {
    words: "doctor",
    args: [],
    description: "Look for faults from this machine: NATS, logins, clocks, ports, files, peers; and say what to do",
    options: { json },
    takesServe: true,
    exits: ["no fault was found", "there are faults"],
  },
  configCheck: {
    words: "config check",
    args: [],
    description: "Check the options, the variables and the file, and run nothing",
    options: {
      json,
      from: {
        flag: "from",
        value: "file",
        env: "",
        rule: "the path of a JSON file",
        description:
          "The file of --config so far: tells what a running node makes of the change, and what needs a restart",
        read: options.config.read,
      },
    },
    takesServe: true,
    exits: ["a node can run with them", "never"],
  },
  simulate: {
    words: "simulate",
    args: [],
    description: "Tell how many keys and bytes would get another owner with more or fewer nodes",
    options: {
      ...ofNode,
      json,
      add: {
        flag: "add",
        value: "count",
        env: "",
        rule: "a whole number from 1 to 1000",
        description: "How many nodes to add",
        read: (text: string) => /^[1-9]\d{0,2}$|^1000$/.test(text) ? Number(text) : undefined,
      },
      remove: {
        flag: "remove",
        value: "name",
        env: "",
        rule: "1 to 128 characters out of A-Z a-z 0-9 _ -",
        description: "The name of the node to remove",
        read: (text: string) => /^[A-Za-z0-9_-]{1,128}$/.test(text) ? text : undefined,
      },
    },
    takesServe: false,
    exits: ["all nodes have answered", "some have not"],
  },
  sign: {
    words: "sign",
    args: ["place…", "json"],
    description: "Print JSON with the cluster's signature, for nats kv put and nats pub",
    options: {
      secretFile: {
        flag: options.secretFile.flag,
        value: options.secretFile.value,
        env: options.secretFile.env,
        rule: options.secretFile.rule,
        description: "The cluster's secret",
        read: options.secretFile.read,
      },
    },
    takesServe: false,
    exits: ["it is signed", "never"],
  },
  completions: {
    words: "completions",
    args: ["bash|zsh|fish"],
    description: "Print a script that completes commands and options in the shell, for the name muster",
    options: {},
    takesServe: false,
    exits: ["it is printed", "never"],
  },
} as const satisfies Record<string, CommandText>;

export type CommandName = keyof typeof commands;

/** Every variable that the commands' own options read: Deno's permissions name each one. */
export const commandVariables: readonly string[] = [
  ...new Set(
    Object.values<CommandText>(commands).flatMap((command) => Object.values(command.options).map(({ env }) => env)),
  ),
].filter((env) => env !== "");

/**
 * The command that a command line names, and the arguments after its words; `serve` if it names none.
 *
 * @returns `undefined`: the command line begins with a word that is no command
 */
export function commandIn(
  argv: readonly string[],
): { readonly name: CommandName; readonly rest: readonly string[] } | undefined {
  // A task runner may pass on the dashes of `npm start -- …`.
  const args = argv[0] === "--" ? argv.slice(1) : argv;
  if (args[0] === undefined || args[0].startsWith("-")) return { name: SERVE, rest: argv };
  for (const [name, { words }] of Object.entries(commands) as [CommandName, CommandText][]) {
    const parts = words.split(" ");
    if (parts.every((part, at) => args[at] === part)) return { name, rest: args.slice(parts.length) };
  }
  return undefined;
}
