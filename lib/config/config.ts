/** The checked options of a node, and values derived from them. parse.ts reads them. */
import manifest from "../../package.json" with { type: "json" };
import { hostInUrl, type HostPort, isLoopback, isUnspecified, type NatsSetting } from "./texts/addresses.ts";
import type { FileGroup } from "./group-fields.ts";
import type { LogLevel } from "./options.ts";
import type { NatsLogin } from "./texts/nats-login.ts";

/** A group with its policy; the fields are those of the file, see groupFields. */
export interface GroupConfig extends Omit<FileGroup, "ttlMs" | "headers"> {
  readonly name: string;
  /**
   * In the form that `parseOrigin` reads: `wordnet:`, `http(s)://…{key}…`, `module:path` and others; may hold a
   * password.
   */
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
  /** The login for servers that `nats` names; empty for the bundled server, whose login is in its store. */
  readonly natsLogin: NatsLogin;
  /** The path of the cluster's secret. */
  readonly secretFile: string | undefined;
  /** The address for other nodes; `undefined`: `addr`. */
  readonly peerAddr: HostPort | undefined;
  /** The certificate and key files for `peerAddr`: both or neither. */
  readonly tlsCert: string | undefined;
  readonly tlsKey: string | undefined;
  /** A file with the authorities to trust; `undefined`: the system's. */
  readonly tlsCa: string | undefined;
  readonly bucket: string;
  readonly replicas: number;
  /** At least one; their names are distinct. */
  readonly groups: readonly GroupConfig[];
  /** Whether it also serves the groups of the bucket `<bucket>-groups`. */
  readonly groupsFromNats: boolean;
  /** The path of the file with the operators' token; it was valid when the options were read. */
  readonly adminTokenFile: string | undefined;
  /** Whether anyone may see the statistics. */
  readonly publicStats: boolean;
  /** The groups that it serves itself, including those of the bucket; `undefined`: all. */
  readonly serve: readonly string[] | undefined;
  readonly log: "text" | "json";
  readonly logLevel: LogLevel;
  /** The format of the line for each answer to a client. */
  readonly accessLog: "combined" | "json" | "off";
  /** 0.01 to 100; 1 is an ordinary share of the keys. */
  readonly weight: number;
  /** `""` for none. */
  readonly zone: string;
  /** Networks in which it connects to peers, as `PeerNetworks` takes them; none: everywhere. */
  readonly peerNetworks: readonly string[];
  /** 1: this process is the node. More: it starts this many processes. */
  readonly workers: number | "auto";
  readonly drainTimeoutMs: number;
  /** A part of the drain timeout. */
  readonly farewellMs: number;
  readonly polling: PollingConfig;
}

export interface PollingConfig {
  readonly pollIntervalMs: number;
  readonly pollTimeoutMs: number;
  /** How many polls in a row go without an answer before other nodes are asked. */
  readonly pollMisses: number;
  /** A share of the interval, 0 to 0.5. */
  readonly pollJitter: number;
}

/** This package's version, as `--version` prints it. */
export const version: string = manifest.version;

/**
 * The URL and name under which a node with these options is listed, once it listens for other nodes on `actualPort`.
 */
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
