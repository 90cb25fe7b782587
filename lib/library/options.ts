/** The options of `createNode`, and the types derived from them. */
import type { LoadOptions, LoadResult } from "../origins/module/contract.ts";
import type { Answer } from "./answer.ts";

/** The type of a group's values: bytes, text in UTF-8, or JSON. */
export type ValueType = "bytes" | "text" | "json";

/**
 * The policy of a group: the fields of a group in the JSON file of `--config`, with the same defaults. Every node of a
 * cluster should have the same policy for a group.
 */
export interface GroupPolicy {
  /** The size of its caches on this node, in bytes of keys and values. Default: 64 MiB. */
  readonly budgetBytes?: number;
  /** How long a value may be served, in milliseconds; `null`: until it is evicted. Default: `null`. */
  readonly ttlMs?: number | null;
  /** The share by which lifetimes are shortened at random, 0 to 1. Default: 0.1. */
  readonly ttlJitter?: number;
  /** How long a value is served after its lifetime while one load refreshes it, in milliseconds. Default: 0. */
  readonly staleWhileRevalidateMs?: number;
  /** How long a value is served after its lifetime while loads fail, in milliseconds. Default: 0. */
  readonly staleIfErrorMs?: number;
  /**
   * How long a load may take before a stale value is served instead, in milliseconds; `null`: for ever. Default:
   * `null`.
   */
  readonly softTimeoutMs?: number | null;
  /** Whether popular values are refreshed shortly before they expire. Default: `false`. */
  readonly refreshAhead?: boolean;
  /** How long "not found" is remembered, in milliseconds. Default: 0. */
  readonly negativeTtlMs?: number;
  /** Whether lifetimes that come with a value override those of the group. Default: `true`. */
  readonly honourOrigin?: boolean;
  /** How long one load may take, in milliseconds. Default: 10,000. */
  readonly loadTimeoutMs?: number;
  /** The longest value, in bytes. Default: 16 MiB, which is the most. */
  readonly valueBytesMax?: number;
  /** On how many nodes each value is kept. Default: 1. */
  readonly replicas?: 1 | 2;
  /** How often a node fetches a value before its copy may displace other copies; 0: it keeps none. Default: 2. */
  readonly hotAfterFetches?: number;
  /** Whether values may be written with `put`. Default: `false`. */
  readonly writable?: boolean;
  /**
   * After this long without contact with NATS, in milliseconds, the caches are not used; `null`: always used. Default:
   * `null`.
   */
  readonly maxBlindMs?: number | null;
  /** The most loads at once in the whole cluster; `null`: no limit. Default: `null`. */
  readonly maxConcurrent?: number | null;
  /** The most loads that wait on one node because of `maxConcurrent`; further ones are refused. Default: 1,000. */
  readonly maxQueued?: number;
  /** How long a load may wait because of `maxConcurrent`, in milliseconds. Default: 5,000. */
  readonly queueTimeoutMs?: number;
  /** The share of failures among the latest loads at which loading pauses, above 0 to 1; `null`: never. Default: `null`. */
  readonly breakerShare?: number | null;
  /** How long that pause is, in milliseconds. Default: 5,000. */
  readonly breakerPauseMs?: number;
  /** How often a load without an answer from the origin is retried, 0 to 5. Default: 0. */
  readonly retries?: number;
  /** The most retries of a node as a share of its loads, 0 to 1. Default: 0.1. */
  readonly retryBudget?: number;
}

/** A group whose values a function of this program loads, as bytes or as text. */
export interface LoadGroup extends GroupPolicy {
  /** Default: `"bytes"`. */
  readonly type?: "bytes" | "text";
  /**
   * Loads the value of a key that no node holds, once in the cluster for all waiting callers. It returns a body or an
   * object with a body. If there is no value, it returns nothing or throws NotFoundError.
   */
  readonly load: (key: string, options: LoadOptions) =>
    | LoadResult
    | Answer<LoadResult>
    | Promise<LoadResult | Answer<LoadResult>>;
}

/** A group whose values a function of this program loads, as JSON. */
export interface JsonLoadGroup extends GroupPolicy {
  /** Values are written and read as JSON. */
  readonly type: "json";
  /**
   * Loads the value of a key, as in a group of bytes. It returns the value itself, an `Answer` with the value, or a
   * `Response` or bytes with the value written as JSON. `null` and `undefined`: there is no such value.
   */
  readonly load: (key: string, options: LoadOptions) => unknown;
}

/** A group whose values come from an origin in the command's form, such as `https://api.example/users/{key}`. */
export interface OriginGroup extends GroupPolicy {
  /** Default: `"bytes"`. */
  readonly type?: ValueType;
  /** An origin in the form of `--group`; `none:` for a group whose values are only written. */
  readonly origin: string;
  /** Sent with every request to an HTTP origin: texts, or files and variables that are read at the start. */
  readonly headers?: Readonly<Record<string, string | { readonly file: string } | { readonly env: string }>>;
  /** Whether an HTTP origin's answer with `Set-Cookie` is kept. Default: `"refuse"`. */
  readonly setCookie?: "store" | "refuse";
  /** For a site: this group answers requests to the node with one of these in `Host`. Default: none. */
  readonly hosts?: readonly string[];
}

/** One group of a node. */
export type GroupOptions = LoadGroup | JsonLoadGroup | OriginGroup;

/** The groups of a node, by name: 1 to 64 characters out of `A-Z a-z 0-9 _ -`. */
export type Groups = Readonly<Record<string, GroupOptions>>;

/** The type of the group's values, by its options. It is `unknown` for JSON from an origin, a `Response` or bytes. */
export type ValueOf<Options extends GroupOptions> = Options extends { readonly type: "json" }
  ? Options extends { readonly load: (...args: never[]) => infer Returned } ? JsonOf<Awaited<Returned>>
  : unknown
  : Options extends { readonly type: "text" } ? string
  : Uint8Array<ArrayBuffer>;

/** The type of a value that a load of JSON returns. */
export type JsonOf<Returned> = Returned extends Answer<infer Value> ? JsonOf<Value>
  : Returned extends Response | Uint8Array | ArrayBuffer | ReadableStream ? unknown
  : NonNullable<Returned>;

/** Takes log lines; `console` is one. A level without a function is silent. */
export interface NodeLog {
  /** Details of no interest to an operator. */
  debug?(message: string, facts: Readonly<Record<string, unknown>>): void;
  /** Normal events: the node joins or leaves, peers come and go. */
  info?(message: string, facts: Readonly<Record<string, unknown>>): void;
  /** Events that an operator should look at. */
  warn?(message: string, facts: Readonly<Record<string, unknown>>): void;
  /** Faults with which the node should not run. */
  error?(message: string, facts: Readonly<Record<string, unknown>>): void;
}

/** The options of a node. Options that the command also has mean the same there. */
export interface NodeOptions<G extends Groups = Groups> {
  /**
   * NATS servers where the nodes find each other: `nats://host:4222`, or a list of several. `"off"`: the node runs
   * alone.
   */
  readonly nats: string | readonly string[];
  /** A creds file: a user's JWT and seed. Give at most one of this, `natsNkey`, `natsUser` and `natsTokenFile`. */
  readonly natsCreds?: string;
  /** A file with the seed of an NKEY. For the bundled server of `npm start`: `.muster/nats/nkey`. */
  readonly natsNkey?: string;
  /** A user, whose password is in `natsPasswordFile`. */
  readonly natsUser?: string;
  /** A file whose first line is the user's password. */
  readonly natsPasswordFile?: string;
  /** A file whose first line is a token. */
  readonly natsTokenFile?: string;
  /** The authority of the servers' certificates, a file in PEM; turns TLS on. Default: those of the runtime. */
  readonly natsCa?: string;
  /** This node's certificate for NATS, a file in PEM. */
  readonly natsCert?: string;
  /** The key of that certificate, a file in PEM. */
  readonly natsKey?: string;
  /** The groups of this node, by name. */
  readonly groups: G;
  /** The groups that it serves itself; for the others it asks other nodes. Default: all. */
  readonly serve?: readonly string[];
  /**
   * Whether it also serves the groups that the bucket `<bucket>-groups` defines, through `fetch` and for the other
   * nodes. `group` knows only those of `groups`. Default: `false`.
   */
  readonly groupsFromNats?: boolean;
  /** Its unique name in the list of peers. Default: the host and port at which other nodes reach it. */
  readonly name?: string;
  /** Where it listens for other nodes, `host:port`. Default: `127.0.0.1:0`, any free port. */
  readonly addr?: string;
  /** A separate address for the other nodes, `host:port`; they are then not answered at `addr`. Default: `addr`. */
  readonly peerAddr?: string;
  /** The certificate for `peerAddr`, a file in PEM; read again when it changes. Default: not encrypted. */
  readonly tlsCert?: string;
  /** The key of `tlsCert`, a file in PEM; give both or neither. */
  readonly tlsKey?: string;
  /** The authorities of the other nodes' certificates, a file in PEM. Default: the system's. */
  readonly tlsCa?: string;
  /** The URL at which the other nodes reach it. Default: `http://`, or `https://` with `tlsCert`, and the address. */
  readonly advertise?: string;
  /** The NATS KV bucket with the list of peers: one for each cluster. Default: `peers`. */
  readonly bucket?: string;
  /** The number of NATS servers that keep the bucket, if this node makes it. Default: 1. */
  readonly replicas?: number;
  /** The share of the keys that it owns, relative to the other nodes. Default: 1. */
  readonly weight?: number;
  /** A label; it does not affect routing. Default: none. */
  readonly zone?: string;
  /** A file with the secret that all nodes of the cluster share: entries in NATS without its signature are ignored. */
  readonly secretFile?: string;
  /** The networks in which it connects to other nodes, such as `10.0.0.0/8,fd00::/8`. Default: all. */
  readonly peerNetworks?: string;
  /** How long `close` may take: a time such as `5s`. Default: `5s`. */
  readonly drainTimeout?: string;
  /**
   * How long `close` goes on serving while the node is not ready, so that load balancers and other nodes notice. It
   * must be 1.6 s shorter than `drainTimeout`. Default: `400ms`.
   */
  readonly farewell?: string;
  /**
   * A file whose first line is the operators' token. With it they may change cached values over HTTP, and see `/stats`,
   * `/metrics` and the page, at `addr` and through `fetch`. Default: none, see the README of lib/http.
   */
  readonly adminTokenFile?: string;
  /** Whether anyone may see `/stats`, `/metrics` and the page. Default: `false`. */
  readonly publicStats?: boolean;
  /** How often it polls each peer that it watches: a time such as `250ms`. Default: `800ms`. */
  readonly pollInterval?: string;
  /** How long a polled peer may take to answer: a time. Default: `250ms`. */
  readonly pollTimeout?: string;
  /** After this many polls in a row without an answer, it asks other nodes whether the peer is dead. Default: 6. */
  readonly pollMisses?: number;
  /** The share of the interval by which polls are spread at random, 0 to 0.5. Default: 0.1. */
  readonly pollJitter?: number;
  /** Default: nothing is logged. */
  readonly log?: NodeLog;
}

/** The options of `node.reload`. It also accepts other options of `createNode`, with the same values as there. */
export interface ReloadOptions<G extends Groups = Groups> {
  /** All groups of the node from now on. A group that is left out ends. */
  readonly groups: G;
}
