/** What a program gives to `createNode`, and the types that follow from it. */
import type { LoadOptions, LoadResult } from "../origins/module/contract.ts";
import type { Answer } from "./answer.ts";

/** How the values of a group are given and taken: as bytes, as text in UTF-8, or as JSON. */
export type ValueType = "bytes" | "text" | "json";

/**
 * The policy of a group: the fields of a group in the JSON file of `--config`, with the same defaults. Every node of a
 * cluster should give a group the same policy.
 */
export interface GroupPolicy {
  /** The size of its caches on this node, in bytes of keys and values. Default: 64 MiB. */
  readonly budgetBytes?: number;
  /** How long a value may be served, in milliseconds; `null`: until it is evicted. Default: `null`. */
  readonly ttlMs?: number | null;
  /** The share by which lifetimes are shortened at random, 0 to 1. Default: 0.1. */
  readonly ttlJitter?: number;
  /** After its lifetime, for how long a value is served while one load refreshes it, in milliseconds. Default: 0. */
  readonly staleWhileRevalidateMs?: number;
  /** After its lifetime, for how long a value is served while loads fail, in milliseconds. Default: 0. */
  readonly staleIfErrorMs?: number;
  /** When a stale value is served in place of a slow load, in milliseconds; `null`: never. Default: `null`. */
  readonly softTimeoutMs?: number | null;
  /** Whether popular values are refreshed shortly before they expire. Default: `false`. */
  readonly refreshAhead?: boolean;
  /** How long "not found" is remembered, in milliseconds. Default: 0. */
  readonly negativeTtlMs?: number;
  /** Whether lifetimes that come with a value count before those of the group. Default: `true`. */
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
  /** Without contact with NATS for so long, in milliseconds, the caches are not used; `null`: they are. Default: `null`. */
  readonly maxBlindMs?: number | null;
  /** The most loads at once in the whole cluster; `null`: no limit. Default: `null`. */
  readonly maxConcurrent?: number | null;
  /** The most loads that wait on one node because of `maxConcurrent`; further ones are refused. Default: 1,000. */
  readonly maxQueued?: number;
  /** How long one may wait because of `maxConcurrent`, in milliseconds. Default: 5,000. */
  readonly queueTimeoutMs?: number;
  /** The share of failures among the latest loads at which loading pauses, above 0 to 1; `null`: never. Default: `null`. */
  readonly breakerShare?: number | null;
  /** How long that pause is, in milliseconds. Default: 5,000. */
  readonly breakerPauseMs?: number;
  /** How often a load to which the origin gave no answer is tried again, 0 to 5. Default: 0. */
  readonly retries?: number;
  /** The most retries of a node as a share of its loads, 0 to 1. Default: 0.1. */
  readonly retryBudget?: number;
}

/** A group whose values a function of this program loads, as bytes or as text. */
export interface LoadGroup extends GroupPolicy {
  /** Default: `"bytes"`. */
  readonly type?: "bytes" | "text";
  /**
   * Loads the value of a key that no node holds: once in the cluster, for all that wait. It returns a body or an object
   * with a body; for no value it returns nothing, or throws NotFoundError.
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

/** A group whose values come from an origin as the command takes it, such as `https://api.example/users/{key}`. */
export interface OriginGroup extends GroupPolicy {
  /** Default: `"bytes"`. */
  readonly type?: ValueType;
  /** An origin as `--group` takes it; `none:` for a group that is only written to. */
  readonly origin: string;
  /** Sent with every request to an HTTP origin: texts, or where they are read at the start. */
  readonly headers?: Readonly<Record<string, string | { readonly file: string } | { readonly env: string }>>;
  /** Whether an HTTP origin's answer with `Set-Cookie` is kept. Default: `"refuse"`. */
  readonly setCookie?: "store" | "refuse";
  /** Of a site: requests to the node with one of these in `Host` are answered from this group. Default: none. */
  readonly hosts?: readonly string[];
}

/** One group of a node. */
export type GroupOptions = LoadGroup | JsonLoadGroup | OriginGroup;

/** The groups of a node, by name: 1 to 64 characters out of `A-Z a-z 0-9 _ -`. */
export type Groups = Readonly<Record<string, GroupOptions>>;

/**
 * The type of the group's values, by its options. `unknown` is JSON that this program has not written: of an origin, of
 * a `Response`, of bytes.
 */
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
  /** What the node does: it joins, it leaves, peers come and go. */
  info?(message: string, facts: Readonly<Record<string, unknown>>): void;
  /** What an operator should look at. */
  warn?(message: string, facts: Readonly<Record<string, unknown>>): void;
  /** What the node should not run with. */
  error?(message: string, facts: Readonly<Record<string, unknown>>): void;
}

/** The options of a node. Those that the command has as well mean the same there. */
export interface NodeOptions<G extends Groups = Groups> {
  /** NATS servers where the nodes find each other: `nats://host:4222`, several as a list. `"off"`: a node on its own. */
  readonly nats: string | readonly string[];
  /** A creds file: a user's JWT and seed. Of this, `natsNkey`, `natsUser` and `natsTokenFile` one at most is given. */
  readonly natsCreds?: string;
  /** A file with the seed of an NKEY. For the bundled server of `npm start`: `.muster/nats/nkey`. */
  readonly natsNkey?: string;
  /** A user, whose password stands in `natsPasswordFile`. */
  readonly natsUser?: string;
  /** A file whose first line is the user's password. */
  readonly natsPasswordFile?: string;
  /** A file whose first line is a token. */
  readonly natsTokenFile?: string;
  /** The authority of the servers' certificates, a file in PEM; it asks for TLS. Default: those of the runtime. */
  readonly natsCa?: string;
  /** This node's certificate for NATS, a file in PEM. */
  readonly natsCert?: string;
  /** The key of that certificate, a file in PEM. */
  readonly natsKey?: string;
  /** The groups that it can be asked for, by name. */
  readonly groups: G;
  /** Those of the groups that it serves itself; it asks other nodes for the values of the rest. Default: all. */
  readonly serve?: readonly string[];
  /**
   * Whether it also serves the groups that the bucket `<bucket>-groups` defines: by `fetch`, and for the other nodes.
   * `group` gives those of `groups` only. Default: `false`.
   */
  readonly groupsFromNats?: boolean;
  /** In the list of peers, where each live node has its own. Default: the host and port at which it is reached. */
  readonly name?: string;
  /** Where it listens for other nodes, `host:port`. Default: `127.0.0.1:0`, any free port. */
  readonly addr?: string;
  /** An address for the other nodes alone, `host:port`; at `addr` they are not answered then. Default: they use `addr`. */
  readonly peerAddr?: string;
  /** The certificate for `peerAddr`, a file in PEM; read again when it changes. Default: not encrypted. */
  readonly tlsCert?: string;
  /** The key of `tlsCert`, a file in PEM; both are given or none. */
  readonly tlsKey?: string;
  /** The authorities of the other nodes' certificates, a file in PEM. Default: the system's. */
  readonly tlsCa?: string;
  /** The URL at which the other nodes reach it. Default: `http://`, or `https://` with `tlsCert`, and the address. */
  readonly advertise?: string;
  /** The NATS KV bucket with the list of peers: one for each cluster. Default: `peers`. */
  readonly bucket?: string;
  /** On how many NATS servers the bucket is kept, if this node makes it. Default: 1. */
  readonly replicas?: number;
  /** The share of the keys that it owns, relative to the other nodes. Default: 1. */
  readonly weight?: number;
  /** A label; it does not affect routing. Default: none. */
  readonly zone?: string;
  /** A file with the secret that all nodes of the cluster share: what stands in NATS without its signature is ignored. */
  readonly secretFile?: string;
  /** The networks in which it connects to other nodes, such as `10.0.0.0/8,fd00::/8`. Default: all. */
  readonly peerNetworks?: string;
  /** How long `close` may take: a time such as `5s`. Default: `5s`. */
  readonly drainTimeout?: string;
  /**
   * How long `close` goes on serving while the node is not ready, so that load balancers and other nodes find out: a time 1.6 s
   * shorter than `drainTimeout`. Default: `400ms`.
   */
  readonly farewell?: string;
  /**
   * A file whose first line is the token of operators, who may change what is cached over HTTP, and see `/stats`, `/metrics`
   * and the page: here and through `fetch`. Default: none, see the README of lib/http.
   */
  readonly adminTokenFile?: string;
  /** Whether everybody may see `/stats`, `/metrics` and the page. Default: `false`. */
  readonly publicStats?: boolean;
  /** How often it polls each peer that it watches: a time such as `250ms`. Default: `800ms`. */
  readonly pollInterval?: string;
  /** How long a polled peer may take to answer: a time. Default: `250ms`. */
  readonly pollTimeout?: string;
  /** After so many polls in a row without an answer, it asks other nodes whether the peer is dead. Default: 6. */
  readonly pollMisses?: number;
  /** The share of the interval by which polls are spread at random, 0 to 0.5. Default: 0.1. */
  readonly pollJitter?: number;
  /** Default: nothing is logged. */
  readonly log?: NodeLog;
}
