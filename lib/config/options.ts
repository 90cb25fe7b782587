/**
 * The option table: the flag, variable, default, unit and rule of every option, and the function that reads its text.
 */
import { TOKEN_FILE_RULE } from "./texts/admin-token.ts";
import { readAdvertise, readHostPort, readNats } from "./texts/addresses.ts";
import type { FileKind } from "./file.ts";
import { TTL_OF_GROUP } from "./group-fields.ts";
import { readNetworks } from "./texts/networks.ts";
import type { OptionText } from "./command-line/help.ts";

export interface Option<T> extends OptionText {
  /** Its type in the JSON file: a text, a number, either, groups with their policies, or not allowed there. */
  readonly kind: FileKind | "groups" | "flag only";
  /** Whether the value may hold a login before an `@`; a fault then shows the text without it. */
  readonly mayHoldSecret?: boolean;
  /** Returns the value, or `undefined` for a text that breaks the rule. */
  readonly read: (text: string) => T | undefined;
}

/** The levels of log lines, the least important first. */
export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = typeof LOG_LEVELS[number];

/** Chosen: more than machines have cores. */
export const MOST_WORKERS = 256;

/** Accepts a text that matches. */
const matches = (pattern: RegExp) => (text: string): string | undefined => pattern.test(text) ? text : undefined;
/** Accepts one of these words. */
const oneOf = <const Word extends string>(...words: readonly Word[]) => (text: string): Word | undefined =>
  words.find((word) => word === text);
/** Accepts a decimal number from `low` to `high`. */
const between = (low: number, high: number, pattern = /^\d{1,9}$/) => (text: string): number | undefined =>
  pattern.test(text) && Number(text) >= low && Number(text) <= high ? Number(text) : undefined;

/** The units of a time, in milliseconds. */
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Accepts a time such as `250ms`, `5s`, `1m`, `2h` or `7d` from `lowMs` to `highMs`; returns milliseconds. */
const time = (lowMs: number, highMs: number) => (text: string): number | undefined => {
  const [, number, unit] = /^(\d{1,6}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(text) ?? [];
  if (number === undefined) return undefined;
  const ms = Number(number) * UNITS[unit!]!;
  return ms >= lowMs && ms <= highMs ? ms : undefined;
};

/** Chosen: a longer time is the same as no limit in practice. */
const MOST_TTL_MS = 365 * UNITS.d!;
const ttlRule = "a time from 1ms to 365d, such as 1m";

/** Accepts a lifetime; returns whole milliseconds. */
function readTtl(text: string): number | undefined {
  const ms = time(1, MOST_TTL_MS)(text);
  return ms === undefined ? undefined : Math.round(ms);
}

const SWITCH_RULE = "on or off; the flag alone means on";

function readSwitch(text: string): boolean | undefined {
  return text === "" || text === "on" ? true : text === "off" ? false : undefined;
}

/** An option that names a file. */
const file = (flag: string, env: string, description: string) => ({
  flag,
  value: "file",
  env,
  kind: "text" as const,
  rule: "the path of a file",
  description,
  read: matches(/^[^\0\r\n]+$/),
});

/** By field name in the JSON file. */
export const options = {
  addr: {
    flag: "addr",
    value: "host:port",
    env: "MUSTER_ADDR",
    kind: "text",
    fallback: "127.0.0.1:8000",
    rule: "host:port with a port from 0 to 65535 (0 takes any free port); an IPv6 address stands in brackets",
    description: "The address to listen on",
    read: readHostPort,
  },
  peerAddr: {
    flag: "peer-addr",
    value: "host:port",
    env: "MUSTER_PEER_ADDR",
    kind: "text",
    shownDefault: "none: the other nodes use --addr",
    rule: "host:port with a port from 0 to 65535 (0 takes any free port); an IPv6 address stands in brackets",
    description: "A separate address for the other nodes; they are then not answered at --addr",
    read: readHostPort,
  },
  tlsCert: {
    flag: "tls-cert",
    value: "file",
    env: "MUSTER_TLS_CERT",
    kind: "text",
    shownDefault: "none: not encrypted",
    rule: "the path of a PEM file",
    description: "The certificate chain for --peer-addr; read again when it changes",
    read: matches(/^[^\0\r\n]+$/),
  },
  tlsKey: {
    flag: "tls-key",
    value: "file",
    env: "MUSTER_TLS_KEY",
    kind: "text",
    shownDefault: "none: not encrypted",
    rule: "the path of a PEM file",
    description: "The private key of --tls-cert; read again when it changes",
    read: matches(/^[^\0\r\n]+$/),
  },
  tlsCa: {
    flag: "tls-ca",
    value: "file",
    env: "MUSTER_TLS_CA",
    kind: "text",
    shownDefault: "the system's",
    rule: "the path of a PEM file",
    description: "The authorities that are trusted for other nodes' certificates; read again when it changes",
    read: matches(/^[^\0\r\n]+$/),
  },
  advertise: {
    flag: "advertise",
    value: "url",
    env: "MUSTER_ADVERTISE",
    kind: "text",
    shownDefault: "http:// and the address",
    rule: "http://host[:port] or https://host[:port] without a path",
    description:
      "The URL at which the other nodes reach this node. With --peer-addr the default is that address, and https:// with --tls-cert",
    mayHoldSecret: true,
    read: readAdvertise,
  },
  name: {
    flag: "name",
    value: "name",
    env: "MUSTER_NAME",
    kind: "text",
    shownDefault: "the advertised host and port, with - for other characters than letters and digits",
    rule: "1 to 128 characters out of A-Z a-z 0-9 _ -",
    description: "The name of this node in the list of peers",
    read: matches(/^[A-Za-z0-9_-]{1,128}$/),
  },
  nats: {
    flag: "nats",
    value: "urls",
    env: "NATS_URL",
    kind: "text",
    shownDefault: "127.0.0.1:4222; a bundled server is started there when nothing listens",
    rule:
      "nats://host[:port], tls://host[:port] or host:port, several with commas between them and one login for all; or off",
    description: "The NATS servers that keep the list of peers; off runs this node alone",
    mayHoldSecret: true,
    read: readNats,
  },
  natsPort: {
    flag: "nats-port",
    value: "port",
    env: "MUSTER_NATS_PORT",
    kind: "number",
    fallback: "4222",
    rule: "a whole number from 1 to 65535",
    description: "Without --nats: the port on 127.0.0.1 where this node looks for a server, or starts the bundled one",
    read: between(1, 65535),
  },
  natsStore: {
    flag: "nats-store",
    value: "folder",
    env: "MUSTER_NATS_STORE",
    kind: "text",
    fallback: ".muster/nats",
    rule: "the path of a folder",
    description: "The folder where the bundled server keeps its files",
    read: matches(/^[^\0\r\n]+$/),
  },
  natsCreds: file("nats-creds", "MUSTER_NATS_CREDS", "A user's JWT and seed, for NATS servers with accounts"),
  natsNkey: file("nats-nkey", "MUSTER_NATS_NKEY", "The seed of an NKEY user, which signs the servers' challenge"),
  natsUser: {
    flag: "nats-user",
    value: "name",
    env: "MUSTER_NATS_USER",
    kind: "text",
    rule: "1 to 256 characters in one line",
    description: "The user whose password is in --nats-password-file",
    read: matches(/^[^\0\r\n]{1,256}$/),
  },
  natsPasswordFile: file("nats-password-file", "MUSTER_NATS_PASSWORD_FILE", "A file with the password of --nats-user"),
  natsTokenFile: file("nats-token-file", "MUSTER_NATS_TOKEN_FILE", "A file with a token as the login at NATS"),
  natsCa: file("nats-ca", "MUSTER_NATS_CA", "The authority of the NATS servers' certificates, in PEM; asks for TLS"),
  natsCert: file("nats-cert", "MUSTER_NATS_CERT", "This node's certificate for NATS, in PEM; asks for TLS"),
  natsKey: file("nats-key", "MUSTER_NATS_KEY", "The private key of --nats-cert, in PEM"),
  secretFile: file(
    "secret-file",
    "MUSTER_SECRET_FILE",
    "The cluster's secret: one line of 16 bytes or more, a second line while it is replaced; what stands in NATS without " +
      "its signature is ignored",
  ),
  bucket: {
    flag: "bucket",
    value: "name",
    env: "MUSTER_BUCKET",
    kind: "text",
    fallback: "peers",
    rule: "1 to 128 characters out of A-Z a-z 0-9 _ -",
    description: "The NATS KV bucket with the list of peers",
    read: matches(/^[A-Za-z0-9_-]{1,128}$/),
  },
  replicas: {
    flag: "replicas",
    value: "count",
    env: "MUSTER_REPLICAS",
    kind: "number",
    fallback: "1",
    rule: "a whole number from 1 to 5",
    description: "The number of servers in a NATS cluster that keep the bucket, if this node creates it",
    read: between(1, 5),
  },
  group: {
    flag: "group",
    value: "name=origin",
    env: "MUSTER_GROUPS",
    kind: "groups",
    fallback: "dict=wordnet:",
    rule:
      "a name of 1 to 64 characters out of A-Z a-z 0-9 _ -, then = and wordnet:, none:, dict://host[:port][/database], " +
      `http(s)://host/path/{key}, http(s)://host/base/* or module:path and then, if wanted, ;ttl= with ${ttlRule}`,
    description:
      "A cache and the origin of its values. {key} is the key as one segment of the path (a slash is sent as %2F), {+key} " +
      "keeps its slashes (RFC 6570), and /* at the end serves a whole site. ;ttl=1m at the very end is the group's own " +
      "--ttl (write ; as %3B in a URL that itself ends so). The flag may be repeated; the variable takes several with " +
      "commas between them (in the variable, write a comma of a URL as %2C if nothing, or a text like name=, follows it)",
    mayHoldSecret: true,
    read: readGroup,
  },
  groupsFromNats: {
    flag: "groups-from-nats",
    value: "",
    env: "MUSTER_GROUPS_FROM_NATS",
    kind: "text",
    fallback: "off",
    rule: SWITCH_RULE,
    description: "Whether this node serves the groups that the bucket <bucket>-groups defines, besides its own",
    read: readSwitch,
  },
  serve: {
    flag: "serve",
    value: "names",
    env: "MUSTER_SERVE",
    kind: "text",
    shownDefault: "all groups",
    rule: "names of groups with commas between them, or none: for no group",
    description: "The groups that this node serves. For the other groups it asks the nodes that serve them",
    read: readServe,
  },
  ttl: {
    flag: "ttl",
    value: "time",
    env: "MUSTER_TTL",
    kind: "text",
    shownDefault: "no limit",
    rule: ttlRule,
    description:
      "How long the values of groups without a lifetime of their own may be served, where the origin does not " +
      "say it",
    read: readTtl,
  },
  config: {
    flag: "config",
    value: "file",
    env: "MUSTER_CONFIG",
    kind: "flag only",
    rule: "the path of a JSON file",
    description: "A JSON file with any of these options, and with the policies of groups; read again when it changes",
    read: matches(/^[^\0]+$/),
  },
  adminTokenFile: {
    flag: "admin-token-file",
    value: "file",
    env: "MUSTER_ADMIN_TOKEN_FILE",
    kind: "text",
    shownDefault: "none: only this machine's own programs are operators, and only on a loopback address",
    rule: TOKEN_FILE_RULE,
    description:
      "The operators' token: with it they may change cached values and see /stats, /metrics and the page; read again when it " +
      "changes",
    read: matches(/^[^\0]+$/),
  },
  publicStats: {
    flag: "public-stats",
    value: "",
    env: "MUSTER_PUBLIC_STATS",
    kind: "text",
    fallback: "off",
    rule: SWITCH_RULE,
    description: "Whether anyone may see /stats, /metrics and the page",
    read: readSwitch,
  },
  accessLog: {
    flag: "access-log",
    value: "combined|json|off",
    env: "MUSTER_ACCESS_LOG",
    kind: "text",
    fallback: "off",
    rule: "combined, json or off",
    description: "A line for each answer, on standard output: in the format of nginx and Apache, or as JSON",
    read: oneOf("combined", "json", "off"),
  },
  log: {
    flag: "log",
    value: "text|json",
    env: "MUSTER_LOG",
    kind: "text",
    shownDefault: "text on a terminal, json elsewhere",
    rule: "text or json",
    description: "The format of log lines, on standard error",
    read: oneOf("text", "json"),
  },
  logLevel: {
    flag: "log-level",
    value: "level",
    env: "MUSTER_LOG_LEVEL",
    kind: "text",
    fallback: "info",
    rule: "debug, info, warn or error",
    description: "The lowest level of log lines that are written",
    read: (text: string): LogLevel | undefined => LOG_LEVELS.find((level) => level === text),
  },
  weight: {
    flag: "weight",
    value: "number",
    env: "MUSTER_WEIGHT",
    kind: "number",
    fallback: "1",
    rule: "a number from 0.01 to 100",
    description: "The share of the keys that this node owns, relative to the other nodes",
    read: between(0.01, 100, /^\d{1,3}(\.\d{1,9})?$/),
  },
  zone: {
    flag: "zone",
    value: "zone",
    env: "MUSTER_ZONE",
    kind: "text",
    fallback: "",
    shownDefault: "none",
    rule: "up to 64 characters out of A-Z a-z 0-9 . _ -",
    description: "A label; it does not affect routing",
    read: matches(/^[A-Za-z0-9._-]{0,64}$/),
  },
  peerNetworks: {
    flag: "peer-networks",
    value: "networks",
    env: "MUSTER_PEER_NETWORKS",
    kind: "text",
    shownDefault: "all",
    rule: "networks or addresses with commas between them, such as 10.0.0.0/8,fd00::/8",
    description: "The networks in which this node connects to other nodes, whatever their records say",
    read: readNetworks,
  },
  workers: {
    flag: "workers",
    value: "n|auto",
    env: "MUSTER_WORKERS",
    kind: "number or text",
    fallback: "1",
    rule: `a whole number from 1 to ${MOST_WORKERS}, or auto for one per core`,
    description: "How many nodes to run on this machine, behind one address",
    read: (text: string): number | "auto" | undefined => text === "auto" ? text : between(1, MOST_WORKERS)(text),
  },
  drainTimeout: {
    flag: "drain-timeout",
    value: "time",
    env: "MUSTER_DRAIN_TIMEOUT",
    kind: "text",
    fallback: "5s",
    rule: "a time from 2s to 600s, such as 5s",
    description: "How long a stopping node may take to hand over its values, answer the requests in flight and leave",
    read: time(2_000, 600_000),
  },
  farewell: {
    flag: "farewell",
    value: "time",
    env: "MUSTER_FAREWELL",
    kind: "text",
    fallback: "400ms",
    rule: "a time from 100ms to 590s, such as 10s, and 1.6 s shorter than --drain-timeout",
    description:
      "How long a stopping node goes on serving while /readyz says 503, so that load balancers find out; a part of " +
      "--drain-timeout",
    read: time(100, 590_000),
  },
  pollInterval: {
    flag: "poll-interval",
    value: "time",
    env: "MUSTER_POLL_INTERVAL",
    kind: "text",
    fallback: "800ms",
    rule: "a time from 10ms to 60s, such as 250ms",
    description: "How often a node polls each peer that it watches; twice as often while the peer does not answer",
    read: time(10, 60_000),
  },
  pollTimeout: {
    flag: "poll-timeout",
    value: "time",
    env: "MUSTER_POLL_TIMEOUT",
    kind: "text",
    fallback: "250ms",
    rule: "a time from 10ms to 60s, such as 250ms",
    description: "How long a polled peer may take to answer",
    read: time(10, 60_000),
  },
  pollMisses: {
    flag: "poll-misses",
    value: "count",
    env: "MUSTER_POLL_MISSES",
    kind: "number",
    fallback: "6",
    rule: "a whole number from 1 to 1000",
    description:
      "After this many polls in a row without an answer, a node asks others to confirm that the peer is dead",
    read: between(1, 1000),
  },
  pollJitter: {
    flag: "poll-jitter",
    value: "share",
    env: "MUSTER_POLL_JITTER",
    kind: "number",
    fallback: "0.1",
    rule: "a number from 0 to 0.5",
    description: "The share of the interval by which polls are spread at random",
    read: between(0, 0.5, /^\d(\.\d{1,9})?$/),
  },
} as const satisfies Record<string, Option<unknown>>;

function readGroup(text: string): { name: string; origin: string; ttlMs?: number } | undefined {
  const parts = /^([A-Za-z0-9_-]{1,64})=(.+)$/s.exec(text);
  if (parts === null) return undefined;
  const [, name, rest] = parts as unknown as [string, string, string];
  const ttl = TTL_OF_GROUP.exec(rest);
  if (ttl === null) return { name, origin: rest };
  const origin = rest.slice(0, ttl.index);
  const ttlMs = readTtl(ttl[1]!);
  return origin === "" || ttlMs === undefined ? undefined : { name, origin, ttlMs };
}

function readServe(text: string): readonly string[] | undefined {
  if (text === "none:") return [];
  const names = text.split(",").map((name) => name.trim());
  return names.every((name) => /^[A-Za-z0-9_-]{1,64}$/.test(name)) ? names : undefined;
}

/**
 * Splits a text into groups, without the spaces around them. A comma separates groups if nothing, or a name and `=`,
 * follows it. Any other comma belongs to an origin.
 */
export function splitGroups(text: string): { readonly text: string; readonly unshown?: string }[] {
  const pieces = text.split(/,(?=\s*(?:[A-Za-z0-9_-]{1,64}=|$))/);
  const [firstQuery, lastLogin] = [text.indexOf("?"), text.lastIndexOf("@")];
  let start = 0;
  return pieces.map((piece, index) => {
    // The piece may be part of a URL with a comma: of a query that began before it, or of a login that ends after it.
    const mayBePart = pieces.length > 1 && (firstQuery >= 0 && firstQuery < start || lastLogin >= start);
    start += piece.length + 1;
    const unshown = `number ${
      index + 1
    } is not; it is not shown, as it may be a part of a URL with a comma: write that %2C`;
    return mayBePart ? { text: piece.trim(), unshown } : { text: piece.trim() };
  });
}

/**
 * Hides a login before the last `@`, and a query after a `?`, for faults and log lines. A password may hold any
 * character, also commas and slashes, so everything up to the `@` is hidden.
 */
export function redacted(text: string): string {
  return text.replace(/^(\w+=)?(\w+:\/\/)?.*@/s, "$1$2***@").replace(/\?.*$/s, "?***");
}
